//! Listening sockets. They are bound before anything is spawned, so that a taken port is an error at
//! start and not a surprise later.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use super::door::Door;
use super::stream::Liveness;

/// A bound socket that accepts connections. Dropping it closes it and removes a Unix socket's file.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    place: Place,
    liveness: Liveness,
}

/// Where a listener listens.
#[derive(Debug)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(SocketFile),
}

/// The file of a Unix socket; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: Arc<Path>,
    /// The file's inode: another process may have put its own socket there since.
    inode: u64,
}

/// Listening was not possible; trying again helps only after somebody changed something.
#[derive(Debug, Error)]
#[error("cannot listen on {place}: {reason}")]
pub struct BindError {
    /// Address or path.
    pub place: String,
    /// What the system said, and what it means where that is not obvious.
    pub reason: String,
}

impl Listener {
    /// Listens on an IP address. `[::]` takes IPv4 clients too.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind_tcp(
        address: SocketAddr,
        backlog: usize,
        liveness: Liveness,
    ) -> Result<Listener, BindError> {
        let bind = || -> io::Result<(Socket, SocketAddr)> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // A restart must not wait for the old process' connections to leave TIME_WAIT.
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok((socket, bound))
        };
        let (socket, bound) = bind().map_err(|error| BindError {
            place: address.to_string(),
            reason: match error.kind() {
                io::ErrorKind::AddrInUse => format!("{error}; does another server run there?"),
                _ => error.to_string(),
            },
        })?;
        Ok(Listener {
            socket,
            place: Place::Tcp(bound),
            liveness,
        })
    }

    /// Listens on a Unix socket. A socket file that a dead process left behind is replaced; one that
    /// somebody listens on, or a file that is no socket, is not touched.
    ///
    /// # Errors
    /// The path is taken or cannot be written.
    pub fn bind_unix(path: &Path, mode: u32, backlog: usize) -> Result<Listener, BindError> {
        let refused = |reason: String| BindError {
            place: path.display().to_string(),
            reason,
        };
        remove_stale(path).map_err(refused)?;
        let bind = || -> io::Result<(Socket, u64)> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Between bind and listen nobody can connect, so the default mode opens no door.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            socket.set_nonblocking(true)?;
            Ok((socket, fs::metadata(path)?.ino()))
        };
        let (socket, inode) = bind().map_err(|error| refused(error.to_string()))?;
        Ok(Listener {
            socket,
            place: Place::Unix(SocketFile {
                path: Arc::from(path),
                inode,
            }),
            liveness: Liveness::default(),
        })
    }

    /// Has the calling thread's runtime watch it.
    ///
    /// # Errors
    /// The runtime cannot watch one more socket.
    pub fn open(self) -> io::Result<Door> {
        Door::open(self.socket, self.place, self.liveness)
    }

    /// The IP address and port it listens on; the port is the real one when 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }

    /// Where it listens, for people.
    pub fn place(&self) -> String {
        self.place.name()
    }
}

impl Place {
    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(file) => file.path.display().to_string(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // When it cannot be removed, the next start finds it stale and removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket file nobody listens on.
fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err("there is a file that is not a socket".to_owned());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another process listens there".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("the stale socket stays: {error}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_taken_port_is_told_plainly() {
        let first = Listener::bind_tcp("127.0.0.1:0".parse().expect("ok"), 1, Liveness::default())
            .expect("a free port");
        let taken = first.tcp_address().expect("it is TCP");
        let error = Listener::bind_tcp(taken, 1, Liveness::default()).expect_err("taken");
        let told = error.to_string();
        assert!(
            told.starts_with(&format!("cannot listen on {taken}: ")),
            "{told}"
        );
        assert!(told.ends_with("does another server run there?"), "{told}");
    }

    #[test]
    fn unix_sockets_are_replaced_only_when_stale() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keyway.sock");

        let listener = Listener::bind_unix(&path, 0o600, 16).expect("a free path");
        let mode = fs::metadata(&path).expect("bound").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = UnixStream::connect(&path).expect("somebody listens");

        let told = Listener::bind_unix(&path, 0o600, 16)
            .expect_err("taken")
            .to_string();
        assert!(told.contains("another process listens there"), "{told}");
        drop(listener);
        assert!(!path.exists(), "the file goes with its listener");

        // A process that was killed leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists());
        let listener = Listener::bind_unix(&path, 0o600, 16).expect("stale");

        // A file that is another's by now stays.
        fs::remove_file(&path).expect("the folder is ours");
        fs::write(&path, "precious").expect("the folder is ours");
        drop(listener);
        assert!(path.exists());
        let told = Listener::bind_unix(&path, 0o600, 16)
            .expect_err("a file")
            .to_string();
        assert!(told.contains("not a socket"), "{told}");
        assert!(path.exists());
    }
}
