//! Which node of a shard serves a read: a pure function of the policy and of how the nodes stand.
//!
//! The same reader gets the same node for as long as that one can serve (the highest of all
//! candidates' hashes with the reader's own, so that a candidate that leaves moves only its own
//! readers): its reads do not jump between nodes that are behind by different times.

use super::replica_facts::Fitness;
use crate::config::ReadPolicy;
use crate::routing::NodeKey;

/// How a node stands at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeKey,
    /// Whether it can be reached, as far as is known.
    pub is_reachable: bool,
    /// Whether it is in this Keyway's zone.
    pub is_near: bool,
    /// Whether it may serve reads; means nothing for a primary.
    pub fitness: Fitness,
}

/// Where a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To the primary, because the policy says so.
    Primary,
    /// To the primary, because no replica can serve.
    NoReplica,
    /// To this replica.
    Replica(NodeKey),
}

/// Chooses the node for a read. `reader` is the same for reads that should stay together; `fastest` is
/// the node that answers fastest, once that is known.
pub fn choose(
    policy: ReadPolicy,
    reader: u64,
    primary: Standing,
    replicas: impl Iterator<Item = Standing> + Clone,
    fastest: Option<NodeKey>,
) -> Choice {
    let fit = |replica: &Standing| replica.is_reachable && replica.fitness == Fitness::Fit;
    let best = |is_wanted: &dyn Fn(&Standing) -> bool| {
        let wanted = replicas.clone().filter(|replica| is_wanted(replica));
        let best = wanted.max_by_key(|replica| score(reader, replica.node));
        best.map(|replica| Choice::Replica(replica.node))
    };
    let any = || best(&fit).unwrap_or(Choice::NoReplica);
    let choice = match policy {
        ReadPolicy::Primary => Choice::Primary,
        ReadPolicy::PreferReplica => any(),
        ReadPolicy::Any => match best(&fit) {
            Some(Choice::Replica(replica))
                if score(reader, replica) > score(reader, primary.node) =>
            {
                Choice::Replica(replica)
            }
            Some(_) => Choice::Primary,
            None => Choice::NoReplica,
        },
        ReadPolicy::LowestLatency => match fastest {
            Some(node) if node != primary.node => {
                best(&|replica| fit(replica) && replica.node == node).unwrap_or(Choice::Primary)
            }
            Some(_) | None => Choice::Primary,
        },
        ReadPolicy::SameZone => match best(&|replica| fit(replica) && replica.is_near) {
            Some(near) => near,
            None if primary.is_near => Choice::Primary,
            None => any(),
        },
    };
    let is_primary = matches!(choice, Choice::Primary | Choice::NoReplica);
    if is_primary && !primary.is_reachable && policy != ReadPolicy::Primary {
        // Better a read that is a little late than none at all.
        let is_close = |replica: &Standing| replica.fitness != Fitness::Unfit;
        return best(&fit)
            .or_else(|| best(&|replica| replica.is_reachable && is_close(replica)))
            .unwrap_or(Choice::NoReplica);
    }
    choice
}

/// Rendezvous hashing.
fn score(reader: u64, node: NodeKey) -> u64 {
    // The finalizer of splitmix64.
    let mut mixed = reader ^ (u64::from(node.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
#[path = "replica_choice_tests.rs"]
mod tests;
