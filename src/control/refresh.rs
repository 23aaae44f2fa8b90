//! Keeps the topology fresh: one task on the control thread, the only one that publishes snapshots
//! (invariant 8).
//!
//! A refresh asks several servers at once and ends when all have answered, or soon after the first
//! answer: one that hangs delays nobody, its answer is used when it comes. While answers come in,
//! news about slots are published at once; what was known before guards against those that lag (see
//! [`crate::cluster::ledger`]). One refresh at a time; requests that come meanwhile make one more
//! (contract: R8). Whom to ask and when is decided in [`super::refresh_plan`].
//!
//! Recovery from a dead primary, in order:
//! 1. A worker loses its connection and asks for a refresh, which begins at once.
//! 2. The owner does not answer, so everyone is asked every 50 ms.
//! 3. The replica wins the election and says so itself, with an epoch above all others.
//! 4. Its answer is published when it arrives, whether or not the others have answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::probe::{self, ProbeError, ProbeSettings};
use super::refresh_log::RefreshLog;
use super::refresh_plan::{AFTER_MOVED, State, WATCH_OWNERS, back_off, choose, is_alarm};
use super::refresh_round::{Heard, Peer, Round};
use crate::cluster::ledger::{Answer, Ledger, Origin, Progress, Said};
use crate::cluster::views::is_degraded;
use crate::cluster::{AddressMap, Endpoint, Health, Node, Topology};
use crate::net::Lifecycle;
use crate::telemetry::ControlTallies;
use crate::upstream::handshake;
use crate::worker::{RefreshReason, RefreshRequests, TopologyCell};

/// A connection to a seed given by name is not kept longer: its name is looked up again
/// (contract: R11).
const NAME_KEPT: Duration = Duration::from_secs(1);

/// How the topology is found and kept fresh.
#[derive(Clone)]
pub struct RefreshSettings {
    /// The operator's servers, in the order in which they are preferred.
    pub seeds: Vec<Endpoint>,
    /// From announced addresses to those that can be dialled (contract: R12).
    pub address_map: Arc<AddressMap>,
    /// How connections are opened.
    pub upstream: handshake::Settings,
    /// The pause between refreshes when nothing happens.
    pub interval: Duration,
    /// How long a connected server may take to answer.
    pub response_timeout: Duration,
}

/// What the refresher shares with others.
pub struct RefreshParts {
    /// Where snapshots are published.
    pub cell: Arc<TopologyCell>,
    /// Where workers ask for refreshes.
    pub requests: Arc<RefreshRequests>,
    /// Counters.
    pub tallies: Arc<ControlTallies>,
    /// Microseconds on the process' own clock.
    pub now_us: fn() -> u64,
}

/// Finds the topology and publishes it again with each change, until the process stops. No state is
/// terminal: with every node gone it tries on for ever (contract: R11).
pub async fn run(
    settings: RefreshSettings,
    parts: RefreshParts,
    mut lifecycle: watch::Receiver<Lifecycle>,
) {
    let mut refresher = Refresher::new(settings, parts);
    loop {
        let wake_at = refresher.wake_at();
        let is_listening = refresher.pending.is_empty();
        tokio::select! {
            // Stopping goes first; answers go before the timer, which may end a refresh for want
            // of them.
            biased;
            changed = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                // Or nobody can stop us any more: the process is ending.
                drop(changed);
                return;
            }
            Some(ended) = refresher.asking.join_next_with_id() => refresher.heard(ended),
            // Once somebody has asked, further requests cost the workers next to nothing until the
            // refresh begins.
            () = refresher.parts.requests.asked(), if is_listening => {
                refresher.pending = refresher.parts.requests.take();
            }
            () = sleep_until(wake_at) => {}
        }
        refresher.advance(Instant::now());
    }
}

struct Refresher {
    settings: RefreshSettings,
    parts: RefreshParts,
    probes: ProbeSettings,
    ledger: Ledger,
    peers: HashMap<Endpoint, Peer>,
    /// One task for each peer that is being asked.
    asking: JoinSet<Heard>,
    asked: HashMap<task::Id, Endpoint>,
    round: Option<Round>,
    state: State,
    last_began: Instant,
    next_at: Instant,
    /// Reasons given since the last refresh began.
    pending: Vec<RefreshReason>,
    /// A worker had trouble, and not all owners have been seen well since.
    is_alarmed: bool,
    log: RefreshLog,
}

impl Refresher {
    fn new(settings: RefreshSettings, parts: RefreshParts) -> Refresher {
        let now = Instant::now();
        Refresher {
            probes: ProbeSettings {
                open: settings.upstream.clone(),
                response_timeout: settings.response_timeout,
            },
            ledger: Ledger::new(AddressMap::clone(&settings.address_map)),
            settings,
            parts,
            peers: HashMap::new(),
            asking: JoinSet::new(),
            asked: HashMap::new(),
            round: None,
            state: State::Seeking(0),
            last_began: now,
            next_at: now,
            pending: Vec::new(),
            is_alarmed: false,
            log: RefreshLog::default(),
        }
    }

