//! The worker's thread: its runtime, what it is told, its clock.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::arrivals::{self, ArrivalSettings, Arrivals};
use super::core::{Core, WorkerLimits};
use super::doors_cell::DoorsCell;
use super::learnt_cell::LearntCell;
use super::local::{Asked, LocalFacts};
use super::monitors::MonitorNote;
use super::refresh_requests::RefreshRequests;
use super::replica_facts::ReplicaFacts;
use super::script_cache::ScriptCache;
use super::topology_cell::TopologyCell;
use super::{client_task, upstream_task};
use crate::cluster::{AddressMap, Slot};
use crate::net::{Accepted, Entrance, Lifecycle};
use crate::pipeline::Ticket;
use crate::telemetry::WorkerTallies;
use crate::telemetry::clock::now_us;
use crate::upstream::handshake;

/// What workers tell each other.
#[derive(Debug)]
pub enum Note {
    /// A question about this worker's clients.
    Asked(Asked),
    /// A slot is moving to another node.
    Moving(Slot),
    /// The answer to a question of this worker's.
    Answer(Ticket, Vec<u8>),
    /// About clients in `MONITOR`.
    Monitor(MonitorNote),
}

/// What a worker needs.
pub struct WorkerContext {
    /// Its number, from 0.
    pub index: usize,
    /// Its clients to be. Dropped last of all.
    pub accepted: mpsc::Receiver<Accepted>,
    /// Serve, drain or stop.
    pub lifecycle: watch::Receiver<Lifecycle>,
    /// What this worker counts.
    pub tallies: Arc<WorkerTallies>,
    /// Limits from the configuration.
    pub limits: WorkerLimits,
    /// How to open connections to nodes.
    pub upstream: handshake::Settings,
    /// What connections have to do before they are clients.
    pub arrivals: ArrivalSettings,
    /// Addresses to dial instead of announced ones.
    pub address_map: Arc<AddressMap>,
    /// Where snapshots come from.
    pub topology: Arc<TopologyCell>,
    /// What is found out about replicas; nothing while no read policy wants any.
    pub replicas: watch::Receiver<Arc<ReplicaFacts>>,
    /// Where refreshes are asked for.
    pub refresh: Arc<RefreshRequests>,
    /// What local commands need to know.
    pub local: Arc<LocalFacts>,
    /// Bodies of scripts, shared by all workers.
    pub scripts: Arc<ScriptCache>,
    /// Commands learnt from the servers.
    pub learnt: Arc<LearntCell>,
    /// Users and rules.
    pub doors: Arc<DoorsCell>,
    /// Notes from other workers. Unbounded by itself; each client has at most as many questions
    /// open as requests (`limits.requests_in_flight_per_client`), and what monitors are to be shown is
    /// counted in [`Handovers`](super::monitors::Handovers).
    pub notes: mpsc::UnboundedReceiver<Note>,
    /// To all workers, this one included, in the order of their numbers.
    pub workers: Arc<[mpsc::UnboundedSender<Note>]>,
}

/// The state and what its tasks share.
pub(super) struct Worker {
    core: RefCell<Core>,
    upstream: handshake::Settings,
    pub(super) arrivals: Arrivals,
    workers: Arc<[mpsc::UnboundedSender<Note>]>,
}

impl Worker {
    /// One turn: tells the core the time, lets `work` run, and does what it left to be done outside.
    #[inline]
    pub(super) fn turn<R>(self: &Rc<Self>, work: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.borrow_mut();
        core.now_us = now_us();
        let result = work(&mut core);
        if core.has_errands() {
            self.run_errands(&mut core);
        }
        result
    }

    #[cold]
    fn run_errands(self: &Rc<Self>, core: &mut Core) {
        for key in std::mem::take(&mut core.to_open) {
            tokio::task::spawn_local(upstream_task::run(Rc::clone(self), key));
        }
        for slot in std::mem::take(&mut core.trackers.moving) {
            for (index, worker) in self.workers.iter().enumerate() {
                if index != core.index {
                    let _ = worker.send(Note::Moving(slot));
                }
            }
        }
        for asked in std::mem::take(&mut core.questions) {
            for (part, worker) in self.workers.iter().enumerate() {
                // A worker that has ended has no clients to tell of; the process is ending.
                let _ = worker.send(Note::Asked(asked.for_part(part as u32)));
            }
        }
        for (worker, note) in core.take_monitor_notes() {
            if let Some(worker) = self.workers.get(worker) {
                let _ = worker.send(Note::Monitor(note));
            }
        }
    }

    /// How connections to nodes are opened.
    pub(super) fn upstream(&self) -> &handshake::Settings {
        &self.upstream
    }
}

/// Starts a worker. It ends with the lifecycle, or when nobody can send it clients any more.
///
/// # Errors
/// The operating system gives no thread, or no runtime can be made.
pub fn spawn(context: WorkerContext) -> io::Result<()> {
    let (report, outcome) = std::sync::mpsc::sync_channel(1);
    let name = format!("worker-{}", context.index);
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                // Nobody waits for the report after a spawn that was given up.
                let _ = report.send(Ok(()));
                runtime.block_on(run(context));
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    })?;
    outcome
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the worker's thread ended at once")))
}

