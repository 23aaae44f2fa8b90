//! One client of the [load](super::load): it alone writes its keys, so it knows what each reply
//! must be.
//!
//! Each key is a number that only this client changes: the version in a string or a hash field, a
//! counter, the length of a list; 0 is "no such key". What the key holds is a *set* of numbers: one,
//! until a write's outcome is unknown, then old and new, until the next read tells. A reply outside
//! the set is **stale** when the key held it once (the server forgot an acknowledged write, as
//! asynchronous replication does when a primary dies), else it is **wrong**.

use std::collections::BTreeSet;

use keyway::cluster::Slot;

use super::value::Value;

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Counter,
    Hash,
    List,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Text, Kind::Counter, Kind::Hash, Kind::List];
}

#[derive(Debug)]
struct Key {
    name: String,
    kind: Kind,
    /// What it may hold.
    possible: BTreeSet<u64>,
    /// The highest number it ever held, or may have held.
    highest: u64,
}

/// What one reply turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it must be.
    Right,
    /// An older value of the key: an acknowledged write is lost.
    Stale(String),
    /// Nothing this client ever wrote there.
    Wrong(String),
    /// An error reply.
    Error(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Write,
    Delete,
}

/// One command, and what is needed to judge its reply.
#[derive(Debug)]
pub struct Operation {
    action: Action,
    /// The keys, and what each is set to by a `Write` of text or hash.
    keys: Vec<(usize, u64)>,
    /// The command's arguments.
    pub arguments: Vec<Vec<u8>>,
}

impl Operation {
    /// The first key's place; see [`Keys::slot`].
    pub fn first_key(&self) -> usize {
        self.keys.first().map_or(0, |&(key, _)| key)
    }
}

/// The keys of one client.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
    filler: String,
}

/// Lists are deleted at this length.
const LIST_MAX: u64 = 50;

impl Keys {
    /// `count` keys of all kinds, of which no other client of no other `set` knows; only slots that `wants` accepts. Values of text and hash are
    /// filled up to about `value_bytes`.
    pub fn new(
        set: u64,
        client: usize,
        count: usize,
        value_bytes: usize,
        wants: impl Fn(Slot) -> bool,
    ) -> Keys {
        let name = |index: usize| {
            let names = (0..).map(|salt: u32| format!("load:{set}:{client}:{index}:{salt}"));
            let mut fitting = names.filter(|name| wants(Slot::of_key(name.as_bytes())));
            fitting.next().expect("some name falls in a wanted slot")
        };
        let keys = (0..count).map(|index| Key {
            name: name(index),
            kind: Kind::ALL[index % Kind::ALL.len()],
            possible: BTreeSet::from([0]),
            highest: 0,
        });
        Keys {
            keys: keys.collect(),
            filler: "x".repeat(value_bytes),
        }
    }

    /// The slot of a key.
    pub fn slot(&self, key: usize) -> Slot {
        Slot::of_key(self.keys[key].name.as_bytes())
    }

    /// Empties all keys: what the client sends first.
    pub fn delete_all(&mut self) -> Operation {
        self.operation(Action::Delete, (0..self.keys.len()).collect())
    }

    /// Some command on some of the keys.
    pub fn next(&mut self, random: &mut fastrand::Rng) -> Operation {
        let key = random.usize(..self.keys.len());
        let is_long_list = self.keys[key].kind == Kind::List
            && self.keys[key].possible.iter().any(|&n| n >= LIST_MAX);
        let (action, is_many) = match random.u32(..100) {
            _ if is_long_list => (Action::Delete, false),
            0..40 => (Action::Read, false),
            40..80 => (Action::Write, false),
            80..85 => (Action::Delete, false),
            85..93 => (Action::Read, true),
            _ => (Action::Write, true),
        };
        let mut keys = vec![key];
        if is_many {
            keys = (0..self.keys.len())
                .filter(|&index| self.keys[index].kind == Kind::Text)
                .collect();
            random.shuffle(&mut keys);
            keys.truncate(5);
        }
        self.operation(action, keys)
    }

