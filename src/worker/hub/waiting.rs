//! A `SUBSCRIBE` that waits until all its channels are in effect, and how it ends (contract: S1).

use super::Kind;
use super::channel::ChannelKey;
use super::commands::write_confirmation;
use crate::pipeline::{ClientKey, Sequence, Ticket};
use crate::resp::Args;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::worker::core::Core;

/// A `SUBSCRIBE` that waits for nodes.
#[derive(Debug)]
pub(super) struct Waiting {
    pub sequence: Sequence,
    kind: Kind,
    /// What was named, in that order, repetitions included.
    pub channels: Vec<ChannelKey>,
    /// How many different ones are not in effect.
    pub missing: usize,
    pub received_us: u64,
}

impl Core {
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
        let mut missing = Vec::new();
        for channel_key in &channels {
            let Some(channel) = self.hub.channel_mut(*channel_key) else {
                continue;
            };
            let is_first = channel.waiting.is_empty();
            if channel.waiting.insert(key) && !channel.is_in_effect {
                missing.push(*channel_key);
            }
            if is_first {
                self.channel_is_awaited(*channel_key);
            }
        }
        let waiting = Waiting {
            sequence,
            kind,
            channels,
            missing: missing.len(),
            received_us: self.now_us,
        };
        if let Some(client) = self.clients.get(key) {
            client.subscriptions.get_or_insert_default().waiting = Some(waiting);
        }
        if missing.is_empty() {
            self.confirm_waiting(key);
        } else {
            self.hub.waiting.push(key);
            for channel in missing {
                self.place(channel);
            }
        }
    }

    /// All channels that the client waits for are in effect.
    pub(super) fn confirm_waiting(&mut self, key: ClientKey) {
        let Some(waiting) = self.take_waiting(key) else {
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

    /// The client's `SUBSCRIBE` cannot be: it is answered with this error and leaves nothing behind.
    pub(super) fn refuse_waiting(&mut self, key: ClientKey, kind: ErrorKind, error: &[u8]) {
        let Some(waiting) = self.take_waiting(key) else {
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

    /// Takes a client out of the lists of those who wait.
    pub(super) fn take_waiting(&mut self, key: ClientKey) -> Option<Waiting> {
        let subscriptions = self.clients.get(key)?.subscriptions.as_mut()?;
        let waiting = subscriptions.waiting.take()?;
        for channel in &waiting.channels {
            let channel_key = *channel;
            if let Some(channel) = self.hub.channel_mut(channel_key)
                && channel.waiting.remove(&key)
                && channel.waiting.is_empty()
            {
                self.channel_is_answered(channel_key);
            }
        }
        self.look_after_held_publishers();
        Some(waiting)
    }
}