async fn run(context: WorkerContext) {
    let WorkerContext {
        mut accepted,
        mut lifecycle,
        topology,
        mut notes,
        mut replicas,
        ..
    } = context;
    let arrivals = Arrivals::new(context.arrivals, Arc::clone(&context.tallies));
    let mut core = Core::new(
        context.index,
        context.limits,
        context.tallies,
        context.address_map,
        context.refresh,
        context.local,
    );
    core.scripts = context.scripts;
    core.teaching = Arc::clone(&context.learnt);
    core.awaits_learnt = true;
    let worker = Rc::new(Worker {
        core: RefCell::new(core),
        upstream: context.upstream,
        arrivals,
        workers: context.workers,
    });
    let mut versions = topology.subscribe();
    let learnt = context.learnt;
    let mut lessons = learnt.subscribe();
    tokio::task::spawn_local(keep_time(Rc::clone(&worker)));
    tokio::task::spawn_local(keep_handing_out(Rc::clone(&worker)));
    apply(&worker, &topology);
    if *lessons.borrow_and_update() > 0 {
        worker.turn(|core| core.take_learnt(learnt.load()));
    }
    let doors = context.doors;
    let mut rules = doors.subscribe();
    worker.turn(|core| core.doors = doors.load());
    let mut credentials = worker.upstream.credentials.subscribe();
    let mut drain_until = None;
    loop {
        tokio::select! {
            client = accepted.recv() => match client {
                Some(client) => serve(&worker, client),
                None => break,
            },
            Some(note) = notes.recv() => handle(&worker, note),
            Ok(()) = versions.changed() => apply(&worker, &topology),
            Ok(()) = replicas.changed() => {
                let facts = Arc::clone(&replicas.borrow_and_update());
                worker.turn(|core| core.apply_replica_facts(facts));
            }
            Ok(()) = lessons.changed() => worker.turn(|core| core.take_learnt(learnt.load())),
            Ok(()) = rules.changed() => worker.turn(|core| core.take_doors(doors.load())),
            Ok(()) = credentials.changed() => {
                let requests = worker.upstream.credentials.load().auth_requests();
                worker.turn(|core| core.authenticate_again(&requests));
            }
            Ok(()) = lifecycle.changed() => match *lifecycle.borrow_and_update() {
                Lifecycle::Starting | Lifecycle::Ready => {}
                Lifecycle::Draining { until } => {
                    drain_until = Some(until);
                    worker.turn(Core::drain);
                }
                Lifecycle::Stopped => break,
            },
            () = drained(&worker) => break,
            () = deadline(drain_until) => {
                let clients = worker.turn(|core| core.clients.len());
                warn!(
                    worker = context.index,
                    clients, "the deadline of draining has passed; closing those left"
                );
                break;
            }
        }
    }
}

/// Ends at this time; never without one.
async fn deadline(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Ends when the worker drains and its last client has left (contract: F7).
async fn drained(worker: &Rc<Worker>) {
    std::future::poll_fn(|context| worker.turn(|core| core.poll_drained(context.waker()))).await;
}

fn apply(worker: &Rc<Worker>, topology: &TopologyCell) {
    if let Some(topology) = topology.load() {
        worker.turn(|core| core.apply_topology(topology));
    }
}

fn serve(worker: &Rc<Worker>, mut accepted: Accepted) {
    let entrance = worker.arrivals.entrance(&accepted);
    let is_immediate = entrance.is_none_or(Entrance::is_immediate);
    if !is_immediate && accepted.ip().is_some() {
        // Counted as a client on its way first, so that it is at no moment overlooked.
        arrivals::begin(worker, accepted);
        worker.turn(|core| core.tallies.clients_total.increment());
        return;
    }
    let visit = accepted.take_visit();
    let address = accepted.peer().to_string();
    let listener = accepted.listener();
    let stream = accepted.into_stream();
    let key = worker.turn(|core| {
        // Counted also when the socket is dead already: the accept loop balances by it.
        core.tallies.clients_total.increment();
        let stream = stream.as_ref().ok()?;
        let id = core.local.next_client();
        Some(core.client_joins_at(listener, id, &address, stream.local_address()))
    });
    if let (Some(key), Ok(stream)) = (key, stream) {
        tokio::task::spawn_local(client_task::run(Rc::clone(worker), key, stream, visit));
    }
}

fn handle(worker: &Rc<Worker>, note: Note) {
    match note {
        Note::Asked(asked) => {
            let answer = worker.turn(|core| core.answer_asked(&asked));
            if let Some(asker) = worker.workers.get(asked.asker) {
                let _ = asker.send(Note::Answer(asked.ticket, answer));
            }
        }
        Note::Moving(slot) => {
            worker.turn(|core| core.slot_is_moving(slot));
        }
        Note::Monitor(note) => worker.turn(|core| core.take_monitor_note(note)),
        Note::Answer(ticket, reply) => worker.turn(|core| core.reply(ticket, &reply)),
    }
}

/// Hands messages out to subscribers, in turns with the clients that write them.
async fn keep_handing_out(worker: Rc<Worker>) {
    std::future::poll_fn(|context| worker.turn(|core| core.poll_fan_out(context.waker()))).await;
}

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often requests that wait are looked at, while there are any.
const TICK_PARKED: Duration = Duration::from_millis(5);

/// Looks after deadlines and pauses.
async fn keep_time(worker: Rc<Worker>) {
    loop {
        let (has_parked, paused_until_us, now_us) = worker.turn(|core| {
            core.tick();
            let paused_until_us = core.scrutiny.paused_until_us();
            (core.is_anyone_waiting(), paused_until_us, core.now_us)
        });
        let pause = if has_parked { TICK_PARKED } else { TICK };
        // Clients that were paused go on in time.
        let pause = paused_until_us.map_or(pause, |until_us| {
            pause.min(Duration::from_micros(until_us.saturating_sub(now_us)))
        });
        // Ends early when the first request has to wait.
        let parked = std::future::poll_fn(|context| {
            worker.turn(|core| {
                core.tick_waker = Some(context.waker().clone());
                let is_news = core.scrutiny.paused_until_us() != paused_until_us;
                if is_news || (!has_parked && core.is_anyone_waiting()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        });
        let _ = tokio::time::timeout(pause, parked).await;
    }
}
