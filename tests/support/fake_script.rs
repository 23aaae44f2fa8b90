//! What a fake node does with a command, and the rules that say so.

use std::sync::{Arc, Condvar, Mutex};

use super::fake_node::FakeNode;
use super::fake_view::bulk;
use super::servers::lock;

/// What a node does with one command.
#[derive(Clone, Debug)]
pub enum Action {
    /// What it would have done unasked.
    Default,
    /// Sends these bytes.
    Reply(Vec<u8>),
    /// Sends these bytes (a half reply, or none) and closes the connection.
    ReplyAndClose(Vec<u8>),
    /// Never answers; later commands on the connection are answered.
    Silence,
    /// Waits for the gate, then acts. Commands that come meanwhile are received, and answered
    /// after it.
    After(Gate, Box<Action>),
}

impl Action {
    /// A reply of one line, `+OK` or `-ERR ...` or `:1`.
    pub fn line(line: &str) -> Action {
        Action::Reply(format!("{line}\r\n").into_bytes())
    }

    /// A bulk string.
    pub fn bulk(text: &str) -> Action {
        Action::Reply(bulk(text))
    }

    /// `-MOVED slot node`.
    pub fn moved(slot: u16, to: &FakeNode) -> Action {
        Action::line(&format!("-MOVED {slot} {}", to.addr()))
    }

    /// `-ASK slot node`.
    pub fn ask(slot: u16, to: &FakeNode) -> Action {
        Action::line(&format!("-ASK {slot} {}", to.addr()))
    }

    /// Closes the connection without a word.
    pub fn close() -> Action {
        Action::ReplyAndClose(Vec::new())
    }
}

/// Holds replies back until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets through what waits and what comes.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    pub(super) fn wait(&self) {
        let mut is_open = lock(&self.0.0);
        while !*is_open {
            is_open = self
                .0
                .1
                .wait(is_open)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// A command as a node received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which of the node's connections, counted from 0.
    pub connection: u64,
    /// The connection's protocol, 2 or 3.
    pub protocol: u8,
    /// The command and its arguments.
    pub arguments: Vec<Vec<u8>>,
}

impl Request {
    /// One argument as text; empty when there is none.
    pub fn text(&self, index: usize) -> String {
        let argument = self.arguments.get(index);
        argument.map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }

    /// All of it, with spaces between.
    pub fn line(&self) -> String {
        let words: Vec<_> = (0..self.arguments.len()).map(|i| self.text(i)).collect();
        words.join(" ")
    }

    pub(super) fn begins_with(&self, words: &str) -> bool {
        let mut words = words.split_whitespace().enumerate();
        words.all(|(index, word)| self.text(index).eq_ignore_ascii_case(word))
    }
}

/// Decides what to do with a command.
pub(super) type Script = Box<dyn FnMut(&Request) -> Action + Send>;

/// The rules of one node. The first that fits a command decides.
#[derive(Default)]
pub(super) struct Rules(Vec<Rule>);

struct Rule {
    words: String,
    /// How many more times; `None` is for ever.
    times: Option<usize>,
    script: Script,
}

impl Rules {
    pub(super) fn add(&mut self, words: &str, times: Option<usize>, script: Script) {
        self.0.push(Rule {
            words: words.to_owned(),
            times,
            script,
        });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn decide(&mut self, request: &Request) -> Action {
        let fits = |rule: &&mut Rule| rule.times != Some(0) && request.begins_with(&rule.words);
        let Some(rule) = self.0.iter_mut().find(fits) else {
            return Action::Default;
        };
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        (rule.script)(request)
    }
}
