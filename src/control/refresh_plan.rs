//! Whom a refresh asks, and when the next one begins.

use std::collections::HashSet;
use std::time::Duration;

use crate::cluster::ledger::Origin;
use crate::cluster::{Endpoint, Health, Mode, NodeIndex, Role, Topology};
use crate::worker::RefreshReason;

/// Requests during a resharding come without end; each refresh may serve many.
pub(super) const AFTER_MOVED: Duration = Duration::from_millis(20);
/// While the owner of a slot is in trouble. Half of what the contract allows (R8), so that the
/// result of an election is known well within 100 ms.
pub(super) const WATCH_OWNERS: Duration = Duration::from_millis(50);
/// While only nodes without slots are down (contract: R8).
pub(super) const WATCH_OTHERS: Duration = Duration::from_millis(100);
/// First and longest pause between attempts on who does not answer (contract: R11).
pub(super) const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// In calm times: enough to notice a lagging one.
const OWNERS_FEW: usize = 3;
const REPLICAS_FEW: usize = 2;
/// After a MOVED: in clusters up to this size the new owner is surely among those asked.
const OWNERS_MOVED: usize = 16;
/// In trouble; bounds the work of one refresh in very large clusters.
const NODES_MAX: usize = 32;

/// How widely to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// Nothing seems wrong.
    Few,
    /// Slots moved: the owners know first.
    Owners,
    /// Something is wrong: seeds, owners, replicas.
    Everyone,
}

/// What the last refresh found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody answered so many times in a row, or nobody was asked yet (0).
    Seeking(u32),
    /// The owner of a slot is down or suspected, a slot has no owner, or a worker had trouble.
    OwnerDown,
    /// A node without slots is down.
    OtherDown,
    /// All is well.
    Calm,
}

impl State {
    /// How widely to ask next.
    pub(super) fn breadth(self, reasons: &[RefreshReason]) -> Breadth {
        match self {
            State::Seeking(_) | State::OwnerDown => Breadth::Everyone,
            State::OtherDown | State::Calm if reasons.iter().any(|reason| is_alarm(*reason)) => {
                Breadth::Everyone
            }
            State::OtherDown | State::Calm if !reasons.is_empty() => Breadth::Owners,
            State::OtherDown | State::Calm => Breadth::Few,
        }
    }

    /// The pause from the beginning of the last refresh to the next one, unless one is asked for.
    pub(super) fn pause(self, interval: Duration) -> Duration {
        match self {
            State::Seeking(0) => Duration::ZERO,
            State::Seeking(failures) => back_off(failures),
            State::OwnerDown => WATCH_OWNERS.min(interval),
            State::OtherDown => WATCH_OTHERS.min(interval),
            State::Calm => jittered(interval, 0.1),
        }
    }
}

/// Whether a request for a refresh tells of trouble, and not only of a slot that moved.
pub(super) fn is_alarm(reason: RefreshReason) -> bool {
    match reason {
        RefreshReason::Moved | RefreshReason::Tracking => false,
        RefreshReason::ConnectionLost
        | RefreshReason::ConnectRefused
        | RefreshReason::Timeout
        | RefreshReason::ReadOnly
        | RefreshReason::ClusterDown
        | RefreshReason::Unowned => true,
    }
}

/// 100 ms, doubled with each failure, at most 2 s; then a quarter more or less, so that not all
/// Keyways knock at the same moment.
pub(super) fn back_off(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(8);
    let pause = BACK_OFF_FIRST * (1 << doublings);
    jittered(pause.min(BACK_OFF_MAX.mul_f64(0.8)), 0.25)
}

fn jittered(pause: Duration, share: f64) -> Duration {
    pause.mul_f64(1.0 - share + 2.0 * share * fastrand::f64())
}

