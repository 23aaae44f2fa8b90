//! The immutable snapshot: which node owns which slot.

use std::sync::Arc;

use super::{Endpoint, Slot};

/// A node's place in [`Topology::nodes`]; means nothing in another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub u16);

/// What kind of deployment answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A Redis or Valkey Cluster.
    Cluster,
    /// One server with cluster support off: one node that owns all slots, and no CROSSSLOT.
    Standalone,
}

/// A node's part in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns slots (or may), takes writes.
    Primary,
    /// Follows the primary at this index.
    Replica(NodeIndex),
}

/// What the cluster says of a node's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// In service.
    Online,
    /// A replica that is still loading or synchronising.
    Loading,
    /// The cluster agreed that it failed.
    Failed,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The 40-digit node id; empty for a standalone server.
    pub id: Arc<str>,
    /// Where to dial it: what it announced, after the address map (contract: R12).
    pub endpoint: Endpoint,
    /// What it announced, before the address map.
    pub announced: Endpoint,
    /// Primary or replica.
    pub role: Role,
    /// Health as the cluster sees it.
    pub health: Health,
}

/// An immutable snapshot of the deployment.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Counts the snapshots published by this process, from 1.
    pub version: u64,
    /// Cluster or one standalone server.
    pub mode: Mode,
    /// Every known node; sorted by id, so that equal views compare equal.
    pub nodes: Vec<Node>,
    /// `redis_version` of the server that answered, for instance `7.0.15` (for Valkey, its
    /// `valkey_version`... see `server_name`).
    pub server_version: Arc<str>,
    /// `redis` or `valkey`.
    pub server_name: Arc<str>,
    /// When the fetch of this view began, in microseconds on the process' own clock
    /// (`telemetry::clock`); a redirect newer than this wins over it.
    pub as_of_us: u64,
    /// Owner of each slot; `UNOWNED` where nobody owns it.
    owners: Box<[u16]>,
}

const UNOWNED: u16 = u16::MAX;

impl Topology {
    /// A snapshot in which nobody owns anything yet.
    pub fn new(mode: Mode, nodes: Vec<Node>) -> Self {
        Topology {
            version: 0,
            mode,
            nodes,
            server_version: Arc::from(""),
            server_name: Arc::from("redis"),
            as_of_us: 0,
            owners: vec![UNOWNED; Slot::COUNT].into_boxed_slice(),
        }
    }

    /// Gives a slot to a node.
    pub fn assign(&mut self, slot: Slot, node: NodeIndex) {
        self.owners[slot.index()] = node.0;
    }

    /// The primary that owns a slot.
    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        match self.owners[slot.index()] {
            UNOWNED => None,
            index => Some(NodeIndex(index)),
        }
    }

    /// The node at an index of this snapshot.
    pub fn node(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(usize::from(index.0))
    }

    /// The primaries that own at least one slot, each with the lowest slot it owns, in the order of
    /// those slots.
    pub fn shards(&self) -> Vec<(Slot, NodeIndex)> {
        let mut seen = vec![false; self.nodes.len()];
        let mut shards = Vec::new();
        for number in 0..Slot::COUNT as u16 {
            let Some(slot) = Slot::new(number) else {
                continue;
            };
            let Some(owner) = self.owner(slot) else {
                continue;
            };
            if let Some(seen) = seen.get_mut(usize::from(owner.0))
                && !std::mem::replace(seen, true)
            {
                shards.push((slot, owner));
            }
        }
        shards
    }
}
