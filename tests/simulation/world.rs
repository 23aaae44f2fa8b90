//! Everything of one run: Keyway's core, its clients, the nodes, and time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fastrand::Rng;
use keyway::cluster::AddressMap;
use keyway::config::{CrossSlotTransactions, ReadPolicy};
use keyway::telemetry::WorkerTallies;
use keyway::worker::client_task::{End, poll_client, poll_settled};
use keyway::worker::core::{Core, WorkerLimits};
use keyway::worker::links::Loss;
use keyway::worker::local::Asked;
use keyway::worker::upstream_task::poll_connection;
use keyway::worker::{ListenerFacts, LocalFacts, RefreshRequests};

use super::client::{self, Client};
use super::cluster::Cluster;
use super::link::{self, Link};
use super::node::View;
use super::oracle::Oracle;
use super::replicas;
use super::tasks::Flag;
use super::wire::Socket;

/// A dial that nobody answers ends after this long.
const DIAL_TIMEOUT_US: u64 = 300_000;

/// How clients' requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Small.
    Whole,
    /// Some of their values are large, and all are passed on in pieces when they are cut.
    InPieces,
}

/// One run.
pub struct World {
    pub life: Life,
    pub rng: Rng,
    /// Decides about replicas.
    pub replica_rng: Rng,
    pub core: Core,
    pub tallies: Arc<WorkerTallies>,
    pub clients: Vec<Client>,
    pub links: Vec<Link>,
    pub cluster: Cluster,
    pub oracle: Oracle,
    pub tags: Vec<char>,
    pub wants_trace: bool,
    /// Whether transactions are cut by slot.
    splits: bool,
    pub surveys: VecDeque<(View, u64)>,
    version: u64,
    notes: VecDeque<Asked>,
    serial: u64,
    tick_at_us: u64,
    tick_flag: Arc<Flag>,
    next_client: u64,
}

