//! What goes wrong, and what the worker is told of it.

use std::sync::Arc;

use keyway::cluster::{Endpoint, Health, Mode, Node, NodeIndex, Role, Slot, Topology};
use keyway::worker::links::Loss;

use crate::node::group_of;
use crate::world::{GROUPS, NODES, SHARDS, World};

impl World {
    pub fn lose_node(&mut self) {
        let node = self.rng.usize(..NODES);
        if !self.is_alive[node] {
            return;
        }
        self.trace(|| format!("node {node} dies"));
        self.summary.nodes_lost += 1;
        self.is_alive[node] = false;
        self.flying.retain(|flying| flying.to != node);
        for index in (0..self.links.len()).rev() {
            if self.links[index].node == node {
                self.lose_link(index);
            }
        }
    }

    pub fn cut_link(&mut self) {
        if !self.links.is_empty() {
            let index = self.rng.usize(..self.links.len());
            self.lose_link(index);
        }
    }

    pub fn lose_link(&mut self, index: usize) {
        let link = self.links.swap_remove(index);
        let loss = match link.is_open {
            true => Loss::Lost,
            false => Loss::NotOpened,
        };
        self.core.connection_lost(link.connection, loss, "lost");
        self.dial();
    }

    pub fn revive(&mut self) {
        self.is_alive = [true; NODES];
    }

    /// A group of slots gets another owner; the old one ends what it has of them.
    pub fn move_group(&mut self) {
        let group = self.rng.usize(..GROUPS);
        let to = self.rng.usize(..NODES);
        let from = std::mem::replace(&mut self.owners[group], to);
        if from == to {
            return;
        }
        self.trace(|| format!("group {group} moves from {from} to {to}"));
        self.summary.slots_moved += 1;
        for link in self.links.iter_mut().filter(|link| link.node == from) {
            for name in SHARDS {
                if group_of(name, GROUPS) == group {
                    link.session.evict(name);
                }
            }
        }
    }

    pub fn publish_map(&mut self) {
        let nodes = (0..NODES).map(|index| {
            let endpoint = Endpoint {
                host: format!("10.0.0.{}", index + 1).into(),
                port: 6379,
            };
            Node {
                id: format!("node-{index}").into(),
                endpoint: endpoint.clone(),
                announced: endpoint,
                role: Role::Primary,
                health: match self.is_alive[index] {
                    true => Health::Online,
                    false => Health::Failed,
                },
                config_epoch: 0,
                hostname: None,
                zone: None,
            }
        });
        let mut topology = Topology::new(Mode::Cluster, nodes.collect());
        for slot in (0..Slot::COUNT as u16).filter_map(Slot::new) {
            let owner = self.owners[slot.index() * GROUPS / Slot::COUNT];
            topology.assign(slot, NodeIndex(owner as u16));
        }
        self.version += 1;
        topology.version = self.version;
        topology.as_of_us = self.core.now_us;
        self.trace(|| {
            format!(
                "map {}: {:?}, alive {:?}",
                self.version, self.owners, self.is_alive
            )
        });
        self.core.apply_topology(Arc::new(topology));
        self.dial();
    }
}
