//! A connection on its way from the accept loop to a worker.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use socket2::Socket;
use tokio::net::{TcpStream, UnixStream};

use super::entrance::Visit;
use super::stream::{Liveness, Stream, set_options};

/// An accepted connection. It belongs to no runtime until [`Accepted::into_stream`] is called, which
/// is done on the worker's thread.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    peer: Peer,
    liveness: Liveness,
    listener: u16,
    /// Its place among the clients of its address, where those are counted.
    visit: Option<Visit>,
}

/// Who connected, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client at this address.
    Tcp(SocketAddr),
    /// A client of the Unix socket at this path.
    Unix(Arc<Path>),
}

impl fmt::Display for Peer {
    /// As Redis' `CLIENT LIST` shows it: `address:port`, or the socket's path and port 0.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(out, "{address}"),
            Peer::Unix(path) => write!(out, "{}:0", path.display()),
        }
    }
}

impl Accepted {
    pub(super) fn new(socket: Socket, peer: Peer, liveness: Liveness) -> Self {
        Accepted {
            socket,
            peer,
            liveness,
            listener: 0,
            visit: None,
        }
    }

    /// The same, from the listener with this number.
    #[must_use]
    pub fn of_listener(self, listener: u16) -> Self {
        Accepted { listener, ..self }
    }

    /// The number of the listener it came through; 0 unless somebody said otherwise.
    pub fn listener(&self) -> u16 {
        self.listener
    }

    /// The same, with its place among the clients of its address.
    #[must_use]
    pub fn with_visit(self, visit: Option<Visit>) -> Self {
        Accepted { visit, ..self }
    }

    /// Its place among the clients of its address; to be kept as long as it stays.
    pub fn take_visit(&mut self) -> Option<Visit> {
        self.visit.take()
    }

    /// Its address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix(_) => None,
        }
    }

    /// Who connected.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Joins the calling thread's runtime and sets the socket's options.
    ///
    /// # Errors
    /// When the connection is gone already, or the runtime cannot watch one more.
    pub fn into_stream(self) -> io::Result<Stream> {
        match self.peer {
            Peer::Tcp(_) => self.into_tcp().map(Stream::Tcp),
            Peer::Unix(_) => UnixStream::from_std(self.socket.into()).map(Stream::Unix),
        }
    }

    /// As [`Accepted::into_stream`], for a connection that is known to be TCP.
    ///
    /// # Errors
    /// As there.
    pub fn into_tcp(self) -> io::Result<TcpStream> {
        let stream = TcpStream::from_std(self.socket.into())?;
        set_options(&stream, self.liveness)?;
        Ok(stream)
    }

    /// Says one line and closes; what the socket does not take at once is lost.
    pub fn refuse(self, line: &[u8]) {
        // The client may be gone; then nobody misses the line.
        let _ = self.socket.send(line);
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}
