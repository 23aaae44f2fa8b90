//! What a worker knows of a node as one that serves reads.

use std::sync::Arc;

use super::nodes::{ConnectionKey, Nodes};
use super::replica_choice::Standing;
use super::replica_facts::{NodeFacts, ReplicaFacts};
use crate::cluster::Slot;
use crate::resp::Protocol;
use crate::routing::NodeKey;

/// So long the reads of a slot stay at its primary after the primary said `ASK`.
const MOVING_US: u64 = 5_000_000;

/// One node's part in reading.
#[derive(Debug, Default)]
pub struct NodeReads {
    /// The shared connection for reads from it as a replica, for each protocol version.
    pub(super) connections: [Option<ConnectionKey>; 2],
    /// What the control thread says of it.
    pub facts: NodeFacts,
    /// Not read from before this time (microseconds): it said that it cannot serve.
    pub rests_until_us: u64,
    /// It did not answer; read from again once it does.
    pub is_silent: bool,
    /// The replicas of a primary.
    pub replicas: Vec<NodeKey>,
    /// Of a primary and its replicas, the one that answers fastest, once that is known.
    pub fastest: Option<NodeKey>,
    /// How long it takes to answer, smoothed, in microseconds.
    pub reply_us: Option<u64>,
    /// When the question by which that is measured went out, while there is one.
    pub measured_since_us: Option<u64>,
}

impl NodeReads {
    /// Takes a measured reply time.
    pub fn measured(&mut self, took_us: u64) {
        self.measured_since_us = None;
        let smoothed = self.reply_us.map(|before| (before * 3 + took_us) / 4);
        self.reply_us = Some(smoothed.unwrap_or(took_us));
    }

    /// How long an answer would take now: a question that is still open counts with its age.
    pub fn estimate_us(&self, now_us: u64) -> Option<u64> {
        let open_us = self.measured_since_us.map(|at| now_us.saturating_sub(at));
        Some(self.reply_us?.max(open_us.unwrap_or(0)))
    }
}

impl Nodes {
    /// How a node stands as one that serves reads.
    pub fn standing(&self, key: NodeKey, now_us: u64) -> Option<Standing> {
        let node = self.get(key)?;
        let reads = &node.reads;
        Some(Standing {
            node: key,
            is_reachable: node.is_member
                && !node.has_failed
                && !reads.is_silent
                && node.retry_at_us <= now_us
                && reads.rests_until_us <= now_us,
            is_near: reads.facts.is_near,
            fitness: reads.facts.fitness,
        })
    }

    /// Takes over what the control thread found out.
    pub fn apply_replica_facts(&mut self, facts: Arc<ReplicaFacts>) {
        self.replica_facts = facts;
        self.refresh_replica_facts();
    }

    pub(super) fn refresh_replica_facts(&mut self) {
        let facts = Arc::clone(&self.replica_facts);
        for (_, node) in self.iter_mut() {
            node.reads.facts = facts.0.get(&node.endpoint).copied().unwrap_or_default();
        }
    }

    /// The shared connection for reads from a replica.
    #[inline]
    pub fn read_connection(&self, key: NodeKey, protocol: Protocol) -> Option<ConnectionKey> {
        self.get(key)?.reads.connections[protocol as usize]
    }

    /// Sets or clears the shared connection for reads from a replica.
    pub fn set_read_connection(
        &mut self,
        key: NodeKey,
        protocol: Protocol,
        connection: Option<ConnectionKey>,
    ) {
        if let Some(node) = self.get_mut(key) {
            node.reads.connections[protocol as usize] = connection;
        }
    }

    /// A primary said that keys of a slot have left: a replica may know neither them nor that.
    pub fn note_moving(&mut self, slot: Slot, now_us: u64) {
        self.moving
            .retain(|(known, until_us)| *known != slot && *until_us > now_us);
        self.moving.push((slot, now_us + MOVING_US));
    }

    /// Whether keys of a slot have left a short time ago.
    pub fn is_moving(&mut self, slot: Slot, now_us: u64) -> bool {
        if self.moving.is_empty() {
            return false;
        }
        self.moving.retain(|(_, until_us)| *until_us > now_us);
        self.moving.iter().any(|(known, _)| *known == slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_times_are_smoothed_and_an_open_question_counts() {
        let mut reads = NodeReads::default();
        assert_eq!(reads.estimate_us(0), None);
        reads.measured(400);
        assert_eq!(reads.estimate_us(0), Some(400));
        reads.measured(800);
        assert_eq!(reads.estimate_us(0), Some(500));
        reads.measured_since_us = Some(1_000);
        assert_eq!(reads.estimate_us(1_100), Some(500));
        assert_eq!(reads.estimate_us(9_000), Some(8_000));
        for _ in 0..20 {
            reads.measured(100);
        }
        assert!(
            reads.reply_us.is_some_and(|us| us < 110),
            "it became fast again"
        );
    }

    #[test]
    fn a_moving_slot_is_remembered_for_a_while() {
        let slot = |number| Slot::new(number).expect("a slot");
        let mut nodes = Nodes::default();
        nodes.note_moving(slot(1), 0);
        nodes.note_moving(slot(1), 1_000_000);
        assert!(nodes.is_moving(slot(1), 5_999_999));
        assert!(!nodes.is_moving(slot(2), 5_999_999));
        assert!(!nodes.is_moving(slot(1), 6_000_000));
    }
}
