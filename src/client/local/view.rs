//! What a client that asks for the cluster is shown: shards with their slots and nodes.
//!
//! Either this Keyway alone, as one node that owns every slot, or the real nodes at the addresses
//! they are dialled at (contract: C4). The replies in `cluster` are written from this, so that they
//! agree with each other.

use std::sync::Arc;

use super::World;
use crate::cluster::{Health, NodeIndex, Role, Slot, Topology};
use crate::config::ClusterView;

/// A shard: its slots, and its nodes with the primary first.
pub(super) struct ShardView {
    pub(super) id: String,
    /// First and last slot of each range, in order.
    pub(super) ranges: Vec<(u16, u16)>,
    pub(super) nodes: Vec<NodeView>,
}

/// A node as it is shown.
pub(super) struct NodeView {
    pub(super) id: String,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) health: Health,
}

/// All shards, ordered by their lowest slots; those without slots come last. There is none while no
/// snapshot is there and the real nodes are to be shown.
pub(super) fn shards(world: &World<'_>) -> Vec<ShardView> {
    match (world.cluster_view, world.topology) {
        (ClusterView::Single, _) => vec![this_keyway(world)],
        (ClusterView::Nodes, Some(topology)) => real_nodes(topology),
        (ClusterView::Nodes, None) => Vec::new(),
    }
}

/// The node that answers: this Keyway, or the first primary for whoever sees the real nodes.
pub(super) fn own_shard(world: &World<'_>) -> ShardView {
    let first = shards(world).into_iter().next();
    first.unwrap_or_else(|| this_keyway(world))
}

fn this_keyway(world: &World<'_>) -> ShardView {
    const LAST_SLOT: u16 = Slot::COUNT as u16 - 1;
    let place = format!("{}:{}", world.advertised_host, world.advertised_port);
    ShardView {
        id: id_of("shard", &place),
        ranges: vec![(0, LAST_SLOT)],
        nodes: vec![NodeView {
            id: id_of("node", &place),
            host: Arc::from(world.advertised_host),
            port: world.advertised_port,
            health: Health::Online,
        }],
    }
}

fn real_nodes(topology: &Topology) -> Vec<ShardView> {
    let mut ranges: Vec<Vec<(u16, u16)>> = vec![Vec::new(); topology.nodes.len()];
    for slot in (0..Slot::COUNT as u16).filter_map(Slot::new) {
        let owner = topology.owner(slot).map(|owner| usize::from(owner.0));
        let Some(ranges) = owner.and_then(|owner| ranges.get_mut(owner)) else {
            continue;
        };
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == slot.number() => *last += 1,
            _ => ranges.push((slot.number(), slot.number())),
        }
    }
    let mut shards = Vec::new();
    for (index, (primary, ranges)) in topology.nodes.iter().zip(ranges).enumerate() {
        if primary.role != Role::Primary {
            continue;
        }
        let is_here =
            |role: Role| matches!(role, Role::Replica(NodeIndex(of)) if usize::from(of) == index);
        let replicas = topology.nodes.iter().filter(|node| is_here(node.role));
        let nodes: Vec<NodeView> = std::iter::once(primary)
            .chain(replicas)
            .map(|node| NodeView {
                id: match &*node.id {
                    // A standalone server has none.
                    "" => id_of("node", &node.endpoint.to_string()),
                    id => id.to_owned(),
                },
                host: Arc::clone(&node.endpoint.host),
                port: node.endpoint.port,
                health: node.health,
            })
            .collect();
        let id = nodes.first().map_or("", |primary| &primary.id);
        shards.push(ShardView {
            id: id_of("shard", id),
            ranges,
            nodes,
        });
    }
    shards.sort_by_key(|shard| shard.ranges.first().map_or(u16::MAX, |range| range.0));
    shards
}

/// 40 hex digits that are always the same for the same name: clients keep them.
fn id_of(kind: &str, name: &str) -> String {
    let word = |salt: u64| {
        // FNV-1a; it only has to spread.
        let bytes = kind.bytes().chain(*b":").chain(name.bytes());
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.fold(0xcbf2_9ce4_8422_2325 ^ salt, step)
    };
    let mut id = format!("{:016x}{:016x}{:016x}", word(0), word(1), word(2));
    id.truncate(40);
    id
}
