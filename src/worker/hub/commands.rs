//! What a client says about its subscriptions, and what it is told (contract: S1).
//!
//! A `SUBSCRIBE` waits for the client's earlier replies, and until all its channels are in effect; until
//! then the client is subscribed to none of them, and nothing else of it is looked at. So a message
//! never comes before its confirmation, and a `SUBSCRIBE` that fails leaves nothing behind.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::channel::{ChannelKey, Subscriber};
use super::waiting::Waiting;
use super::{Hub, Kind};
use crate::command::{Command, Handling, Local, Subscription, Transaction};
use crate::pipeline::{ClientKey, Sequence};
use crate::resp::{Args, Protocol, write};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::worker::clients::{Client, Phase};
use crate::worker::core::Core;
use crate::worker::requests::Taken;

/// What one client is subscribed to. Most clients have none of this.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// For each kind, the channels and the client's place among their subscribers.
    pub(super) held: [HashMap<ChannelKey, u32>; Kind::ALL.len()],
    /// Those that wait, in the order they were sent.
    pub(super) waiting: VecDeque<Waiting>,
    /// Since when more than the soft limit is unread, in microseconds; 0 while it is not.
    pub(super) over_limit_since_us: u64,
}

impl Subscriptions {
    /// Channels, patterns and shard channels.
    pub fn counts(&self) -> [usize; Kind::ALL.len()] {
        Kind::ALL.map(|kind| self.held[kind as usize].len())
    }

    /// Whether a `SUBSCRIBE` waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.iter().all(HashMap::is_empty)
    }

    /// The number in a confirmation: shard channels are counted by themselves.
    fn count(&self, kind: Kind) -> usize {
        let [channels, patterns, shards] = self.counts();
        match kind {
            Kind::Channel | Kind::Pattern => channels + patterns,
            Kind::Shard => shards,
        }
    }
}

impl Client {
    /// Channels, patterns and shard channels it is subscribed to.
    pub fn subscription_counts(&self) -> [usize; Kind::ALL.len()] {
        let subscriptions = self.subscriptions.as_deref();
        subscriptions.map(Subscriptions::counts).unwrap_or_default()
    }

    /// Whether it is subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        self.subscription_counts() != [0; Kind::ALL.len()]
    }

    /// Whether messages may be pushed to it: not behind its last reply.
    pub(super) fn hears_messages(&self) -> bool {
        self.phase == Phase::Open
    }

    fn subscription_count(&self, kind: Kind) -> usize {
        let subscriptions = self.subscriptions.as_deref();
        subscriptions.map_or(0, |subscriptions| subscriptions.count(kind))
    }
}

impl Hub {
    /// Whether this holds for all that a client is subscribed to or waits for: the name, and whether it is a
    /// pattern.
    pub fn all_channels(&self, of: &Subscriptions, holds: impl Fn(&[u8], bool) -> bool) -> bool {
        let waiting = of.waiting.iter().flat_map(|waiting| &waiting.channels);
        let keys = of.held.iter().flat_map(HashMap::keys).chain(waiting);
        let mut channels = keys.filter_map(|key| self.channel(*key));
        channels.all(|channel| holds(&channel.name, channel.kind == Kind::Pattern))
    }
}

impl Core {
    /// A command that subscribes or ends subscriptions.
    pub fn plan_subscription(
        &mut self,
        key: ClientKey,
        subscription: Subscription,
        args: &Args<'_>,
    ) -> Taken {
        let taken = match Kind::of(subscription) {
            (kind, true) => self.subscribe(key, kind, args),
            (kind, false) => self.unsubscribe(key, kind, args),
        };
        self.flush_hub();
        taken
    }

    /// What a RESP2 client with subscriptions may do: change them, `PING`, leave. `None` when the
    /// request is planned as any other.
    pub(crate) fn decide_subscribed(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        let client = self.clients.get(key)?;
        if client.session.protocol != Protocol::Resp2 || !client.is_subscriber() {
            return None;
        }
        let prefix = match command.handling {
            Handling::Subscription(_)
            | Handling::Local(Local::Ping | Local::Quit | Local::Reset) => return None,
            Handling::Transaction(Transaction::Exec) => {
                self.end_transaction(key);
                "EXECABORT Transaction discarded because of: "
            }
            _ => "ERR ",
        };
        Some(self.refuse_request(key, args, ErrorKind::Refused, |_| {
            format!(
                "{prefix}Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                command.name
            )
            .into_bytes()
        }))
    }

