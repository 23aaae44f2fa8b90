//! The worker's thread: its runtime, what it is told, its clock.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tracing::warn;

use super::absent::Absent;
use super::arrivals::{self, ArrivalSettings, Arrivals};
use super::core::{Core, WorkerLimits};
use super::doors_cell::DoorsCell;
use super::household::Household;
use super::learnt_cell::LearntCell;
use super::limits::Used;
use super::local::{Asked, LocalFacts, Seat};
use super::monitors::MonitorNote;
use super::refresh_requests::RefreshRequests;
use super::replica_facts::ReplicaFacts;
use super::script_cache::ScriptCache;
use super::topology_cell::TopologyCell;
use super::{asking, client_task, upstream_task};
use crate::client::Home;
use crate::cluster::{AddressMap, Database, Slot};
use crate::net::{Accepted, Entrance, Lifecycle};
use crate::pipeline::Ticket;
use crate::telemetry::WorkerTallies;
use crate::telemetry::clock::now_us;
use crate::upstream::{Identities, handshake};

/// What workers tell each other.
#[derive(Debug)]
pub enum Note {
    /// A question about this worker's clients.
    Asked(Asked),
    /// A slot is moving to another node, somebody has seen.
    Moving(Slot, Seat),
    /// The answer to a question of a client that is there.
    Answer(Home, Ticket, Vec<u8>),
    /// So many clients of somebody's are in `MONITOR`.
    Monitors {
        /// Whose.
        seat: Seat,
        /// How many.
        count: usize,
    },
    /// For the clients that are there and in `MONITOR`.
    Monitor(Home, MonitorNote),
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
    /// As whom users' commands travel.
    pub identities: Arc<Identities>,
    /// The connections of an identity or a database that has no clients any more are closed after this time.
    pub identity_idle: Duration,
    /// Notes from other workers. Unbounded by itself; each client has at most as many questions
    /// open as requests (`limits.requests_in_flight_per_client`), and what monitors are to be shown is
    /// counted in [`Handovers`](super::monitors::Handovers).
    pub notes: mpsc::UnboundedReceiver<Note>,
    /// To all workers, this one included, in the order of their numbers.
    pub workers: Arc<[mpsc::UnboundedSender<Note>]>,
}

/// The state of the clients and connections of one identity and database, and what its tasks share.
pub(super) struct Worker {
    core: RefCell<Core>,
    upstream: handshake::Settings,
    /// What its connections are opened for.
    pub(super) home: Home,
    pub(super) arrivals: Rc<Arrivals>,
    pub(super) house: Rc<Household>,
    is_over: Cell<bool>,
    end: Notify,
}

impl Worker {
    /// Around a core whose connections are opened with these settings.
    pub(super) fn new(core: Core, upstream: handshake::Settings, house: &Rc<Household>) -> Worker {
        Worker {
            home: core.home(),
            core: RefCell::new(core),
            upstream,
            arrivals: Rc::clone(&house.arrivals),
            house: Rc::clone(house),
            is_over: Cell::new(false),
            end: Notify::new(),
        }
    }

