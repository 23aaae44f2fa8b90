//! One channel, pattern or shard channel: who wants it, and which nodes serve it.

use std::collections::HashSet;
use std::rc::Rc;

use crate::cluster::Slot;
use crate::command::Subscription;
use crate::pipeline::ClientKey;
use crate::routing::{NodeKey, glob};

/// What kind of name a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

impl Kind {
    /// All of them; a variant's discriminant is its place here.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    /// The kind a command is about, and whether it subscribes.
    pub(super) fn of(subscription: Subscription) -> (Kind, bool) {
        match subscription {
            Subscription::Subscribe => (Kind::Channel, true),
            Subscription::Unsubscribe => (Kind::Channel, false),
            Subscription::PSubscribe => (Kind::Pattern, true),
            Subscription::PUnsubscribe => (Kind::Pattern, false),
            Subscription::SSubscribe => (Kind::Shard, true),
            Subscription::SUnsubscribe => (Kind::Shard, false),
        }
    }

    /// The command that subscribes; its confirmations begin with it.
    pub(super) fn join_word(self) -> &'static str {
        match self {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        }
    }

    /// The command that ends it; its confirmations begin with it.
    pub(super) fn part_word(self) -> &'static str {
        match self {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
            Kind::Shard => "sunsubscribe",
        }
    }
}

/// At which nodes a channel has to be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// At any one; the slot's owner is tried first, which spreads the channels over the nodes.
    One(Slot),
    /// At the slot's owner and nowhere else.
    Owner(Slot),
    /// At every primary: it may be a keyspace notification (contract: S3).
    Primaries,
}

/// How the channels begin of which each node speaks for itself.
const NOTIFICATIONS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Whether each node publishes to this channel for itself.
pub(super) fn is_notification(channel: &[u8]) -> bool {
    NOTIFICATIONS
        .iter()
        .any(|prefix| channel.starts_with(prefix))
}

impl Reach {
    fn of(kind: Kind, name: &[u8]) -> Reach {
        let slot = Slot::of_key(name);
        let is_everywhere = match kind {
            Kind::Channel => is_notification(name),
            Kind::Pattern => NOTIFICATIONS
                .iter()
                .any(|prefix| glob::reaches(name, prefix)),
            Kind::Shard => return Reach::Owner(slot),
        };
        match is_everywhere {
            true => Reach::Primaries,
            false => Reach::One(slot),
        }
    }
}

/// A channel's place in the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChannelKey(u32);

impl ChannelKey {
    /// More than 2^32 channels do not fit into memory.
    pub(super) fn new(index: usize) -> Self {
        ChannelKey(index as u32)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How far a node is with a channel.
///
/// ```text
/// Off --> Joining --> On --> Parting --> Off
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpotState {
    /// Nothing was sent.
    Off,
    /// It was asked to subscribe and has not confirmed.
    Joining,
    /// It is subscribed.
    On,
    /// It was asked to unsubscribe and has not confirmed.
    Parting,
}

/// A node where a channel is subscribed, is to be, or is not any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub node: NodeKey,
    pub state: SpotState,
    /// Whether it should be subscribed there.
    pub is_wanted: bool,
}

impl Spot {
    pub(super) fn is_serving(&self) -> bool {
        self.is_wanted && self.state == SpotState::On
    }
}

/// A client that is subscribed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub client: ClientKey,
    /// The last message that was handed to it; at first, the last before it came.
    pub seen: u64,
}

/// Who waits for a channel to be in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// No client.
    ByNobody,
    /// A client, since this time of its worker's running, and what is published waits with it.
    Soon {
        /// In microseconds.
        since_us: u64,
    },
    /// A client, for so long that what is published does not wait any more.
    Late,
}

/// One channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Never used again, unlike its place in the hub.
    pub id: u64,
    pub kind: Kind,
    pub name: Rc<[u8]>,
    pub reach: Reach,
    /// Those who were told that they are subscribed.
    pub subscribers: Vec<Subscriber>,
    /// Those whose `SUBSCRIBE` waits.
    pub waiting: HashSet<ClientKey>,
    /// Whether a `PUBLISH` to it waits for those.
    pub awaited: Awaited,
    pub spots: Vec<Spot>,
    /// The node whose messages count; of notifications every node's do.
    pub home: Option<NodeKey>,
    /// Whether every message published from now on will come.
    pub is_in_effect: bool,
    /// When it was interrupted while it had subscribers, in microseconds.
    pub interrupted_us: Option<u64>,
    /// It is not asked for anew before this time, in microseconds.
    pub not_before_us: u64,
    /// A refusal of it is no refusal of others that were asked for in the same command.
    pub is_alone: bool,
    /// How often in a row a node sent it elsewhere.
    pub hops: u8,
}

impl Channel {
    pub(super) fn new(id: u64, kind: Kind, name: Rc<[u8]>) -> Self {
        Channel {
            id,
            kind,
            reach: Reach::of(kind, &name),
            name,
            subscribers: Vec::new(),
            waiting: HashSet::new(),
            awaited: Awaited::ByNobody,
            spots: Vec::new(),
            home: None,
            is_in_effect: false,
            interrupted_us: None,
            not_before_us: 0,
            is_alone: false,
            hops: 0,
        }
    }

    /// Whether anybody wants it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty() || !self.waiting.is_empty()
    }

    pub(super) fn spot(&self, node: NodeKey) -> Option<&Spot> {
        self.spots.iter().find(|spot| spot.node == node)
    }

    pub(super) fn spot_mut(&mut self, node: NodeKey) -> Option<&mut Spot> {
        self.spots.iter_mut().find(|spot| spot.node == node)
    }

    /// Whether a message from this node is for the subscribers; `channel` is what it was published to.
    pub(super) fn listens_to(&self, node: NodeKey, channel: &[u8]) -> bool {
        self.home == Some(node) || (self.reach == Reach::Primaries && is_notification(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: S3
    #[test]
    fn notifications_are_wanted_from_every_primary() {
        let reach = |kind, name: &str| Reach::of(kind, name.as_bytes());
        let one = |name: &str| Reach::One(Slot::of_key(name.as_bytes()));
        assert_eq!(reach(Kind::Channel, "news"), one("news"));
        assert_eq!(reach(Kind::Channel, "__keyspace@0__:k"), Reach::Primaries);
        assert_eq!(reach(Kind::Channel, "__keyevent@0__:del"), Reach::Primaries);
        assert_eq!(reach(Kind::Pattern, "__keyevent@*"), Reach::Primaries);
        assert_eq!(reach(Kind::Pattern, "*"), Reach::Primaries);
        assert_eq!(reach(Kind::Pattern, "news.*"), one("news.*"));
        assert_eq!(
            reach(Kind::Shard, "__keyspace@0__:k"),
            Reach::Owner(Slot::of_key(b"__keyspace@0__:k"))
        );
    }
}
