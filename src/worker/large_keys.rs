//! Keys whose replies were large a moment ago: the next read of one is asked over a connection for large
//! things at once, so that its reply has not to be fetched twice (see [`super::large_replies`]).
//!
//! It is only a guess. A reply that turns out small is as right over that connection, and one that was not
//! expected is dealt with when it comes.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use super::core::Core;
use super::lanes::keys_of;
use crate::cluster::Slot;
use crate::command::{Access, Command};
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::Protocol;
use crate::routing::Target;

/// A key is remembered this long after its last large reply.
const REMEMBERED_US: u64 = 10_000_000;
/// So many keys; the oldest is forgotten for a new one.
const KEYS_MAX: usize = 64;

/// The keys of one worker.
#[derive(Debug, Default)]
pub struct LargeKeys {
    hasher: RandomState,
    /// The hash of each, and until when it is remembered.
    keys: VecDeque<(u64, u64)>,
}

impl LargeKeys {
    /// Whether none is remembered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn note(&mut self, key: &[u8], now_us: u64) {
        let hash = self.hasher.hash_one(key);
        self.keys
            .retain(|(other, until_us)| *other != hash && *until_us > now_us);
        if self.keys.len() == KEYS_MAX {
            self.keys.pop_front();
        }
        self.keys.push_back((hash, now_us + REMEMBERED_US));
    }

    fn has(&self, key: &[u8], now_us: u64) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut keys = self.keys.iter();
        keys.any(|(other, until_us)| *other == hash && *until_us > now_us)
    }

    /// Forgets those whose time has passed.
    pub fn forget_old(&mut self, now_us: u64) {
        self.keys.retain(|(_, until_us)| *until_us > now_us);
    }
}

impl Core {
    /// The reply to a read of one key was large.
    pub(super) fn note_large(&mut self, command: &Command, request: &[u8]) {
        if let Some([key]) = keys_of(command, request).as_deref() {
            self.large_keys.note(key, self.now_us);
        }
    }

    /// Whether a request is a read of one such key, by a client that has no connections of its own.
    #[cold]
    pub(super) fn is_large_read(
        &mut self,
        client: ClientKey,
        command: &Command,
        request: &[u8],
    ) -> bool {
        let is_tracking = |core: &mut Core| {
            let client = core.clients.get(client);
            client.is_none_or(|client| client.tracking.is_some())
        };
        command.access == Access::Read
            && matches!(keys_of(command, request).as_deref(), Some([key]) if self.large_keys.has(key, self.now_us))
            && !is_tracking(self)
    }

    /// Sends a request over a connection for large things, when it is its turn.
    pub(super) fn forward_large(
        &mut self,
        client: ClientKey,
        command: &'static Command,
        (target, lane): (Target, Option<Slot>),
        protocol: Protocol,
        request: &[u8],
    ) {
        let ticket = Ticket {
            client,
            sequence: self.open_place(client, lane),
            part: 0,
        };
        let dispatched = self.dispatched(ticket, command, target, lane, protocol);
        self.park_large(dispatched, request.to_vec());
        self.resume_client(client, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_few_and_not_for_long() {
        let mut keys = LargeKeys::default();
        for number in 0..3 * KEYS_MAX as u64 {
            keys.note(&number.to_le_bytes(), number);
        }
        assert_eq!(keys.keys.len(), KEYS_MAX);
        let last = 3 * KEYS_MAX as u64 - 1;
        assert!(keys.has(&last.to_le_bytes(), last));
        assert!(!keys.has(&0_u64.to_le_bytes(), last));
        assert!(!keys.has(&last.to_le_bytes(), last + REMEMBERED_US));
        keys.note(&last.to_le_bytes(), last + REMEMBERED_US / 2);
        assert_eq!(keys.keys.len(), KEYS_MAX);
        keys.forget_old(last + REMEMBERED_US);
        assert_eq!(keys.keys.len(), 1);
    }
}
