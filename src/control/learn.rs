//! Learns the commands that the table does not know from the servers' `COMMAND` (contract: R2).
//!
//! Every primary with slots is asked once when it comes to the cluster, and all of them again when the
//! servers' version changes. A module that is loaded later is no change of the topology; so in
//! addition one primary is asked
//! - now and then ([`LEARN_AGAIN`]),
//! - when a client named a command that nobody knows: within a second, and when that brings nothing
//!   less and less often, so that a client with a misspelt command costs the servers next to nothing.
//!
//! Where it then says something new, all others are asked as well. Who cannot be asked, or may not be,
//! is tried again more and more rarely; its commands are those it last told. What the nodes say is
//! joined.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::cluster::command_listing::parse_news;
use crate::cluster::value::Value;
use crate::cluster::{Endpoint, Topology};
use crate::command::LearntCommands;
use crate::command::announced::{Announced, Interner};
use crate::net::Lifecycle;
use crate::resp::reply::ReplyScanner;
use crate::resp::{Protocol, write};
use crate::upstream::handshake::{self, OpenError, Opened};
use crate::worker::{LearntCell, TopologyCell};

/// The pause after which one primary is asked again although nothing happened.
const LEARN_AGAIN: Duration = Duration::from_secs(60);
/// First and longest pause between two attempts on account of unknown commands, or on one node.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(32);
/// So many nodes are asked at once.
const ASKED_AT_ONCE: usize = 8;
/// `COMMAND` of Redis 7 has 200 KB.
const REPLY_BYTES_MAX: usize = 32 << 20;

/// What is needed for learning.
pub struct LearnSettings {
    /// How connections are opened.
    pub upstream: handshake::Settings,
    /// How long a connected server may take to answer.
    pub response_timeout: Duration,
    /// So many commands are learnt in the life of the process.
    pub commands_max: usize,
}

/// Why a node told nothing.
#[derive(Debug, Error)]
enum LearnError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the connection was lost: {0}")]
    Lost(#[from] std::io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("its reply to COMMAND cannot be used: {0}")]
    Unusable(String),
}

/// What one node told, and when to ask it again.
#[derive(Debug, Default)]
struct Teacher {
    /// Sorted as it told; `None` before it told anything.
    told: Option<Vec<Announced>>,
    failures: u32,
    /// It failed, and is tried again then.
    retry_at: Option<Instant>,
}

struct Heard {
    from: Endpoint,
    outcome: Result<Vec<Announced>, LearnError>,
}

struct Learner {
    settings: Arc<LearnSettings>,
    cell: Arc<LearntCell>,
    interner: Interner,
    /// The primaries, in the order of their slots.
    nodes: Vec<Endpoint>,
    versions: String,
    teachers: HashMap<Endpoint, Teacher>,
    /// To be asked next.
    due: VecDeque<Endpoint>,
    asking: JoinSet<Heard>,
    asked: HashSet<Endpoint>,
    /// A client named a command that nobody knows.
    is_wanted: bool,
    /// Not again for an unknown command before this time; the pause grows while it brings nothing.
    wanted_at: Instant,
    pause: Duration,
    again_at: Instant,
    /// Which one is asked when one is enough.
    next: usize,
    has_topology: bool,
    has_published: bool,
    is_short: bool,
}

/// Learns until the process stops.
pub async fn run(
    settings: LearnSettings,
    topology: Arc<TopologyCell>,
    cell: Arc<LearntCell>,
    mut lifecycle: watch::Receiver<Lifecycle>,
) {
    let mut learner = Learner::new(settings, cell);
    let mut versions = topology.subscribe();
    loop {
        if let Some(topology) = topology.load() {
            learner.follow(&topology);
        }
        learner.advance(Instant::now());
        let wake_at = learner.wake_at();
        let is_listening = !learner.is_wanted;
        let cell = Arc::clone(&learner.cell);
        tokio::select! {
            biased;
            changed = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                // Or nobody can stop us any more: the process is ending.
                drop(changed);
                return;
            }
            Some(ended) = learner.asking.join_next() => match ended {
                Ok(heard) => learner.heard(heard, Instant::now()),
                Err(error) => tracing::error!(%error, "asking for commands ended unexpectedly"),
            },
            Ok(()) = versions.changed() => {}
            () = cell.asked(), if is_listening => learner.is_wanted = true,
            () = sleep_until(wake_at) => {}
        }
    }
}

