//! A server, as far as subscriptions go.

use std::collections::BTreeSet;

use keyway::cluster::Slot;
use keyway::resp::scan::{Limits, RequestScanner, Scanned};
use keyway::resp::{Args, write};
use keyway::routing::glob;

/// What is subscribed: `channel`, `pattern` or `shard`, and its name.
pub type Subscribed = (char, String);

/// One connection of the hub's, at the server's end.
#[derive(Debug, Default)]
pub struct Session {
    pub subscriptions: BTreeSet<Subscribed>,
    /// What Keyway has sent and the server has not read.
    pub input: Vec<u8>,
    /// What the server has sent and Keyway has not read.
    pub output: Vec<u8>,
}

/// Which group a slot belongs to; a group has one owner.
pub fn group_of(name: &str, groups: usize) -> usize {
    Slot::of_key(name.as_bytes()).index() * groups / Slot::COUNT
}

impl Session {
    /// Answers one request, if a whole one is there. `owner` says where a name's slot is served, or `None`
    /// if here.
    pub fn step(&mut self, owner: impl Fn(&str) -> Option<usize>) -> bool {
        let Some(words) = next_request(&mut self.input) else {
            return false;
        };
        let names = &words[1..];
        let (kind, is_join) = match words[0].as_str() {
            "PING" => {
                write::simple(&mut self.output, "PONG");
                return true;
            }
            "SUBSCRIBE" => ('c', true),
            "PSUBSCRIBE" => ('p', true),
            "SSUBSCRIBE" => ('s', true),
            "UNSUBSCRIBE" => ('c', false),
            "PUNSUBSCRIBE" => ('p', false),
            "SUNSUBSCRIBE" => ('s', false),
            other => panic!("the hub sent {other}"),
        };
        if kind == 's'
            && let Some(elsewhere) = owner(&names[0])
        {
            let slot = Slot::of_key(names[0].as_bytes()).number();
            let text = format!("MOVED {slot} 10.0.0.{}:6379", elsewhere + 1);
            write::error(&mut self.output, text);
            return true;
        }
        for name in names {
            let key = (kind, name.clone());
            match is_join {
                true => assert!(
                    self.subscriptions.insert(key),
                    "{kind} {name} is subscribed twice"
                ),
                // It may have gone by itself.
                false => drop(self.subscriptions.remove(&key)),
            }
            self.push(&[&words[0].to_lowercase(), name], Some(0));
        }
        true
    }

    /// The server ends a subscription by itself.
    pub fn evict(&mut self, name: &str) {
        if self.subscriptions.remove(&('s', name.to_owned())) {
            self.push(&["sunsubscribe", name], Some(0));
        }
    }

    /// A message reaches this server.
    pub fn hears(&mut self, is_shard: bool, channel: &str, text: &str) {
        let exact = if is_shard { 's' } else { 'c' };
        if self.subscriptions.contains(&(exact, channel.to_owned())) {
            let word = if is_shard { "smessage" } else { "message" };
            self.push(&[word, channel, text], None);
        }
        if is_shard {
            return;
        }
        for (kind, pattern) in self.subscriptions.clone() {
            if kind == 'p' && glob::matches(pattern.as_bytes(), channel.as_bytes()) {
                self.push(&["pmessage", &pattern, channel, text], None);
            }
        }
    }

    fn push(&mut self, words: &[&str], number: Option<i64>) {
        let len = words.len() + usize::from(number.is_some());
        write::push(&mut self.output, keyway::resp::Protocol::Resp3, len);
        for word in words {
            write::bulk(&mut self.output, word.as_bytes());
        }
        if let Some(number) = number {
            write::integer(&mut self.output, number);
        }
    }
}

fn next_request(input: &mut Vec<u8>) -> Option<Vec<String>> {
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: 1 << 20,
        request_bytes_max: 1 << 20,
        is_authenticated: true,
    };
    match scanner.scan(input, &limits) {
        Ok(Scanned::Request { len }) => {
            let args = Args::new(&input[..len], scanner.spans());
            let words = args
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned());
            let words = words.collect();
            input.drain(..len);
            Some(words)
        }
        Ok(Scanned::Incomplete { .. }) => None,
        other => panic!("no request: {other:?} {}", input.escape_ascii()),
    }
}
