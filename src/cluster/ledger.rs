//! Which deployment the answers of a refresh speak of, and when what was known before gives way.
//!
//! 1. Views that share a node with what is known are of this cluster; they are merged (`views`).
//!    Others are ignored while those answer: an address may have been given to someone else's node.
//! 2. If none of them answers, a seed's word is taken: the deployment was rebuilt with new nodes, or
//!    became a standalone server, or ceased to be one. Addresses learnt from the old cluster have no
//!    such say.
//! 3. What is held against every view gives way after [`HELD_WITH_QUORUM_US`] when most owners of slots
//!    answered themselves, after [`HELD_US_MAX`] when a node that sees a majority answered; never for
//!    a minority (contract: R9). So no state is for ever (contract: R11): a restored backup with lower
//!    epochs, say, is taken a second later.

use std::collections::HashSet;
use std::sync::Arc;

use super::view::View;
use super::views::{Merged, merge};
use super::{AddressMap, Endpoint, Greeting, Health, Mode, Node, NodeIndex, Role, Slot, Topology};

/// How long unsupported knowledge is held against a quorum. Far longer than a node lags, short for
/// an operator who waits.
pub const HELD_WITH_QUORUM_US: u64 = 1_000_000;
/// How long it is held against less than a quorum that sees a majority. As long as the longest usual
/// `cluster-node-timeout`, after which a minority knows that it is one.
pub const HELD_US_MAX: u64 = 15_000_000;

/// What one server said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it is part of.
    pub said: Said,
    /// Why it was asked.
    pub origin: Origin,
    /// Its identity.
    pub server: Server,
    /// When it was asked, in microseconds on the process' own clock.
    pub began_us: u64,
}

/// What kind of deployment a server said it is part of.
#[derive(Clone, Debug)]
pub enum Said {
    /// A cluster, in its view.
    Cluster(Arc<View>),
    /// None: it is, or follows, one standalone server.
    Standalone {
        /// The endpoint that the operator or, of its primary, a replica named.
        announced: Endpoint,
        /// Where to dial it.
        endpoint: Endpoint,
    },
}

/// How many of the servers that were asked have had their say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// More may come at any moment: only news of the deployment already known is taken.
    Early,
    /// Those that are left are slow; where nothing is known yet, the answers at hand have to do.
    Mostly,
    /// All have answered or failed: another deployment may take the place of the known one.
    All,
}

/// Why a server was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator named it.
    Seed,
    /// The cluster named it.
    Learnt,
}

/// The identity of a server; empty where it does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// `redis` or `valkey`.
    pub name: Arc<str>,
    /// Its `redis_version`.
    pub redis_version: Arc<str>,
    /// Its `valkey_version`.
    pub valkey_version: Arc<str>,
    /// How it greets.
    pub greeting: Arc<Greeting>,
}

/// What settling the answers came to.
#[derive(Debug)]
pub struct Settled {
    /// The snapshot; its version is for the publisher to give.
    pub topology: Topology,
    /// Some answers were of another deployment and were ignored: worth a warning.
    pub ignored: usize,
    /// How many slots are held against every view.
    pub held: usize,
    /// Old knowledge gave way although its epochs were higher, or another deployment took its place.
    pub is_replaced: bool,
}

/// Keeps what is known between refreshes.
#[derive(Debug)]
pub struct Ledger {
    map: AddressMap,
    known: Option<Topology>,
    /// Since when something was held at the end of each refresh.
    held_since_us: Option<u64>,
    /// Since when only a minority of this cluster answers while a seed shows another.
    stranded_since_us: Option<u64>,
}

impl Ledger {
    /// Nothing is known yet.
    pub fn new(map: AddressMap) -> Ledger {
        Ledger {
            map,
            known: None,
            held_since_us: None,
            stranded_since_us: None,
        }
    }

    /// What is known.
    pub fn known(&self) -> Option<&Topology> {
        self.known.as_ref()
    }