impl Learner {
    fn new(settings: LearnSettings, cell: Arc<LearntCell>) -> Learner {
        let now = Instant::now();
        Learner {
            interner: Interner::new(settings.commands_max),
            settings: Arc::new(settings),
            cell,
            nodes: Vec::new(),
            versions: String::new(),
            teachers: HashMap::new(),
            due: VecDeque::new(),
            asking: JoinSet::new(),
            asked: HashSet::new(),
            is_wanted: false,
            wanted_at: now,
            pause: PAUSE_FIRST,
            again_at: now + LEARN_AGAIN,
            next: fastrand::usize(..1024),
            has_topology: false,
            has_published: false,
            is_short: false,
        }
    }

    /// Takes over who the primaries are.
    fn follow(&mut self, topology: &Topology) {
        self.has_topology = true;
        let owners = topology.shards().into_iter();
        let owners = owners.filter_map(|(_, owner)| Some(topology.node(owner)?.endpoint.clone()));
        self.nodes = owners.collect();
        let versions = format!("{} {}", topology.server_version, topology.valkey_version);
        let is_other_version = self.versions != versions;
        self.versions = versions;
        for at in &self.nodes {
            let is_new = !self.teachers.contains_key(at);
            if (is_new || is_other_version) && !self.due.contains(at) {
                self.due.push_back(at.clone());
                self.teachers.entry(at.clone()).or_default();
            }
        }
        let nodes = &self.nodes;
        self.due.retain(|at| nodes.contains(at));
        self.forget_strangers();
    }

    /// What nodes that left have told holds until all that are there have told as well: a replica that
    /// took over need not be as quick.
    fn forget_strangers(&mut self) {
        let (nodes, teachers) = (&self.nodes, &self.teachers);
        let has_told = |at| {
            teachers
                .get(at)
                .is_some_and(|teacher| teacher.told.is_some())
        };
        if nodes.iter().all(has_told) {
            self.teachers.retain(|at, _| self.nodes.contains(at));
        }
    }

    fn advance(&mut self, now: Instant) {
        if self.is_wanted && self.wanted_at <= now {
            self.is_wanted = false;
            self.cell.take_request();
            self.wanted_at = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            self.ask_one();
        }
        if self.again_at <= now {
            self.again_at = now + LEARN_AGAIN.mul_f64(0.9 + 0.2 * fastrand::f64());
            self.ask_one();
        }
        for at in &self.nodes {
            if let Some(teacher) = self.teachers.get_mut(at)
                && teacher.retry_at.is_some_and(|retry_at| retry_at <= now)
            {
                teacher.retry_at = None;
                self.due.push_back(at.clone());
            }
        }
        while self.asking.len() < ASKED_AT_ONCE
            && let Some(at) = self.due.pop_front()
        {
            // It is being asked: what it says is new enough, or it is asked once more another time.
            if self.asked.insert(at.clone()) {
                let settings = Arc::clone(&self.settings);
                self.asking.spawn(async move {
                    let outcome = ask(&at, &settings).await;
                    Heard { from: at, outcome }
                });
            }
        }
        if self.has_topology && self.asking.is_empty() && !self.has_published {
            // Nobody told anything: clients that wait are told that nobody knows their command.
            self.publish();
        }
    }

    fn ask_one(&mut self) {
        self.next = self.next.wrapping_add(1);
        if let Some(at) = self.nodes.get(self.next % self.nodes.len().max(1)) {
            self.due.push_back(at.clone());
        }
    }

