//! A small cache on the client's side, as naive as one server allows it to be: replies are cached in the
//! order in which they come, invalidations are obeyed in the order in which they come, nothing else.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::support::Value;
use super::support::client::{encode, words};

/// How long a reply may take; more than Keyway's own deadline of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub reads: u64,
    pub hits: u64,
    pub errors: u64,
    pub invalidations: u64,
    pub flushes: u64,
    pub reconnects: u64,
}

/// What the next replies are for.
enum Asked {
    /// These keys, of a `GET` or an `MGET`.
    Keys(Vec<String>),
    /// `CLIENT CACHING`.
    Nothing,
    /// `PING`.
    Barrier,
}

/// A client with a cache. `None` is the value of a key that is not there.
pub struct CachingClient {
    addr: SocketAddr,
    tracking: &'static str,
    stream: TcpStream,
    unread: Vec<u8>,
    asked: VecDeque<Asked>,
    pub cached: HashMap<String, Option<u64>>,
    pub counts: Counts,
}

impl CachingClient {
    /// Connects, and begins to track with this command.
    pub fn connect(addr: SocketAddr, tracking: &'static str) -> io::Result<CachingClient> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let mut client = CachingClient {
            addr,
            tracking,
            stream,
            unread: Vec::new(),
            asked: VecDeque::new(),
            cached: HashMap::new(),
            counts: Counts::default(),
        };
        client.begin()?;
        Ok(client)
    }

    fn begin(&mut self) -> io::Result<()> {
        for line in ["HELLO 3", self.tracking] {
            self.stream.write_all(&encode(&words(line)))?;
            let deadline = Instant::now() + PATIENCE;
            let reply = loop {
                match self.next(deadline)? {
                    Value::Push(_) => {}
                    reply => break reply,
                }
            };
            if let Some(error) = reply.error() {
                return Err(io::Error::other(format!("{line}: {error}")));
            }
        }
        Ok(())
    }

    /// A new connection, and an empty cache: what was cached is not kept up to date any more.
    pub fn reconnect(&mut self) -> io::Result<()> {
        let counts = self.counts;
        *self = CachingClient::connect(self.addr, self.tracking)?;
        self.counts = counts;
        self.counts.reconnects += 1;
        Ok(())
    }

    /// Asks for all these keys at once: one by one in one write, and with `many` by one `MGET`.
    pub fn ask(&mut self, keys: &[String], many: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut say = |line: &[&str], asked: Asked| {
            if self.tracking.contains("OPTIN") && matches!(asked, Asked::Keys(_)) {
                bytes.extend(encode(&["CLIENT", "CACHING", "YES"]));
                self.asked.push_back(Asked::Nothing);
            }
            bytes.extend(encode(line));
            self.asked.push_back(asked);
        };
        if many {
            let line: Vec<&str> = ["MGET"]
                .into_iter()
                .chain(keys.iter().map(String::as_str))
                .collect();
            say(&line, Asked::Keys(keys.to_vec()));
        } else {
            for key in keys {
                say(&["GET", key], Asked::Keys(vec![key.clone()]));
            }
        }
        self.counts.reads += keys.len() as u64;
        self.stream.write_all(&bytes)
    }

    /// Reads until everything that was asked is answered.
    pub fn settle(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.asked.is_empty() {
            let value = self.next(deadline)?;
            self.take(value);
        }
        Ok(())
    }

    /// Everything that the nodes have said so far has arrived afterwards.
    pub fn barrier(&mut self) -> io::Result<()> {
        self.asked.push_back(Asked::Barrier);
        self.stream.write_all(&encode(&["PING"]))?;
        self.settle()
    }

    /// Takes what has arrived; waits at most this long for it.
    pub fn listen(&mut self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + time;
        loop {
            match self.next(deadline) {
                Ok(value) => self.take(value),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, value: Value) {
        if let Value::Push(items) = &value {
            return self.obey(items);
        }
        let keys = match self.asked.pop_front() {
            Some(Asked::Keys(keys)) => keys,
            Some(Asked::Nothing | Asked::Barrier) => {
                assert!(!value.is_error(), "{value}");
                return;
            }
            None => panic!("a reply to nothing: {value}"),
        };
        let values = match (value, keys.len()) {
            (Value::Error(text), _) => {
                println!("{}: {keys:?}: {text}", self.tracking);
                self.counts.errors += 1;
                return;
            }
            (Value::Array(values), _) => values,
            (value, _) => vec![value],
        };
        assert_eq!(values.len(), keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            let number = match value {
                Value::Null => None,
                value => Some(value.text().parse().expect("writers write numbers")),
            };
            self.cached.insert(key, number);
        }
    }

    fn obey(&mut self, push: &[Value]) {
        match push {
            [_, Value::Null] => {
                self.counts.flushes += 1;
                self.cached.clear();
            }
            [_, Value::Array(keys)] => {
                self.counts.invalidations += keys.len() as u64;
                for key in keys {
                    self.cached.remove(&key.text());
                }
            }
            _ => panic!("an odd push: {push:?}"),
        }
    }

    fn next(&mut self, deadline: Instant) -> io::Result<Value> {
        loop {
            if let Some((value, length)) = Value::parse(&self.unread)? {
                self.unread.drain(..length);
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}
