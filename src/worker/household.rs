//! The cores of one thread: one for each identity that its clients have.
//!
//! A core opens all its connections with the credentials of its one identity, for as long as it lives, and a
//! client is in one core at a time. So nothing can cross: a request finds no other connections than those
//! of its client's identity, nor a reply another client. The service user's core is always there; others are
//! made for the first client of their identity and go when they had none for a while.
//!
//! What threads tell each other is for all cores of a thread, unless it names one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::arrivals::Arrivals;
use super::core::{Core, WorkerLimits};
use super::doors_cell::DoorsCell;
use super::learnt_cell::LearntCell;
use super::limits::Used;
use super::local::{Asked, LocalFacts, Seat};
use super::monitors::MonitorNote;
use super::refresh_requests::RefreshRequests;
use super::replica_facts::ReplicaFacts;
use super::script_cache::ScriptCache;
use super::thread::{self, Note, Worker};
use super::topology_cell::TopologyCell;
use crate::acl::{Identity, IdentityNumber};
use crate::client::Question;
use crate::cluster::AddressMap;
use crate::resp::{reply, write};
use crate::telemetry::WorkerTallies;
use crate::upstream::{Identities, handshake};

/// What all cores of a thread are made from.
pub(super) struct Household {
    pub(super) index: usize,
    pub(super) limits: WorkerLimits,
    pub(super) tallies: Arc<WorkerTallies>,
    pub(super) address_map: Arc<AddressMap>,
    pub(super) refresh: Arc<RefreshRequests>,
    pub(super) local: Arc<LocalFacts>,
    pub(super) scripts: Arc<ScriptCache>,
    pub(super) learnt: Arc<LearntCell>,
    pub(super) topology: Arc<TopologyCell>,
    pub(super) doors: Arc<DoorsCell>,
    pub(super) replicas: watch::Receiver<Arc<ReplicaFacts>>,
    /// How connections are opened; the credentials are the service user's.
    pub(super) upstream: handshake::Settings,
    pub(super) arrivals: Rc<Arrivals>,
    pub(super) workers: Arc<[mpsc::UnboundedSender<Note>]>,
    pub(super) identities: Arc<Identities>,
    /// An identity without clients goes after this time.
    pub(super) identity_idle: Duration,
    pub(super) used: Used,
    /// Held while a client's credentials are shown to a node.
    pub(super) vouching: Semaphore,
    pub(super) is_draining: Cell<bool>,
    /// Told when there is another core.
    pub(super) has_grown: Notify,
    /// The service user's first of all. Each is kept alive by its tasks.
    pub(super) members: RefCell<Vec<Weak<Worker>>>,
}

impl Household {
    /// Makes a core, with what it has to know from the start. Without an identity it is the service user's.
    pub(super) fn add(self: &Rc<Self>, identity: Option<Arc<Identity>>) -> Rc<Worker> {
        let mut core = Core::new(
            self.index,
            self.limits.clone(),
            Arc::clone(&self.tallies),
            Arc::clone(&self.address_map),
            Arc::clone(&self.refresh),
            Arc::clone(&self.local),
        );
        core.scripts = Arc::clone(&self.scripts);
        core.teaching = Arc::clone(&self.learnt);
        core.awaits_learnt = true;
        core.used = self.used.clone();
        core.doors = self.doors.load();
        core.is_draining = self.is_draining.get();
        let credentials = match &identity {
            None => self.upstream.credentials.clone(),
            Some(identity) => {
                let known = self.identities.credentials(identity);
                known.expect("an identity is known as long as somebody holds it")
            }
        };
        let upstream = handshake::Settings {
            credentials,
            ..self.upstream.clone()
        };
        core.identity = identity;
        let worker = Rc::new(Worker::new(core, upstream, self));
        worker.turn(|core| {
            if let Some(topology) = self.topology.load() {
                core.apply_topology(topology);
            }
            if *self.learnt.subscribe().borrow() > 0 {
                core.take_learnt(self.learnt.load());
            }
            core.apply_replica_facts(Arc::clone(&self.replicas.borrow()));
            core.take_over_pause();
        });
        for other in self.all() {
            let known = other.turn(|core| core.monitors_known());
            worker.turn(|core| core.learn_of_monitors(&known));
        }
        self.members.borrow_mut().push(Rc::downgrade(&worker));
        tokio::task::spawn_local(thread::keep_time(Rc::clone(&worker)));
        tokio::task::spawn_local(thread::keep_handing_out(Rc::clone(&worker)));
        tokio::task::spawn_local(thread::keep_credentials(Rc::clone(&worker)));
        self.has_grown.notify_one();
        worker
    }

