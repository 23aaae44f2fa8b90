//! One type for every kind of connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, after the handshake. What was written may still lie here until it is flushed.
    Tls(Box<TlsStream<TcpStream>>),
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

/// Opens a TCP connection to a host name or address, trying each address the name has in turn. The
/// name is looked up anew each time (contract: R11). The caller sets the time limit.
///
/// # Errors
/// What the look-up or the last address answered.
pub async fn connect(host: &str, port: u16, liveness: Liveness) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    set_options(&stream, liveness)?;
    Ok(stream)
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

impl Stream {
    /// The address of the other side; `None` for a Unix socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
        }
    }

    /// The address of this side; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Tls(stream) => stream.get_ref().0.local_addr().ok(),
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
    stream: Pin<&mut TlsStream<TcpStream>>,
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
