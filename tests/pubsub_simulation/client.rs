//! A client of the worker's: what it asked, what it was told, what it heard.

use std::collections::BTreeMap;

use keyway::pipeline::ClientKey;
use keyway::resp::Protocol;
use keyway::resp::reply::{ReplyScanner, elements, integer, text};

use crate::node::Subscribed;

/// What a client knows of one subscription.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The number of the first message that was published after it was confirmed.
    pub since: u64,
    /// What was heard since, by the channels it was published to.
    pub heard: BTreeMap<String, Vec<u64>>,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    pub key: ClientKey,
    pub protocol: Protocol,
    /// What it believes to be subscribed to.
    pub held: BTreeMap<Subscribed, Held>,
    /// Confirmations that have to come, in order: the word, the name.
    pub expected: Vec<(String, String)>,
    input: Vec<u8>,
    pub heard: u64,
    /// Whether a message may not come again. A channel that is subscribed elsewhere because its node was
    /// lost may: the other node may hear later of what the first one passed on.
    pub is_strict: bool,
}

impl Client {
    pub fn new(key: ClientKey, protocol: Protocol) -> Client {
        Client {
            key,
            protocol,
            held: BTreeMap::new(),
            expected: Vec::new(),
            input: Vec::new(),
            heard: 0,
            is_strict: false,
        }
    }

    /// Takes what Keyway wrote; `published` is the number of the last message that was published.
    pub fn receive(&mut self, bytes: &[u8], published: u64) {
        self.input.extend_from_slice(bytes);
        while let Ok(Some(len)) = ReplyScanner::default().scan(&self.input) {
            let frame: Vec<u8> = self.input.drain(..len).collect();
            self.take(&frame, published);
        }
    }

    fn take(&mut self, frame: &[u8], published: u64) {
        let shown = frame.escape_ascii().to_string();
        if frame.starts_with(b"-CLUSTERDOWN") {
            // The deadline: it answers the whole request.
            let (word, _) = self.expected.first().cloned().expect("it was asked");
            assert!(
                word.ends_with("subscribe") && !word.contains("un"),
                "{shown}"
            );
            let count = self.expected_alike();
            self.expected.drain(..count);
            return;
        }
        let mark = match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => b'>',
        };
        assert_eq!(frame[0], mark, "{shown}");
        let parts: Vec<&[u8]> = elements(frame).expect("an array").collect();
        let word = |index: usize| -> String {
            let text = parts.get(index).copied().and_then(text);
            String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
        };
        match word(0).as_str() {
            "message" => self.message(('c', word(1)), word(1), &word(2), &shown),
            "smessage" => self.message(('s', word(1)), word(1), &word(2), &shown),
            "pmessage" => self.message(('p', word(1)), word(2), &word(3), &shown),
            confirmed => {
                let count = integer(parts[2]).expect("a count");
                self.confirmed(confirmed, word(1), count, published, &shown);
            }
        }
    }

    /// How many confirmations of the same request come first.
    fn expected_alike(&self) -> usize {
        // Requests are told apart by an empty name between them.
        let end = self.expected.iter().position(|(_, name)| name.is_empty());
        end.map_or(self.expected.len(), |end| end + 1)
    }

    fn confirmed(&mut self, word: &str, name: String, count: i64, published: u64, shown: &str) {
        let (expected, expected_name) = self.expected.remove(0);
        assert_eq!(
            (word, &name),
            (expected.as_str(), &expected_name),
            "{shown}"
        );
        if self
            .expected
            .first()
            .is_some_and(|(_, name)| name.is_empty())
        {
            self.expected.remove(0);
        }
        let kind = match word.chars().next() {
            Some('p') => 'p',
            Some('s') if word.starts_with("ss") || word.starts_with("sun") => 's',
            _ => 'c',
        };
        if word.contains("unsub") {
            self.held.remove(&(kind, name));
        } else {
            let held = self.held.entry((kind, name)).or_insert_with(|| Held {
                since: published + 1,
                heard: BTreeMap::new(),
            });
            let _ = held;
        }
        let is_shard = |of: &Subscribed| of.0 == 's';
        let shards = self.held.keys().filter(|of| is_shard(of)).count();
        let own = match kind {
            's' => shards,
            _ => self.held.len() - shards,
        };
        assert_eq!(count, own as i64, "{shown}");
    }

    fn message(&mut self, of: Subscribed, channel: String, text: &str, shown: &str) {
        let held = self.held.get_mut(&of);
        let held = held.unwrap_or_else(|| panic!("not subscribed: {shown}"));
        let number: u64 = text.parse().expect("a number");
        let heard = held.heard.entry(channel).or_default();
        if let Some(last) = heard.last() {
            assert!(*last < number || !self.is_strict, "{shown} after {last}");
        }
        heard.push(number);
        self.heard += 1;
    }
}
