//! `ACL LOG`: what was denied lately, grouped as the servers group it.

use std::collections::VecDeque;

use crate::resp::{Protocol, write};

/// What was denied, without who and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// `command`, `key`, `channel` or `auth`.
    pub reason: &'static str,
    /// `toplevel` or `multi`.
    pub context: &'static str,
    /// The command, key or channel.
    pub object: Box<[u8]>,
    /// The user, or who somebody said to be.
    pub user: Box<[u8]>,
}

#[derive(Debug)]
struct Entry {
    denial: Denial,
    id: u64,
    count: u64,
    created_us: u64,
    updated_us: u64,
    /// The last client, as `CLIENT LIST` shows it.
    client: Vec<u8>,
}

/// The denials of one process. Holds a bounded number of them, of bounded size.
#[derive(Debug)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    entries_max: usize,
    next_id: u64,
}

/// What happens again within this time is the same entry.
const GROUPED_US: u64 = 60_000_000;
/// Among so many of the newest entries the same is looked for.
const LOOKED_THROUGH: usize = 10;
/// So much of a key, a channel or a name is kept.
const OBJECT_BYTES_MAX: usize = 1024;

impl AclLog {
    /// A log that forgets the oldest beyond this many.
    pub fn new(entries_max: usize) -> AclLog {
        AclLog {
            entries: VecDeque::new(),
            entries_max,
            next_id: 0,
        }
    }

    /// Notes a denial; the client is a line of `CLIENT LIST`.
    pub fn note(&mut self, mut denial: Denial, client: &[u8], now_us: u64) {
        if self.entries_max == 0 {
            return;
        }
        for text in [&mut denial.object, &mut denial.user] {
            if text.len() > OBJECT_BYTES_MAX {
                *text = text[..OBJECT_BYTES_MAX].into();
            }
        }
        let client = client.trim_ascii_end().to_vec();
        let mut newest = self.entries.iter().take(LOOKED_THROUGH);
        let same = newest.position(|entry| {
            entry.denial == denial && now_us.saturating_sub(entry.updated_us) <= GROUPED_US
        });
        let entry = match same.and_then(|at| self.entries.remove(at)) {
            Some(entry) => Entry {
                count: entry.count + 1,
                updated_us: now_us,
                client,
                ..entry
            },
            None => {
                self.next_id += 1;
                Entry {
                    denial,
                    id: self.next_id - 1,
                    count: 1,
                    created_us: now_us,
                    updated_us: now_us,
                    client,
                }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(self.entries_max);
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// The reply to `ACL LOG`: the newest first. `started_us` is the wall clock's time at zero.
    pub fn write(
        &self,
        count: usize,
        protocol: Protocol,
        now_us: u64,
        started_us: u64,
        out: &mut Vec<u8>,
    ) {
        let count = count.min(self.entries.len());
        write::array(out, count);
        for entry in self.entries.iter().take(count) {
            write::map(out, protocol, 10);
            let field = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
                write::bulk(out, name.as_bytes());
                write::bulk(out, value);
            };
            let number = |out: &mut Vec<u8>, name: &str, value: u64| {
                write::bulk(out, name.as_bytes());
                write::integer(out, i64::try_from(value).unwrap_or(i64::MAX));
            };
            number(out, "count", entry.count);
            field(out, "reason", entry.denial.reason.as_bytes());
            field(out, "context", entry.denial.context.as_bytes());
            field(out, "object", &entry.denial.object);
            field(out, "username", &entry.denial.user);
            let age_ms = now_us.saturating_sub(entry.updated_us) / 1_000;
            let age = format!("{}.{:03}", age_ms / 1_000, age_ms % 1_000);
            write::bulk(out, b"age-seconds");
            match protocol {
                Protocol::Resp2 => write::bulk(out, age.as_bytes()),
                Protocol::Resp3 => write::double(out, &age),
            }
            field(out, "client-info", &entry.client);
            number(out, "entry-id", entry.id);
            number(
                out,
                "timestamp-created",
                (started_us + entry.created_us) / 1_000,
            );
            number(
                out,
                "timestamp-last-updated",
                (started_us + entry.updated_us) / 1_000,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(object: &str) -> Denial {
        Denial {
            reason: "key",
            context: "toplevel",
            object: object.as_bytes().into(),
            user: (*b"u").into(),
        }
    }

    #[test]
    fn the_same_is_counted_and_the_oldest_forgotten() {
        let mut log = AclLog::new(2);
        let now = [0, 1, 2, 3, 4 + GROUPED_US];
        for (object, now_us) in ["a", "b", "a", "c", "c"].into_iter().zip(now) {
            log.note(denial(object), b"id=1\n", now_us);
        }
        let shown = log
            .entries
            .iter()
            .map(|entry| (&*entry.denial.object, entry.count, entry.id));
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, [(&b"c"[..], 1, 3), (b"c", 1, 2)]);
        log.note(denial(&"x".repeat(5_000)), b"", 5 + GROUPED_US);
        assert_eq!(log.entries[0].denial.object.len(), OBJECT_BYTES_MAX);
        log.reset();
        let mut out = Vec::new();
        log.write(10, Protocol::Resp2, 0, 0, &mut out);
        assert_eq!(out, b"*0\r\n");
    }
}