    /// Takes the answers of one refresh, those of the seeds first and in the operator's order.
    /// Nothing if they allow no conclusion.
    pub fn settle(
        &mut self,
        answers: &[Answer],
        progress: Progress,
        now_us: u64,
    ) -> Option<Settled> {
        let known = self.known.as_ref();
        let ours: Vec<&Answer> = match known {
            Some(known) if known.mode == Mode::Cluster => {
                related(answers, known.nodes.iter().map(|node| node.id.clone()))
            }
            Some(_) | None => Vec::new(),
        };
        let needed = match known {
            Some(_) => Progress::All,
            None => Progress::Mostly,
        };
        let is_stranded = progress == Progress::All && self.is_stranded(&ours, answers, now_us);
        let (mut settled, used) = if !ours.is_empty() && !is_stranded {
            (self.settle_ours(&ours, progress, now_us), ours)
        } else if progress >= needed {
            self.settle_anew(answers, &ours)?
        } else {
            return None;
        };
        identify(&mut settled.topology, &used);
        settled.ignored = answers.len() - used.len();
        self.known = Some(settled.topology.clone());
        Some(settled)
    }

    fn settle_ours(&mut self, ours: &[&Answer], progress: Progress, now_us: u64) -> Settled {
        let views = views(ours);
        let merged = merge(&views, self.known.as_ref(), &self.map);
        if progress == Progress::Early {
            return Settled::of(merged);
        }
        if merged.held == 0 {
            self.held_since_us = None;
            return Settled::of(merged);
        }
        let held_us = now_us.saturating_sub(*self.held_since_us.get_or_insert(now_us));
        let sees_majority = views.iter().any(|view| view.sees_majority());
        let anew = merge(&views, None, &self.map);
        let gives_way = (anew.is_quorum && held_us >= HELD_WITH_QUORUM_US)
            || (sees_majority && held_us >= HELD_US_MAX);
        if !gives_way {
            return Settled::of(merged);
        }
        self.held_since_us = None;
        Settled {
            is_replaced: true,
            ..Settled::of(anew)
        }
    }

    /// The first deployment that a seed shows, and the answers that belong to it.
    fn settle_anew<'a>(
        &mut self,
        answers: &'a [Answer],
        ours: &[&Answer],
    ) -> Option<(Settled, Vec<&'a Answer>)> {
        let is_other = |answer: &&Answer| !ours.iter().any(|our| std::ptr::eq(*our, *answer));
        let seeds = || {
            let of_seeds = answers.iter().filter(|a| a.origin == Origin::Seed);
            of_seeds.filter(is_other)
        };
        // The standalone server in use stays in use as long as it is one.
        let in_use = self.known.as_ref().and_then(standalone_endpoint);
        let stays = seeds().find(|answer| match &answer.said {
            Said::Standalone { announced, .. } => Some(announced) == in_use,
            Said::Cluster(_) => false,
        });
        // A node that is in no cluster yet does not take the place of one that was.
        let is_first = self.known.is_none();
        let chosen = stays
            .or_else(|| seeds().find(|answer| answer.said.has_slots()))
            .or_else(|| seeds().find(|_| is_first))?;
        let (topology, used) = match &chosen.said {
            Said::Standalone {
                announced,
                endpoint,
            } => {
                let agrees = |answer: &&Answer| match &answer.said {
                    Said::Standalone { announced: of, .. } => of == announced,
                    Said::Cluster(_) => false,
                };
                let used = answers.iter().filter(agrees).collect();
                (standalone(announced, endpoint), used)
            }
            Said::Cluster(view) => {
                let ids = view.nodes.iter().map(|node| node.id.clone());
                let group = related(answers, ids);
                (merge(&views(&group), None, &self.map).topology, group)
            }
        };
        let is_same = in_use.is_some() && standalone_endpoint(&topology) == in_use;
        self.held_since_us = None;
        self.stranded_since_us = None;
        let settled = Settled {
            topology,
            ignored: 0,
            held: 0,
            is_replaced: !is_first && !is_same,
        };
        Some((settled, used))
    }

    /// Whether only a minority of the known cluster has answered for long, and a seed shows another
    /// cluster that is whole: one old node survived a rebuild.
    fn is_stranded(&mut self, ours: &[&Answer], answers: &[Answer], now_us: u64) -> bool {
        let is_whole = |answer: &&Answer| match &answer.said {
            Said::Cluster(view) => view.sees_majority() && answer.said.has_slots(),
            Said::Standalone { .. } => true,
        };
        let is_alive = ours.iter().any(is_whole);
        let other = answers.iter().find(|answer| {
            answer.origin == Origin::Seed
                && !ours.iter().any(|our| std::ptr::eq(*our, *answer))
                && is_whole(answer)
        });
        if ours.is_empty() || is_alive || other.is_none() {
            self.stranded_since_us = None;
            return false;
        }
        let since = *self.stranded_since_us.get_or_insert(now_us);
        now_us.saturating_sub(since) >= HELD_US_MAX
    }
}

