//! Connections for reads from replicas: opened, watched, measured.

use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::replica_facts::ReplicaFacts;
use crate::resp::Protocol;
use crate::routing::NodeKey;
use crate::upstream::{Connection, Phase, Role};

/// So long after the last read by the policy "lowest-latency" nodes are still measured.
const MEASURED_US: u64 = 2_000_000;
/// A node has to answer in less than this share (in percent) of the time of the one in use to take its
/// place: two that are alike do not take turns.
const FASTER_PERCENT: u64 = 80;

impl Core {
    /// Takes over what the control thread found out about replicas.
    pub fn apply_replica_facts(&mut self, facts: std::sync::Arc<ReplicaFacts>) {
        self.nodes.apply_replica_facts(facts);
    }

    /// What a connection is for.
    pub fn role_of(&self, key: ConnectionKey) -> Role {
        let connection = self.connections.get(key.0 as usize);
        connection.map_or(Role::Shared, |connection| connection.role)
    }

    /// The shared connection for reads from a replica, opened if there is none.
    ///
    /// # Errors
    /// The node could not be reached a moment ago.
    #[inline]
    pub(super) fn read_connection_to(
        &mut self,
        node: NodeKey,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        match self.nodes.read_connection(node, protocol) {
            Some(connection) => self.still_open(connection),
            None => self.open_read(node, protocol),
        }
    }

    #[cold]
    fn open_read(&mut self, node: NodeKey, protocol: Protocol) -> Result<ConnectionKey, Reason> {
        let connection = self.open(node, protocol, Role::Read)?;
        self.nodes
            .set_read_connection(node, protocol, Some(connection));
        Ok(connection)
    }

