//! The simulated cluster: its nodes and what happens among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use keyway::cluster::{Endpoint, Health, Mode, NodeIndex, Role, Slot, Topology};

use super::node::{Claim, Node, View, host};
use super::request::slot_of;

/// All nodes.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    epoch: u64,
    /// The best that was published so far: control never goes back behind it.
    published: View,
    last: Option<Last>,
}

/// The last snapshot and what it was made of.
#[derive(Debug)]
struct Last {
    listed: Vec<usize>,
    view: View,
    topology: Topology,
}

impl Cluster {
    /// Some primaries, some of them with a replica.
    pub fn new(rng: &mut Rng, tags: &[char]) -> Cluster {
        let primaries = rng.usize(1..5);
        let slots: BTreeSet<u16> = tags
            .iter()
            .map(|tag| slot_of(&format!("{{{tag}}}")))
            .collect();
        let group_of = |slot: u16| usize::from(slot) * primaries / Slot::COUNT;
        let view = View {
            groups: (0..primaries).map(|group| (group, 1)).collect(),
            slots: slots
                .iter()
                .map(|slot| (*slot, (group_of(*slot), 1)))
                .collect(),
        };
        let follows = (0..primaries)
            .map(|_| None)
            .chain((0..primaries).filter(|_| rng.u8(..4) > 0).map(Some))
            .collect::<Vec<Option<usize>>>();
        let nodes = follows
            .into_iter()
            .enumerate()
            .map(|(index, follows)| Node {
                index,
                is_alive: true,
                is_refusing: false,
                is_hung: false,
                is_loading: false,
                sees_no_cluster: false,
                follows,
                view: view.clone(),
                migrating: BTreeMap::new(),
                importing: BTreeMap::new(),
                store: BTreeMap::new(),
                changes: BTreeMap::new(),
                refusals: 0,
            });
        Cluster {
            nodes: nodes.collect(),
            epoch: 1,
            published: view,
            last: None,
        }
    }

    /// A node that satisfies a condition, any of them.
    pub fn any(&self, rng: &mut Rng, is_fit: impl Fn(&Node) -> bool) -> Option<usize> {
        let fit: Vec<usize> = self
            .nodes
            .iter()
            .filter(|node| is_fit(node))
            .map(|node| node.index)
            .collect();
        (!fit.is_empty()).then(|| fit[rng.usize(..fit.len())])
    }

    /// Begins to move a slot to another primary.
    pub fn start_move(&mut self, rng: &mut Rng) -> Option<String> {
        let from = self.any(rng, |node| node.is_alive && node.follows.is_none())?;
        let owned: Vec<u16> = self.nodes[from]
            .view
            .slots
            .iter()
            .filter(|(slot, claim)| {
                claim.0 == from && !self.nodes[from].migrating.contains_key(slot)
            })
            .map(|(slot, _)| *slot)
            .collect();
        let to = self.any(rng, |node| {
            node.is_alive && node.follows.is_none() && node.index != from
        })?;
        let slot = *owned.get(rng.usize(..owned.len().max(1)))?;
        if self.nodes[to].view.slots[&slot].0 != from {
            // Whoever moves slots waits until both sides agree on the last move.
            return None;
        }
        self.nodes[to].importing.insert(slot, from);
        self.nodes[from].migrating.insert(slot, to);
        Some(format!("slot {slot} begins to move from {from} to {to}"))
    }

    fn any_move(&self, rng: &mut Rng) -> Option<(u16, usize, usize)> {
        let from = self.any(rng, |node| node.is_alive && !node.migrating.is_empty())?;
        let moves: Vec<(u16, usize)> = self.nodes[from]
            .migrating
            .iter()
            .map(|(slot, to)| (*slot, *to))
            .collect();
        let (slot, to) = moves[rng.usize(..moves.len())];
        // A move that was finished may still stand at its source.
        (self.nodes[to].importing.get(&slot) == Some(&from)).then_some((slot, from, to))
    }

    /// Moves one key of a slot that moves.
    pub fn move_key(&mut self, rng: &mut Rng) -> Option<String> {
        let (slot, from, to) = self.any_move(rng)?;
        let keys = self.keys_in(from, slot);
        let key = keys.get(rng.usize(..keys.len().max(1)))?;
        let value = self.nodes[from].store.remove(key)?;
        self.nodes[to].store.insert(key.clone(), value);
        self.nodes[from].change(key);
        Some(format!("key {key} moves from {from} to {to}"))
    }

    fn keys_in(&self, node: usize, slot: u16) -> Vec<String> {
        let keys = self.nodes[node].store.keys();
        keys.filter(|key| slot_of(key) == slot).cloned().collect()
    }

    fn move_all(&mut self, slot: u16, from: usize, to: usize) {
        for key in self.keys_in(from, slot) {
            if let Some(value) = self.nodes[from].store.remove(&key) {
                self.nodes[to].store.insert(key.clone(), value);
                self.nodes[from].change(&key);
            }
        }
    }

    /// Ends a move: the new owner knows at once, the old one at once or by and by.
    pub fn finish_move(&mut self, rng: &mut Rng) -> Option<String> {
        let (slot, from, to) = self.any_move(rng)?;
        self.move_all(slot, from, to);
        self.epoch += 1;
        let claim = (to, self.epoch);
        self.nodes[to].importing.remove(&slot);
        self.nodes[to].view.slots.insert(slot, claim);
        if rng.bool() {
            self.gossip(to, from);
        }
        Some(format!("slot {slot} has moved from {from} to {to}"))
    }