/// Whom to ask, the seeds first and in the operator's order. `is_free` tells who can be asked now.
pub(super) fn choose(
    breadth: Breadth,
    topology: Option<&Topology>,
    seeds: &[Endpoint],
    is_free: impl Fn(&Endpoint) -> bool,
) -> Vec<(Endpoint, Origin)> {
    let cluster = topology.filter(|topology| topology.mode == Mode::Cluster);
    let asks_seeds = breadth == Breadth::Everyone || cluster.is_none();
    let seeds = seeds.iter().filter(|_| asks_seeds);
    let mut chosen: Vec<_> = seeds.map(|seed| (seed.clone(), Origin::Seed)).collect();
    if let Some(topology) = cluster {
        let nodes = Ranked::of(topology);
        let nodes = nodes.take(breadth, |index| {
            let node = topology.node(index)?;
            is_free(&node.endpoint).then_some(&node.endpoint)
        });
        chosen.extend(nodes.into_iter().map(|at| (at.clone(), Origin::Learnt)));
    }
    let mut seen = HashSet::new();
    chosen.retain(|(at, _)| is_free(at) && seen.insert(at.clone()));
    chosen
}

/// The nodes of a cluster by how much they know of what is wrong, each group shuffled.
struct Ranked {
    /// They are asked for votes, or become the owner: replicas of owners in trouble.
    heirs: Vec<NodeIndex>,
    owners: Vec<NodeIndex>,
    others: Vec<NodeIndex>,
}

impl Ranked {
    fn of(topology: &Topology) -> Ranked {
        let mut owners: Vec<_> = topology.shards().into_iter().map(|(_, at)| at).collect();
        let (mut heirs, mut others) = (Vec::new(), Vec::new());
        for (node, index) in topology.nodes.iter().zip(0u16..) {
            let index = NodeIndex(index);
            let primary = match node.role {
                Role::Replica(primary) => topology.node(primary),
                Role::Primary if owners.contains(&index) => continue,
                Role::Primary => None,
            };
            if primary.is_some_and(|primary| primary.health == Health::Failed) {
                heirs.push(index);
            } else {
                others.push(index);
            }
        }
        for group in [&mut heirs, &mut owners, &mut others] {
            fastrand::shuffle(group);
        }
        Ranked {
            heirs,
            owners,
            others,
        }
    }