    /// When [`Refresher::advance`] has something to do even if nothing happens.
    fn wake_at(&self) -> Instant {
        match &self.round {
            Some(round) => round.patient_until().unwrap_or_else(|| {
                // Every question has a time limit of its own.
                round.began + Duration::from_secs(3600)
            }),
            None => self.begins_at(),
        }
    }

    /// When the next refresh begins. Requests hasten it, unless nobody answers anyway.
    fn begins_at(&self) -> Instant {
        let is_seeking = matches!(self.state, State::Seeking(1..));
        if self.pending.is_empty() || is_seeking {
            return self.next_at;
        }
        let pause = match self.pending.iter().any(|reason| is_alarm(*reason)) {
            true => WATCH_OWNERS,
            false => AFTER_MOVED,
        };
        self.next_at.min(self.last_began + pause)
    }

    fn advance(&mut self, now: Instant) {
        if self.round.as_ref().is_some_and(|round| round.is_over(now))
            && let Some(round) = self.round.take()
        {
            self.end(round);
        }
        if self.round.is_none() && self.begins_at() <= now {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let mut reasons = std::mem::take(&mut self.pending);
        reasons.extend(self.parts.requests.take());
        self.is_alarmed |= reasons.iter().any(|reason| is_alarm(*reason));
        let is_seeking = matches!(self.state, State::Seeking(_));
        let peers = &self.peers;
        let is_free = |at: &Endpoint| {
            peers.get(at).is_none_or(|peer| {
                // Seeking has a pause of its own.
                let may_try = is_seeking || peer.retry_at.is_none_or(|at| at <= now);
                peer.asked_at.is_none() && may_try
            })
        };
        let chosen = choose(
            self.state.breadth(&reasons),
            self.ledger.known(),
            &self.settings.seeds,
            is_free,
        );
        self.last_began = now;
        if chosen.is_empty() && !self.asked.is_empty() {
            // Whoever could tell is being asked already.
            self.next_at = now + WATCH_OWNERS;
            self.pending = reasons;
            return;
        }
        let mut round = Round {
            began: now,
            reasons,
            waiting: HashMap::new(),
            asked: chosen.len(),
            answers: Vec::new(),
            first_answer: None,
        };
        for (place, (at, origin)) in chosen.into_iter().enumerate() {
            self.ask(&at, now);
            round.waiting.insert(at, (place, origin));
        }
        if round.asked == 0 {
            self.end(round);
        } else {
            self.round = Some(round);
        }
    }

    fn ask(&mut self, at: &Endpoint, now: Instant) {
        let peer = self.peers.entry(at.clone()).or_default();
        peer.asked_at = Some(now);
        let is_name = at.host.parse::<IpAddr>().is_err();
        let is_old = peer.opened_at.is_none_or(|opened| now - opened > NAME_KEPT);
        let kept = match is_name && is_old {
            true => None,
            false => peer.probe.take(),
        };
        if kept.is_none() {
            peer.probe = None;
            peer.opened_at = Some(now);
        }
        let (from, began_us) = (at.clone(), (self.parts.now_us)());
        let settings = self.probes.clone();
        let map = Arc::clone(&self.settings.address_map);
        let task = self.asking.spawn(async move {
            let outcome = probe::ask(&from, kept, &settings, &map).await;
            Heard {
                from,
                began_us,
                outcome,
            }
        });
        self.asked.insert(task.id(), at.clone());
    }

    fn heard(&mut self, ended: Result<(task::Id, Heard), JoinError>) {
        let heard = match ended {
            Ok((id, heard)) => {
                self.asked.remove(&id);
                heard
            }
            Err(error) => {
                // Only a panic, which is a defect; the peer must not stay "being asked" for ever.
                tracing::error!(%error, "asking a node ended unexpectedly");
                let Some(from) = self.asked.remove(&error.id()) else {
                    return;
                };
                let outcome = Err(ProbeError::Unusable("asking it failed".to_owned()));
                Heard {
                    from,
                    began_us: 0,
                    outcome,
                }
            }
        };
        let now = Instant::now();
        let in_round = match &mut self.round {
            Some(round) => round.waiting.remove(&heard.from),
            None => None,
        };
        let peer = self.peers.entry(heard.from.clone()).or_default();
        peer.asked_at = None;
        let (probe, told) = match heard.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                if peer.failures == 0 {
                    self.log.silent(&heard.from, &error);
                }
                peer.failures = peer.failures.saturating_add(1);
                peer.retry_at = Some(now + back_off(peer.failures));
                peer.view = None;
                if in_round.is_none() {
                    // Its refresh ended without it, and took it for slow.
                    self.pending.push(RefreshReason::Timeout);
                }
                return;
            }
        };
        if peer.failures > 0 {
            self.log.answers(&heard.from);
        }
        peer.failures = 0;
        peer.retry_at = None;
        peer.probe = Some(probe);
        let view = match &told.said {
            Said::Cluster(view) => Some(Arc::clone(view)),
            Said::Standalone { .. } => None,
        };
        let is_news = view.is_some() && peer.view != view;
        peer.view = view;
        let answer = |origin| Answer {
            said: told.said,
            origin,
            server: told.server,
            began_us: heard.began_us,
        };
        let answers = match (&mut self.round, in_round) {
            (Some(round), Some((place, origin))) => {
                round.first_answer.get_or_insert(now);
                round.answers.push((place, answer(origin)));
                round.answers_in_order()
            }
            // It was too slow for its own refresh, and is used for what it is worth.
            _ => vec![answer(Origin::Learnt)],
        };
        if is_news {
            self.settle_early(&answers);
        }
    }

    /// Publishes at once what moves requests elsewhere; the rest can wait for the other answers.
    fn settle_early(&mut self, answers: &[Answer]) {
        let now_us = (self.parts.now_us)();
        let Some(settled) = self.ledger.settle(answers, Progress::Early, now_us) else {
            return;
        };
        let published = self.parts.cell.load();
        if published.is_some_and(|published| !published.same_routes(&settled.topology)) {
            self.publish(settled.topology);
        }
    }

    fn end(&mut self, round: Round) {
        let answers = round.answers_in_order();
        let progress = match round.waiting.is_empty() {
            true => Progress::All,
            false => Progress::Mostly,
        };
        let now_us = (self.parts.now_us)();
        let settled = self.ledger.settle(&answers, progress, now_us);
        self.state = match settled {
            Some(settled) => {
                self.log.settled(&settled);
                let is_new = match self.parts.cell.load() {
                    Some(published) => !published.same_map(&settled.topology),
                    None => true,
                };
                // Even an equal snapshot tells those who followed a MOVED that it holds: its
                // time is later than theirs.
                if is_new || round.reasons.contains(&RefreshReason::Moved) {
                    self.publish(settled.topology);
                }
                self.parts.tallies.refreshes.increment();
                self.state_after(&answers, progress)
            }
            None => {
                self.parts.tallies.refresh_failures.increment();
                self.log.nobody(round.asked);
                match self.state {
                    State::Seeking(failures) => State::Seeking(failures.saturating_add(1)),
                    State::OwnerDown | State::OtherDown | State::Calm => State::Seeking(1),
                }
            }
        };
        let pause = self.state.pause(self.settings.interval);
        self.next_at = match self.state {
            State::Seeking(_) => Instant::now() + pause,
            State::OwnerDown | State::OtherDown | State::Calm => round.began + pause,
        };
        self.forget_strangers();
    }

    /// What the answers, and those who did not answer, say of the cluster's state.
    fn state_after(&mut self, answers: &[Answer], progress: Progress) -> State {
        let Some(topology) = self.ledger.known() else {
            return State::Seeking(1);
        };
        let owners: Vec<_> = topology
            .shards()
            .iter()
            .filter_map(|(_, owner)| topology.node(*owner))
            .collect();
        let now = Instant::now();
        let is_well = |node: &Node| {
            let peer = self.peers.get(&node.endpoint);
            peer.is_none_or(|peer| peer.is_well(node, now))
        };
        let is_suspected = |id: &str| {
            let views = answers.iter().filter_map(|answer| match &answer.said {
                Said::Cluster(view) => Some(view),
                Said::Standalone { .. } => None,
            });
            let mut seen = views.flat_map(|view| &view.nodes);
            seen.any(|node| *node.id == *id && node.is_suspected)
        };
        let are_owners_well = !is_degraded(topology)
            && owners
                .iter()
                .all(|node| is_well(node) && !is_suspected(&node.id));
        if !are_owners_well {
            return State::OwnerDown;
        }
        let is_other_down = topology
            .nodes
            .iter()
            .any(|node| node.health == Health::Failed || !is_well(node));
        // An alarm lasts until everyone has been asked since, has answered and is well. (A refresh
        // that knows of an alarm asks everyone.)
        if self.is_alarmed && progress != Progress::All {
            return State::OwnerDown;
        }
        self.is_alarmed = false;
        match is_other_down {
            true => State::OtherDown,
            false => State::Calm,
        }
    }

    fn publish(&mut self, topology: Topology) {
        self.log.published(&topology);
        if let Some(tls) = &self.settings.upstream.tls {
            tls.learn(&topology);
        }
        self.parts.cell.publish(topology);
    }

    /// Drops the connections to nodes that left.
    fn forget_strangers(&mut self) {
        let (seeds, known) = (&self.settings.seeds, self.ledger.known());
        self.peers.retain(|at, peer| {
            let is_known = known.is_some_and(|known| known.node_at(at).is_some());
            peer.asked_at.is_some() || is_known || seeds.contains(at)
        });
    }
}
