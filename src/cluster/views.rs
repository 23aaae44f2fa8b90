//! Several views, and what was known before, to one snapshot (contract: R9).
//!
//! Each view claims an owner for each slot. A claim is as good as the config epoch its owner has
//! *in that view*: an owner's header carries its epoch and its slots together, so whoever knows the
//! higher epoch knows more. Then:
//!
//! 1. The claim with the highest epoch wins the slot. A lagging node and a minority know only lower
//!    epochs for what moved since.
//! 2. A node's word about itself counts: a claim for X is void if X itself answered, with an epoch
//!    not lower, and does not claim the slot (`DELSLOTS` raises no epoch). If that voids every live
//!    claim they are weighed as before, since a move may be half told.
//! 3. Equal epochs (servers that hide them, or a new cluster): the owner's own claim, then the number
//!    of views, then what was known before.
//! 4. What was known before is one more claim for each slot, at the epoch it had. If it wins and no
//!    view supports it, it is *held*. Holding is what keeps the map from rolling back when only a
//!    lagging node answers; [`Ledger`](super::ledger::Ledger) decides when it has been held long enough.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::topology::UNOWNED;
use super::view::{Seen, SeenRole, View};
use super::{AddressMap, Endpoint, Health, Mode, Node, NodeIndex, Role, Slot, Topology};

/// More hops than a chain of replicas can have while roles settle.
const CHAIN_MAX: usize = 8;

/// What the views make together.
#[derive(Debug)]
pub struct Merged {
    /// The snapshot; the caller fills in version, time and server.
    pub topology: Topology,
    /// How many slots are decided by what was known before, against every view.
    pub held: usize,
    /// Whether most owners of slots answered themselves, and see a majority.
    pub is_quorum: bool,
}

/// Merges views of one cluster with what was known of it before. The order of the views does not
/// matter.
pub fn merge(views: &[&View], previous: Option<&Topology>, map: &AddressMap) -> Merged {
    let mut views = views.to_vec();
    views.sort_by_key(|view| {
        let viewer = view.viewer.clone();
        (Reverse(view.sees_majority()), Reverse(view.epoch()), viewer)
    });
    let census = Census::new(&views, previous);
    let (runs, held) = census.owners();
    let mut is_owner = vec![false; census.ids.len()];
    for run in &runs {
        is_owner[usize::from(run.owner)] = true;
    }
    let nodes = census.nodes(&views, previous, &is_owner, map);
    let is_quorum = census.is_quorum(&views, &is_owner);
    Merged {
        topology: assemble(census.ids.len(), nodes, &runs),
        held,
        is_quorum,
    }
}

/// Every id that matters, sorted; a node's place here is its number below.
struct Census {
    ids: Vec<Arc<str>>,
    claims: Vec<Claims>,
    previous: Option<Claims>,
    /// For each node, which of `claims` is its own view.
    own: Vec<Option<usize>>,
}

/// The claims of one view.
struct Claims {
    viewer: Option<u16>,
    /// The owner of each slot, or `UNOWNED`.
    owners: Vec<u16>,
    /// The config epoch of each node; `None` where the view does not know the node.
    epochs: Vec<Option<u64>>,
}

/// Slots in a row with one owner, by its number.
struct Run {
    first: usize,
    last: usize,
    owner: u16,
}

/// One node's claim to one slot, from all views.
struct Claim {
    owner: u16,
    epoch: u64,
    is_own: bool,
    votes: usize,
    was_before: bool,
}

