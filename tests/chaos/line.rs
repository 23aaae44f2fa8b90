//! One client's connection to Keyway, made again when it is lost, and what a reply says of a write.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use super::stage::{PATIENCE, Stage};
use super::support::client::encode;
use super::support::{Client, Value};
use super::tally::Tally;

/// A command's arguments.
pub type Command = Vec<Vec<u8>>;

/// A command written as words.
pub fn command(words: &[&str]) -> Command {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its reply.
    Reply(Value),
    /// It may have been sent, and the connection was lost.
    Lost,
}

/// What a client may believe of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged.
    Done,
    /// It was not executed, it is said.
    Refused,
    /// Nobody knows, it is said.
    Unknown,
    /// Nobody knows: the client's connection was lost first. What was under way then may take effect after
    /// the first requests of its next connection.
    Lost,
}

impl Fate {
    /// Whether it may have been executed or not.
    pub fn is_unknown(self) -> bool {
        matches!(self, Fate::Unknown | Fate::Lost)
    }

    /// Of a write on one key.
    pub fn of(answer: &Answer) -> Fate {
        match answer {
            Answer::Lost => Fate::Lost,
            Answer::Reply(reply) => match reply.error() {
                None => Fate::Done,
                Some(text) if text.contains("outcome unknown") => Fate::Unknown,
                Some(_) => Fate::Refused,
            },
        }
    }

    /// Of a write that goes to several nodes: when one of them fails, the others may have done theirs.
    pub fn of_several(answer: &Answer) -> Fate {
        match Fate::of(answer) {
            Fate::Refused => Fate::Unknown,
            fate => fate,
        }
    }
}

/// A connection, and what its client counted.
pub struct Line<'a> {
    /// What all share.
    pub stage: &'a Stage,
    /// Counted so far.
    pub tally: Tally,
    is_resp3: bool,
    client: Option<Client>,
}

impl<'a> Line<'a> {
    /// Not connected yet.
    pub fn new(stage: &'a Stage, is_resp3: bool) -> Line<'a> {
        Line {
            stage,
            tally: Tally::default(),
            is_resp3,
            client: None,
        }
    }

    /// Connects if it is not; false when the load is over first.
    pub fn is_open(&mut self) -> bool {
        while self.client.is_none() {
            if self.stage.is_over() {
                return false;
            }
            self.client = self.connect().ok();
            if self.client.is_none() {
                // Keyway is being restarted.
                self.stage.pause(Duration::from_millis(10));
            }
        }
        true
    }

    fn connect(&self) -> io::Result<Client> {
        let mut client = Client::try_connect(self.stage.addr)?.with_patience(PATIENCE);
        client.stream().set_write_timeout(Some(PATIENCE))?;
        if self.is_resp3 {
            let hello = client.try_call(&["HELLO", "3"])?;
            if hello.is_error() {
                return Err(io::Error::other(hello.to_string()));
            }
        }
        Ok(client)
    }

    /// Whether it has a connection now.
    pub fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Leaves without a word.
    pub fn leave(&mut self) {
        self.client = None;
    }

    /// Sends one command and waits for its reply.
    pub fn ask(&mut self, command: Command) -> Answer {
        self.batch(&[command]).pop().unwrap_or(Answer::Lost)
    }

    /// Sends all in one write, then reads the replies.
    pub fn batch(&mut self, commands: &[Command]) -> Vec<Answer> {
        self.send(commands);
        let asked = Instant::now();
        commands.iter().map(|_| self.read(asked)).collect()
    }

    /// Sends and does not wait.
    pub fn send(&mut self, commands: &[Command]) {
        let Some(client) = &self.client else {
            return;
        };
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        if let Err(error) = client.stream().write_all(&bytes) {
            self.broke(&error);
        }
    }

    /// The next reply, to a request sent then.
    pub fn read(&mut self, asked: Instant) -> Answer {
        let Some(client) = &mut self.client else {
            return Answer::Lost;
        };
        match client.try_read() {
            Ok(reply) => {
                self.tally.replies += 1;
                self.tally.longest_wait = self.tally.longest_wait.max(asked.elapsed());
                if let Some(text) = reply.error() {
                    self.tally.error(&text);
                }
                Answer::Reply(reply)
            }
            Err(error) => {
                self.broke(&error);
                Answer::Lost
            }
        }
    }

    /// What comes by itself within this time; `None` when nothing does, or the connection is lost.
    pub fn listen(&mut self, time: Duration) -> Option<Value> {
        let client = self.client.as_mut()?;
        client.set_patience(time);
        let outcome = client.try_read();
        client.set_patience(PATIENCE);
        match outcome {
            Ok(value) => Some(value),
            Err(error) if error.kind() == ErrorKind::TimedOut => None,
            Err(error) => {
                self.broke(&error);
                None
            }
        }
    }

    fn broke(&mut self, error: &io::Error) {
        self.client = None;
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                self.tally.hangs += 1;
                self.tally.note(format!("hang: {error}"));
            }
            ErrorKind::InvalidData => self.tally.wrong(format!("not a reply: {error}")),
            _ => self.tally.disconnects += 1,
        }
    }
}
