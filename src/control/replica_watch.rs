//! Asks primaries and replicas how far their replication is, as long as some listener lets reads go to
//! replicas, and tells the workers which of these may serve ([`super::replica_judge`] decides).
//!
//! It has connections of its own and is independent of the refresh of the topology, which in calm times
//! asks far less often and not everybody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::probe::{ProbeSettings, ask_info};
use super::replica_judge::{Demands, Judge, Judgement, LeftOut, Replication};
use crate::cluster::{Endpoint, Mode, Role, Topology, Zones};
use crate::net::Lifecycle;
use crate::telemetry::ControlTallies;
use crate::upstream::handshake;
use crate::worker::{ReplicaFacts, TopologyCell};

/// The longest and the shortest pause between two questions to a node.
const PAUSE_MAX: Duration = Duration::from_millis(500);
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// Answers that may wait to be judged.
const ANSWERS_MAX: usize = 256;

/// How replicas are watched.
pub struct ReplicaWatchSettings {
    /// A replica that is further behind serves no reads.
    pub lag_max: Duration,
    /// The zone of this Keyway.
    pub own_zone: Option<Arc<str>>,
    /// The configured zones of nodes.
    pub zones: Zones,
    /// How connections are opened.
    pub upstream: handshake::Settings,
    /// How long a node may take to answer.
    pub response_timeout: Duration,
}

/// What a node said, and when it was asked.
struct Heard {
    from: Endpoint,
    asked_at: Instant,
    said: Replication,
}

/// Watches until the process stops.
pub async fn run(
    settings: ReplicaWatchSettings,
    cell: Arc<TopologyCell>,
    facts: watch::Sender<Arc<ReplicaFacts>>,
    tallies: Arc<ControlTallies>,
    mut lifecycle: watch::Receiver<Lifecycle>,
) {
    let pause = (settings.lag_max / 4).clamp(PAUSE_MIN, PAUSE_MAX);
    let (sender, mut answers) = mpsc::channel(ANSWERS_MAX);
    let mut watch = Watch {
        demands: Demands {
            lag_max: settings.lag_max,
            silence_max: pause + settings.response_timeout,
            own_zone: settings.own_zone.clone(),
            zones: settings.zones.clone(),
        },
        asking: Asking {
            sender,
            probes: ProbeSettings {
                open: settings.upstream,
                response_timeout: settings.response_timeout,
            },
            wants_zone: settings.own_zone.is_some(),
            pause,
            tasks: HashMap::new(),
        },
        judge: Judge::default(),
        facts,
        tallies,
        told: HashMap::new(),
    };
    let mut versions = cell.subscribe();
    loop {
        let topology = cell.load();
        watch.asking.ask_these(topology.as_deref());
        let tick = sleep(pause);
        tokio::select! {
            biased;
            changed = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                drop(changed);
                return;
            }
            changed = versions.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(heard) = answers.recv() => {
                watch.judge.hear(&heard.from, heard.asked_at, heard.said);
            }
            // Silence is news as well.
            () = tick => {}
        }
        if let Some(topology) = cell.load() {
            watch.tell(&topology);
        }
    }
}

struct Watch {
    demands: Demands,
    asking: Asking,
    judge: Judge,
    facts: watch::Sender<Arc<ReplicaFacts>>,
    tallies: Arc<ControlTallies>,
    /// What was logged of each replica.
    told: HashMap<Endpoint, Option<LeftOut>>,
}

impl Watch {
    /// Judges, and tells the workers and the log what changed.
    fn tell(&mut self, topology: &Topology) {
        self.judge.keep(|at| topology.node_at(at).is_some());
        let Judgement { facts, replicas } =
            self.judge.judge(topology, &self.demands, Instant::now());
        let serving = replicas.iter().filter(|(_, why)| why.is_none()).count();
        self.tallies.replicas_serving.set(serving as u64);
        self.tallies
            .replicas_left_out
            .set((replicas.len() - serving) as u64);
        self.told
            .retain(|known, _| replicas.iter().any(|(replica, _)| replica == known));
        for (replica, left_out) in replicas {
            match (self.told.insert(replica.clone(), left_out), left_out) {
                (Some(before), now) if before == now => {}
                // Nothing was asked yet.
                (None, Some(LeftOut::Silent | LeftOut::Unknown)) => {}
                (_, None) => info!(%replica, "a replica serves reads"),
                (_, Some(why)) => warn!(%replica, reason = ?why, "a replica serves no reads"),
            }
        }
        if **self.facts.borrow() != facts {
            self.facts.send_replace(Arc::new(facts));
        }
    }
}

/// One task for each node that is asked.
struct Asking {
    sender: mpsc::Sender<Heard>,
    probes: ProbeSettings,
    wants_zone: bool,
    pause: Duration,
    tasks: HashMap<Endpoint, AbortHandle>,
}

impl Asking {
    /// Asks the replicas of a snapshot and their primaries, and nobody else.
    fn ask_these(&mut self, topology: Option<&Topology>) {
        let topology = topology.filter(|topology| topology.mode == Mode::Cluster);
        let mut wanted = HashSet::new();
        for node in topology.iter().flat_map(|topology| &topology.nodes) {
            if let Role::Replica(primary) = node.role {
                wanted.insert(&node.endpoint);
                let primary = topology.and_then(|topology| topology.node(primary));
                wanted.extend(primary.map(|primary| &primary.endpoint));
            }
        }
        self.tasks.retain(|at, task| {
            let is_wanted = wanted.contains(at);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        for at in wanted {
            if !self.tasks.contains_key(at) {
                let task = tokio::spawn(ask(
                    at.clone(),
                    self.sender.clone(),
                    self.probes.clone(),
                    self.wants_zone,
                    self.pause,
                ));
                self.tasks.insert(at.clone(), task.abort_handle());
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// Asks one node again and again.
async fn ask(
    from: Endpoint,
    sender: mpsc::Sender<Heard>,
    probes: ProbeSettings,
    wants_zone: bool,
    pause: Duration,
) {
    let mut kept = None;
    let sections: &[&str] = match wants_zone {
        true => &["replication", "server"],
        false => &["replication"],
    };
    loop {
        let asked_at = Instant::now();
        // What it does not say is noticed as its silence.
        if let Ok((probe, texts)) = ask_info(&from, kept.take(), &probes, sections).await {
            kept = Some(probe);
            let mut texts = texts.into_iter();
            let replication = texts.next().unwrap_or_default();
            let server = texts.next().unwrap_or_default();
            if let Some(said) = Replication::parse(&replication, &server) {
                let heard = Heard {
                    from: from.clone(),
                    asked_at,
                    said,
                };
                if sender.send(heard).await.is_err() {
                    return;
                }
            }
        }
        // A little more or less, so that not all nodes are asked at the same moment.
        sleep(pause.mul_f64(0.9 + 0.1 * fastrand::f64())).await;
    }
}
