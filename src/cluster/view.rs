//! What one node says about the cluster: the common shape of `CLUSTER SHARDS`, `CLUSTER SLOTS` and
//! `CLUSTER NODES`.
//!
//! No reply tells everything. `CLUSTER NODES` has config epochs, who is `myself` and exact roles, but
//! shows addresses rather than the endpoint the operator prefers, and no loading replicas.
//! `CLUSTER SHARDS` (`CLUSTER SLOTS` before Redis 7) has those, but no epochs. So both are asked at
//! once and joined by [`View::joined`]; each alone is good enough when the other is refused.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoint::announced_host;
use super::{Endpoint, Health, Slot};

/// More nodes than any cluster has; larger replies are refused.
pub const NODES_MAX: usize = 8192;
/// As many ranges as there are slots; a reply with more repeats itself.
const RANGES_MAX: usize = Slot::COUNT;

/// One node's view of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The id of the node that answered, where it said so (`CLUSTER NODES`).
    pub viewer: Option<Arc<str>>,
    /// The nodes it knows, in the order of the reply; each id once.
    pub nodes: Vec<Seen>,
}

/// One node in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The node id; before Redis 4 its endpoint stands in for it.
    pub id: Arc<str>,
    /// Where it says it is. `None`: not known to the one who answered.
    pub announced: Option<Announced>,
    /// The host name it announces (`cluster-announce-hostname`), where the reply tells it.
    pub hostname: Option<Arc<str>>,
    /// Primary or replica.
    pub role: SeenRole,
    /// Failed only if the cluster agreed.
    pub health: Health,
    /// The one who answered cannot reach it (`fail?`); others may.
    pub is_suspected: bool,
    /// The slots it owns.
    pub slots: Vec<SlotRange>,
    /// Its config epoch (a replica shows its primary's); 0 where the reply has none.
    pub config_epoch: u64,
    /// Its availability zone, where it reports one (Valkey).
    pub zone: Option<Arc<str>>,
}

/// A node's announced endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The endpoint, before the address map.
    pub endpoint: Endpoint,
    /// The host was left empty and is that of the connection that answered; another node's word, if
    /// there is one, is better.
    pub is_same_host: bool,
}

/// A node's role in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenRole {
    /// Takes writes.
    Primary,
    /// Follows the primary with this id; `None` where the reply does not name it.
    Replica(Option<Arc<str>>),
}

/// Slots from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: Slot,
    /// The last slot, not below `first`.
    pub last: Slot,
}

/// How the reply came here.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Where the connection was dialled.
    pub by: &'a Endpoint,
    /// Whether it speaks TLS, which decides between `port` and `tls-port`.
    pub over_tls: bool,
}

/// A reply that is no view. The view is refused as a whole: half a view would look like lost slots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply to {command} cannot be used: {problem}")]
pub struct ViewError {
    /// The command that was asked.
    pub command: &'static str,
    /// What is wrong with the reply.
    pub problem: &'static str,
}

impl SlotRange {
    /// The range, if both are slots and in order.
    pub fn new(first: i64, last: i64) -> Option<SlotRange> {
        let slot = |number: i64| Slot::new(u16::try_from(number).ok()?);
        (first <= last).then_some(SlotRange {
            first: slot(first)?,
            last: slot(last)?,
        })
    }
}

impl Seen {
    /// A healthy primary without slots; parsers fill in the rest.
    pub(super) fn new(id: &str) -> Seen {
        Seen {
            id: id.into(),
            announced: None,
            hostname: None,
            role: SeenRole::Primary,
            health: Health::Online,
            is_suspected: false,
            slots: Vec::new(),
            config_epoch: 0,
            zone: None,
        }
    }
}

impl Answered<'_> {
    /// The endpoint for an announced host and port. An empty host is the host that answered.
    pub(super) fn announced(&self, host: &str, port: u16) -> Option<Announced> {
        if port == 0 {
            return None;
        }
        let is_same_host = host.is_empty();
        let host = if is_same_host {
            self.by.host.clone()
        } else {
            announced_host(host)?
        };
        Some(Announced {
            endpoint: Endpoint { host, port },
            is_same_host,
        })
    }
}

impl View {
    /// The node that answered, as it sees itself.
    pub fn myself(&self) -> Option<&Seen> {
        let viewer = self.viewer.as_ref()?;
        self.nodes.iter().find(|node| node.id == *viewer)
    }

    /// Whether most primaries that own slots look reachable to the one who answered. In a minority
    /// they do not.
    pub fn sees_majority(&self) -> bool {
        let owners = self.nodes.iter().filter(|node| !node.slots.is_empty());
        let (mut all, mut reachable) = (0usize, 0usize);
        for owner in owners {
            all += 1;
            let is_up = !owner.is_suspected && owner.health != Health::Failed;
            reachable += usize::from(is_up);
        }
        reachable * 2 > all
    }

    /// The highest config epoch in it.
    pub fn epoch(&self) -> u64 {
        let epochs = self.nodes.iter().map(|node| node.config_epoch);
        epochs.max().unwrap_or(0)
    }

    /// This view (`CLUSTER NODES`) with what only the listing (`CLUSTER SHARDS` or `CLUSTER SLOTS`
    /// from the same node) knows: preferred endpoints, loading replicas, zones. Who owns what stays
    /// as here: where a shard has two primaries for a moment, `CLUSTER SHARDS` cannot tell them apart.
    pub fn joined(mut self, listing: View) -> View {
        let mut listed: HashMap<Arc<str>, Seen> = listing
            .nodes
            .into_iter()
            .map(|node| (node.id.clone(), node))
            .collect();
        for node in &mut self.nodes {
            let Some(other) = listed.remove(&node.id) else {
                continue;
            };
            if other.announced.is_some() {
                node.announced = other.announced;
            }
            if node.health == Health::Online && other.health == Health::Loading {
                node.health = Health::Loading;
            }
            if other.hostname.is_some() {
                node.hostname = other.hostname;
            }
            if other.zone.is_some() {
                node.zone = other.zone;
            }
        }
        self
    }

    /// Adds a node unless its id is there already.
    pub(super) fn add(&mut self, node: Seen) -> Result<(), &'static str> {
        if self.nodes.len() >= NODES_MAX {
            return Err("it has too many nodes");
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Removes later entries with an id seen before, and refuses absurdly many ranges.
    pub(super) fn checked(mut self) -> Result<View, &'static str> {
        let ranges: usize = self.nodes.iter().map(|node| node.slots.len()).sum();
        if ranges > RANGES_MAX {
            return Err("it has more slot ranges than there are slots");
        }
        let mut seen = std::collections::HashSet::with_capacity(self.nodes.len());
        self.nodes.retain(|node| seen.insert(node.id.clone()));
        Ok(self)
    }
}