impl Census {
    fn new(views: &[&View], previous: Option<&Topology>) -> Census {
        let seen = views.iter().flat_map(|view| &view.nodes);
        let mut ids: BTreeSet<Arc<str>> = seen.map(|node| node.id.clone()).collect();
        let known = previous.iter().flat_map(|topology| &topology.nodes);
        ids.extend(known.map(|node| node.id.clone()));
        // Views are limited, and `UNOWNED` is no number of a node.
        let ids: Vec<_> = ids.into_iter().take(usize::from(UNOWNED)).collect();
        let numbers: HashMap<&str, u16> = ids.iter().map(|id| &**id).zip(0u16..).collect();
        let claims: Vec<_> = views
            .iter()
            .map(|view| Claims::of_view(view, &numbers))
            .collect();
        let previous = previous.map(|topology| Claims::of_topology(topology, &numbers));
        let mut own = vec![None; ids.len()];
        for (place, claims) in claims.iter().enumerate() {
            if let Some(viewer) = claims.viewer {
                own[usize::from(viewer)].get_or_insert(place);
            }
        }
        Census {
            ids,
            claims,
            previous,
            own,
        }
    }

    /// The owners of all slots that have one, and how many slots no view supports. Slots between two
    /// borders of any view's ranges have the same claims, so they are weighed once.
    fn owners(&self) -> (Vec<Run>, usize) {
        let mut owners = Vec::new();
        let mut held = 0;
        let mut claims = Vec::with_capacity(self.claims.len() + 1);
        // Each view's claims, and the last slot of its run that is being weighed.
        let mut runs: Vec<(&Claims, usize)> = self
            .claims
            .iter()
            .chain(&self.previous)
            .map(|claims| (claims, claims.last_alike(0)))
            .collect();
        let mut first = 0;
        while first < Slot::COUNT {
            let mut last = Slot::COUNT - 1;
            for (claims, run_last) in &mut runs {
                if *run_last < first {
                    *run_last = claims.last_alike(first);
                }
                last = last.min(*run_last);
            }
            claims.clear();
            self.claims_to(first, &mut claims);
            let best = claims.iter().max_by_key(|claim| {
                (
                    !self.is_denied(first, claim),
                    claim.epoch,
                    claim.is_own,
                    claim.votes,
                    claim.was_before,
                    Reverse(claim.owner),
                )
            });
            if let Some(best) = best {
                owners.push(Run {
                    first,
                    last,
                    owner: best.owner,
                });
                if best.votes == 0 {
                    held += last - first + 1;
                }
            }
            first = last + 1;
        }
        (owners, held)
    }

    fn claims_to(&self, slot: usize, claims: &mut Vec<Claim>) {
        for view in &self.claims {
            let Some((owner, epoch)) = view.claim(slot) else {
                continue;
            };
            let is_own = view.viewer == Some(owner);
            match claims.iter_mut().find(|claim| claim.owner == owner) {
                Some(claim) => {
                    claim.epoch = claim.epoch.max(epoch);
                    claim.is_own |= is_own;
                    claim.votes += 1;
                }
                None => claims.push(Claim {
                    owner,
                    epoch,
                    is_own,
                    votes: 1,
                    was_before: false,
                }),
            }
        }
        let before = self.previous.as_ref().and_then(|view| view.claim(slot));
        let Some((owner, epoch)) = before else {
            return;
        };
        match claims.iter_mut().find(|claim| claim.owner == owner) {
            Some(claim) => {
                claim.epoch = claim.epoch.max(epoch);
                claim.was_before = true;
            }
            None => {
                let claim = Claim {
                    owner,
                    epoch,
                    is_own: false,
                    votes: 0,
                    was_before: true,
                };
                if !self.is_denied(slot, &claim) {
                    claims.push(claim);
                }
            }
        }
    }

    /// Whether the claimed owner itself answered, knowing at least as much, and does not claim the
    /// slot.
    fn is_denied(&self, slot: usize, claim: &Claim) -> bool {
        let owner = usize::from(claim.owner);
        let Some(own) = self.own[owner].map(|place| &self.claims[place]) else {
            return false;
        };
        own.owners[slot] != claim.owner && own.epochs[owner].unwrap_or(0) >= claim.epoch
    }

    fn is_quorum(&self, views: &[&View], is_owner: &[bool]) -> bool {
        let (mut owners, mut answered) = (0usize, 0usize);
        for (own, _) in self.own.iter().zip(is_owner).filter(|(_, is)| **is) {
            owners += 1;
            answered += usize::from(own.is_some_and(|place| views[place].sees_majority()));
        }
        answered * 2 > owners
    }

