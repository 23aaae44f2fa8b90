//! A key that one client writes: it knows which values the key may hold, and what a read of another
//! one means.

use std::collections::BTreeSet;

use super::line::Fate;
use super::marker::Marker;
use super::support::Value;
use super::tally::Tally;

/// One key. What it holds is told by a version; 0 is "no such key".
#[derive(Clone, Debug)]
pub struct Register {
    /// Its number, in every marker.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// About how long its values are.
    bytes: usize,
    /// Versions it may hold: the one known last, and later ones of unknown outcome.
    possible: BTreeSet<u32>,
    /// What was told of each version, from 1 on.
    fates: Vec<Fate>,
    /// Versions that a replica is known to have had.
    waited: BTreeSet<u32>,
    /// Acknowledged versions that a read showed to be gone.
    lost: BTreeSet<u32>,
}

impl Register {
    /// A key with this number; nobody has written it.
    pub fn new(number: u32, name: String, bytes: usize) -> Register {
        Register {
            number,
            name,
            bytes,
            possible: BTreeSet::from([0]),
            fates: Vec::new(),
            waited: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    /// A version to write; its outcome is unknown until it is told.
    pub fn next(&mut self) -> u32 {
        self.fates.push(Fate::Lost);
        self.fates.len() as u32
    }

    /// The value of a version. Lengths differ, so that a cut value is seen.
    pub fn value(&self, version: u32) -> Vec<u8> {
        let marker = Marker {
            key: self.number,
            version,
            attempt: 0,
        };
        let mut value = marker.text().into_bytes();
        let letter = b'a' + (version % 26) as u8;
        let length = self.bytes + self.bytes * (version as usize % 7) / 7;
        value.resize(value.len() + length, letter);
        value
    }

    /// What was told of a version. Must come in the order of the requests, with the reads between.
    pub fn told(&mut self, version: u32, fate: Fate) {
        self.fates[version as usize - 1] = fate;
        match fate {
            Fate::Done => self.possible = BTreeSet::from([version]),
            Fate::Unknown | Fate::Lost => {
                self.possible.insert(version);
            }
            Fate::Refused => {}
        }
    }

    /// A replica has the version, says `WAIT`.
    pub fn waited(&mut self, version: u32) {
        self.waited.insert(version);
    }

    /// What was told of each version.
    pub fn fates(&self) -> impl Iterator<Item = (Marker, Fate)> + '_ {
        self.fates.iter().enumerate().map(|(index, &fate)| {
            let marker = Marker {
                key: self.number,
                version: index as u32 + 1,
                attempt: 0,
            };
            (marker, fate)
        })
    }

    /// The version in a reply to a read of it; `None` when the value is not one of its own.
    pub fn version_in(&self, reply: &Value) -> Option<u32> {
        match reply {
            Value::NilBulk | Value::Null => Some(0),
            Value::Bulk(bytes) => {
                let marker = Marker::parse(bytes)?;
                let is_ours = marker.key == self.number && *bytes == self.value(marker.version);
                is_ours.then_some(marker.version)
            }
            _ => None,
        }
    }

    /// Judges the reply to a read; errors are no replies to it. True when it is right.
    pub fn judge(&mut self, reply: &Value, tally: &mut Tally) -> bool {
        let Some(version) = self.version_in(reply) else {
            tally.wrong(format!("{} holds {}", self.name, shorten(reply)));
            return false;
        };
        let held = std::mem::replace(&mut self.possible, BTreeSet::from([version]));
        if held.contains(&version) {
            return true;
        }
        let text = format!("{}: {version}, not one of {held:?}", self.name);
        let last = held.last().copied().unwrap_or(0);
        match self.fate(version) {
            None => tally.wrong(format!("never written: {text}")),
            Some(Fate::Refused) => tally.wrong(format!("told as not executed: {text}")),
            Some(fate) if fate.is_unknown() => {
                tally.late += 1;
                tally.late_told += u64::from(fate == Fate::Unknown);
                tally.note(format!("late: {text}"));
            }
            _ if self.lost.contains(&version) => {
                tally.returned += 1;
                tally.note(format!("returned: {text}"));
            }
            _ => self.roll_back(version, last, tally),
        }
        false
    }

    fn roll_back(&mut self, version: u32, last: u32, tally: &mut Tally) {
        let gone: Vec<u32> = (version + 1..=last)
            .filter(|&one| self.fate(one) == Some(Fate::Done) && !self.lost.contains(&one))
            .collect();
        tally.rolled_back += 1;
        // Of a key that is gone as a whole, the last write.
        let count = if version == 0 { 1 } else { gone.len() };
        tally.lost += count as u64;
        let waited = gone.iter().filter(|one| self.waited.contains(one));
        tally.lost_waited += waited.count() as u64;
        tally.note(format!(
            "rolled back: {} holds {version} after {last}",
            self.name
        ));
        self.lost.extend(gone);
    }

    fn fate(&self, version: u32) -> Option<Fate> {
        match version.checked_sub(1) {
            None => Some(Fate::Done),
            Some(index) => self.fates.get(index as usize).copied(),
        }
    }
}

/// A reply as text, of a length that can be read.
pub fn shorten(reply: &Value) -> String {
    let text = match reply {
        Value::Bulk(bytes) => {
            let start = bytes[..bytes.len().min(60)].escape_ascii();
            format!("{} bytes '{start}'", bytes.len())
        }
        other => other.to_string(),
    };
    text.chars().take(200).collect()
}
