//! Who in this process is subscribed to what, and at which nodes its hubs are.
//!
//! A node that is asked how many heard a message counts a hub as one client; what is wanted is how many
//! clients stand behind it (contract: S4). Workers keep their clients to themselves, so this is shared:
//! it is written when a subscription comes or goes, and read when somebody publishes while anybody in
//! the process is subscribed. Otherwise [`Audience::is_empty`] is all that is ever looked at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Kind;
use crate::cluster::Endpoint;
use crate::routing::glob;

/// The subscriptions of all workers.
#[derive(Debug, Default)]
pub struct Audience {
    /// Names that have a client or a hub, or are awaited.
    names: AtomicUsize,
    /// Names for which a client of a worker waits, once for each worker.
    awaited: AtomicUsize,
    /// How many such waits are over.
    answered: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries([HashMap<Box<[u8]>, Entry>; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct Entry {
    clients: usize,
    /// How many hubs are subscribed at each node.
    hubs: Vec<(Endpoint, usize)>,
    /// How many hubs have clients whose `SUBSCRIBE` waits for this, and is not late.
    awaiting: usize,
}

/// Clients of this process, and hubs of this process that a node counts as clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Clients.
    pub clients: usize,
    /// Hubs.
    pub hubs: usize,
}

impl Heads {
    /// What a node counted, corrected: everybody it knows but the hubs, and the clients behind those.
    pub fn correct(self, counted: i64) -> i64 {
        (counted - self.hubs as i64).max(0) + self.clients as i64
    }
}

impl Entries {
    /// All that a message to a channel reaches: the channel, and the patterns it fits.
    fn reached<'a>(&'a self, kind: Kind, channel: &'a [u8]) -> impl Iterator<Item = &'a Entry> {
        let exact = self.0[kind as usize].get(channel);
        let patterns = match kind {
            Kind::Shard => None,
            Kind::Channel | Kind::Pattern => Some(&self.0[Kind::Pattern as usize]),
        };
        let patterns = patterns.into_iter().flatten();
        let matching = patterns.filter(|(pattern, _)| glob::matches(pattern, channel));
        exact.into_iter().chain(matching.map(|(_, entry)| entry))
    }
}

impl Entry {
    fn hubs_at(&self, node: &Endpoint) -> usize {
        let mut hubs = self.hubs.iter();
        hubs.find(|(at, _)| at == node)
            .map_or(0, |(_, count)| *count)
    }

    fn heads(&self) -> Heads {
        Heads {
            clients: self.clients,
            hubs: self.hubs.iter().map(|(_, count)| count).sum(),
        }
    }
}

impl Audience {
    /// Whether nobody is subscribed to anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, kind: Kind, name: &[u8], change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        let names = &mut entries.0[kind as usize];
        match names.get_mut(name) {
            Some(entry) => {
                change(entry);
                if entry.clients == 0 && entry.hubs.is_empty() && entry.awaiting == 0 {
                    names.remove(name);
                }
            }
            None => change(names.entry(name.into()).or_default()),
        }
        let count = entries.0.iter().map(HashMap::len).sum();
        self.names.store(count, Ordering::Relaxed);
    }

    /// A client has subscribed.
    pub fn client_joined(&self, kind: Kind, name: &[u8]) {
        self.change(kind, name, |entry| entry.clients += 1);
    }

    /// A client is not subscribed any more.
    pub fn client_parted(&self, kind: Kind, name: &[u8]) {
        self.change(kind, name, |entry| {
            entry.clients = entry.clients.saturating_sub(1);
        });
    }

    /// A hub is subscribed at a node.
    pub fn hub_joined(&self, kind: Kind, name: &[u8], node: &Endpoint) {
        self.change(kind, name, |entry| {
            match entry.hubs.iter_mut().find(|(at, _)| at == node) {
                Some((_, count)) => *count += 1,
                None => entry.hubs.push((node.clone(), 1)),
            }
        });
    }

    /// A hub is not subscribed at a node any more.
    pub fn hub_parted(&self, kind: Kind, name: &[u8], node: &Endpoint) {
        self.change(kind, name, |entry| {
            for (_, count) in entry.hubs.iter_mut().filter(|(at, _)| at == node) {
                *count = count.saturating_sub(1);
            }
            entry.hubs.retain(|(_, count)| *count > 0);
        });
    }

    /// A `SUBSCRIBE` of a hub's clients waits for this.
    pub fn awaits(&self, kind: Kind, name: &[u8]) {
        self.change(kind, name, |entry| entry.awaiting += 1);
        self.awaited.fetch_add(1, Ordering::Relaxed);
    }

    /// No `SUBSCRIBE` of that hub's clients waits for it any more, or it is late.
    pub fn has_answered(&self, kind: Kind, name: &[u8]) {
        self.change(kind, name, |entry| {
            entry.awaiting = entry.awaiting.saturating_sub(1);
        });
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a `SUBSCRIBE` waits, whatever for. All that a `PUBLISH` looks at while none does.
    #[inline]
    pub fn has_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }

    /// How many waits are over, of all there ever were.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether a `SUBSCRIBE` waits that would hear what is published to a channel.
    pub fn is_awaited(&self, kind: Kind, channel: &[u8]) -> bool {
        let entries = self.lock();
        let mut reached = entries.reached(kind, channel);
        reached.any(|entry| entry.awaiting > 0)
    }

    /// Who hears what is published to a channel at a node, as far as they are of this process. A client
    /// counts once for the channel and once for each of its patterns, as on one server.
    pub fn hears(&self, kind: Kind, channel: &[u8], node: &Endpoint) -> Heads {
        let entries = self.lock();
        let all = entries.reached(kind, channel);
        all.fold(Heads::default(), |sum, entry| Heads {
            clients: sum.clients + entry.clients,
            hubs: sum.hubs + entry.hubs_at(node),
        })
    }

    /// Who is subscribed to exactly this, hubs of all nodes counted.
    pub fn of(&self, kind: Kind, name: &[u8]) -> Heads {
        let entries = self.lock();
        let entry = entries.0[kind as usize].get(name);
        entry.map(Entry::heads).unwrap_or_default()
    }

    /// The names that clients are subscribed to, as far as they fit the pattern.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let entries = self.lock();
        let names = entries.0[kind as usize].iter();
        names
            .filter(|(name, entry)| {
                entry.clients > 0 && pattern.is_none_or(|pattern| glob::matches(pattern, name))
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How many patterns clients are subscribed to, and how many the nodes count for the hubs: each
    /// node every pattern once, however many hubs are there.
    pub fn patterns(&self) -> Heads {
        let entries = self.lock();
        let patterns = entries.0[Kind::Pattern as usize].values();
        patterns.fold(Heads::default(), |sum, entry| Heads {
            clients: sum.clients + usize::from(entry.clients > 0),
            hubs: sum.hubs + entry.hubs.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Endpoint {
        Endpoint {
            host: "10.0.0.1".into(),
            port,
        }
    }

    /// contract: S4
    #[test]
    fn hubs_are_not_counted_and_those_behind_them_are() {
        let audience = Audience::default();
        assert!(audience.is_empty());
        let (near, far) = (node(1), node(2));
        for _ in 0..3 {
            audience.client_joined(Kind::Channel, b"news");
        }
        audience.client_joined(Kind::Pattern, b"n*");
        audience.client_joined(Kind::Pattern, b"x*");
        // Two workers.
        audience.hub_joined(Kind::Channel, b"news", &near);
        audience.hub_joined(Kind::Channel, b"news", &near);
        audience.hub_joined(Kind::Pattern, b"n*", &far);
        audience.hub_joined(Kind::Pattern, b"x*", &near);
        let at = |node: &Endpoint| audience.hears(Kind::Channel, b"news", node);
        assert_eq!(
            at(&near),
            Heads {
                clients: 4,
                hubs: 2
            }
        );
        assert_eq!(
            at(&far),
            Heads {
                clients: 4,
                hubs: 1
            }
        );
        assert_eq!(at(&near).correct(7), 9);
        assert_eq!(at(&near).correct(1), 4, "one hub is not there yet");
        assert_eq!(
            audience.hears(Kind::Shard, b"news", &near),
            Heads::default()
        );
        assert_eq!(
            audience.of(Kind::Channel, b"news"),
            Heads {
                clients: 3,
                hubs: 2
            }
        );
        assert_eq!(
            audience.patterns(),
            Heads {
                clients: 2,
                hubs: 2
            }
        );
        assert_eq!(
            audience.names(Kind::Channel, Some(b"n*")),
            [b"news"[..].into()]
        );
        assert!(audience.names(Kind::Channel, Some(b"m*")).is_empty());
    }

    /// contract: S1
    #[test]
    fn what_is_awaited_is_known_by_name_and_pattern() {
        let audience = Audience::default();
        assert!(!audience.has_awaited());
        audience.awaits(Kind::Channel, b"news");
        // Another worker.
        audience.awaits(Kind::Channel, b"news");
        audience.awaits(Kind::Pattern, b"n*");
        audience.awaits(Kind::Shard, b"s");
        assert!(audience.has_awaited());
        let is_awaited = |kind, channel: &[u8]| audience.is_awaited(kind, channel);
        assert!(is_awaited(Kind::Channel, b"news"));
        assert!(is_awaited(Kind::Channel, b"none"), "by the pattern");
        assert!(!is_awaited(Kind::Channel, b"other"));
        assert!(is_awaited(Kind::Shard, b"s"));
        assert!(!is_awaited(Kind::Shard, b"news"), "no shard channel");
        audience.has_answered(Kind::Pattern, b"n*");
        assert!(!is_awaited(Kind::Channel, b"none"));
        audience.has_answered(Kind::Channel, b"news");
        assert!(is_awaited(Kind::Channel, b"news"), "one still waits");
        audience.has_answered(Kind::Channel, b"news");
        assert!(!is_awaited(Kind::Channel, b"news"));
        audience.has_answered(Kind::Shard, b"s");
        assert_eq!(audience.answered(), 4);
        assert!(!audience.has_awaited());
        assert!(audience.is_empty());
    }

    #[test]
    fn what_came_goes() {
        let audience = Audience::default();
        audience.client_joined(Kind::Shard, b"s");
        audience.hub_joined(Kind::Shard, b"s", &node(1));
        audience.client_parted(Kind::Shard, b"s");
        assert!(!audience.is_empty(), "the hub is still there");
        assert!(audience.names(Kind::Shard, None).is_empty());
        audience.hub_parted(Kind::Shard, b"s", &node(1));
        assert!(audience.is_empty());
    }
}