    /// Writes the reply to a subscriber's `PING`, which in RESP2 looks like a message; `None` for everybody
    /// else's.
    pub(in crate::worker) fn answer_subscribed_ping(
        &mut self,
        key: ClientKey,
        args: &Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Option<()> {
        let client = self.clients.get(key)?;
        if client.session.protocol != Protocol::Resp2 || !client.is_subscriber() || args.len() > 2 {
            return None;
        }
        write::array(reply, 2);
        write::bulk(reply, b"pong");
        write::bulk(reply, args.get(1).unwrap_or_default());
        Some(())
    }

    /// A change of subscriptions as a command of a transaction: returns its reply, or nothing when that comes
    /// later, for the place of `EXEC`.
    pub(in crate::worker) fn subscribe_in_exec(
        &mut self,
        key: ClientKey,
        sequence: Sequence,
        subscription: Subscription,
        args: &Args<'_>,
    ) -> Option<Vec<u8>> {
        let (kind, is_join) = Kind::of(subscription);
        let reply = match (is_join, self.refuse_more(key, args)) {
            (false, _) => Some(self.part_all(key, kind, args)),
            (true, Some(text)) => {
                let mut reply = Vec::new();
                write::error(&mut reply, text);
                Some(reply)
            }
            (true, None) => {
                self.begin_subscribe(key, sequence, kind, args);
                None
            }
        };
        self.flush_hub();
        reply
    }

    /// An error, when a client would have more subscriptions than it may.
    fn refuse_more(&mut self, key: ClientKey, args: &Args<'_>) -> Option<String> {
        let limit = self.limits.subscriptions_per_client;
        let held = self.clients.get(key)?.subscription_counts();
        let held = held.iter().sum::<usize>() + self.waited_for(key);
        (held + args.len() - 1 > limit).then(|| {
            format!(
                "ERR Keyway allows {limit} subscriptions for each client \
                 (limits.subscriptions_per_client); nothing was subscribed"
            )
        })
    }

    /// A subscription does not end before earlier requests of the client are answered: one of them may ask
    /// who is subscribed to what.
    pub(in crate::worker) fn has_to_wait_for_replies(&mut self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|client| client.is_subscriber() && !client.is_settled())
    }

    fn subscribe(&mut self, key: ClientKey, kind: Kind, args: &Args<'_>) -> Taken {
        // Behind others that wait, it waits with them.
        let client = self.clients.get(key);
        if client.is_some_and(|client| !client.is_settled() && !client.may_wait_too(args)) {
            return Taken::NotYet;
        }
        if let Some(text) = self.refuse_more(key, args) {
            return self.refuse_request(key, args, ErrorKind::Limit, |_| text.into_bytes());
        }
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        // Confirmations are pushes: a server sends them whatever CLIENT REPLY says.
        client.session.next_is_muted();
        let sequence = client.replies.open(false, None);
        self.begin_subscribe(key, sequence, kind, args);
        Taken::Yes
    }

    /// Makes a client a subscriber; returns the number for its confirmation.
    pub(super) fn join(&mut self, key: ClientKey, channel_key: ChannelKey) -> usize {
        let seen = self.hub.fan_out.last_message();
        let (Some(client), Some(channel)) = (
            self.clients.get(key),
            self.hub.channels.get_mut(channel_key.index()),
        ) else {
            return 0;
        };
        let kind = channel.kind;
        let subscriptions = client.subscriptions.get_or_insert_default();
        if subscriptions.counts() == [0; Kind::ALL.len()] {
            self.tallies.subscribers.add(1);
        }
        let held = &mut subscriptions.held[kind as usize];
        if let Entry::Vacant(place) = held.entry(channel_key) {
            // A worker has fewer than 2^32 clients.
            place.insert(channel.subscribers.len() as u32);
            channel.subscribers.push(Subscriber { client: key, seen });
            self.local.audience.client_joined(kind, &channel.name);
        }
        subscriptions.count(kind)
    }

    fn unsubscribe(&mut self, key: ClientKey, kind: Kind, args: &Args<'_>) -> Taken {
        if self.has_to_wait_for_replies(key) {
            return Taken::NotYet;
        }
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        client.session.next_is_muted();
        let confirmations = self.part_all(key, kind, args);
        if let Some(client) = self.clients.get(key) {
            client
                .replies
                .answer(false, |out| out.extend_from_slice(&confirmations));
        }
        self.tallies.replies.increment();
        Taken::Yes
    }

