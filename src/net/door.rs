//! A listener at work: connections come out of it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use socket2::Socket;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

use super::accepted::{Accepted, Peer};
use super::listener::{Place, SocketFile};
use super::stream::{Liveness, canonical};

/// A [`super::Listener`] watched by the runtime of the thread that opened it. Dropping it closes it
/// and removes a Unix socket's file.
#[derive(Debug)]
pub struct Door {
    watched: Watched,
    listener: u16,
}

#[derive(Debug)]
enum Watched {
    Tcp {
        listener: TcpListener,
        liveness: Liveness,
    },
    Unix {
        listener: UnixListener,
        file: SocketFile,
    },
}

/// File descriptors or memory ran out: accepting again helps only after a while, and trying at once
/// would spin, since the connection that could not be taken stays the first in the queue.
#[derive(Debug, Error)]
#[error("cannot accept: {0}")]
pub struct Exhausted(#[source] pub io::Error);

impl Door {
    pub(super) fn open(socket: Socket, place: Place, liveness: Liveness) -> io::Result<Door> {
        let watched = match place {
            Place::Tcp(_) => Watched::Tcp {
                listener: TcpListener::from_std(socket.into())?,
                liveness,
            },
            Place::Unix(file) => Watched::Unix {
                listener: UnixListener::from_std(socket.into())?,
                file,
            },
        };
        Ok(Door {
            watched,
            listener: 0,
        })
    }

    /// The same, whose connections know that they came through the listener with this number.
    #[must_use]
    pub fn of_listener(self, listener: u16) -> Self {
        Door { listener, ..self }
    }

    /// The number of its listener.
    pub fn listener(&self) -> u16 {
        self.listener
    }

    /// The next connection. Several that wait come one after the other without asking the kernel for
    /// readiness in between; the runtime's budget sees to it that other tasks get their turn.
    ///
    /// # Errors
    /// See [`Exhausted`]; the caller pauses.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<Result<Accepted, Exhausted>> {
        loop {
            match ready!(self.poll_once(context)) {
                Ok(accepted) => return Poll::Ready(Ok(accepted.of_listener(self.listener))),
                // That one ended before it was accepted; the next may be fine.
                Err(error) if is_aborted(&error) => {}
                Err(error) => return Poll::Ready(Err(Exhausted(error))),
            }
        }
    }

    fn poll_once(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        // `into_std` takes the connection off this thread's runtime: it will live in a worker's.
        Poll::Ready(Ok(match &self.watched {
            Watched::Tcp { listener, liveness } => {
                let (stream, address) = ready!(listener.poll_accept(context))?;
                Accepted::new(
                    stream.into_std()?.into(),
                    Peer::Tcp(canonical(address)),
                    *liveness,
                )
            }
            Watched::Unix { listener, file } => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                let peer = Peer::Unix(Arc::clone(&file.path));
                Accepted::new(stream.into_std()?.into(), peer, Liveness::default())
            }
        }))
    }
}

/// Whether accept(2) only hands on what already went wrong on the new connection. Everything else
/// (EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody has heard of) must not be tried again at once.
fn is_aborted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::PERM
        )
    )
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::{Listener, Stream, connect};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn tcp_in_both_families_with_a_stream_at_each_end() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let address: std::net::SocketAddr = address.parse().expect("an address");
            let listener = match Listener::bind_tcp(address, 16, Liveness::default()) {
                Ok(listener) => listener,
                // A machine without IPv6.
                Err(error) if address.is_ipv6() => {
                    eprintln!("skipped: {error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let bound = listener.tcp_address().expect("it is TCP");
            block_on(async {
                let door = listener.open().expect("watched");
                let host = bound.ip().to_string();
                let client = connect(&host, bound.port(), Liveness::default())
                    .await
                    .expect("somebody listens");
                let mut client = Stream::Tcp(client);
                let accepted = poll_fn(|context| door.poll_accept(context))
                    .await
                    .expect("a client waits");
                assert_eq!(
                    accepted.peer().to_string(),
                    client.local_address().expect("TCP").to_string()
                );
                let mut server = accepted.into_stream().expect("connected");
                assert_eq!(server.peer_address(), client.local_address());
                client.write_all(b"PING\r\n").await.expect("connected");
                client.shutdown().await.expect("connected");
                let mut read = Vec::new();
                server.read_to_end(&mut read).await.expect("connected");
                assert_eq!(read, b"PING\r\n");
            });
        }
    }

    #[test]
    fn a_refused_client_reads_why() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keyway.sock");
        let listener = Listener::bind_unix(&path, 0o600, 16).expect("a free path");
        let mut client = std::os::unix::net::UnixStream::connect(&path).expect("somebody listens");
        block_on(async {
            let door = listener.open().expect("watched");
            let accepted = poll_fn(|context| door.poll_accept(context))
                .await
                .expect("a client waits");
            assert_eq!(accepted.peer().to_string(), format!("{}:0", path.display()));
            accepted.refuse(b"-ERR no\r\n");
        });
        let mut said = String::new();
        client
            .read_to_string(&mut said)
            .expect("a line and the end");
        assert_eq!(said, "-ERR no\r\n");
        assert!(client.write_all(b"more").is_err());
        assert!(!path.exists(), "the file goes with its door");
    }

    #[test]
    fn exhaustion_is_told_from_an_aborted_connection() {
        for (errno, expected) in [
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::CONNABORTED, true),
            (Errno::INTR, true),
        ] {
            assert_eq!(is_aborted(&errno.into()), expected, "{errno}");
        }
    }
}