    /// What is known of each node; `None` for those that are gone or cannot be reached anyway.
    fn nodes(
        &self,
        views: &[&View],
        previous: Option<&Topology>,
        is_owner: &[bool],
        map: &AddressMap,
    ) -> Vec<Option<Facts>> {
        let mut seen: Vec<Vec<&Seen>> = vec![Vec::new(); self.ids.len()];
        for view in views {
            for node in &view.nodes {
                if let Some(number) = self.number(&node.id) {
                    seen[usize::from(number)].push(node);
                }
            }
        }
        let facts = self.ids.iter().zip(seen).zip(is_owner);
        facts
            .map(|((id, seen), is_owner)| {
                let before = previous.and_then(|topology| {
                    let index = topology.node_by_id(id)?;
                    topology.node(index)
                });
                self.facts(id, &seen, *is_owner, before, map)
            })
            .collect()
    }

    fn facts(
        &self,
        id: &Arc<str>,
        seen: &[&Seen],
        is_owner: bool,
        before: Option<&Node>,
        map: &AddressMap,
    ) -> Option<Facts> {
        // The views are sorted: the first that knows the node knows most.
        let Some(best) = seen.first() else {
            // Nobody names it any more; it stays only while a slot of it is held.
            return before.filter(|_| is_owner).map(|before| Facts {
                node: Node {
                    role: Role::Primary,
                    ..before.clone()
                },
                follows: None,
            });
        };
        let announced = place(seen, before)?;
        let follows = match &best.role {
            SeenRole::Replica(Some(primary)) if !is_owner => self.number(primary),
            SeenRole::Replica(_) | SeenRole::Primary => None,
        };
        let epochs = seen.iter().map(|node| node.config_epoch);
        let epochs = epochs.chain(before.map(|before| before.config_epoch));
        Some(Facts {
            node: Node {
                id: id.clone(),
                endpoint: map.map(&announced),
                announced,
                role: Role::Primary,
                health: best.health,
                config_epoch: epochs.max().unwrap_or(0),
                hostname: seen.iter().find_map(|node| node.hostname.clone()),
                zone: seen.iter().find_map(|node| node.zone.clone()),
            },
            follows,
        })
    }

    fn number(&self, id: &str) -> Option<u16> {
        let place = self.ids.binary_search_by(|other| (**other).cmp(id)).ok()?;
        u16::try_from(place).ok()
    }
}

impl Claims {
    fn new(nodes: usize) -> Claims {
        Claims {
            viewer: None,
            owners: vec![UNOWNED; Slot::COUNT],
            epochs: vec![None; nodes],
        }
    }

    fn of_view(view: &View, numbers: &HashMap<&str, u16>) -> Claims {
        let mut claims = Claims::new(numbers.len());
        let viewer = view.viewer.as_ref();
        claims.viewer = viewer.and_then(|id| numbers.get(&**id).copied());
        for node in &view.nodes {
            let Some(number) = numbers.get(&*node.id).copied() else {
                continue;
            };
            claims.epochs[usize::from(number)] = Some(node.config_epoch);
            for range in &node.slots {
                claims.owners[range.first.index()..=range.last.index()].fill(number);
            }
        }
        claims
    }

    fn of_topology(topology: &Topology, numbers: &HashMap<&str, u16>) -> Claims {
        let mut claims = Claims::new(numbers.len());
        let known: Vec<u16> = topology
            .nodes
            .iter()
            .map(|node| numbers.get(&*node.id).copied().unwrap_or(UNOWNED))
            .collect();
        for (node, number) in topology.nodes.iter().zip(&known) {
            if let Some(epoch) = claims.epochs.get_mut(usize::from(*number)) {
                *epoch = Some(node.config_epoch);
            }
        }
        let mut rest = claims.owners.as_mut_slice();
        for run in topology.owners().chunk_by(|one, other| one == other) {
            let owner = run.first().and_then(|index| known.get(usize::from(*index)));
            let (slots, after) = rest.split_at_mut(run.len());
            slots.fill(owner.copied().unwrap_or(UNOWNED));
            rest = after;
        }
        claims
    }

