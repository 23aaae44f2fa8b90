//! A raw, blocking client: it shows what came over the wire and hides nothing.
//!
//! Commands in tests are one line of words; quotes keep spaces, and `\r \n \0 \xHH` work inside
//! double quotes. Replies are written in the notation of [`Value`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::value::Value;

/// How long a reply may take before the test fails; more than Keyway's own deadline of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What came; read up to `taken`.
    buffer: Vec<u8>,
    taken: usize,
    patience: Duration,
}

impl Client {
    /// Connects; panics when nobody listens.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        Client::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    /// Connects.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            buffer: Vec::new(),
            taken: 0,
            patience: PATIENCE,
        })
    }

    /// The same client, waiting at most this long for each reply.
    pub fn with_patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    /// From now on it waits at most this long for each reply.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Our own address: how the peer sees this client.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream
            .local_addr()
            .expect("a connected socket has one")
    }

    /// Sends these bytes as they are.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .unwrap_or_else(|error| panic!("send: {error}"));
    }

    /// Sends one command, written as words.
    #[track_caller]
    pub fn send(&mut self, command: &str) {
        self.send_raw(encode(&words(command)));
    }

    /// Sends one command, given as arguments.
    #[track_caller]
    pub fn send_args<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.send_raw(encode(arguments));
    }

    /// Sends a command and reads its reply.
    #[track_caller]
    pub fn call(&mut self, command: &str) -> Value {
        self.try_call(&words(command))
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Sends a command, given as arguments, and reads its reply.
    #[track_caller]
    pub fn call_args<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.try_call(arguments)
            .unwrap_or_else(|error| panic!("call: {error}"))
    }

    /// As [`Client::call_args`], for connections that may be lost.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.stream.write_all(&encode(arguments))?;
        self.try_read()
    }

    /// Sends the command and expects this reply, in the notation of [`Value`].
    #[track_caller]
    pub fn expect(&mut self, command: &str, reply: &str) {
        let got = self.call(command).to_string();
        assert_eq!(got, reply, "\nreply to: {command}");
    }

    /// Sends the command and expects an error that begins so.
    #[track_caller]
    pub fn expect_error(&mut self, command: &str, beginning: &str) {
        let got = self.call(command).to_string();
        assert!(
            got.starts_with(&format!("-{beginning}")),
            "reply to: {command}\n got: {got}\nwant: -{beginning}..."
        );
    }

    /// Expects this as the next reply.
    #[track_caller]
    pub fn expect_next(&mut self, reply: &str) {
        let got = self.read().to_string();
        assert_eq!(got, reply);
    }

    /// Sends these bytes and expects exactly those back.
    #[track_caller]
    pub fn expect_raw(&mut self, sent: impl AsRef<[u8]>, got: impl AsRef<[u8]>) {
        self.send_raw(sent);
        let want = got.as_ref();
        let deadline = Instant::now() + self.patience;
        while self.unread().len() < want.len() {
            if let Err(error) = self.fill(deadline) {
                panic!("after '{}': {error}", self.unread().escape_ascii());
            }
        }
        let got = self.take(want.len());
        assert_eq!(
            got.escape_ascii().to_string(),
            want.escape_ascii().to_string()
        );
    }

    /// Sends all commands in one write, then reads all replies.
    #[track_caller]
    pub fn pipeline<S: AsRef<str>>(&mut self, commands: &[S]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend(encode(&words(command.as_ref())));
        }
        self.send_raw(bytes);
        commands.iter().map(|_| self.read()).collect()
    }

    /// Reads the next reply.
    #[track_caller]
    pub fn read(&mut self) -> Value {
        self.try_read()
            .unwrap_or_else(|error| panic!("read: {error}"))
    }

    /// Reads the next reply; `UnexpectedEof` when the peer closed, `TimedOut` past the patience.
    pub fn try_read(&mut self) -> io::Result<Value> {
        Ok(self.next(Instant::now() + self.patience)?.0)
    }

    /// Reads the next reply as the bytes it came in.
    #[track_caller]
    pub fn read_raw(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        match self.next(deadline) {
            Ok((_, bytes)) => bytes,
            Err(error) => panic!("read: {error}"),
        }
    }

    /// The next reply, if it comes within `time`.
    #[track_caller]
    pub fn read_within(&mut self, time: Duration) -> Option<Value> {
        match self.next(Instant::now() + time) {
            Ok((value, _)) => Some(value),
            Err(error) if error.kind() == ErrorKind::TimedOut => None,
            Err(error) => panic!("read: {error}"),
        }
    }

    /// Expects that nothing comes for this long.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        if let Some(value) = self.read_within(time) {
            panic!("expected silence, got {value}");
        }
    }

    /// Expects that the peer closes, with nothing before it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.try_read() {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => panic!("expected a close, got: {error}"),
            Ok(value) => panic!("expected a close, got: {value}"),
        }
    }

    /// Says that nothing more will be sent (a half-close).
    #[track_caller]
    pub fn finish_sending(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .unwrap_or_else(|error| panic!("half-close: {error}"));
    }

    /// Reads until the peer closes: all bytes that came.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return self.take(self.unread().len());
                }
                Err(error) => panic!("read to the end: {error}"),
            }
        }
    }

    /// The socket itself, for tests about buffers.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn next(&mut self, deadline: Instant) -> io::Result<(Value, Vec<u8>)> {
        loop {
            if let Some((value, length)) = Value::parse(self.unread())? {
                return Ok((value, self.take(length)));
            }
            self.fill(deadline)?;
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.unread()[..length].to_vec();
        self.taken += length;
        bytes
    }

    /// Reads what there is, at least one byte.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean "no time-out at all".
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.buffer.drain(..std::mem::take(&mut self.taken));
        let start = self.buffer.len();
        // As much again as is there already: a long reply is parsed anew only a few times.
        self.buffer.resize(start + start.max(64 << 10), 0);
        let outcome = self.stream.read(&mut self.buffer[start..]);
        self.buffer
            .truncate(start + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let start = &self.unread()[..self.unread().len().min(80)];
                Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!("no reply in time; so far: '{}'", start.escape_ascii()),
                ))
            }
            Err(error) => Err(error),
        }
    }
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Splits a line into words as a shell would, with escapes inside double quotes.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start().bytes().peekable();
    while let Some(&first) = rest.peek() {
        let mut word = Vec::new();
        if first == b'"' || first == b'\'' {
            rest.next();
            while let Some(byte) = rest.next().filter(|&byte| byte != first) {
                match byte {
                    b'\\' if first == b'"' => word.push(escape(&mut rest)),
                    _ => word.push(byte),
                }
            }
        } else {
            while let Some(byte) = rest.next_if(|byte| *byte != b' ') {
                word.push(byte);
            }
        }
        words.push(word);
        while rest.next_if_eq(&b' ').is_some() {}
    }
    words
}

fn escape(rest: &mut impl Iterator<Item = u8>) -> u8 {
    let digit = |byte: Option<u8>| {
        let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
        digit.expect("two hexadecimal digits after \\x") as u8
    };
    match rest.next().expect("something after the backslash") {
        b'r' => b'\r',
        b'n' => b'\n',
        b'0' => 0,
        b'x' => digit(rest.next()) * 16 + digit(rest.next()),
        other => other,
    }
}