    /// Gives a move up; what was moved comes back.
    pub fn abort_move(&mut self, rng: &mut Rng) -> Option<String> {
        let (slot, from, to) = self.any_move(rng)?;
        self.abort(slot, from, to);
        Some(format!(
            "the move of slot {slot} from {from} to {to} is given up"
        ))
    }

    fn abort(&mut self, slot: u16, from: usize, to: usize) {
        self.move_all(slot, to, from);
        self.nodes[to].importing.remove(&slot);
        self.nodes[from].migrating.remove(&slot);
    }

    /// One node tells another what it believes.
    pub fn gossip(&mut self, from: usize, to: usize) {
        let view = self.nodes[from].view.clone();
        let node = &mut self.nodes[to];
        node.view.learn(&view);
        let view = &node.view;
        node.migrating.retain(|slot, _| view.slots[slot].0 == to);
    }

    /// A replica takes over from its primary, dead or alive.
    pub fn fail_over(&mut self, rng: &mut Rng) -> Option<String> {
        let nodes = &self.nodes;
        let heir = self.any(rng, |node| {
            node.is_alive && !node.is_hung && node.follows.is_some_and(|old| !nodes[old].is_hung)
        })?;
        let old = self.nodes[heir].follows?;
        // What moved to or from the old primary is settled first.
        for node in 0..self.nodes.len() {
            let moves: Vec<(u16, usize)> = self.nodes[node]
                .migrating
                .iter()
                .map(|(slot, to)| (*slot, *to))
                .filter(|(_, to)| node == old || *to == old)
                .collect();
            for (slot, to) in moves {
                if self.nodes[to].importing.get(&slot) == Some(&node) {
                    self.abort(slot, node, to);
                } else {
                    // It was finished, only the source has not heard.
                    self.gossip(to, node);
                }
            }
        }
        self.epoch += 1;
        let epoch = self.epoch;
        let mut view = self.nodes[heir].view.clone();
        view.learn(&self.nodes[old].view.clone());
        let claims = view.groups.iter_mut().chain(view.slots.values_mut());
        for claim in claims.filter(|claim| claim.0 == old) {
            *claim = (heir, epoch);
        }
        self.nodes[heir].store = self.nodes[old].store.clone();
        self.nodes[heir].view = view;
        self.nodes[heir].follows = None;
        self.nodes[old].follows = Some(heir);
        for node in &mut self.nodes {
            if node.follows == Some(old) {
                node.follows = Some(heir);
            }
        }
        self.gossip(heir, old);
        Some(format!("{heir} takes over from {old}"))
    }

    /// What control would find out now by asking some of the nodes.
    pub fn survey(&mut self, rng: &mut Rng, asks_all: bool) -> View {
        let mut view = self.published.clone();
        for node in &self.nodes {
            if node.is_alive && (asks_all || rng.bool()) {
                view.learn(&node.view);
            }
        }
        self.published = view.clone();
        view
    }

    /// A snapshot of a view.
    pub fn topology(&mut self, rng: &mut Rng, view: &View, as_of_us: u64) -> Topology {
        let owns = |node: usize| {
            let mut claims = view.groups.iter().chain(view.slots.values());
            claims.any(|claim: &Claim| claim.0 == node)
        };
        let listed: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                self.nodes[*node].is_alive || rng.u8(..4) < 1 + 2 * u8::from(owns(*node))
            })
            .collect();
        let place = |node: usize| {
            let place = listed.iter().position(|listed| *listed == node);
            place.map(|place| NodeIndex(place as u16))
        };
        let nodes = listed.iter().map(|node| {
            let endpoint = Endpoint {
                host: host(*node).into(),
                port: 6379,
            };
            let primary = self.nodes[*node].follows.and_then(place);
            keyway::cluster::Node {
                id: format!("node-{node}").into(),
                endpoint: endpoint.clone(),
                announced: endpoint,
                role: match primary {
                    Some(primary) if !owns(*node) => Role::Replica(primary),
                    _ => Role::Primary,
                },
                health: match self.nodes[*node].is_alive {
                    true => Health::Online,
                    false => Health::Failed,
                },
                config_epoch: 0,
                hostname: None,
                zone: None::<Arc<str>>,
            }
        });
        let nodes = nodes.collect();
        let mut claims = view.groups.iter().chain(view.slots.values());
        let has_all = claims.all(|claim| place(claim.0).is_some());
        let (mut topology, known) = match self.last.take() {
            Some(last) if last.listed == listed && has_all => (last.topology, Some(last.view)),
            _ => (Topology::new(Mode::Cluster, Vec::new()), None),
        };
        topology.nodes = nodes;
        topology.as_of_us = as_of_us;
        // Most slots stay where they were in the last snapshot; giving all of them takes long.
        for (group, claim) in view.groups.iter().enumerate() {
            if known
                .as_ref()
                .is_some_and(|known| known.groups[group].0 == claim.0)
            {
                continue;
            }
            let bounds = |group: usize| (group * Slot::COUNT).div_ceil(view.groups.len());
            for number in bounds(group)..bounds(group + 1) {
                if let (Some(slot), Some(place)) = (Slot::new(number as u16), place(claim.0)) {
                    topology.assign(slot, place);
                }
            }
        }
        for (number, claim) in &view.slots {
            if let (Some(slot), Some(place)) = (Slot::new(*number), place(claim.0)) {
                topology.assign(slot, place);
            }
        }
        self.last = has_all.then(|| Last {
            listed: listed.clone(),
            view: view.clone(),
            topology: topology.clone(),
        });
        topology
    }
}