impl Settled {
    fn of(merged: Merged) -> Settled {
        Settled {
            topology: merged.topology,
            ignored: 0,
            held: merged.held,
            is_replaced: false,
        }
    }
}

impl Said {
    fn has_slots(&self) -> bool {
        match self {
            Said::Cluster(view) => view.nodes.iter().any(|node| !node.slots.is_empty()),
            Said::Standalone { .. } => true,
        }
    }
}

/// The snapshot of one standalone server.
fn standalone(announced: &Endpoint, endpoint: &Endpoint) -> Topology {
    let node = Node {
        id: "".into(),
        endpoint: endpoint.clone(),
        announced: announced.clone(),
        role: Role::Primary,
        health: Health::Online,
        config_epoch: 0,
        hostname: None,
        zone: None,
    };
    let mut topology = Topology::new(Mode::Standalone, vec![node]);
    topology.assign_all(vec![NodeIndex(0).0; Slot::COUNT]);
    topology
}

fn standalone_endpoint(topology: &Topology) -> Option<&Endpoint> {
    match topology.mode {
        Mode::Standalone => topology.nodes.first().map(|node| &node.announced),
        Mode::Cluster => None,
    }
}

/// The answers whose views share a node with `ids`, or with another such view.
fn related(answers: &[Answer], ids: impl Iterator<Item = Arc<str>>) -> Vec<&Answer> {
    let mut ids: HashSet<Arc<str>> = ids.collect();
    let mut is_related = vec![false; answers.len()];
    loop {
        let mut has_grown = false;
        for (answer, is_related) in answers.iter().zip(&mut is_related) {
            let Said::Cluster(view) = &answer.said else {
                continue;
            };
            if !*is_related && view.nodes.iter().any(|node| ids.contains(&node.id)) {
                *is_related = true;
                has_grown = true;
                ids.extend(view.nodes.iter().map(|node| node.id.clone()));
            }
        }
        if !has_grown {
            break;
        }
    }
    let related = answers.iter().zip(is_related);
    related
        .filter_map(|(answer, is)| is.then_some(answer))
        .collect()
}

fn views<'a>(answers: &[&'a Answer]) -> Vec<&'a View> {
    let view = |answer: &&'a Answer| match &answer.said {
        Said::Cluster(view) => Some(&**view),
        Said::Standalone { .. } => None,
    };
    answers.iter().filter_map(view).collect()
}

/// Time and server of a snapshot: the oldest of the answers it rests on, and the lowest version, so
/// that nothing is promised that one of the servers cannot do.
fn identify(topology: &mut Topology, used: &[&Answer]) {
    let began = used.iter().map(|answer| answer.began_us);
    topology.as_of_us = began.min().unwrap_or(0);
    let known = used.iter().map(|answer| &answer.server);
    let lowest = known
        .filter(|server| !server.redis_version.is_empty())
        .min_by_key(|server| {
            let number = |text: &str| {
                let parts = text.split('.');
                parts
                    .map(|part| part.parse().unwrap_or(0))
                    .collect::<Vec<u32>>()
            };
            (
                number(&server.redis_version),
                number(&server.valkey_version),
            )
        });
    if let Some(server) = lowest {
        topology.server_name = server.name.clone();
        topology.server_version = server.redis_version.clone();
        topology.valkey_version = server.valkey_version.clone();
        topology.greeting = server.greeting.clone();
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
