//! Subscriptions (contract: S1 to S5).
//!
//! The idea: a worker subscribes a channel *once* at a node, however many of its clients want it, and
//! hands each message out among them.
//!
//! 1. A client's `SUBSCRIBE` names channels; each is looked up, or made, in the [`Hub`] ([`commands`]).
//! 2. [`place`] says at which nodes the channel has to be subscribed: an ordinary channel at one (each
//!    node of a cluster hears of every `PUBLISH`), a shard channel at its slot's owner, and what may be a
//!    keyspace notification at every primary, because each speaks of its own keys only.
//! 3. [`upstream`] asks the nodes, in batches, over connections of the hub's own. Once the node confirms,
//!    the clients that wait are answered: what is published from then on reaches them.
//! 4. A `PUBLISH` that comes meanwhile waits, so that it reaches them too ([`held`]).
//! 5. A message comes, and [`fan_out`] copies it to each subscriber, a bounded number in one turn.
//! 6. A connection is lost, a slot moves, a node leaves: `place` finds another node. Clients hear nothing of
//!    it; what was published meanwhile is gone, as it is for a client that reconnects, and counted as a gap.
//!
//! An ordinary channel stays where it is subscribed as long as that node is well: to move it would be
//! to risk a message. [`audience`] knows who is subscribed in the whole process, and [`census`] corrects
//! by it what the nodes count. To add a kind of subscription: a [`Kind`], its words, and a [`Reach`].

pub mod audience;
pub mod census;
mod channel;
mod commands;
mod fan_out;
mod held;
mod link;
mod place;
mod push;
mod tend;
mod upstream;
mod waiting;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

pub use audience::Audience;
pub use channel::Kind;
use channel::{Channel, ChannelKey};
pub use commands::Subscriptions;
use fan_out::FanOut;
use held::Held;
use link::Link;

use crate::pipeline::ClientKey;
use crate::routing::NodeKey;

/// So many copies of messages are made in one turn; then others have theirs.
pub const MESSAGE_COPIES_PER_TURN: usize = 512;

/// What a worker's clients are subscribed to, and where that is subscribed.
#[derive(Debug, Default)]
pub struct Hub {
    channels: Slab<Channel>,
    /// The channels by name, for each kind.
    names: [HashMap<Rc<[u8]>, ChannelKey>; Kind::ALL.len()],
    /// The connections to nodes; few, so they are searched.
    links: Vec<Link>,
    /// Channels that could not be placed, or were refused, and when to try again.
    unplaced: Vec<(ChannelKey, u64)>,
    /// Clients whose `SUBSCRIBE` waits; may name some that do not any more.
    waiting: Vec<ClientKey>,
    /// Clients whose `PUBLISH` waits for a `SUBSCRIBE`.
    held: Held,
    /// Subscribers that left more unread than the soft limit; may name some that have read it.
    slow: Vec<ClientKey>,
    /// Messages on their way to clients.
    fan_out: FanOut,
    /// The number of the last channel that was made.
    last_id: u64,
    /// Why a node could not be asked, the last time.
    last_obstacle: String,
    /// What a node said that does not accept the credentials, since the last look at those who wait.
    refusal: Option<Arc<str>>,
    /// What is interrupted at the moment.
    gap: Gap,
    /// The nodes are not read: too much is to be handed out.
    is_held_back: bool,
    /// Changes on their way to nodes, as they were counted last.
    changes_counted: usize,
}

/// Subscriptions that clients believe in and no node serves.
#[derive(Debug, Default)]
struct Gap {
    /// How many.
    open: usize,
    /// How many there were since the first of them.
    all: u64,
    /// When the first of them was interrupted, in microseconds on the process' clock.
    since_us: u64,
}

impl Hub {
    fn channel(&self, key: ChannelKey) -> Option<&Channel> {
        self.channels.get(key.index())
    }

    fn channel_mut(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.channels.get_mut(key.index())
    }

    fn find(&self, kind: Kind, name: &[u8]) -> Option<ChannelKey> {
        self.names[kind as usize].get(name).copied()
    }

    /// The channel of that name, made if nobody asked for it so far.
    fn find_or_make(&mut self, kind: Kind, name: &[u8]) -> ChannelKey {
        if let Some(key) = self.find(kind, name) {
            return key;
        }
        self.last_id += 1;
        let name: Rc<[u8]> = name.into();
        let channel = Channel::new(self.last_id, kind, Rc::clone(&name));
        let key = ChannelKey::new(self.channels.insert(channel));
        self.names[kind as usize].insert(name, key);
        key
    }

    /// Forgets a channel that nobody wants and no node serves.
    fn remove(&mut self, key: ChannelKey) {
        if let Some(channel) = self.channels.try_remove(key.index()) {
            self.names[channel.kind as usize].remove(&channel.name);
        }
    }

    fn link(&mut self, node: NodeKey) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.node == node)
    }

    /// Whether there is nothing to look after.
    pub(super) fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.links.is_empty()
    }

    fn keys(&self) -> Vec<ChannelKey> {
        let keys = self.channels.iter();
        keys.map(|(index, _)| ChannelKey::new(index)).collect()
    }
}
