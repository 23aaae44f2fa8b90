//! What every key may hold at every moment, as far as its one writer knows.
//!
//! The rule that is checked: let `t` be a moment before the cache was looked at. Of the writes to a key
//! that were acknowledged at `t`, take the last; a cached value must be its value, or that of a write
//! that was begun after it. Anything older is stale.
//!
//! A primary that is killed may have acknowledged writes that its replica never got: the cluster loses
//! them, and an older value is the right one again. So from just before a kill until its writer has read
//! the key back from the new primary nothing is said about it, and then its history begins anew with what
//! was read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Writes that were replaced this long ago are forgotten.
const REMEMBERED: Duration = Duration::from_secs(60);

struct Write {
    value: Option<u64>,
    acknowledged: Option<Instant>,
}

/// What is known about a key at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Known,
    /// Its primary is being killed.
    Suspended,
    /// A new primary is there: it is time to read the key.
    ToRead,
}

struct Key {
    writes: VecDeque<Write>,
    trust: Trust,
}

/// All keys.
pub struct History {
    keys: Vec<Mutex<Key>>,
    next: AtomicU64,
    /// Writes that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Writes whose outcome nobody knows.
    pub unknown: AtomicU64,
    /// When the cluster was last disturbed.
    disturbed: Mutex<Instant>,
}

impl History {
    /// Keys that are not there.
    pub fn of(keys: usize) -> History {
        let empty = || {
            let nothing = Write {
                value: None,
                acknowledged: Some(Instant::now()),
            };
            Mutex::new(Key {
                writes: VecDeque::from([nothing]),
                trust: Trust::Known,
            })
        };
        History {
            keys: (0..keys).map(|_| empty()).collect(),
            next: AtomicU64::new(1),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            disturbed: Mutex::new(Instant::now()),
        }
    }

    fn key(&self, key: usize) -> MutexGuard<'_, Key> {
        self.keys[key]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A value that no key ever had.
    pub fn new_value(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A write begins.
    pub fn begin(&self, key: usize, value: Option<u64>) {
        self.key(key).writes.push_back(Write {
            value,
            acknowledged: None,
        });
    }

    /// It ends; `acknowledged` or not.
    pub fn end(&self, key: usize, acknowledged: bool) {
        let mut key = self.key(key);
        if !acknowledged {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(write) = key.writes.back_mut() {
            write.acknowledged = Some(now);
        }
        let is_old = |write: &Write| {
            let acknowledged = write.acknowledged;
            acknowledged.is_some_and(|at| now.duration_since(at) > REMEMBERED)
        };
        while key.writes.get(1).is_some_and(is_old) {
            key.writes.pop_front();
        }
    }

    /// The primary of a key is about to be killed.
    pub fn suspend(&self, key: usize) {
        self.key(key).trust = Trust::Suspended;
    }

    /// It has another primary.
    pub fn want_read(&self, key: usize) {
        self.key(key).trust = Trust::ToRead;
    }

    /// Whether its writer has to read the key.
    pub fn is_read_wanted(&self, key: usize) -> bool {
        self.key(key).trust == Trust::ToRead
    }

    /// What its writer read.
    pub fn read(&self, key: usize, value: Option<u64>) {
        self.disturb();
        let mut key = self.key(key);
        key.trust = Trust::Known;
        key.writes.clear();
        key.writes.push_back(Write {
            value,
            acknowledged: Some(Instant::now()),
        });
    }

    /// Something happens to the cluster.
    pub fn disturb(&self) {
        *self
            .disturbed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long nothing has happened.
    pub fn calm(&self) -> Duration {
        let disturbed = self
            .disturbed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        disturbed.elapsed()
    }

    /// For how long a value has been out of date, if a write after it was acknowledged: what a cache
    /// may not have known yet.
    pub fn age(&self, key: usize, value: Option<u64>) -> Option<Duration> {
        let key = self.key(key);
        if key.trust != Trust::Known {
            return None;
        }
        let last = key.writes.iter().rposition(|write| write.value == value);
        let mut later = key.writes.iter().skip(last.map_or(0, |last| last + 1));
        let replaced = later.find_map(|write| write.acknowledged)?;
        Some(replaced.elapsed())
    }
}