    fn operation(&mut self, action: Action, keys: Vec<usize>) -> Operation {
        let mut versions = Vec::new();
        for index in keys {
            let key = &mut self.keys[index];
            let is_set = action == Action::Write && matches!(key.kind, Kind::Text | Kind::Hash);
            if is_set {
                key.highest += 1;
            }
            versions.push((index, key.highest));
        }
        Operation {
            action,
            arguments: self.arguments(action, &versions),
            keys: versions,
        }
    }

    fn arguments(&self, action: Action, keys: &[(usize, u64)]) -> Vec<Vec<u8>> {
        let first = &self.keys[keys.first().map_or(0, |&(key, _)| key)];
        let name = first.name.as_str();
        let value = |version: u64| self.value(&first.name, version);
        let words: Vec<String> = match (action, first.kind, keys) {
            (Action::Delete, ..) => self.with_names("DEL", keys),
            (Action::Read, Kind::Text | Kind::Counter, [_]) => vec!["GET".into(), name.into()],
            (Action::Read, Kind::Text | Kind::Counter, _) => self.with_names("MGET", keys),
            (Action::Read, Kind::Hash, _) => vec!["HGET".into(), name.into(), "field".into()],
            (Action::Read, Kind::List, _) => vec!["LLEN".into(), name.into()],
            (Action::Write, Kind::Counter, _) => vec!["INCR".into(), name.into()],
            (Action::Write, Kind::List, _) => vec!["RPUSH".into(), name.into(), "x".into()],
            (Action::Write, Kind::Hash, &[(_, version), ..]) => {
                vec!["HSET".into(), name.into(), "field".into(), value(version)]
            }
            (Action::Write, Kind::Text, &[(_, version)]) => {
                vec!["SET".into(), name.into(), value(version)]
            }
            (Action::Write, Kind::Text | Kind::Hash, many) => {
                let pairs = many.iter().flat_map(|&(key, version)| {
                    let name = &self.keys[key].name;
                    [name.clone(), self.value(name, version)]
                });
                std::iter::once("MSET".into()).chain(pairs).collect()
            }
        };
        words.into_iter().map(String::into_bytes).collect()
    }

    fn with_names(&self, command: &str, keys: &[(usize, u64)]) -> Vec<String> {
        let names = keys.iter().map(|&(key, _)| self.keys[key].name.clone());
        std::iter::once(command.to_owned()).chain(names).collect()
    }

    /// A value that tells where it belongs, so that a reply to somebody else is seen.
    fn value(&self, name: &str, version: u64) -> String {
        format!("{name}#{version}#{}", self.filler)
    }

