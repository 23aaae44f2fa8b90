//! What state a client's connection is in, as far as it decides how many replies come.
//!
//! The replies themselves tell what is right. This is only to know when all have come, and which
//! reply belongs to which command. Where it is not sure, it says so, and the client is `RESET`.

use std::collections::BTreeSet;

use super::command::Command;
use super::compare::Rule;
use super::support::Flavor;

/// One client's state.
#[derive(Clone, Debug)]
pub struct State {
    flavor: Flavor,
    /// 2 or 3.
    pub version: u8,
    /// Between `MULTI` and `EXEC`: how the replies of what is queued are compared.
    pub queue: Option<Vec<Rule>>,
    /// What `CLIENT REPLY` was told.
    pub replies: Replies,
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    shards: BTreeSet<Vec<u8>>,
    /// It will be closed; nothing more is read.
    pub is_closed: bool,
    /// Something happened whose outcome only the replies tell.
    pub is_unsure: bool,
}

/// What `CLIENT REPLY` was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    On,
    Off,
    SkipNext,
}

impl State {
    /// A new connection.
    pub fn new(flavor: Flavor) -> State {
        State {
            flavor,
            version: 2,
            queue: None,
            replies: Replies::On,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shards: BTreeSet::new(),
            is_closed: false,
            is_unsure: false,
        }
    }

