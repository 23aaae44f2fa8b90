//! Which replicas may serve reads, from what primaries and replicas say of their replication: pure, the
//! time is given.
//!
//! How far a replica is behind is measured in time. A primary's offsets are kept with the times at which
//! they were asked for; a replica whose offset has reached one of them has everything its primary had
//! then. So a replica behind a primary that does not answer grows older by the second, whether or
//! not it could follow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Endpoint, Health, Mode, NodeIndex, Role, Topology, Zones};
use crate::worker::{Fitness, NodeFacts, ReplicaFacts};

/// Offsets kept for one primary; older ones than this many are of no use.
const SAMPLES_MAX: usize = 64;

/// What is asked of replicas.
#[derive(Clone, Debug)]
pub(super) struct Demands {
    /// One that is further behind serves no reads.
    pub(super) lag_max: Duration,
    /// One that has not answered for so long serves none either.
    pub(super) silence_max: Duration,
    /// The zone of this Keyway.
    pub(super) own_zone: Option<Arc<str>>,
    /// The zones of nodes.
    pub(super) zones: Zones,
}

/// What a node says of its replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replication {
    pub(super) is_replica: bool,
    pub(super) is_link_up: bool,
    /// A whole copy of the primary's data is on its way: the old data goes away.
    pub(super) is_syncing: bool,
    /// Which history the offset counts in.
    pub(super) history: Box<str>,
    pub(super) offset: u64,
    /// The zone it reports.
    pub(super) zone: Option<Arc<str>>,
}

/// Why a replica serves no reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// It has not answered lately, or never.
    Silent,
    /// Its primary has not said yet how far it is.
    Unknown,
    /// The cluster says that it failed.
    Failed,
    /// It calls itself a primary.
    NoReplica,
    /// Its link to the primary is down, and it is behind by more than is allowed.
    LinkDown,
    /// Its link to the primary is down; it serves while the primary cannot be reached.
    CutOff,
    /// It loads a copy of the primary's data.
    Loading,
    /// It follows another history than its primary.
    OtherHistory,
    /// It is further behind than is allowed.
    Lagging,
}

/// The judgement about all nodes.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) facts: ReplicaFacts,
    /// For each replica why it serves no reads, if so.
    pub(super) replicas: Vec<(Endpoint, Option<LeftOut>)>,
}

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Judge {
    primaries: HashMap<Endpoint, Offsets>,
    last: HashMap<Endpoint, (Instant, Replication)>,
}

/// A primary's offsets, oldest first.
#[derive(Debug, Default)]
struct Offsets {
    history: Box<str>,
    samples: VecDeque<(Instant, u64)>,
}

impl Judge {
    /// A node answered a question that was asked at this time.
    pub(super) fn hear(&mut self, from: &Endpoint, asked_at: Instant, said: Replication) {
        if !said.is_replica {
            let offsets = self.primaries.entry(from.clone()).or_default();
            offsets.add(asked_at, &said);
        }
        self.last.insert(from.clone(), (asked_at, said));
    }

    /// Forgets nodes that left.
    pub(super) fn keep(&mut self, is_known: impl Fn(&Endpoint) -> bool) {
        self.primaries.retain(|at, _| is_known(at));
        self.last.retain(|at, _| is_known(at));
    }

    /// Judges every node of a snapshot.
    pub(super) fn judge(&self, topology: &Topology, demands: &Demands, now: Instant) -> Judgement {
        let mut judgement = Judgement::default();
        if topology.mode != Mode::Cluster {
            return judgement;
        }
        for node in &topology.nodes {
            let mut facts = NodeFacts::default();
            let reported = self.last.get(&node.endpoint);
            let reported = reported.and_then(|(_, said)| said.zone.as_ref());
            let configured = demands.zones.of(&node.endpoint, &node.announced);
            let zone = configured.or(node.zone.as_ref()).or(reported);
            facts.is_near = zone.is_some() && zone == demands.own_zone.as_ref();
            if let Role::Replica(primary) = node.role {
                let left_out = match node.health {
                    Health::Failed => Some(LeftOut::Failed),
                    // Old news: the replica itself is asked far more often.
                    Health::Loading | Health::Online => {
                        self.left_out(&node.endpoint, topology, primary, demands, now)
                    }
                };
                facts.fitness = match left_out {
                    None => Fitness::Fit,
                    Some(LeftOut::CutOff) => Fitness::CutOff,
                    Some(_) => Fitness::Unfit,
                };
                judgement.replicas.push((node.endpoint.clone(), left_out));
            }
            judgement.facts.0.insert(node.endpoint.clone(), facts);
        }
        judgement
    }