    /// The core of an identity, made if there is none.
    pub(super) fn member(self: &Rc<Self>, identity: Option<&Arc<Identity>>) -> Rc<Worker> {
        let number = identity.map_or(IdentityNumber::SERVICE, |identity| identity.number());
        match self.find(number) {
            Some(worker) => worker,
            None => {
                self.tallies.identities.add(1);
                self.add(identity.cloned())
            }
        }
    }

    /// The core of the identity with this number, if there is one.
    pub(super) fn find(&self, number: IdentityNumber) -> Option<Rc<Worker>> {
        let mut all = self.all().into_iter();
        all.find(|worker| worker.identity == number)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Rc<Worker>> {
        let members = self.members.borrow();
        members.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets something happen in each core.
    pub(super) fn each(&self, mut work: impl FnMut(&mut Core)) {
        for worker in self.all() {
            worker.turn(&mut work);
        }
    }

    /// Closes the connections of an identity that no client of this thread has any more.
    pub(super) fn dissolve(&self, worker: &Rc<Worker>) {
        let mut members = self.members.borrow_mut();
        members.retain(|member| !std::ptr::eq(member.as_ptr(), Rc::as_ptr(worker)));
        drop(members);
        worker.turn(Core::close_connections);
        self.tallies.identities.subtract(1);
    }

    /// Does what another thread, or this one, says.
    pub(super) fn handle(&self, note: Note) {
        match note {
            Note::Asked(asked) => {
                let answer = self.answer(&asked);
                if let Some(asker) = self.workers.get(asked.asker.worker) {
                    let identity = asked.asker.identity;
                    let _ = asker.send(Note::Answer(identity, asked.ticket, answer));
                }
            }
            Note::Moving(slot, from) => self.each(|core| {
                if core.seat() != from {
                    core.slot_is_moving(slot);
                }
            }),
            Note::Monitors { seat, count } => {
                self.each(|core| core.monitors_elsewhere(seat, count));
            }
            Note::Monitor(identity, note) => match self.find(identity) {
                Some(worker) => worker.turn(|core| core.take_monitor_note(note)),
                None => {
                    // Its monitors have left meanwhile.
                    if let MonitorNote::Lines(lines) = note {
                        self.local.handovers.taken(self.index, lines.len());
                    }
                }
            },
            Note::Answer(identity, ticket, answer) => {
                // Who asked may have left, and its identity with it.
                if let Some(worker) = self.find(identity) {
                    worker.turn(|core| core.reply(ticket, &answer));
                }
            }
        }
    }

    /// What all its cores say together; or the one core that is meant.
    fn answer(&self, asked: &Asked) -> Vec<u8> {
        let mut answers = Vec::new();
        for worker in self.all() {
            if asked.scope.is_none_or(|scope| scope == worker.identity) {
                answers.push(worker.turn(|core| core.answer_asked(asked)));
            }
        }
        if let Question::List(_) = asked.question {
            return answers.concat();
        }
        let numbers = answers.iter().filter_map(|answer| reply::integer(answer));
        let mut out = Vec::new();
        write::integer(&mut out, numbers.sum());
        out
    }
}

impl Core {
    /// The thread and the identity.
    pub fn seat(&self) -> Seat {
        Seat {
            worker: self.index,
            identity: self.identity_number(),
        }
    }
}
