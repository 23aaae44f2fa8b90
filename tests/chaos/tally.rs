//! What was counted. Each client has its own; they are added up at the end.

use std::collections::BTreeMap;
use std::time::Duration;

/// How many texts of each run are kept.
const KEPT_TEXTS: usize = 20;

/// Counts of one client, or of all.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Replies that came.
    pub replies: u64,
    /// Error replies by kind: their text without what differs from one to the next.
    pub errors: BTreeMap<String, u64>,
    /// Of these, writes of which nobody knows whether they were carried out.
    pub unknown: u64,
    /// Replies that cannot be.
    pub wrong: u64,
    /// Of these, replies that answer another request of the same client.
    pub reordered: u64,
    /// Requests that neither got a reply nor lost their connection.
    pub hangs: u64,
    /// Connections to Keyway that were lost.
    pub disconnects: u64,
    /// Reads that showed an older value than the last one acknowledged.
    pub rolled_back: u64,
    /// Acknowledged writes that are gone for it.
    pub lost: u64,
    /// Of these, writes that `WAIT` had counted on a replica.
    pub lost_waited: u64,
    /// Writes that `WAIT` counted on a replica.
    pub waited: u64,
    /// Reads that showed a value which an earlier read had shown to be lost.
    pub returned: u64,
    /// Writes of unknown outcome that took effect after a later write.
    pub late: u64,
    /// Of these, writes whose client kept its connection.
    pub late_told: u64,
    /// Transactions carried out, and those that `WATCH` aborted.
    pub transactions: u64,
    /// See `transactions`.
    pub aborted: u64,
    /// Elements that blocked clients were given.
    pub delivered: u64,
    /// Messages heard; missing ones after an interruption; heard once more.
    pub messages: u64,
    /// See `messages`.
    pub missed: u64,
    /// See `messages`.
    pub twice: u64,
    /// Messages that came after a later one of their channel, for the first time: when a slot's owner
    /// changes, the old one's messages and the new one's reach other nodes by different ways.
    pub overtaken: u64,
    /// Bytes of values larger than a megabyte, both ways.
    pub large_bytes: u64,
    /// The longest time that a reply took.
    pub longest_wait: Duration,
    /// What is worth reading.
    pub texts: Vec<String>,
}

impl Tally {
    /// Counts an error reply.
    pub fn error(&mut self, text: &str) {
        if text.contains("outcome unknown") {
            self.unknown += 1;
        }
        let count = self.errors.entry(kind_of(text)).or_default();
        *count += 1;
        if *count == 1 && !text.contains("outcome unknown") {
            self.note(format!("for instance: {text}"));
        }
    }

    /// Counts a reply that cannot be.
    pub fn wrong(&mut self, text: String) {
        self.wrong += 1;
        self.note(text);
    }

    /// Keeps a text.
    pub fn note(&mut self, text: String) {
        if self.texts.len() < KEPT_TEXTS {
            self.texts.push(text.chars().take(400).collect());
        }
    }

    /// Adds another client's.
    pub fn add(&mut self, other: Tally) {
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        let sums = [
            (&mut self.replies, other.replies),
            (&mut self.unknown, other.unknown),
            (&mut self.wrong, other.wrong),
            (&mut self.reordered, other.reordered),
            (&mut self.hangs, other.hangs),
            (&mut self.disconnects, other.disconnects),
            (&mut self.rolled_back, other.rolled_back),
            (&mut self.lost, other.lost),
            (&mut self.lost_waited, other.lost_waited),
            (&mut self.waited, other.waited),
            (&mut self.returned, other.returned),
            (&mut self.late, other.late),
            (&mut self.late_told, other.late_told),
            (&mut self.transactions, other.transactions),
            (&mut self.aborted, other.aborted),
            (&mut self.delivered, other.delivered),
            (&mut self.messages, other.messages),
            (&mut self.missed, other.missed),
            (&mut self.twice, other.twice),
            (&mut self.overtaken, other.overtaken),
            (&mut self.large_bytes, other.large_bytes),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        for text in other.texts {
            self.note(text);
        }
    }
}

/// An error's kind: without command names, numbers and the server's own words in parentheses.
fn kind_of(text: &str) -> String {
    let mut kind = String::new();
    let mut depth = 0;
    let mut is_quoted = false;
    for letter in text.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if is_quoted || depth > 0 || letter.is_ascii_digit() => {}
            _ => kind.push(letter),
        }
    }
    kind.chars().take(110).collect()
}