    fn left_out(
        &self,
        replica: &Endpoint,
        topology: &Topology,
        primary: NodeIndex,
        demands: &Demands,
        now: Instant,
    ) -> Option<LeftOut> {
        let Some((asked_at, said)) = self.last.get(replica) else {
            return Some(LeftOut::Silent);
        };
        if now.saturating_duration_since(*asked_at) > demands.silence_max {
            return Some(LeftOut::Silent);
        }
        if !said.is_replica {
            return Some(LeftOut::NoReplica);
        }
        if said.is_syncing {
            return Some(LeftOut::Loading);
        }
        let primary = topology.node(primary).map(|node| &node.endpoint);
        let Some(offsets) = primary.and_then(|primary| self.primaries.get(primary)) else {
            return Some(LeftOut::Unknown);
        };
        if offsets.history != said.history {
            return Some(LeftOut::OtherHistory);
        }
        let lag = offsets.lag(said.offset, now);
        let is_close = lag.is_some_and(|lag| lag <= demands.lag_max);
        match (said.is_link_up, is_close) {
            (true, true) => None,
            (true, false) => Some(LeftOut::Lagging),
            (false, true) => Some(LeftOut::CutOff),
            (false, false) => Some(LeftOut::LinkDown),
        }
    }
}

impl Offsets {
    fn add(&mut self, asked_at: Instant, said: &Replication) {
        let is_back = self
            .samples
            .back()
            .is_some_and(|(_, newest)| *newest > said.offset);
        if self.history != said.history || is_back {
            self.samples.clear();
            self.history.clone_from(&said.history);
        }
        match self.samples.back_mut() {
            // Nothing was written: whoever has that offset has everything until now.
            Some((at, newest)) if *newest == said.offset => *at = asked_at,
            _ => self.samples.push_back((asked_at, said.offset)),
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// How long ago the primary had no more than a replica with this offset; `None` for longer than is
    /// known.
    fn lag(&self, offset: u64, now: Instant) -> Option<Duration> {
        let mut samples = self.samples.iter().rev();
        let (at, _) = samples.find(|(_, reached)| *reached <= offset)?;
        Some(now.saturating_duration_since(*at))
    }
}

impl Replication {
    /// Reads `INFO replication`, and `INFO server` for the zone.
    pub(super) fn parse(replication: &str, server: &str) -> Option<Replication> {
        let field = |text: &'_ str, name: &str| -> Option<String> {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(value.trim().to_owned())
        };
        let of = |name| field(replication, name);
        let is_replica = match of("role")?.as_str() {
            "master" | "primary" => false,
            "slave" | "replica" => true,
            _ => return None,
        };
        // Both have both fields; a replica's own is what it has carried out.
        let offset = match is_replica {
            true => of("slave_repl_offset").or_else(|| of("replica_repl_offset")),
            false => of("master_repl_offset").or_else(|| of("primary_repl_offset")),
        };
        let link = of("master_link_status").or_else(|| of("primary_link_status"));
        let syncing = of("master_sync_in_progress").or_else(|| of("primary_sync_in_progress"));
        let history = of("master_replid").or_else(|| of("primary_replid"));
        Some(Replication {
            is_replica,
            is_link_up: link.is_some_and(|link| link == "up"),
            is_syncing: syncing.is_some_and(|syncing| syncing != "0"),
            history: history.unwrap_or_default().into(),
            // -1 before the first synchronisation.
            offset: offset.and_then(|offset| offset.parse().ok()).unwrap_or(0),
            zone: field(server, "availability_zone")
                .filter(|zone| !zone.is_empty())
                .map(Arc::from),
        })
    }
}

#[cfg(test)]
#[path = "replica_judge_tests.rs"]
mod tests;
