//! A `SUBSCRIBE` that waits until all its channels are in effect, and how it ends (contract: S1).
//!
//! Several of one client may wait at the same time: programs send them one after another without looking at the replies,
//! and publish then. They are confirmed in their order.

use std::collections::{HashSet, VecDeque};

use super::Kind;
use super::channel::ChannelKey;
use super::commands::write_confirmation;
use crate::command::{self, Handling, Lookup};
use crate::pipeline::{ClientKey, Sequence, Ticket};
use crate::resp::Args;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::worker::clients::Client;
use crate::worker::core::Core;

/// So many of one client wait; the next is not looked at before one is answered.
const WAITING_MAX: usize = 1024;

/// A `SUBSCRIBE` that waits for nodes.
#[derive(Debug)]
pub(super) struct Waiting {
    pub sequence: Sequence,
    kind: Kind,
    /// What was named, in that order, repetitions included.
    pub channels: Vec<ChannelKey>,
    /// Each of them once.
    named: HashSet<ChannelKey>,
    /// Those of them that are not in effect.
    missing: HashSet<ChannelKey>,
    pub received_us: u64,
}

impl Client {
    /// What of it waits for nodes, in its order.
    fn waiting_mut(&mut self) -> Option<&mut VecDeque<Waiting>> {
        Some(&mut self.subscriptions.as_mut()?.waiting)
    }

    /// Whether a request of a client whose `SUBSCRIBE` waits is another one, which may wait beside it.
    #[cold]
    pub(in crate::worker) fn may_wait_too(&self, args: &Args<'_>) -> bool {
        let Lookup::Found(command) = command::lookup(args) else {
            return false;
        };
        let Handling::Subscription(subscription) = command.handling else {
            return false;
        };
        let (_, is_join) = Kind::of(subscription);
        is_join && self.waits_for_subscriptions_alone()
    }

    /// Whether nothing but such requests of its own holds it.
    fn waits_for_subscriptions_alone(&self) -> bool {
        let waiting = self.subscriptions.as_ref().map_or(0, |of| of.waiting.len());
        // Each has its place among the replies; in `EXEC` there is one, and goes on with the next command.
        let is_alone = self.transaction.is_none() && self.blocked.is_none();
        (1..WAITING_MAX).contains(&waiting) && waiting == self.replies.pending() && is_alone
    }
}

impl Core {
    /// How many names the client waits for.
    pub(super) fn waited_for(&mut self, key: ClientKey) -> usize {
        let waiting = self.clients.get(key).and_then(Client::waiting_mut);
        waiting.map_or(0, |of| {
            of.iter().map(|waiting| waiting.channels.len()).sum()
        })
    }

    pub(super) fn begin_subscribe(
        &mut self,
        key: ClientKey,
        sequence: Sequence,
        kind: Kind,
        args: &Args<'_>,
    ) {
        let names = args.iter().skip(1);
        let channels: Vec<ChannelKey> = names
            .map(|name| self.hub.find_or_make(kind, name))
            .collect();
        let mut named = HashSet::new();
        let mut each = channels.clone();
        each.retain(|channel_key| named.insert(*channel_key));
        let mut missing = Vec::new();
        for channel_key in &each {
            if let Some(channel) = self.hub.channel_mut(*channel_key) {
                channel.waiting.insert(key);
                if !channel.is_in_effect {
                    missing.push(*channel_key);
                }
            }
        }
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let waiting = &mut client.subscriptions.get_or_insert_default().waiting;
        let is_first = waiting.is_empty();
        waiting.push_back(Waiting {
            sequence,
            kind,
            channels,
            named,
            missing: missing.iter().copied().collect(),
            received_us: self.now_us,
        });
        if is_first && missing.is_empty() {
            return self.confirm_waiting(key);
        }
        if is_first {
            self.hub.waiting.push(key);
        }
        for channel in each {
            self.channel_is_awaited(channel);
        }
        for channel in missing {
            self.place(channel);
        }
    }