    /// Ends the subscriptions that are named, or all of a kind; returns the confirmations.
    fn part_all(&mut self, key: ClientKey, kind: Kind, args: &Args<'_>) -> Vec<u8> {
        let mut confirmations = Vec::new();
        let Some(client) = self.clients.get(key) else {
            return confirmations;
        };
        let protocol = client.session.protocol;
        let word = kind.part_word();
        if args.len() > 1 {
            for name in args.iter().skip(1) {
                let count = self.part_by_name(key, kind, name);
                write_confirmation(&mut confirmations, protocol, word, Some(name), count);
            }
        } else {
            let held = client.subscriptions.as_deref();
            let mut held: Vec<ChannelKey> = held
                .map(|subscriptions| subscriptions.held[kind as usize].keys().copied().collect())
                .unwrap_or_default();
            held.sort_unstable_by_key(|channel| channel.index());
            if held.is_empty() {
                let count = client.subscription_count(kind);
                write_confirmation(&mut confirmations, protocol, word, None, count);
            }
            for channel in held {
                let name = self
                    .hub
                    .channel(channel)
                    .map(|channel| channel.name.clone());
                let name = name.unwrap_or_default();
                let count = self.part_by_name(key, kind, &name);
                write_confirmation(&mut confirmations, protocol, word, Some(&name), count);
            }
        }
        self.drop_empty_subscriptions(key);
        confirmations
    }

    fn part_by_name(&mut self, key: ClientKey, kind: Kind, name: &[u8]) -> usize {
        if let Some(channel) = self.hub.find(kind, name) {
            self.part(key, channel);
        }
        let client = self.clients.get(key);
        client.map_or(0, |client| client.subscription_count(kind))
    }

    /// Ends one subscription of a client, if it has it.
    fn part(&mut self, key: ClientKey, channel_key: ChannelKey) {
        let Some(channel) = self.hub.channels.get_mut(channel_key.index()) else {
            return;
        };
        let kind = channel.kind;
        let held = |client: &mut Client| {
            let subscriptions = client.subscriptions.as_mut()?;
            subscriptions.held[kind as usize].remove(&channel_key)
        };
        let Some(place) = self.clients.get(key).and_then(held) else {
            return;
        };
        channel.subscribers.swap_remove(place as usize);
        if let Some(moved) = channel.subscribers.get(place as usize)
            && let Some(client) = self.clients.get(moved.client)
            && let Some(subscriptions) = &mut client.subscriptions
            && let Some(known) = subscriptions.held[kind as usize].get_mut(&channel_key)
        {
            *known = place;
        }
        self.local.audience.client_parted(kind, &channel.name);
        let left = self
            .clients
            .get(key)
            .map(|client| client.subscription_counts());
        if left == Some([0; Kind::ALL.len()]) {
            self.tallies.subscribers.subtract(1);
        }
        self.release(channel_key);
    }

    /// Gives up a channel that nobody wants any more.
    pub(super) fn release(&mut self, key: ChannelKey) {
        let channel = self.hub.channel(key);
        if channel.is_some_and(|channel| !channel.is_wanted()) {
            self.place(key);
        }
    }

    pub(super) fn drop_empty_subscriptions(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && let Some(subscriptions) = &client.subscriptions
            && subscriptions.is_empty()
        {
            client.subscriptions = None;
        }
    }

    /// Ends all subscriptions of a client without a word: it leaves, or said `RESET`.
    pub fn forget_subscriptions(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(subscriptions) = &client.subscriptions else {
            return;
        };
        let held: Vec<ChannelKey> = subscriptions
            .held
            .iter()
            .flat_map(|held| held.keys().copied())
            .collect();
        while let Some(waiting) = self.take_waiting(key, 0) {
            if let Some(client) = self.clients.get(key) {
                client.replies.fill(waiting.sequence, b"");
            }
            for channel in waiting.channels {
                self.release(channel);
            }
        }
        for channel in held {
            self.part(key, channel);
        }
        self.drop_empty_subscriptions(key);
        self.flush_hub();
    }
}

pub(super) fn write_confirmation(
    out: &mut Vec<u8>,
    protocol: Protocol,
    word: &str,
    name: Option<&[u8]>,
    count: usize,
) {
    write::push(out, protocol, 3);
    write::bulk(out, word.as_bytes());
    match name {
        Some(name) => write::bulk(out, name),
        None => write::null(out, protocol),
    }
    write::integer(out, count as i64);
}