    /// The number in a reply to a read; `None` if it is nothing we could have written there.
    fn read(&self, key: &Key, reply: &Value) -> Option<u64> {
        match (key.kind, reply) {
            (Kind::Text | Kind::Counter | Kind::Hash, Value::NilBulk | Value::Null) => Some(0),
            (Kind::Text | Kind::Hash, Value::Bulk(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?;
                let (version, filler) = text
                    .strip_prefix(key.name.as_str())?
                    .strip_prefix('#')?
                    .split_once('#')?;
                let version = version.parse().ok()?;
                (filler == self.filler).then_some(version)
            }
            (Kind::Counter, Value::Bulk(bytes)) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            (Kind::List, Value::Integer(length)) => u64::try_from(*length).ok(),
            _ => None,
        }
    }

    /// Judges a reply, and learns from it. Replies must come in the order of the commands.
    pub fn judge(&mut self, operation: &Operation, reply: &Value) -> Verdict {
        if let Some(text) = reply.error() {
            // Of several keys some may have been written before another one failed.
            if operation.keys.len() > 1 || text.contains("outcome unknown") {
                self.outcome_unknown(operation);
            }
            return Verdict::Error(text);
        }
        let verdicts: Vec<Verdict> = match (operation.action, reply) {
            (Action::Delete, Value::Integer(count)) => vec![self.judge_delete(operation, *count)],
            (Action::Read, Value::Array(items)) if items.len() == operation.keys.len() => {
                let pairs = operation.keys.iter().zip(items);
                pairs
                    .map(|(&(key, _), item)| self.judge_read(key, item))
                    .collect()
            }
            (Action::Read, _) if operation.keys.len() == 1 => {
                vec![self.judge_read(operation.first_key(), reply)]
            }
            (Action::Write, _) => {
                let keys = operation.keys.iter();
                keys.map(|&(key, version)| self.judge_write(key, version, reply))
                    .collect()
            }
            _ => vec![Verdict::Wrong(format!("{reply}"))],
        };
        let bad = verdicts.into_iter().find(|one| *one != Verdict::Right);
        bad.unwrap_or(Verdict::Right)
    }

    /// Notes that a command was sent and its reply never came.
    pub fn outcome_unknown(&mut self, operation: &Operation) {
        for &(index, version) in &operation.keys {
            let key = &mut self.keys[index];
            let after: Vec<u64> = match (operation.action, key.kind) {
                (Action::Read, _) => Vec::new(),
                (Action::Delete, _) => vec![0],
                (Action::Write, Kind::Text | Kind::Hash) => vec![version],
                (Action::Write, Kind::Counter | Kind::List) => {
                    key.possible.iter().map(|held| held + 1).collect()
                }
            };
            key.highest = after.iter().copied().fold(key.highest, u64::max);
            key.possible.extend(after);
        }
    }

    fn judge_delete(&mut self, operation: &Operation, count: i64) -> Verdict {
        let mut at_least = 0;
        let mut at_most = 0;
        for &(index, _) in &operation.keys {
            let held = std::mem::replace(&mut self.keys[index].possible, BTreeSet::from([0]));
            at_most += i64::from(held.iter().any(|&number| number > 0));
            at_least += i64::from(!held.contains(&0));
        }
        if (at_least..=at_most).contains(&count) {
            Verdict::Right
        } else {
            Verdict::Stale(format!("deleted {count}, not {at_least} to {at_most}"))
        }
    }

    fn judge_read(&mut self, index: usize, reply: &Value) -> Verdict {
        let Some(number) = self.read(&self.keys[index], reply) else {
            return Verdict::Wrong(format!("{}: {reply}", self.keys[index].name));
        };
        self.judge_number(index, number)
    }

    fn judge_number(&mut self, index: usize, number: u64) -> Verdict {
        let key = &mut self.keys[index];
        let held = std::mem::replace(&mut key.possible, BTreeSet::from([number]));
        if held.contains(&number) {
            return Verdict::Right;
        }
        let text = format!("{}: {number}, not one of {held:?}", key.name);
        if number <= key.highest {
            Verdict::Stale(text)
        } else {
            key.highest = number;
            Verdict::Wrong(text)
        }
    }

    fn judge_write(&mut self, index: usize, version: u64, reply: &Value) -> Verdict {
        let key = &mut self.keys[index];
        let wrong = |key: &Key| Verdict::Wrong(format!("write of {}: {reply}", key.name));
        match (key.kind, reply) {
            (Kind::Text, Value::Simple(text)) if text == "OK" => {
                key.possible = BTreeSet::from([version]);
                Verdict::Right
            }
            (Kind::Hash, Value::Integer(added @ (0 | 1))) => {
                let held = std::mem::replace(&mut key.possible, BTreeSet::from([version]));
                let was_there = *added == 0;
                if held.iter().any(|&number| (number > 0) == was_there) {
                    Verdict::Right
                } else {
                    Verdict::Stale(format!("write of {}: added {added}", key.name))
                }
            }
            (Kind::Counter | Kind::List, Value::Integer(number)) => {
                let Some(before) = u64::try_from(*number).ok().and_then(|n| n.checked_sub(1))
                else {
                    return wrong(key);
                };
                let verdict = self.judge_number(index, before);
                let key = &mut self.keys[index];
                key.possible = BTreeSet::from([before + 1]);
                key.highest = key.highest.max(before + 1);
                verdict
            }
            _ => wrong(key),
        }
    }
}