    /// Ends its tasks: no client is left.
    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.end.notify_waiters();
    }

    async fn ended(&self) {
        while !self.is_over.get() {
            self.end.notified().await;
        }
    }

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
        let workers = &self.house.workers;
        for slot in std::mem::take(&mut core.trackers.moving) {
            for worker in workers.iter() {
                let _ = worker.send(Note::Moving(slot, core.seat()));
            }
        }
        for asked in std::mem::take(&mut core.questions) {
            for (part, worker) in workers.iter().enumerate() {
                // A worker that has ended has no clients to tell of; the process is ending.
                let _ = worker.send(Note::Asked(asked.for_part(part as u32)));
            }
        }
        for (to, note) in core.take_monitor_notes() {
            if let Some(worker) = workers.get(to.worker) {
                let _ = worker.send(Note::Monitor(to.home, note));
            }
        }
        if let Some(count) = core.take_monitor_count() {
            let seat = core.seat();
            for worker in workers.iter() {
                let _ = worker.send(Note::Monitors { seat, count });
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
        index,
        mut accepted,
        mut lifecycle,
        mut notes,
        mut replicas,
        ..
    } = context;
    let house = Rc::new(Household {
        index,
        limits: context.limits,
        address_map: context.address_map,
        refresh: context.refresh,
        local: context.local,
        scripts: context.scripts,
        learnt: context.learnt,
        topology: context.topology,
        doors: context.doors,
        replicas: replicas.clone(),
        upstream: context.upstream,
        arrivals: Rc::new(Arrivals::new(
            context.arrivals,
            Arc::clone(&context.tallies),
        )),
        tallies: context.tallies,
        workers: context.workers,
        identities: context.identities,
        identity_idle: context.identity_idle,
        used: Used::default(),
        vouching: Semaphore::new(asking::AT_ONCE),
        selecting: Semaphore::new(asking::AT_ONCE),
        absent: Absent::default(),
        is_draining: Cell::new(false),
        has_grown: Notify::new(),
        members: RefCell::default(),
    });
    let mut versions = house.topology.subscribe();
    let mut lessons = house.learnt.subscribe();
    let mut rules = house.doors.subscribe();
    let service = house.add(None, Database::FIRST);
    let mut drain_until = None;
    loop {
        tokio::select! {
            client = accepted.recv() => match client {
                Some(client) => serve(&service, client),
                None => break,
            },
            Some(note) = notes.recv() => house.handle(note),
            Ok(()) = versions.changed() => {
                if let Some(topology) = house.topology.load() {
                    house.each(|core| core.apply_topology(Arc::clone(&topology)));
                }
            }
            Ok(()) = replicas.changed() => {
                let facts = Arc::clone(&replicas.borrow_and_update());
                house.each(|core| core.apply_replica_facts(Arc::clone(&facts)));
            }
            Ok(()) = lessons.changed() => house.each(|core| core.take_learnt(house.learnt.load())),
            Ok(()) = rules.changed() => house.each(|core| core.take_doors(house.doors.load())),
            Ok(()) = lifecycle.changed() => match *lifecycle.borrow_and_update() {
                Lifecycle::Starting | Lifecycle::Ready => {}
                Lifecycle::Draining { until } => {
                    drain_until = Some(until);
                    house.is_draining.set(true);
                    house.each(Core::drain);
                }
                Lifecycle::Stopped => break,
            },
            // One more has to be drained.
            () = house.has_grown.notified() => {}
            () = drained(&house) => break,
            () = deadline(drain_until) => {
                let mut clients = 0;
                house.each(|core| clients += core.clients.len());
                warn!(
                    worker = index,
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
async fn drained(house: &Rc<Household>) {
    std::future::poll_fn(|context| {
        // Looked at again when it begins.
        let mut is_drained = house.is_draining.get();
        if !is_drained {
            return Poll::Pending;
        }
        house.each(|core| is_drained &= core.poll_drained(context.waker()).is_ready());
        match is_drained {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
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

/// Hands messages out to subscribers, in turns with the clients that write them.
pub(super) async fn keep_handing_out(worker: Rc<Worker>) {
    let handing_out =
        std::future::poll_fn(|context| worker.turn(|core| core.poll_fan_out(context.waker())));
    tokio::select! {
        () = handing_out => {}
        () = worker.ended() => {}
    }
}

/// Tells connections that are open of new credentials.
pub(super) async fn keep_credentials(worker: Rc<Worker>) {
    let mut credentials = worker.upstream.credentials.subscribe();
    loop {
        tokio::select! {
            Ok(()) = credentials.changed() => {
                let requests = credentials.borrow_and_update().auth_requests();
                worker.turn(|core| {
                    core.forget_refusals();
                    core.authenticate_again(&requests);
                });
            }
            () = worker.ended() => return,
        }
    }
}

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often requests that wait are looked at, while there are any.
const TICK_PARKED: Duration = Duration::from_millis(5);

/// Looks after deadlines and pauses.
pub(super) async fn keep_time(worker: Rc<Worker>) {
    let idle_us = worker.house.identity_idle.as_micros() as u64;
    loop {
        if worker.is_over.get() {
            // It has made room for another.
            return;
        }
        let idle_us = match worker.house.identities.is_crowded() {
            true => 0,
            false => idle_us,
        };
        if worker.turn(|core| core.is_deserted(idle_us)) {
            worker.end();
            return worker.house.dissolve(&worker);
        }
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
