//! One connection of a client, to the one server or to Keyway.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::support::Value;

/// How long a reply may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(15);

/// A reply and the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub value: Value,
    pub bytes: Vec<u8>,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    Closed,
    Late,
    /// What came is no reply.
    Garbage,
}

/// A connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
}

impl Peer {
    pub fn connect(addr: SocketAddr) -> Peer {
        let stream = TcpStream::connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
        stream.set_nodelay(true).expect("a socket takes options");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes options");
        Peer {
            stream,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// Sends; that the other side has closed shows when replies are read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next reply.
    pub fn next(&mut self) -> Result<Reply, Silence> {
        self.next_until(Instant::now() + PATIENCE)
    }

    /// The next reply, if it has come already or comes soon.
    pub fn next_soon(&mut self, time: Duration) -> Result<Reply, Silence> {
        let reply = self.next_until(Instant::now() + time);
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes options");
        reply
    }

    /// Undoes [`Peer::next`].
    pub fn put_back(&mut self, replies: Vec<Reply>) {
        let unread = self.buffer.split_off(self.taken);
        self.buffer.clear();
        self.taken = 0;
        self.buffer
            .extend(replies.into_iter().flat_map(|reply| reply.bytes));
        self.buffer.extend(unread);
    }

    fn next_until(&mut self, deadline: Instant) -> Result<Reply, Silence> {
        loop {
            let unread = &self.buffer[self.taken..];
            match Value::parse(unread) {
                Ok(Some((value, length))) => {
                    let bytes = unread[..length].to_vec();
                    self.taken += length;
                    return Ok(Reply { value, bytes });
                }
                Ok(None) => self.fill(deadline)?,
                Err(_) => return Err(Silence::Garbage),
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Silence::Late);
        }
        if left < PATIENCE / 2 {
            let time = left.max(Duration::from_millis(1));
            self.stream
                .set_read_timeout(Some(time))
                .expect("a socket takes options");
        }
        self.buffer.drain(..std::mem::take(&mut self.taken));
        let start = self.buffer.len();
        self.buffer.resize(start + start.max(16 << 10), 0);
        let outcome = self.stream.read(&mut self.buffer[start..]);
        self.buffer
            .truncate(start + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(0) => Err(Silence::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Silence::Late),
            Err(_) => Err(Silence::Closed),
        }
    }
}
