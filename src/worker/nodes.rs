//! The nodes as one worker sees them, and which of them owns which slot right now.
//!
//! The slot table is the worker's own copy of the snapshot: a `MOVED` changes it at once, long before
//! the next snapshot (contract: R3). Nodes keep their number as long as they are in use, so that
//! connections and requests outlive snapshots (contract: R10).

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::node_reads::NodeReads;
use super::replica_facts::ReplicaFacts;
use crate::cluster::{Endpoint, Health, Mode, NodeIndex, Role, Slot, Topology};
use crate::resp::Protocol;
use crate::routing::{NodeKey, Target};

/// A connection's place in the worker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey(pub u32);

/// One node.
#[derive(Debug)]
pub struct WorkerNode {
    /// Where it is dialled.
    pub endpoint: Endpoint,
    /// What it announces; a `MOVED` without a host means this host.
    pub announced: Endpoint,
    /// The shared connection for each protocol version.
    connections: [Option<ConnectionKey>; 2],
    /// Not dialled before this time (microseconds), because it could not be reached.
    pub retry_at_us: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last attempt failed; shown to clients whose deadline passed.
    pub last_failure: Option<Arc<str>>,
    /// It does not know the identity's credentials, or has not got the database: what clients are told at once until the next attempt.
    pub(super) refusal: Option<Arc<str>>,
    /// Whether the current snapshot knows it (or a redirect named it since).
    pub is_member: bool,
    /// Whether the cluster agreed that it failed.
    pub has_failed: bool,
    /// Since when it is a primary, in microseconds. A snapshot that lacks it does not end that.
    primary_since_us: Option<u64>,
    /// Its part in reading from replicas.
    pub reads: NodeReads,
}

/// The nodes and the slot table.
#[derive(Debug)]
pub struct Nodes {
    nodes: Slab<WorkerNode>,
    by_endpoint: HashMap<Endpoint, NodeKey>,
    owners: Box<[u32]>,
    /// Slots that a redirect changed, with the time: a snapshot that is older does not undo them.
    redirected: Vec<(Slot, NodeKey, u64)>,
    /// Primaries with slots, each with its lowest slot, in that order.
    shards: Vec<(Slot, NodeKey)>,
    /// Replicas in service.
    replicas: Vec<NodeKey>,
    /// Replicas that load or synchronise.
    settling_replicas: Vec<NodeKey>,
    /// The snapshot this was made from.
    topology: Option<Arc<Topology>>,
    next_any: usize,
    /// What the control thread found out about replicas.
    pub(super) replica_facts: Arc<ReplicaFacts>,
    /// Slots whose keys are leaving, and until when that is believed.
    pub(super) moving: Vec<(Slot, u64)>,
}

const UNOWNED: u32 = u32::MAX;

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            nodes: Slab::new(),
            by_endpoint: HashMap::new(),
            owners: vec![UNOWNED; Slot::COUNT].into_boxed_slice(),
            redirected: Vec::new(),
            shards: Vec::new(),
            replicas: Vec::new(),
            settling_replicas: Vec::new(),
            topology: None,
            next_any: 0,
            replica_facts: Arc::default(),
            moving: Vec::new(),
        }
    }
}