    fn wake_at(&self) -> Instant {
        let teachers = self.nodes.iter().filter_map(|at| self.teachers.get(at));
        let retries = teachers.filter_map(|teacher| teacher.retry_at);
        let wanted = self.is_wanted.then_some(self.wanted_at);
        retries.chain(wanted).fold(self.again_at, Instant::min)
    }

    fn heard(&mut self, heard: Heard, now: Instant) {
        self.asked.remove(&heard.from);
        if let Some(teacher) = self.teachers.get_mut(&heard.from) {
            match heard.outcome {
                Ok(told) => {
                    teacher.failures = 0;
                    let is_other = teacher.told.as_ref().is_some_and(|before| *before != told);
                    teacher.told = Some(told);
                    if is_other {
                        // What it was given the others were given, too.
                        let others = self.nodes.iter().filter(|at| **at != heard.from);
                        self.due.extend(others.cloned());
                        self.pause = PAUSE_FIRST;
                    }
                }
                Err(error) => {
                    debug!(node = %heard.from, %error, "a node does not tell its commands");
                    let pause = (PAUSE_FIRST * (1 << teacher.failures.min(8))).min(PAUSE_MAX);
                    teacher.failures = teacher.failures.saturating_add(1);
                    teacher.retry_at = Some(now + pause);
                }
            }
        }
        self.forget_strangers();
        let is_first = !self.has_published;
        let is_over = self.asking.is_empty() && self.due.is_empty();
        // At first all have to be heard; later what is new is made known at once.
        if !is_first || is_over {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let (nodes, teachers) = (&self.nodes, &self.teachers);
        let present = nodes.iter().filter_map(|at| teachers.get(at));
        let absent = teachers.iter().filter(|(at, _)| !nodes.contains(at));
        let all = present.chain(absent.map(|(_, teacher)| teacher));
        let told = all.filter_map(|teacher| teacher.told.as_ref());
        let (learnt, is_short) = LearntCommands::new(told.flatten(), &mut self.interner);
        if is_short && !self.is_short {
            warn!(
                learnt_commands = self.settings.commands_max,
                "the servers have more commands than are learnt (limits.learnt_commands)"
            );
        }
        self.is_short = is_short;
        if self.has_published && learnt.same(&self.cell.load()) {
            return;
        }
        let mut names: Vec<&str> = learnt.rows().map(|row| row.name).collect();
        if self.has_published || !names.is_empty() {
            names.sort_unstable();
            let count = names.len();
            names.truncate(10);
            info!(
                count,
                among_them = names.join(" "),
                "commands learnt from the servers"
            );
        }
        self.has_published = true;
        self.cell.publish(learnt);
    }
}

async fn ask(at: &Endpoint, settings: &LearnSettings) -> Result<Vec<Announced>, LearnError> {
    let Opened { stream, .. } = handshake::open(at, Protocol::Resp2, &settings.upstream).await?;
    match timeout(settings.response_timeout, hear(stream)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LearnError::TimedOut(settings.response_timeout)),
    }
}

async fn hear(mut stream: crate::net::Stream) -> Result<Vec<Announced>, LearnError> {
    let unusable = |error: &dyn std::error::Error| LearnError::Unusable(error.to_string());
    let mut request = Vec::new();
    write::command(&mut request, &["COMMAND"]);
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut scanner = ReplyScanner::default();
    let mut reply = Vec::new();
    loop {
        let is_whole = scanner.scan(&reply).map_err(|error| unusable(&error))?;
        if let Some(len) = is_whole {
            reply.truncate(len);
            break;
        }
        if reply.len() > REPLY_BYTES_MAX {
            return Err(LearnError::Unusable("it has no end".to_owned()));
        }
        if stream.read_buf(&mut reply).await? == 0 {
            return Err(LearnError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    let value = Value::decode(&reply, Protocol::Resp2).map_err(|error| unusable(&error))?;
    match &value {
        Value::Error(text) => Err(LearnError::Unusable(text.clone())),
        value => parse_news(value).ok_or_else(|| LearnError::Unusable("it is no list".to_owned())),
    }
}