    /// Whether it has subscriptions.
    pub fn is_subscribed(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// RESP2 and subscribed: most commands are refused.
    pub fn is_restricted(&self) -> bool {
        self.version == 2 && self.is_subscribed()
    }

    /// Nothing special: any command may be sent and is answered.
    pub fn is_plain(&self) -> bool {
        self.queue.is_none()
            && self.replies == Replies::On
            && !self.is_restricted()
            && !self.is_closed
            && !self.is_unsure
    }

    /// Whether nothing but `RESET` (or, if it is closed, a new connection) leads on from here.
    pub fn must_reset(&self) -> bool {
        let is_mute = self.replies == Replies::Off && self.is_restricted();
        self.is_closed || self.is_unsure || is_mute
    }

    /// Takes a command that is sent; pushes to `rules` one for each reply that comes of it.
    pub fn send(&mut self, command: &Command, rules: &mut Vec<Rule>) {
        if self.is_closed {
            return;
        }
        if command.words.is_empty() {
            // No request, but it is what is skipped.
            if self.replies == Replies::SkipNext {
                self.replies = Replies::On;
            }
            return;
        }
        if command.closes() {
            self.is_closed = true;
            rules.push(Rule::Exact);
            return;
        }
        let name = command.name();
        if name == "RESET" && command.argc() == 1 {
            // `OFF` is over before the reply is written, a skip is not.
            if self.replies != Replies::SkipNext {
                rules.push(Rule::Exact);
            }
            *self = State::new(self.flavor);
            return;
        }
        // Confirmations of subscriptions are not silenced: whatever this is, it may be one.
        let is_visible = match self.replies {
            Replies::On => true,
            Replies::Off => false,
            Replies::SkipNext => {
                self.replies = Replies::On;
                false
            }
        };
        let (before, was_open) = (rules.len(), self.queue.is_some());
        let is_confirmed = name.ends_with("SUBSCRIBE")
            && (name.contains("UNSUB") || command.argc() > 1)
            && !(name.contains("UNSUB") && self.refuses_unsubscribe());
        // `ON` answers even when it was to be skipped.
        let speaks = name == "CLIENT" && command.word(1) == "REPLY" && command.word(2) == "ON";
        if was_open {
            self.send_queued(&name, command, rules);
        } else {
            self.send_now(&name, command, rules);
        }
        if !is_visible {
            let is_confirmed = is_confirmed && !was_open;
            let is_answered = speaks && !was_open && !self.is_restricted();
            if !(is_confirmed || is_answered) {
                rules.truncate(before);
            }
            // A transaction of which some replies are not seen.
            self.is_unsure |= self.queue.is_some();
        }
    }

    fn send_queued(&mut self, name: &str, command: &Command, rules: &mut Vec<Rule>) {
        let queue = self.queue.as_mut().expect("asked before");
        let rule = match name {
            "EXEC" => {
                let queue = self.queue.take().unwrap_or_default();
                if command.argc() == 1 {
                    Rule::Each(queue)
                } else {
                    Rule::Exact
                }
            }
            "DISCARD" if command.argc() == 1 => {
                self.queue = None;
                Rule::Exact
            }
            "MULTI" | "WATCH" | "DISCARD" => Rule::Exact,
            _ => {
                // Done by EXEC or not: this cannot know.
                self.is_unsure |= name == "HELLO" || name == "CLIENT" || name.contains("SUBSCRIBE");
                queue.push(command.rule.clone());
                Rule::Exact
            }
        };
        rules.push(rule);
    }

    fn send_now(&mut self, name: &str, command: &Command, rules: &mut Vec<Rule>) {
        if name.ends_with("SUBSCRIBE") && self.subscription(name, command, rules) {
            return;
        }
        rules.push(command.rule.clone());
        if self.is_restricted() {
            return;
        }
        let argc = command.argc();
        match (name, &*command.word(1), &*command.word(2)) {
            ("MULTI", ..) if argc == 1 => self.queue = Some(Vec::new()),
            ("HELLO", version @ ("2" | "3"), _) => match hello_succeeds(command) {
                Some(true) => self.version = version.as_bytes()[0] - b'0',
                Some(false) => {}
                None => self.is_unsure = true,
            },
            ("CLIENT", "REPLY", "OFF") if argc == 3 => {
                self.replies = Replies::Off;
                rules.pop();
            }
            ("CLIENT", "REPLY", "SKIP") if argc == 3 => {
                if self.replies == Replies::On {
                    self.replies = Replies::SkipNext;
                }
                rules.pop();
            }
            ("CLIENT", "REPLY", "ON") if argc == 3 => self.replies = Replies::On,
            _ => {}
        }
    }

    fn refuses_unsubscribe(&self) -> bool {
        self.flavor == Flavor::Valkey && !self.is_subscribed()
    }

    /// Whether it is one that is confirmed name by name.
    fn subscription(&mut self, name: &str, command: &Command, rules: &mut Vec<Rule>) -> bool {
        let refuses_unsubscribe = self.refuses_unsubscribe();
        let set = match name {
            "SUBSCRIBE" | "UNSUBSCRIBE" => &mut self.channels,
            "PSUBSCRIBE" | "PUNSUBSCRIBE" => &mut self.patterns,
            "SSUBSCRIBE" | "SUNSUBSCRIBE" => &mut self.shards,
            _ => return false,
        };
        let names = &command.words[1..];
        if !name.contains("UNSUB") {
            set.extend(names.iter().cloned());
            rules.extend(names.iter().map(|_| Rule::Exact));
            return !names.is_empty();
        }
        if refuses_unsubscribe {
            return false;
        }
        if names.is_empty() {
            // All of them, in the order of a hash table.
            rules.extend((0..set.len().max(1)).map(|_| Rule::Confirmation));
            set.clear();
        }
        for name in names {
            set.remove(name);
            rules.push(Rule::Exact);
        }
        true
    }
}

/// Whether this `HELLO 2` or `HELLO 3` is accepted where no password is set; `None` when its words
/// are odd.
fn hello_succeeds(command: &Command) -> Option<bool> {
    let mut at = 2;
    while at < command.argc() {
        match &*command.word(at) {
            "AUTH" if command.argc() > at + 2 => {
                if command.words[at + 1] != b"default" {
                    return Some(false);
                }
                at += 3;
            }
            "SETNAME" if command.argc() > at + 1 => {
                if !command.words[at + 1]
                    .iter()
                    .all(|byte| (b'!'..=b'~').contains(byte))
                {
                    return Some(false);
                }
                at += 2;
            }
            _ => return None,
        }
    }
    Some(true)
}