impl Nodes {
    /// The node that owns a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<NodeKey> {
        match self.owners[slot.index()] {
            UNOWNED => None,
            key => Some(NodeKey(key)),
        }
    }

    /// Any primary; another one each time.
    pub fn any_primary(&mut self) -> Option<NodeKey> {
        self.next_any = self.next_any.wrapping_add(1);
        let (_, key) = self.shards.get(self.next_any % self.shards.len().max(1))?;
        Some(*key)
    }

    /// The primaries, each with the lowest slot it owns, in the order of those slots.
    pub fn shards(&self) -> &[(Slot, NodeKey)] {
        &self.shards
    }

    /// Every primary as a target. `None` while a redirect has named an owner that the snapshot does not
    /// know as a primary; the next snapshot tells whether it took over from one of them or came to
    /// them.
    pub fn primaries(&self) -> Option<Vec<Target>> {
        let is_known = |key: NodeKey| self.shards.iter().any(|(_, known)| *known == key);
        let mut redirects = self.redirected.iter();
        if !redirects.all(|(slot, ..)| self.owner(*slot).is_none_or(is_known)) {
            return None;
        }
        // One whose last slot was redirected is no primary any more.
        let shards = self.shards.iter();
        let primaries = shards.filter(|(slot, key)| self.is_primary(*key, *slot));
        Some(
            primaries
                .map(|(slot, key)| Target::Primary(*key, *slot))
                .collect(),
        )
    }

    /// Whether a node owns any slot; `slot` is one that it owned.
    pub fn is_primary(&self, key: NodeKey, slot: Slot) -> bool {
        self.owner(slot) == Some(key) || self.owns_slots(key)
    }

    /// Whether a node was a primary at a time, and has been one since.
    pub fn was_primary(&self, key: NodeKey, at_us: u64) -> bool {
        let since_us = self.get(key).and_then(|node| node.primary_since_us);
        since_us.is_some_and(|since_us| since_us <= at_us)
    }

    /// Whether every slot has an owner.
    pub fn is_covered(&self) -> bool {
        self.owners.iter().all(|owner| *owner != UNOWNED)
    }

    /// The replicas in service.
    pub fn replicas(&self) -> &[NodeKey] {
        &self.replicas
    }

    /// The replicas that a request to every node goes to: also those that load or synchronise. They take part in
    /// what operators set and read, and may be primaries before it is set anew.
    pub fn replicas_to_ask(&self) -> impl Iterator<Item = NodeKey> {
        let settling = self.settling_replicas.iter();
        self.replicas.iter().chain(settling).copied()
    }

    /// The snapshot in use.
    pub fn topology(&self) -> Option<&Arc<Topology>> {
        self.topology.as_ref()
    }

    /// Whether the deployment is one standalone server, which knows no slots.
    #[inline]
    pub fn is_standalone(&self) -> bool {
        self.topology
            .as_ref()
            .is_some_and(|topology| topology.mode == Mode::Standalone)
    }

    /// The node that the snapshot, and not a later redirect, names as the owner of a slot.
    pub fn snapshot_owner(&self, slot: Slot) -> Option<NodeKey> {
        let topology = self.topology.as_ref()?;
        let node = topology.node(topology.owner(slot)?)?;
        self.by_endpoint.get(&node.endpoint).copied()
    }

    /// The node with this number.
    #[inline]
    pub fn get(&self, key: NodeKey) -> Option<&WorkerNode> {
        self.nodes.get(key.0 as usize)
    }

    /// The node with this number, to change it.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut WorkerNode> {
        self.nodes.get_mut(key.0 as usize)
    }

    /// Every node, to change it.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeKey, &mut WorkerNode)> {
        let nodes = self.nodes.iter_mut();
        nodes.map(|(index, node)| (NodeKey(index as u32), node))
    }

    /// Whether a node is a primary with replicas.
    pub(super) fn has_replicas(&self, key: NodeKey) -> bool {
        self.get(key)
            .is_some_and(|node| !node.reads.replicas.is_empty())
    }

    /// The shared connection to a node.
    #[inline]
    pub fn connection(&self, key: NodeKey, protocol: Protocol) -> Option<ConnectionKey> {
        self.get(key)?.connections[protocol as usize]
    }

    /// Sets or clears the shared connection to a node.
    pub fn set_connection(
        &mut self,
        key: NodeKey,
        protocol: Protocol,
        connection: Option<ConnectionKey>,
    ) {
        if let Some(node) = self.get_mut(key) {
            node.connections[protocol as usize] = connection;
        }
    }

    /// A redirect named the owner of a slot. Returns whether that is news.
    pub fn redirect(&mut self, slot: Slot, to: NodeKey, now_us: u64) -> bool {
        if self.owner(slot) == Some(to) {
            return false;
        }
        self.owners[slot.index()] = to.0;
        self.redirected.push((slot, to, now_us));
        if let Some(node) = self.get_mut(to) {
            node.primary_since_us.get_or_insert(now_us);
        }
        true
    }

    /// The number of the node at `endpoint`; a node that was never seen gets one.
    pub fn at(&mut self, endpoint: Endpoint, announced: Endpoint) -> NodeKey {
        if let Some(key) = self.by_endpoint.get(&endpoint).copied() {
            if let Some(node) = self.get_mut(key) {
                node.is_member = true;
                node.announced = announced;
            }
            return key;
        }
        let index = self.nodes.insert(WorkerNode {
            endpoint: endpoint.clone(),
            announced,
            connections: [None; 2],
            retry_at_us: 0,
            failures: 0,
            last_failure: None,
            refusal: None,
            is_member: true,
            has_failed: false,
            primary_since_us: None,
            reads: NodeReads::default(),
        });
        let key = NodeKey(index as u32);
        self.by_endpoint.insert(endpoint, key);
        key
    }

    /// Takes over a snapshot. Returns whether any slot has another owner than before.
    pub fn apply(&mut self, topology: Arc<Topology>, now_us: u64) -> bool {
        for (_, node) in &mut self.nodes {
            node.is_member = false;
            node.reads.replicas.clear();
        }
        let keys: Vec<NodeKey> = topology
            .nodes
            .iter()
            .map(|node| self.at(node.endpoint.clone(), node.announced.clone()))
            .collect();
        for (node, key) in topology.nodes.iter().zip(&keys) {
            if let Some(known) = self.get_mut(*key) {
                known.has_failed = node.health == Health::Failed;
            }
        }
        let before = self.owners.clone();
        let key_of = |index: NodeIndex| keys.get(usize::from(index.0)).copied();
        for number in 0..Slot::COUNT as u16 {
            let Some(slot) = Slot::new(number) else {
                continue;
            };
            let owner = topology.owner(slot).and_then(key_of);
            self.owners[slot.index()] = owner.map_or(UNOWNED, |key| key.0);
        }
        let as_of_us = topology.as_of_us;
        self.redirected.retain(|(_, _, at_us)| *at_us > as_of_us);
        for (slot, key, _) in &self.redirected {
            self.owners[slot.index()] = key.0;
            if let Some(node) = self.nodes.get_mut(key.0 as usize) {
                node.is_member = true;
            }
        }
        self.shards = topology
            .shards()
            .into_iter()
            .filter_map(|(slot, index)| Some((slot, key_of(index)?)))
            .collect();
        for (_, key) in self.shards.clone() {
            if let Some(node) = self.get_mut(key) {
                node.primary_since_us.get_or_insert(now_us);
            }
        }
        let replicas_that_are = |health| {
            let nodes = topology.nodes.iter().zip(&keys);
            nodes
                .filter(|(node, _)| matches!(node.role, Role::Replica(_)) && node.health == health)
                .map(|(_, key)| *key)
                .collect()
        };
        self.replicas = replicas_that_are(Health::Online);
        self.settling_replicas = replicas_that_are(Health::Loading);
        for (node, key) in topology.nodes.iter().zip(&keys) {
            let Role::Replica(primary) = node.role else {
                continue;
            };
            if let Some(node) = self.get_mut(*key) {
                node.primary_since_us = None;
            }
            if let Some(primary) = key_of(primary).and_then(|primary| self.get_mut(primary)) {
                primary.reads.replicas.push(*key);
            }
        }
        self.topology = Some(topology);
        self.refresh_replica_facts();
        self.owners != before
    }

    /// Whether there are nodes that left.
    pub(super) fn has_strangers(&self) -> bool {
        self.nodes.iter().any(|(_, node)| !node.is_member)
    }

    /// Forgets nodes that left and have no connection any more. Requests that wait for such a node
    /// hold its number, so a number is only given up while `is_waited_for` says no. Returns those that were: each
    /// will be another node's.
    pub fn forget_strangers(&mut self, is_waited_for: impl Fn(NodeKey) -> bool) -> Vec<NodeKey> {
        let mut forgotten = Vec::new();
        let by_endpoint = &mut self.by_endpoint;
        self.nodes.retain(|index, node| {
            let is_kept = node.is_member
                || node.connections.iter().any(Option::is_some)
                || node.reads.connections.iter().any(Option::is_some)
                || is_waited_for(NodeKey(index as u32));
            if !is_kept {
                by_endpoint.remove(&node.endpoint);
                forgotten.push(NodeKey(index as u32));
            }
            is_kept
        });
        forgotten
    }

    /// Whether there is a node at this endpoint, as far as anybody has heard.
    pub(super) fn knows(&self, endpoint: &Endpoint) -> bool {
        self.by_endpoint.contains_key(endpoint)
    }

    /// Whether a node owns any slot in the worker's table.
    pub fn owns_slots(&self, key: NodeKey) -> bool {
        self.owners.contains(&key.0)
    }
}
