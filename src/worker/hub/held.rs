//! A `PUBLISH` behind a `SUBSCRIBE` that is not in effect yet (contract: S1).
//!
//! On one server a `SUBSCRIBE` is in effect when it is read, and programs count on it: they send it, do not wait for the
//! reply, and publish over another connection. Here it has to be made at a node first, perhaps over a
//! connection that is only being opened, and the `PUBLISH` would overtake it and be heard by nobody. So it waits until
//! every `SUBSCRIBE` of this process that it would reach is answered; its client's later requests wait behind it.
//!
//! Not for long: a subscription that cannot be made now, because its node is down, holds nobody longer than
//! [`HELD_US_MAX`] after it was asked for. That is time in which this worker ran: while the whole process, or its machine,
//! stands still, no node could have answered. Workers read their clients on their own: of a `SUBSCRIBE` that another
//! worker has not read yet nobody knows.

use std::collections::{HashMap, VecDeque};

use super::Kind;
use super::channel::{Awaited, ChannelKey};
use crate::pipeline::ClientKey;
use crate::worker::core::Core;

/// A `PUBLISH` waits at most so long, and for a `SUBSCRIBE` that is no older; in microseconds of [`Held::ran_us`].
const HELD_US_MAX: u64 = 1_000_000;
/// Between two looks at the time more than this, in microseconds, was not the worker's doing: twice their usual
/// distance.
const LOOK_US_MAX: u64 = 200_000;

/// The clients whose `PUBLISH` waits, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Since when each waits, by [`Held::ran_us`].
    clients: HashMap<ClientKey, u64>,
    /// How many `SUBSCRIBE`s of the process were answered when they were looked at last.
    answered: u64,
    /// What clients of this worker wait for, by its place and own number, and since when, by [`Held::ran_us`]; some may
    /// be answered.
    awaited: VecDeque<(ChannelKey, u64, u64)>,
    /// How long this worker has run, in microseconds, as of the last look at the time.
    ran_us: u64,
    /// When that was.
    looked_us: u64,
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
        let held = &mut self.hub.held;
        let since_us = held.clients.get(&key).copied().unwrap_or(held.ran_us);
        let may_wait = held.ran_us < since_us + HELD_US_MAX;
        if !may_wait || !self.local.audience.is_awaited(kind, channel) {
            held.clients.remove(&key);
            return false;
        }
        if held.clients.is_empty() {
            // What is answered from now on is news.
            held.answered = self.local.audience.answered();
            if let Some(waker) = &self.tick_waker {
                waker.wake_by_ref();
            }
        }
        held.clients.insert(key, since_us);
        true
    }

    /// A client waits for this channel and others, and not all are in effect.
    pub(super) fn channel_is_awaited(&mut self, key: ChannelKey) {
        if let Some(channel) = self.hub.channels.get_mut(key.index())
            && channel.awaited == Awaited::ByNobody
        {
            let held = &mut self.hub.held;
            let since_us = held.ran_us;
            channel.awaited = Awaited::Soon { since_us };
            held.awaited.push_back((key, channel.id, since_us));
            self.local.audience.awaits(channel.kind, &channel.name);
        }
    }

    /// No client waits for this channel any more.
    pub(super) fn channel_is_answered(&mut self, key: ChannelKey) {
        self.set_awaited(key, Awaited::ByNobody);
    }

    fn set_awaited(&mut self, key: ChannelKey, awaited: Awaited) {
        if let Some(channel) = self.hub.channels.get_mut(key.index())
            && let Awaited::Soon { .. } = std::mem::replace(&mut channel.awaited, awaited)
        {
            let audience = &self.local.audience;
            audience.has_answered(channel.kind, &channel.name);
        }
    }

    /// What time brings to those whose `PUBLISH` waits. Called at least every 100 ms.
    pub(super) fn tend_held_publishers(&mut self) {
        let held = &mut self.hub.held;
        let since_us = std::mem::replace(&mut held.looked_us, self.now_us);
        held.ran_us += self.now_us.saturating_sub(since_us).min(LOOK_US_MAX);
        while let Some((key, id, since_us)) = self.hub.held.awaited.front().copied() {
            let channel = self.hub.channel(key).filter(|channel| channel.id == id);
            // One that was answered and is awaited again has a later entry.
            let awaited = Awaited::Soon { since_us };
            if channel.is_some_and(|channel| channel.awaited == awaited) {
                if self.hub.held.ran_us < since_us + HELD_US_MAX {
                    break;
                }
                self.set_awaited(key, Awaited::Late);
            }
            self.hub.held.awaited.pop_front();
        }
        self.look_after_held_publishers();
    }

    /// Lets those look again whose `PUBLISH` waits, when a `SUBSCRIBE` was answered or is late, here or in another
    /// worker, or their time is over.
    pub(super) fn look_after_held_publishers(&mut self) {
        let held = &mut self.hub.held;
        if held.clients.is_empty() {
            return;
        }
        let answered = self.local.audience.answered();
        let is_news = std::mem::replace(&mut held.answered, answered) != answered;
        let (ran_us, clients) = (held.ran_us, &mut self.clients);
        held.clients.retain(|key, since_us| {
            let Some(client) = clients.get(*key) else {
                return false;
            };
            let held_us = ran_us - *since_us;
            if is_news || held_us >= HELD_US_MAX {
                client.wake();
            }
            // Kept for the answer to "how long", and forgotten if its client went on with something else. (One that
            // is held up otherwise for that long, as by CLIENT PAUSE, may be held here for a second more.)
            held_us < 2 * HELD_US_MAX
        });
    }

    /// Whether a `PUBLISH` waits, so that other workers have to be looked at often.
    pub(in crate::worker) fn holds_publishers(&self) -> bool {
        !self.hub.held.clients.is_empty()
    }
}
