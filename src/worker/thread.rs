//! The worker's thread: its runtime, its messages, its clock.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::core::{Core, WorkerLimits};
use super::local::{Asked, LocalFacts};
use super::{client_task, upstream_task};
use crate::cluster::AddressMap;
use crate::control::refresh_requests::RefreshRequests;
use crate::control::topology_cell::TopologyCell;
use crate::net::Stream;
use crate::pipeline::Ticket;
use crate::telemetry::WorkerTallies;
use crate::telemetry::clock::now_us;
use crate::upstream::handshake;

/// A client that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket, not yet known to any runtime.
    pub socket: crate::net::Socket,
    /// Number of the client, unique within the process (`CLIENT ID`).
    pub id: u64,
}

/// What a worker is told.
#[derive(Debug)]
pub enum Message {
    /// Serve this client.
    Serve(Accepted),
    /// Another worker asks about this worker's clients.
    Asked(Asked),
    /// The answer to a question of this worker's.
    Answer(Ticket, Vec<u8>),
    /// Let the clients finish and leave (contract: F7).
    Drain,
}

/// What a worker needs.
pub struct WorkerContext {
    /// Limits from the configuration.
    pub limits: WorkerLimits,
    /// How to open connections to nodes.
    pub upstream: handshake::Settings,
    /// Addresses to dial instead of announced ones.
    pub address_map: Arc<AddressMap>,
    /// Where snapshots come from.
    pub topology: Arc<TopologyCell>,
    /// Where refreshes are asked for.
    pub refresh: Arc<RefreshRequests>,
    /// What local commands need to know.
    pub local: LocalFacts,
    /// What this worker counts.
    pub tallies: Arc<WorkerTallies>,
    /// All workers, this one included, in the order of their numbers.
    pub workers: Vec<mpsc::UnboundedSender<Message>>,
    /// What this worker is told. Unbounded, but its senders are bounded: the accept loop by
    /// `max_clients`, the workers by one question for each client.
    pub messages: mpsc::UnboundedReceiver<Message>,
}

/// A running worker.
pub struct WorkerHandle {
    thread: JoinHandle<()>,
}

impl WorkerHandle {
    /// Waits until the worker has ended. Returns whether it ended in order.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// The state and what its tasks share.
pub(super) struct Worker {
    core: RefCell<Core>,
    upstream: handshake::Settings,
    workers: Vec<mpsc::UnboundedSender<Message>>,
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
        for asked in std::mem::take(&mut core.questions) {
            for (part, worker) in self.workers.iter().enumerate() {
                // A worker that has ended has no clients to tell of.
                let _ = worker.send(Message::Asked(asked.for_part(part as u32)));
            }
        }
    }

    /// How connections to nodes are opened.
    pub(super) fn upstream(&self) -> &handshake::Settings {
        &self.upstream
    }
}

/// Starts a worker.
///
/// # Errors
/// The operating system gives no thread, or no runtime can be made.
pub fn spawn(index: usize, context: WorkerContext) -> io::Result<WorkerHandle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(
        tokio::runtime::LocalOptions::default(),
    );
    drop(runtime?);
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("one was made a moment ago");
        runtime.block_on(run(context));
    })?;
    Ok(WorkerHandle { thread })
}

async fn run(context: WorkerContext) {
    let WorkerContext { limits, upstream, address_map, topology, refresh, local, tallies, workers, mut messages } =
        context;
    let core = Core::new(limits, tallies, address_map, refresh, local);
    let worker = Rc::new(Worker { core: RefCell::new(core), upstream, workers });
    let mut changes = topology.subscribe();
    tokio::task::spawn_local(keep_time(Rc::clone(&worker)));
    apply(&worker, &topology);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => handle(&worker, message),
                None => break,
            },
            changed = next_change(&mut changes) => if changed {
                apply(&worker, &topology);
            },
        }
        if worker.turn(|core| core.has_drained()) {
            break;
        }
    }
}

async fn next_change(changes: &mut watch::Receiver<u64>) -> bool {
    match changes.changed().await {
        Ok(()) => true,
        // The control thread has ended; the messages will end as well.
        Err(_) => std::future::pending().await,
    }
}

fn apply(worker: &Rc<Worker>, topology: &TopologyCell) {
    if let Some(topology) = topology.load() {
        worker.turn(|core| core.apply_topology(topology));
    }
}

fn handle(worker: &Rc<Worker>, message: Message) {
    match message {
        Message::Serve(accepted) => {
            let Ok(stream) = Stream::from_socket(accepted.socket) else { return };
            let key = worker.turn(|core| core.client_joins(accepted.id, &stream));
            tokio::task::spawn_local(client_task::run(Rc::clone(worker), key, stream));
        }
        Message::Asked(asked) => {
            let answer = worker.turn(|core| core.answer_asked(&asked));
            if let Some(asker) = worker.workers.get(asked.asker) {
                let _ = asker.send(Message::Answer(asked.ticket, answer));
            }
        }
        Message::Answer(ticket, reply) => worker.turn(|core| core.reply(ticket, &reply)),
        Message::Drain => worker.turn(Core::drain),
    }
}

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often requests that wait are looked at, while there are any.
const TICK_PARKED: Duration = Duration::from_millis(5);

/// Looks after deadlines and pauses.
async fn keep_time(worker: Rc<Worker>) {
    loop {
        let has_parked = worker.turn(|core| {
            core.tick();
            !core.parked_clients.is_empty()
        });
        let pause = if has_parked { TICK_PARKED } else { TICK };
        // Ends early when the first request has to wait.
        let parked = std::future::poll_fn(|context| {
            worker.turn(|core| {
                core.tick_waker = Some(context.waker().clone());
                if !has_parked && !core.parked_clients.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        let _ = tokio::time::timeout(pause, parked).await;
    }
}