    /// A connection for reads is open: its node answers.
    pub(super) fn read_connection_ready(&mut self, node: NodeKey) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.reads.is_silent = false;
        }
    }

    /// A connection is gone.
    pub(super) fn read_connection_lost(&mut self, key: ConnectionKey, connection: &Connection) {
        let node = connection.node;
        if let Some(node) = self.nodes.get_mut(node) {
            // The question may have been asked over it.
            node.reads.measured_since_us = None;
        }
        if connection.role != Role::Read {
            return;
        }
        if self.nodes.read_connection(node, connection.protocol) == Some(key) {
            self.nodes
                .set_read_connection(node, connection.protocol, None);
        }
        if !connection.is_retiring {
            self.rest(node);
        }
    }

    /// Connections for reads from a node that is no replica any more are closed once idle.
    pub(super) fn retire_read_connections(&mut self) {
        let nodes = &self.nodes;
        for (_, connection) in &mut self.connections {
            if connection.role == Role::Read && !nodes.replicas().contains(&connection.node) {
                connection.is_retiring = true;
                connection.wake();
            }
        }
    }

    /// Looks after replicas that do not answer: their reads are done elsewhere, and they get new ones once
    /// a connection to them can be opened again.
    pub(super) fn leave_silent_replicas(&mut self) {
        let (now_us, timeout_us) = (self.now_us, self.limits.replica_timeout_us);
        if timeout_us == 0 {
            return;
        }
        let mut unopened = Vec::new();
        let mut silent = Vec::new();
        for (index, connection) in &mut self.connections {
            let since_us = connection.waiting_since_us.max(connection.heard_us);
            let is_silent = !connection.in_flight.is_empty()
                && !connection.is_left_unread()
                && now_us.saturating_sub(since_us) > timeout_us;
            match (connection.role, connection.phase) {
                (Role::Read, Phase::Ready) if is_silent => {
                    connection.phase = Phase::Closed;
                    connection.wake();
                    silent.push((connection.node, true));
                }
                (Role::Read, Phase::Opening) if is_silent => {
                    unopened.push(index);
                    silent.push((connection.node, true));
                }
                // A primary that hangs: reads may go to its replicas until it is heard again.
                (Role::Shared, Phase::Ready) if self.nodes.has_replicas(connection.node) => {
                    silent.push((connection.node, is_silent));
                }
                _ => {}
            }
        }
        // A node with several connections is silent if one of them is.
        silent.sort_by_key(|(_, is_silent)| *is_silent);
        for (node, is_silent) in silent {
            if let Some(node) = self.nodes.get_mut(node) {
                node.reads.is_silent = is_silent;
            }
        }
        for index in unopened {
            self.empty_unopened(index, "the replica does not answer");
        }
        self.knock();
    }

    /// Opens a connection to each replica that fell silent: once that succeeds it is read from again.
    fn knock(&mut self) {
        let nodes = &self.nodes;
        let is_silent = |key: &NodeKey| nodes.get(*key).is_some_and(|node| node.reads.is_silent);
        let silent: Vec<NodeKey> = nodes.replicas().iter().copied().filter(is_silent).collect();
        for node in silent {
            let protocols = [Protocol::Resp2, Protocol::Resp3];
            let mut has_one = protocols
                .into_iter()
                .any(|protocol| self.nodes.read_connection(node, protocol).is_some());
            if !has_one {
                // Refused when it could not be reached a moment ago; then the next time.
                has_one = self.open_read(node, Protocol::Resp2).is_ok();
            }
            debug_assert!(has_one || self.nodes.get(node).is_some_and(|n| n.retry_at_us > 0));
        }
    }

    /// Nodes have to be measured: a client wants the fastest.
    pub(super) fn wants_measures(&mut self, protocol: Protocol) {
        self.measured_until = Some((self.now_us + MEASURED_US, protocol));
    }

    /// Measures how fast nodes answer, and finds the fastest of each shard.
    pub(super) fn measure_nodes(&mut self) {
        let Some((until_us, protocol)) = self.measured_until else {
            return;
        };
        if until_us < self.now_us {
            self.measured_until = None;
            return;
        }
        let primaries: Vec<NodeKey> = self.nodes.shards().iter().map(|(_, key)| *key).collect();
        for primary in primaries {
            let replicas = match self.nodes.get(primary) {
                Some(node) => node.reads.replicas.clone(),
                None => continue,
            };
            if replicas.is_empty() {
                continue;
            }
            self.find_fastest(primary, &replicas);
            if let Ok(connection) = self.connection_to(primary, protocol) {
                self.measure(primary, connection);
            }
            for replica in replicas {
                let standing = self.nodes.standing(replica, self.now_us);
                if standing.is_some_and(|standing| standing.is_reachable)
                    && let Ok(connection) = self.read_connection_to(replica, protocol)
                {
                    self.measure(replica, connection);
                }
            }
        }
    }

    fn measure(&mut self, node: NodeKey, connection: ConnectionKey) {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(connection.0 as usize) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(node) else {
            return;
        };
        if connection.phase == Phase::Ready && node.reads.measured_since_us.is_none() {
            node.reads.measured_since_us = Some(now_us);
            connection.send_measure(now_us);
        }
    }

    /// A node answered the question by which it is measured.
    #[cold]
    pub(super) fn node_measured(&mut self, from: ConnectionKey, asked_us: u64) {
        let now_us = self.now_us;
        let connection = self.connections.get(from.0 as usize);
        if let Some(node) = connection.and_then(|from| self.nodes.get_mut(from.node)) {
            node.reads.measured(now_us.saturating_sub(asked_us));
        }
    }

    fn find_fastest(&mut self, primary: NodeKey, replicas: &[NodeKey]) {
        let (nodes, now_us) = (&self.nodes, self.now_us);
        let time_of = |key: NodeKey| {
            let can_serve = nodes.standing(key, now_us).is_some_and(|standing| {
                let is_fit = standing.fitness == super::replica_facts::Fitness::Fit;
                standing.is_reachable && (is_fit || key == primary)
            });
            let node = nodes.get(key).filter(|_| can_serve)?;
            node.reads.estimate_us(now_us)
        };
        let candidates = std::iter::once(primary).chain(replicas.iter().copied());
        let fastest = candidates
            .filter_map(|key| Some((time_of(key)?, key)))
            .min();
        let Some((fastest_us, fastest)) = fastest else {
            return;
        };
        let in_use = nodes.get(primary).and_then(|node| node.reads.fastest);
        let stays = in_use
            .and_then(time_of)
            .is_some_and(|in_use_us| fastest_us * 100 >= in_use_us * FASTER_PERCENT);
        if !stays && let Some(node) = self.nodes.get_mut(primary) {
            node.reads.fastest = Some(fastest);
        }
    }
}