    /// A channel is in effect.
    pub(super) fn channel_is_ready(&mut self, key: ChannelKey, waiting: &[ClientKey]) {
        for client_key in waiting {
            let of_client = self.clients.get(*client_key).and_then(Client::waiting_mut);
            for waiting in of_client.into_iter().flatten() {
                waiting.missing.remove(&key);
            }
            self.confirm_waiting(*client_key);
        }
    }

    /// A channel is not in effect any more.
    pub(super) fn channel_is_missing(&mut self, key: ChannelKey, waiting: &[ClientKey]) {
        for client_key in waiting {
            let of_client = self.clients.get(*client_key).and_then(Client::waiting_mut);
            let of_client = of_client.into_iter().flatten();
            for waiting in of_client.filter(|waiting| waiting.named.contains(&key)) {
                waiting.missing.insert(key);
            }
        }
    }

    /// Confirms what is in effect. Messages go out at once, and must not come before their confirmation: what was asked
    /// for behind something that is not in effect yet waits for it.
    pub(super) fn confirm_waiting(&mut self, key: ClientKey) {
        loop {
            let waiting = self.clients.get(key).and_then(Client::waiting_mut);
            let first = waiting.and_then(|waiting| waiting.front());
            if !first.is_some_and(|first| first.missing.is_empty()) {
                return;
            }
            self.confirm_first(key);
        }
    }

    fn confirm_first(&mut self, key: ClientKey) {
        let Some(waiting) = self.take_waiting(key, 0) else {
            return;
        };
        let protocol = self.protocol_of(key);
        let mut confirmations = Vec::new();
        for channel in &waiting.channels {
            let count = self.join(key, *channel);
            if let Some(channel) = self.hub.channel(*channel) {
                let word = waiting.kind.join_word();
                write_confirmation(
                    &mut confirmations,
                    protocol,
                    word,
                    Some(&channel.name),
                    count,
                );
            }
        }
        let ticket = Ticket {
            client: key,
            sequence: waiting.sequence,
            part: 0,
        };
        self.reply_or_go_on(ticket, &confirmations);
    }

    /// Each `SUBSCRIBE` of the client that waits for this channel cannot be.
    pub(super) fn refuse_those_naming(
        &mut self,
        key: ClientKey,
        channel: ChannelKey,
        kind: ErrorKind,
        error: &[u8],
    ) {
        loop {
            let waiting = self.clients.get(key).and_then(Client::waiting_mut);
            let names_it = |waiting: &Waiting| waiting.named.contains(&channel);
            let Some(index) = waiting.and_then(|of| of.iter().position(names_it)) else {
                break;
            };
            self.refuse_waiting(key, index, kind, error);
        }
        self.confirm_waiting(key);
    }

    /// One `SUBSCRIBE` of the client cannot be: it is answered with this error and leaves nothing behind.
    pub(super) fn refuse_waiting(
        &mut self,
        key: ClientKey,
        index: usize,
        kind: ErrorKind,
        error: &[u8],
    ) {
        let Some(waiting) = self.take_waiting(key, index) else {
            return;
        };
        self.tallies.failed(kind);
        let ticket = Ticket {
            client: key,
            sequence: waiting.sequence,
            part: 0,
        };
        self.reply_or_go_on(ticket, error);
        for channel in waiting.channels {
            self.release(channel);
        }
        self.drop_empty_subscriptions(key);
    }

    /// Takes one `SUBSCRIBE` of a client out of those that wait, and the client out of the lists of its channels.
    pub(super) fn take_waiting(&mut self, key: ClientKey, index: usize) -> Option<Waiting> {
        let of_client = self.clients.get(key)?.waiting_mut()?;
        let taken = of_client.remove(index)?;
        let is_left = |channel: &ChannelKey| {
            let mut others = of_client.iter();
            others.any(|other| other.named.contains(channel))
        };
        let named = taken.named.iter().copied();
        let answered: Vec<ChannelKey> = named.filter(|channel| !is_left(channel)).collect();
        for channel_key in answered {
            if let Some(channel) = self.hub.channel_mut(channel_key) {
                channel.waiting.remove(&key);
                if channel.waiting.is_empty() {
                    self.channel_is_answered(channel_key);
                }
            }
        }
        self.look_after_held_publishers();
        Some(taken)
    }
}