impl World {
    /// A cluster and a worker that knows nothing of it yet.
    pub fn new(seed: u64, wants_trace: bool, life: Life) -> World {
        let mut rng = Rng::with_seed(seed);
        fastrand::seed(seed);
        let mut tags: Vec<char> = ('a'..='z').collect();
        rng.shuffle(&mut tags);
        tags.truncate(rng.usize(1..7));
        let cluster = Cluster::new(&mut rng, &tags);
        let pick = |rng: &mut Rng, values: &[usize]| values[rng.usize(..values.len())];
        let limits = WorkerLimits {
            request_timeout_us: pick(&mut rng, &[400_000, 1_000_000, 3_000_000]) as u64,
            argument_bytes: 1 << 20,
            request_bytes: 1 << 20,
            requests_in_flight_per_client: pick(&mut rng, &[1, 3, 20, 1000]),
            client_output_soft_bytes: pick(&mut rng, &[20, 200, 100_000]),
            client_output_hard_bytes: 10_000_000,
            outbox_bytes: pick(&mut rng, &[60, 500, 100_000]),
            ..WorkerLimits::default()
        };
        let mut replica_rng = Rng::with_seed(!seed);
        let read_policy = replicas::any_policy(&mut replica_rng);
        let limits = WorkerLimits {
            replica_timeout_us: pick(&mut replica_rng, &[0, 100_000, 500_000]) as u64,
            ..limits
        };
        let mut large_rng = Rng::with_seed(seed.rotate_left(32));
        let limits = WorkerLimits {
            stream_threshold_bytes: pick(&mut large_rng, &[1, 8, 40, 100_000]),
            stream_buffer_bytes: pick(&mut large_rng, &[0, 30, 300, 100_000]),
            stream_window_bytes: pick(&mut large_rng, &[1, 20, 100_000]),
            bulk_connections: pick(&mut large_rng, &[1, 3, 30]),
            ..limits
        };
        let mut sent_rng = Rng::with_seed(!seed.rotate_left(32));
        let limits = match life {
            Life::Whole => WorkerLimits {
                first_reply_bytes: 0,
                ..limits
            },
            Life::InPieces => WorkerLimits {
                upload_threshold_bytes: pick(&mut sent_rng, &[1, 4, 20]),
                upload_window_bytes: pick(&mut sent_rng, &[1, 20, 100_000]),
                first_reply_bytes: pick(&mut sent_rng, &[0, 20, 64 << 10]),
                large_value_us: pick(&mut sent_rng, &[0, 50_000, 500_000]) as u64,
                ..limits
            },
        };
        let splits = rng.bool();
        let tallies = Arc::new(WorkerTallies::default());
        let facts = LocalFacts {
            listeners: vec![ListenerFacts {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 6379))),
                read_policy,
                read_your_writes: replicas::any_time(&mut replica_rng),
                ..ListenerFacts::default()
            }],
            clients_max: 100,
            workers: vec![tallies.clone()],
            cross_slot_transactions: match splits {
                true => CrossSlotTransactions::Split,
                false => CrossSlotTransactions::Refuse,
            },
            ..LocalFacts::default()
        };
        let mut core = Core::new(
            0,
            limits,
            tallies.clone(),
            Arc::new(AddressMap::default()),
            Arc::new(RefreshRequests::default()),
            Arc::new(facts),
        );
        core.now_us = 1_000_000;
        World {
            life,
            rng,
            replica_rng,
            core,
            tallies,
            clients: Vec::new(),
            links: Vec::new(),
            cluster,
            oracle: Oracle::new(read_policy != ReadPolicy::Primary),
            tags,
            wants_trace,
            splits,
            surveys: VecDeque::new(),
            version: 0,
            notes: VecDeque::new(),
            serial: 0,
            tick_at_us: 0,
            tick_flag: Flag::raised(),
            next_client: 0,
        }
    }

    /// Tells what happens, when somebody wants to know.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.wants_trace {
            eprintln!("{:9} us  {}", self.core.now_us, what());
        }
    }

    /// A client connects.
    pub fn join(&mut self) {
        self.next_client += 1;
        let number = self.next_client;
        let local = SocketAddr::from(([127, 0, 0, 1], 6379));
        let address = format!("127.0.0.1:{}", 10_000 + number);
        let key = self.core.client_joins(number, &address, Some(local));
        self.trace(|| format!("client {number} joins as {key:?}"));
        self.clients.push(Client::new(
            &mut self.rng,
            number,
            key,
            self.splits,
            self.life,
        ));
    }

    /// Takes a picture of the cluster, to be published later.
    pub fn survey(&mut self, asks_all: bool) {
        let view = self.cluster.survey(&mut self.rng, asks_all);
        self.surveys.push_back((view, self.core.now_us));
    }

    /// Publishes the oldest picture.
    pub fn publish(&mut self) {
        let Some((view, as_of_us)) = self.surveys.pop_front() else {
            return;
        };
        let mut topology = self.cluster.topology(&mut self.rng, &view, as_of_us);
        self.version += 1;
        topology.version = self.version;
        self.trace(|| format!("snapshot as of {as_of_us}: {view:?}"));
        self.core.apply_topology(Arc::new(topology));
        self.judge_replicas();
        self.run_errands();
    }

    /// Lets time pass.
    pub fn pass(&mut self, us: u64) {
        self.core.now_us += us;
        if self.tick_flag.lower() || self.core.now_us >= self.tick_at_us {
            self.core.tick_waker = Some(self.tick_flag.waker());
            self.core.tick();
            let pause_us = match self.core.is_anyone_waiting() {
                false => 100_000,
                true => 5_000,
            };
            self.tick_at_us = self.core.now_us + pause_us;
            self.run_errands();
            // Workers answer each other within a tick, whatever else happens.
            while !self.notes.is_empty() {
                self.answer_note();
            }
        }
    }

    /// What the worker's thread does after each turn.
    fn run_errands(&mut self) {
        for key in std::mem::take(&mut self.core.to_open) {
            let Some((endpoint, protocol)) = self.core.endpoint_of(key) else {
                continue;
            };
            let role = self.core.role_of(key);
            let last = endpoint.host.rsplit('.').next();
            let node = last.and_then(|last| last.parse::<usize>().ok());
            let node = node.expect("Keyway dials announced nodes") - 1;
            self.trace(|| format!("{key:?} to node {node} is dialled, {protocol:?}"));
            let now_us = self.core.now_us;
            self.links
                .push(Link::new(&mut self.rng, key, node, protocol, role, now_us));
        }
        let questions = std::mem::take(&mut self.core.questions);
        self.notes
            .extend(questions.into_iter().map(|asked| asked.for_part(0)));
    }

    /// Answers one question about clients.
    pub fn answer_note(&mut self) {
        if let Some(asked) = self.notes.pop_front() {
            let answer = self.core.answer_asked(&asked);
            self.core.reply(asked.ticket, &answer);
            self.run_errands();
        }
    }

    /// A client reads up to `count` bytes.
    pub fn read(&mut self, index: usize, count: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        if client.is_deaf || matches!(client.task, client::Task::Left) && client.is_read_up() {
            return Ok(());
        }
        client.read(count, self.core.now_us, self.core.limits.request_timeout_us)
    }

    /// Tasks that were woken: clients first, then connections.
    pub fn woken(&self) -> Vec<usize> {
        let clients = self
            .clients
            .iter()
            .map(|client| client.flag.is_raised() && !matches!(client.task, client::Task::Left));
        let links = self
            .links
            .iter()
            .map(|link| link.flag.is_raised() && matches!(link.task, link::Task::Serving(_)));
        clients
            .chain(links)
            .enumerate()
            .filter(|(_, is_woken)| *is_woken)
            .map(|(task, _)| task)
            .collect()
    }

    /// Runs a task of those.
    pub fn run(&mut self, task: usize) -> Result<(), String> {
        match task.checked_sub(self.clients.len()) {
            None => self.run_client(task),
            Some(link) => self.run_link(link),
        }
        self.run_errands();
        self.check()
    }

    fn run_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.flag.lower();
        let waker = client.flag.waker();
        let mut context = Context::from_waker(&waker);
        let before = self.tallies.requests.value();
        let is_over = match &mut client.task {
            client::Task::Serving(socket) => {
                match poll_client(&mut self.core, client.key, Pin::new(socket), &mut context) {
                    Poll::Ready(End::Finished) => true,
                    Poll::Ready(End::Gone) => {
                        client.task = client::Task::Settling;
                        client.flag = Flag::raised();
                        false
                    }
                    Poll::Ready(End::Moves | End::Asks | End::Selects) => {
                        unreachable!("all are one user in one database")
                    }
                    Poll::Pending => false,
                }
            }
            client::Task::Settling => {
                poll_settled(&mut self.core, client.key, &mut context).is_ready()
            }
            client::Task::Left => false,
        };
        let now_us = self.core.now_us;
        for _ in before..self.tallies.requests.value() {
            if let Some(request) = client.requests.get_mut(client.taken) {
                request.taken_us = Some(now_us);
            }
            client.taken += 1;
        }
        let (number, taken) = (client.number, client.taken);
        if is_over {
            client.task = client::Task::Left;
            self.core.client_left(client.key);
        }
        self.trace(|| format!("client {number} runs: {taken} taken, over: {is_over}"));
    }

    fn run_link(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.flag.lower();
        let waker = link.flag.waker();
        let mut context = Context::from_waker(&waker);
        let link::Task::Serving(socket) = &mut link.task else {
            return;
        };
        let poll = poll_connection(&mut self.core, link.key, Pin::new(socket), &mut context);
        let ids = link.track();
        let (key, node) = (link.key, link.node);
        if !ids.is_empty() {
            self.trace(|| format!("{key:?} to node {node} wrote {ids:?}"));
        }
        for id in ids {
            self.oracle.wrote(id);
        }
        if let Poll::Ready(why) = poll {
            self.trace(|| format!("{key:?} to node {node} ends: {why}"));
            self.links[index].task = link::Task::Orphan;
            self.core.connection_lost(key, Loss::Lost, &why);
        }
    }

    /// A dial succeeds, fails or goes on.
    pub fn dial(&mut self, index: usize) {
        let link = &mut self.links[index];
        let link::Task::Dialling(since_us) = link.task else {
            return;
        };
        let node = &self.cluster.nodes[link.node];
        let (key, number) = (link.key, link.node);
        if !node.is_alive || node.is_refusing {
            link.task = link::Task::Over;
            self.core.connection_lost(key, Loss::NotOpened, "refused");
            self.trace(|| format!("{key:?} to node {number} is refused"));
        } else if !node.is_hung {
            link.task = link::Task::Serving(Socket(link.wire.clone()));
            self.core.connection_ready(key);
            self.trace(|| format!("{key:?} to node {number} is open"));
        } else if self.core.now_us - since_us > DIAL_TIMEOUT_US {
            link.task = link::Task::Over;
            self.core.connection_lost(key, Loss::NotOpened, "no answer");
            self.trace(|| format!("{key:?} to node {number} is not answered"));
        }
        self.run_errands();
    }

    /// A node turns to one of its connections.
    pub fn work(&mut self, index: usize, most: usize) {
        let link = &mut self.links[index];
        let node = &mut self.cluster.nodes[link.node];
        if !node.is_alive || node.is_hung {
            return;
        }
        let all = link.work(&mut self.rng, node, &mut self.serial, most);
        let (key, node) = (link.key, link.node);
        let mut executions = Vec::new();
        for done in all {
            executions.extend(done.executions);
            self.oracle.blocks.extend(done.block);
        }
        for execution in &executions {
            self.trace(|| {
                let Some(request) = self.request(execution.id) else {
                    return format!("node {node} executes {execution:?}");
                };
                format!(
                    "node {node} executes {} {:?} (serial {}, block {:?}) from {key:?}",
                    execution.id,
                    request.args.join(" "),
                    execution.serial,
                    execution.block
                )
            });
        }
        self.oracle.executions.extend(executions);
    }

    fn request(&self, id: u64) -> Option<&super::request::Request> {
        let client = self.clients.get((id / 10_000).checked_sub(1)? as usize)?;
        client.requests.get((id % 10_000) as usize)
    }

    /// A connection ends.
    pub fn lose(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.end(&mut self.rng);
        let (key, node) = (link.key, link.node);
        self.trace(|| format!("{key:?} is cut by node {node}"));
    }
}
