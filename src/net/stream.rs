//! One type for every kind of connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsStream;

use super::tls::ReadAhead;

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, after the handshake. What was written may still lie here until it is flushed.
    Tls(Box<TlsStream<ReadAhead<TcpStream>>>),
}

/// How a TCP connection is found to be dead although nobody closed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// After so long without a sign the other side is asked for one; zero never asks.
    pub keepalive: Duration,
    /// So long may bytes that were sent stay unacknowledged; zero leaves it to the system, which tries for
    /// about a quarter of an hour.
    pub user_timeout: Duration,
}

/// An address that has not answered for so long is joined by the next one. It is the shortest pause that RFC 8305
/// (happy eyeballs) allows: many addresses have to fit into the caller's time limit.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(100);

/// Opens a TCP connection to a host name or address. Where the name has several addresses, they are tried in
/// turn, the next one when the last has failed or not answered soon; the first that answers is taken. The
/// name is looked up anew each time (contract: R11). The caller sets the time limit.
///
/// # Errors
/// What the look-up or the last address answered.
pub async fn connect(host: &str, port: u16, liveness: Liveness) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    let stream = connect_to_one(&addresses).await?;
    set_options(&stream, liveness)?;
    Ok(stream)
}

/// Connects, but not to itself. Where nobody listens on a port of this machine that the system also gives to outgoing
/// connections, it may give just that one, and the connection succeeds without a peer (a simultaneous open). All that
/// is sent comes back on it and would pass for replies; and a server could not listen there again.
async fn connect_to_other(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? != stream.peer_addr()? {
        return Ok(stream);
    }
    // The port is free at once.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let why = "nobody listens there: it was connected to itself";
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, why))
}

async fn connect_to_one(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return connect_to_other(*address).await;
    }
    let mut addresses = addresses.iter().copied();
    // Those that are left are given up when this returns.
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let next = addresses.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            attempts.spawn(connect_to_other(address));
        }
        tokio::select! {
            Some(outcome) = attempts.join_next() => match outcome {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(error) => failed = io::Error::other(error),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if !is_last => {}
            else => return Err(failed),
        }
    }
}

/// Sends small writes at once (a batch is one write already), and does not wait for ever for signs of life.
pub(super) fn set_options(stream: &TcpStream, liveness: Liveness) -> io::Result<()> {
    let Liveness {
        keepalive,
        user_timeout,
    } = liveness;
    stream.set_nodelay(true)?;
    if !user_timeout.is_zero() {
        SockRef::from(stream).set_tcp_user_timeout(Some(user_timeout))?;
    }
    if keepalive.is_zero() {
        return Ok(());
    }
    // Three questions, a third of the time apart: as Redis does it.
    let interval = (keepalive / 3).max(Duration::from_secs(1));
    let options = TcpKeepalive::new()
        .with_time(keepalive.max(Duration::from_secs(1)))
        .with_interval(interval)
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&options)
}

/// The address as people write it: to a socket of `[::]`, 192.0.2.1 is ::ffff:192.0.2.1.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // With what else belongs to it (its scope).
        IpAddr::V6(_) => address,
    }
}

impl Stream {
    /// The address of the other side; `None` for a Unix socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok().map(canonical)
    }

    /// The address of this side; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok().map(canonical)
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Unix(_) => None,
            Stream::Tls(stream) => Some(stream.get_ref().0.inner()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => read_tls(Pin::new(stream.as_mut()), context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

/// A peer that ends without TLS' own farewell has ended, no more: many clients do, and requests and replies say
/// themselves where they end, so nothing that was cut off passes for whole.
fn read_tls(
    stream: Pin<&mut TlsStream<ReadAhead<TcpStream>>>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match stream.poll_read(context, buffer) {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Poll::Ready(Ok(()))
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// A node that is down, on a port of the range for outgoing connections, was connected to after some thousand
    /// attempts: what it was asked passed for what it answered.
    #[tokio::test]
    async fn nothing_is_connected_to_itself() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // Linux gives the even ones first.
        let port = free.local_addr().expect("bound").port() & !1;
        drop(free);
        for attempt in 0..20_000 {
            let Ok(stream) = connect("127.0.0.1", port, Liveness::default()).await else {
                continue;
            };
            let (own, other) = (stream.local_addr(), stream.peer_addr());
            assert_ne!(own.ok(), other.ok(), "attempt {attempt}");
        }
    }

    /// An address that swallows packets: a listener whose queue is full, as long as the sockets live.
    fn swallows() -> (SocketAddr, Vec<Socket>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("it can listen");
        let address = listener.local_addr().expect("bound");
        let mut kept = vec![listener];
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("it can be set");
            // Under way is as good as there.
            let _ = socket.connect(&address);
            kept.push(socket);
        }
        (address.as_socket().expect("TCP"), kept)
    }

    fn connect_to(addresses: &[SocketAddr]) -> io::Result<(SocketAddr, Duration)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let began = Instant::now();
        let limit = Duration::from_secs(5);
        let connecting = async { tokio::time::timeout(limit, connect_to_one(addresses)).await };
        let stream = runtime.block_on(connecting).expect("in time")?;
        Ok((stream.peer_addr()?, began.elapsed()))
    }

    // contract: R11
    #[test]
    fn an_address_that_is_silent_does_not_hold_up_the_next() {
        let (silent, _kept) = swallows();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let well = listener.local_addr().expect("bound");
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let refuses = nobody.local_addr().expect("bound");
        drop(nobody);
        for addresses in [
            &[well][..],
            &[well, silent],
            &[silent, well],
            &[refuses, well],
            &[silent, silent, refuses, silent, well],
        ] {
            let (address, took) = connect_to(addresses).expect("one of them answers");
            assert_eq!(address, well, "{addresses:?}");
            assert!(took < Duration::from_secs(2), "{addresses:?} {took:?}");
        }
        for addresses in [&[refuses][..], &[refuses, refuses], &[]] {
            assert!(connect_to(addresses).is_err(), "{addresses:?}");
        }
    }
}