    /// The last slot of the run of slots with the owner of `first`.
    fn last_alike(&self, first: usize) -> usize {
        let owner = self.owners[first];
        let rest = &self.owners[first..];
        let run = rest.iter().position(|other| *other != owner);
        first + run.unwrap_or(rest.len()) - 1
    }

    fn claim(&self, slot: usize) -> Option<(u16, u64)> {
        let owner = self.owners[slot];
        (owner != UNOWNED).then(|| (owner, self.epochs[usize::from(owner)].unwrap_or(0)))
    }
}

/// A node, and the number of the node it says it follows.
struct Facts {
    node: Node,
    follows: Option<u16>,
}

/// Where a node is: the place most views name. A place whose host was left empty counts only if no
/// view names the host, and then one that is in use already is kept, so that connections are not
/// dropped because another seed answered first.
fn place(seen: &[&Seen], before: Option<&Node>) -> Option<Endpoint> {
    let announced = || seen.iter().filter_map(|node| node.announced.as_ref());
    let named: Vec<&Endpoint> = announced()
        .filter(|place| !place.is_same_host)
        .map(|place| &place.endpoint)
        .collect();
    if let Some(first) = named.first() {
        let votes = |place: &Endpoint| named.iter().filter(|other| **other == place).count();
        // The first of those with most votes: the one that the best view names.
        let best = named.iter().rev().max_by_key(|place| votes(place));
        return Some((*best.unwrap_or(first)).clone());
    }
    let before = before.map(|node| &node.announced);
    let kept = announced().find(|place| Some(&place.endpoint) == before);
    kept.or_else(|| announced().next())
        .map(|place| place.endpoint.clone())
        .or_else(|| before.cloned())
}

/// Leaves out what is gone and turns numbers into indexes.
fn assemble(count: usize, nodes: Vec<Option<Facts>>, runs: &[Run]) -> Topology {
    let mut indexes = vec![UNOWNED; count];
    let mut next = 0;
    for (index, facts) in indexes.iter_mut().zip(&nodes) {
        if facts.is_some() {
            *index = next;
            next += 1;
        }
    }
    let roles: Vec<Role> = (0..count)
        .map(|number| role(number, &nodes, &indexes))
        .collect();
    let nodes = nodes.into_iter().zip(roles).filter_map(|(facts, role)| {
        let node = facts?.node;
        Some(Node { role, ..node })
    });
    let mut topology = Topology::new(Mode::Cluster, nodes.collect());
    let mut owners = vec![UNOWNED; Slot::COUNT];
    for run in runs {
        owners[run.first..=run.last].fill(indexes[usize::from(run.owner)]);
    }
    topology.assign_all(owners);
    topology
}

/// A replica whose primary has become a replica follows that one's primary.
fn role(number: usize, nodes: &[Option<Facts>], indexes: &[u16]) -> Role {
    let follows = |number: usize| nodes.get(number)?.as_ref()?.follows.map(usize::from);
    let Some(mut primary) = follows(number) else {
        return Role::Primary;
    };
    for _ in 0..CHAIN_MAX {
        match follows(primary) {
            Some(next) => primary = next,
            None => break,
        }
    }
    match indexes.get(primary) {
        Some(index) if *index != UNOWNED && primary != number => Role::Replica(NodeIndex(*index)),
        _ => Role::Primary,
    }
}

/// Whether the cluster says that a node which owns slots failed, or nobody owns some of them.
pub fn is_degraded(topology: &Topology) -> bool {
    let has_failed_owner = topology.shards().iter().any(|(_, owner)| {
        let owner = topology.node(*owner);
        owner.is_some_and(|node| node.health == Health::Failed)
    });
    has_failed_owner || topology.unowned() > 0
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