    fn take<'a>(
        &self,
        breadth: Breadth,
        endpoint: impl Fn(NodeIndex) -> Option<&'a Endpoint>,
    ) -> Vec<&'a Endpoint> {
        let limit = |group: &[NodeIndex], count: usize| -> Vec<&'a Endpoint> {
            let endpoints = group.iter().filter_map(|index| endpoint(*index));
            endpoints.take(count).collect()
        };
        let (owners, others) = match breadth {
            Breadth::Few => (OWNERS_FEW, REPLICAS_FEW),
            Breadth::Owners => (OWNERS_MOVED, REPLICAS_FEW),
            Breadth::Everyone => (NODES_MAX, NODES_MAX),
        };
        let mut chosen = limit(&self.heirs, NODES_MAX);
        chosen.extend(limit(&self.owners, owners));
        chosen.extend(limit(&self.others, others));
        chosen.truncate(NODES_MAX);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Node, Slot};

    fn at(name: &str) -> Endpoint {
        format!("{name}:1").parse().expect("an endpoint")
    }

    /// So many primaries with a replica each; `failed` of them failed.
    fn topology(primaries: u16, failed: u16) -> Topology {
        let node = |name: String, role, health| Node {
            id: name.as_str().into(),
            endpoint: at(&name),
            announced: at(&name),
            role,
            health,
            config_epoch: 1,
            hostname: None,
            zone: None,
        };
        let mut nodes: Vec<Node> = (0..primaries)
            .map(|index| {
                let health = match index < failed {
                    true => Health::Failed,
                    false => Health::Online,
                };
                node(format!("p{index}"), Role::Primary, health)
            })
            .collect();
        nodes.extend((0..primaries).map(|index| {
            let role = Role::Replica(NodeIndex(index));
            node(format!("r{index}"), role, Health::Online)
        }));
        let mut topology = Topology::new(Mode::Cluster, nodes);
        for number in 0..Slot::COUNT as u16 {
            let slot = Slot::new(number).expect("below 16384");
            topology.assign(slot, NodeIndex(number % primaries));
        }
        topology
    }

    fn names(chosen: &[(Endpoint, Origin)]) -> Vec<&str> {
        chosen.iter().map(|(at, _)| &*at.host).collect()
    }

    #[test]
    fn seeds_are_asked_in_order_when_nothing_is_known() {
        let seeds = [at("s1"), at("s2"), at("s1")];
        let chosen = choose(Breadth::Everyone, None, &seeds, |_| true);
        assert_eq!(names(&chosen), ["s1", "s2"]);
        let standalone = Topology::new(Mode::Standalone, Vec::new());
        let chosen = choose(Breadth::Few, Some(&standalone), &seeds, |_| true);
        assert_eq!(names(&chosen), ["s1", "s2"]);
        let chosen = choose(Breadth::Few, None, &seeds, |at| &*at.host == "s2");
        assert_eq!(names(&chosen), ["s2"]);
    }

    #[test]
    fn in_calm_times_a_few_nodes_and_no_seed() {
        let seeds = [at("s1"), at("p0")];
        let topology = topology(20, 0);
        let chosen = choose(Breadth::Few, Some(&topology), &seeds, |_| true);
        assert_eq!(chosen.len(), OWNERS_FEW + REPLICAS_FEW);
        assert!(chosen.iter().all(|(_, origin)| *origin == Origin::Learnt));
        let chosen = choose(Breadth::Owners, Some(&topology), &seeds, |_| true);
        let owners = chosen.iter().filter(|(at, _)| at.host.starts_with('p'));
        assert_eq!(owners.count(), OWNERS_MOVED);
    }

    #[test]
    fn in_trouble_the_heirs_come_before_the_rest() {
        let seeds = [at("s1"), at("p0")];
        let small = topology(3, 1);
        let chosen = choose(Breadth::Everyone, Some(&small), &seeds, |_| true);
        assert_eq!(names(&chosen)[..3], ["s1", "p0", "r0"]);
        assert_eq!(chosen[1].1, Origin::Seed);
        assert_eq!(chosen.len(), 7);
        let large = topology(500, 2);
        let chosen = choose(Breadth::Everyone, Some(&large), &[], |_| true);
        assert_eq!(chosen.len(), NODES_MAX);
        let mut heirs = names(&chosen)[..2].to_vec();
        heirs.sort_unstable();
        assert_eq!(heirs, ["r0", "r1"]);
    }

    /// contract: R11
    #[test]
    fn pauses_grow_to_two_seconds() {
        for (failures, about) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (5, 1600),
            (6, 1600),
            (1000, 1600),
        ] {
            let about = Duration::from_millis(about);
            for _ in 0..100 {
                let pause = back_off(failures);
                assert!(pause >= about.mul_f64(0.74) && pause <= about.mul_f64(1.26));
                assert!(pause <= BACK_OFF_MAX);
            }
        }
    }

    /// contract: R8
    #[test]
    fn what_was_found_decides_how_and_when() {
        use RefreshReason::{ConnectionLost, Moved};
        let interval = Duration::from_secs(10);
        assert_eq!(State::Seeking(0).pause(interval), Duration::ZERO);
        assert!(State::OwnerDown.pause(interval) <= Duration::from_millis(100));
        assert!(State::OtherDown.pause(interval) <= Duration::from_millis(100));
        let calm = State::Calm.pause(interval);
        assert!(calm >= interval.mul_f64(0.89) && calm <= interval.mul_f64(1.11));
        for (state, reasons, expected) in [
            (State::Calm, &[][..], Breadth::Few),
            (State::Calm, &[Moved], Breadth::Owners),
            (State::Calm, &[Moved, ConnectionLost], Breadth::Everyone),
            (State::OtherDown, &[], Breadth::Few),
            (State::OwnerDown, &[], Breadth::Everyone),
            (State::Seeking(3), &[Moved], Breadth::Everyone),
        ] {
            assert_eq!(state.breadth(reasons), expected, "{state:?} {reasons:?}");
        }
    }
}
