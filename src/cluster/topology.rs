//! The immutable snapshot: which node owns which slot.

use std::sync::Arc;

use super::value::Value;
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
    /// The host name it announces, whether or not it is also what it announces to be dialled at; a
    /// certificate may be for it.
    pub hostname: Option<Arc<str>>,
    /// Primary or replica.
    pub role: Role,
    /// Health as the cluster sees it.
    pub health: Health,
    /// The epoch of its claim to its slots; where two nodes claim a slot, the higher one owns it.
    /// 0 where the servers do not tell.
    pub config_epoch: u64,
    /// Its availability zone, where it reports one (Valkey).
    pub zone: Option<Arc<str>>,
}

/// What a server says of itself when it is greeted with `HELLO`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Greeting {
    /// Its name: Valkey 7.2 says `redis`.
    pub server: Arc<str>,
    /// Its own version; a Valkey server does not give that of Redis here.
    pub version: Arc<str>,
    /// Its modules, each a list of field, value, field, value ...
    pub modules: Vec<Value>,
}

impl Greeting {
    /// Reads the reply to a `HELLO 2`; what it does not say is left empty.
    pub fn of_reply(reply: &Value) -> Greeting {
        let fields = reply.list().unwrap_or_default();
        let field = |name: &str| {
            let mut fields = fields.chunks_exact(2);
            fields.find_map(|field| (field[0].text() == Some(name)).then_some(&field[1]))
        };
        let text = |name| field(name).and_then(Value::text).unwrap_or_default().into();
        Greeting {
            server: text("server"),
            version: text("version"),
            modules: field("modules")
                .and_then(Value::list)
                .unwrap_or_default()
                .to_vec(),
        }
    }
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
    /// `redis` or `valkey`.
    pub server_name: Arc<str>,
    /// The `redis_version` that the servers report, for instance `7.0.15`; for Valkey that is the
    /// Redis version it is compatible with (`7.2.4`). Empty if they do not tell.
    pub server_version: Arc<str>,
    /// The `valkey_version` that the servers report, for instance `8.0.1`; empty for Redis.
    pub valkey_version: Arc<str>,
    /// How those servers greet; empty if none was asked yet.
    pub greeting: Arc<Greeting>,
    /// When the fetch of this view began, in microseconds on the process' own clock
    /// (`telemetry::clock`); a redirect newer than this wins over it.
    pub as_of_us: u64,
    /// Owner of each slot; `UNOWNED` where nobody owns it.
    owners: Arc<[u16]>,
}

pub(super) const UNOWNED: u16 = u16::MAX;

impl Topology {
    /// A snapshot in which nobody owns anything yet.
    pub fn new(mode: Mode, nodes: Vec<Node>) -> Self {
        Topology {
            version: 0,
            mode,
            nodes,
            server_name: Arc::from("redis"),
            server_version: Arc::from(""),
            valkey_version: Arc::from(""),
            greeting: Arc::default(),
            as_of_us: 0,
            owners: Arc::from(vec![UNOWNED; Slot::COUNT]),
        }
    }

    /// Whether the servers are Valkey of this major version or a later one.
    pub fn is_valkey(&self, since_major: u32) -> bool {
        let major = self.valkey_version.split('.').next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major >= since_major)
    }

    /// Gives a slot to a node.
    pub fn assign(&mut self, slot: Slot, node: NodeIndex) {
        Arc::make_mut(&mut self.owners)[slot.index()] = node.0;
    }

    /// Gives every slot at once: `owners` has the owner's index for each slot, `u16::MAX` for none.
    pub(super) fn assign_all(&mut self, owners: Vec<u16>) {
        debug_assert_eq!(owners.len(), Slot::COUNT);
        self.owners = owners.into();
    }

    /// The index of the owner of each slot, `UNOWNED` for none.
    pub(super) fn owners(&self) -> &[u16] {
        &self.owners
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

    /// The node with this id.
    pub fn node_by_id(&self, id: &str) -> Option<NodeIndex> {
        let place = self
            .nodes
            .binary_search_by(|node| (*node.id).cmp(id))
            .ok()?;
        u16::try_from(place).ok().map(NodeIndex)
    }

    /// The node that is dialled at `endpoint` (after the address map).
    pub fn node_at(&self, endpoint: &Endpoint) -> Option<NodeIndex> {
        let place = self
            .nodes
            .iter()
            .position(|node| node.endpoint == *endpoint);
        u16::try_from(place?).ok().map(NodeIndex)
    }

    /// How many slots nobody owns.
    pub fn unowned(&self) -> usize {
        self.owners
            .iter()
            .filter(|owner| **owner == UNOWNED)
            .count()
    }

    /// Whether the other snapshot sends every request to the same place and says the same of every
    /// node and the servers. Version, time and config epochs do not count, nor how a server greets, which may
    /// differ from node to node: a snapshot that differs only there need not be published.
    pub fn same_map(&self, other: &Topology) -> bool {
        let same_node = |(a, b): (&Node, &Node)| {
            a.id == b.id
                && a.endpoint == b.endpoint
                && a.announced == b.announced
                && a.hostname == b.hostname
                && a.role == b.role
                && a.health == b.health
                && a.zone == b.zone
        };
        self.mode == other.mode
            && self.server_name == other.server_name
            && self.server_version == other.server_version
            && self.valkey_version == other.valkey_version
            && self.owners == other.owners
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same_node)
    }

    /// Whether the other snapshot sends the requests for every slot to the same endpoint.
    pub fn same_routes(&self, other: &Topology) -> bool {
        let endpoint = |topology: &'_ Topology, owner: u16| {
            let node = topology.node(NodeIndex(owner));
            node.map(|node| node.endpoint.clone())
        };
        // Runs of slots repeat the same pair of owners: look the endpoints up once a run.
        let mut compared = None;
        let mut pairs = self.owners.iter().zip(other.owners.iter());
        pairs.all(|(ours, theirs)| {
            if compared == Some((*ours, *theirs)) {
                return true;
            }
            compared = Some((*ours, *theirs));
            endpoint(self, *ours) == endpoint(other, *theirs)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes may list their modules in different orders, and another node may answer first each time.
    #[test]
    fn how_a_server_greets_makes_no_new_map() {
        let one = Topology::new(Mode::Cluster, Vec::new());
        let mut other = one.clone();
        other.greeting = Arc::new(Greeting {
            server: Arc::from("valkey"),
            ..Greeting::default()
        });
        assert!(one.same_map(&other));
        other.server_version = Arc::from("7.2.5");
        assert!(!one.same_map(&other));
    }
}
