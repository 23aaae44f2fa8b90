//! A `PUBLISH` behind a `SUBSCRIBE` that is not in effect yet (contract: S1).
//!
//! On one server a `SUBSCRIBE` is in effect when it is read, and programs count on it: they send it, do not wait for the
//! reply, and publish over another connection. Here it has to be made at a node first, perhaps over a
//! connection that is only being opened, and the `PUBLISH` would overtake it and be heard by nobody. So it waits until
//! every `SUBSCRIBE` of this process that it would reach is answered; its client's later requests wait behind it.
//!
//! Not for long: a subscription that cannot be made now, because its node is down, holds nobody longer than
//! [`HELD_US_MAX`] after it was asked for. Workers read their clients on their own: of a `SUBSCRIBE` that another
//! worker has not read yet nobody knows.

use std::collections::HashMap;

use super::Kind;
use super::channel::ChannelKey;
use crate::pipeline::ClientKey;
use crate::worker::core::Core;

/// A `PUBLISH` waits at most so long, and for a `SUBSCRIBE` that is no older.
const HELD_US_MAX: u64 = 1_000_000;

/// The clients whose `PUBLISH` waits.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Until when at most, in microseconds.
    clients: HashMap<ClientKey, u64>,
    /// How many `SUBSCRIBE`s of the process were answered when they were looked at last.
    answered: u64,
}

impl Core {
    /// Whether a client's `PUBLISH` has to wait for a `SUBSCRIBE`. Asked again when one is answered.
    #[cold]
    pub(super) fn is_behind_a_subscribe(
        &mut self,
        key: ClientKey,
        kind: Kind,
        channel: &[u8],
    ) -> bool {
        let since_us = self.local.audience.awaited_since(kind, channel);
        let held = &mut self.hub.held;
        let known = held.clients.get(&key).copied();
        let until_us = since_us.map(|since_us| since_us.min(self.now_us) + HELD_US_MAX);
        let until_us = until_us.map(|until_us| known.map_or(until_us, |known| known.min(until_us)));
        match until_us.filter(|until_us| *until_us > self.now_us) {
            Some(until_us) => {
                if held.clients.is_empty() {
                    // What is answered from now on is news.
                    held.answered = self.local.audience.answered();
                    if let Some(waker) = &self.tick_waker {
                        waker.wake_by_ref();
                    }
                }
                held.clients.insert(key, until_us);
                true
            }
            None => {
                held.clients.remove(&key);
                false
            }
        }
    }

    /// A client waits for this channel and others, and not all are in effect.
    pub(super) fn channel_is_awaited(&mut self, key: ChannelKey) {
        if let Some(channel) = self.hub.channels.get_mut(key.index())
            && !std::mem::replace(&mut channel.is_awaited, true)
        {
            let audience = &self.local.audience;
            audience.awaits(channel.kind, &channel.name, self.now_us);
        }
    }

    /// No client waits for this channel any more.
    pub(super) fn channel_is_answered(&mut self, key: ChannelKey) {
        if let Some(channel) = self.hub.channels.get_mut(key.index())
            && std::mem::replace(&mut channel.is_awaited, false)
        {
            self.local
                .audience
                .has_answered(channel.kind, &channel.name);
        }
    }

    /// Lets those look again whose `PUBLISH` waits, when a `SUBSCRIBE` was answered, here or by another worker, or
    /// their time is over.
    pub(super) fn look_after_held_publishers(&mut self) {
        if self.hub.held.clients.is_empty() {
            return;
        }
        let answered = self.local.audience.answered();
        let is_news = std::mem::replace(&mut self.hub.held.answered, answered) != answered;
        let (now_us, clients) = (self.now_us, &mut self.clients);
        self.hub.held.clients.retain(|key, until_us| {
            let Some(client) = clients.get(*key) else {
                return false;
            };
            if is_news || *until_us <= now_us {
                client.wake();
            }
            // Kept for the answer to "how long", and forgotten if its client went on with something else.
            now_us < *until_us + HELD_US_MAX
        });
    }

    /// Whether a `PUBLISH` waits, so that other workers have to be looked at often.
    pub(in crate::worker) fn holds_publishers(&self) -> bool {
        !self.hub.held.clients.is_empty()
    }
}
