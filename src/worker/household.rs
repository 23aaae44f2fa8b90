//! The cores of one thread: one for each identity that its clients have, and each database that they selected.
//!
//! A core opens all its connections with the credentials of its one identity and selects its one database on them,
//! for as long as it lives, and a client is in one core at a time. So nothing can cross: a request finds no other
//! connections than those of its client's identity and database, nor a reply another client. The service user's core of
//! the first database is always there; others are made for their first client and go when they had none for a while.
//!
//! What threads tell each other is for all cores of a thread, unless it names one.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::absent::Absent;
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
use crate::client::{Home, Question};
use crate::cluster::{AddressMap, Database};
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
    /// A core without clients goes after this time.
    pub(super) identity_idle: Duration,
    pub(super) used: Used,
    /// Held while a client's credentials are shown to a node.
    pub(super) vouching: Semaphore,
    /// Held while a node is asked for a database.
    pub(super) selecting: Semaphore,
    /// Databases of which nodes said that they are not there.
    pub(super) absent: Absent,
    pub(super) is_draining: Cell<bool>,
    /// Told when there is another core.
    pub(super) has_grown: Notify,
    /// The service user's of the first database before all others. Each is kept alive by its tasks.
    pub(super) members: RefCell<Vec<Weak<Worker>>>,
}

impl Household {
    /// Makes a core, with what it has to know from the start. Without an identity it is the service user's.
    pub(super) fn add(
        self: &Rc<Self>,
        identity: Option<Arc<Identity>>,
        database: Database,
    ) -> Rc<Worker> {
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
            database,
            ..self.upstream.clone()
        };
        core.identity = identity;
        core.database = database;
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
        self.count();
        worker
    }

    /// The core of an identity and a database, made if there is none.
    pub(super) fn member(
        self: &Rc<Self>,
        identity: Option<&Arc<Identity>>,
        database: Database,
    ) -> Rc<Worker> {
        let number = identity.map_or(IdentityNumber::SERVICE, |identity| identity.number());
        let home = Home {
            identity: number,
            database,
        };
        match self.find(home) {
            Some(worker) => worker,
            None => self.add(identity.cloned(), database),
        }
    }

    /// The core with this home, if there is one.
    pub(super) fn find(&self, home: Home) -> Option<Rc<Worker>> {
        let mut all = self.all().into_iter();
        all.find(|worker| worker.home == home)
    }

    /// The cores of the identity with this number, one for each database.
    pub(super) fn of_identity(&self, number: IdentityNumber) -> Vec<Rc<Worker>> {
        let mut all = self.all();
        all.retain(|worker| worker.home.identity == number);
        all
    }

    /// Whether there may be one more core of another database than the first. One that nobody needs makes room.
    ///
    /// There may be more than the limit says, when clients in such a database become other users: each of them
    /// had its place before, and what it leaves goes after a while.
    pub(super) fn has_room_for_database(&self) -> bool {
        let of_databases = self.of_databases();
        let mut left = of_databases.len();
        for worker in &of_databases {
            if left < self.limits.databases {
                break;
            }
            if worker.turn(|core| core.is_deserted(0)) {
                worker.end();
                self.dissolve(worker);
                left -= 1;
            }
        }
        left < self.limits.databases
    }

    fn of_databases(&self) -> Vec<Rc<Worker>> {
        let mut all = self.all();
        all.retain(|worker| !worker.home.database.is_first());
        all
    }

    /// Says how many there are.
    fn count(&self) {
        let of_databases = self.of_databases().len();
        self.tallies.databases.set(of_databases as u64);
        let all = self.all().into_iter();
        let identities: HashSet<_> = all.map(|worker| worker.home.identity).collect();
        // The service user's is always there.
        self.tallies.identities.set(identities.len() as u64 - 1);
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

    /// Closes the connections of a core that no client of this thread needs any more.
    pub(super) fn dissolve(&self, worker: &Rc<Worker>) {
        let mut members = self.members.borrow_mut();
        members.retain(|member| !std::ptr::eq(member.as_ptr(), Rc::as_ptr(worker)));
        drop(members);
        worker.turn(Core::close_connections);
        self.count();
    }

    /// Does what another thread, or this one, says.
    pub(super) fn handle(&self, note: Note) {
        match note {
            Note::Asked(asked) => {
                let answer = self.answer(&asked);
                if let Some(asker) = self.workers.get(asked.asker.worker) {
                    let home = asked.asker.home;
                    let _ = asker.send(Note::Answer(home, asked.ticket, answer));
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
            Note::Monitor(home, note) => match self.find(home) {
                Some(worker) => worker.turn(|core| core.take_monitor_note(note)),
                None => {
                    // Its monitors have left meanwhile.
                    if let MonitorNote::Lines(lines) = note {
                        self.local.handovers.taken(self.index, lines.len());
                    }
                }
            },
            Note::Answer(home, ticket, answer) => {
                // Who asked may have left, and its core with it.
                if let Some(worker) = self.find(home) {
                    worker.turn(|core| core.reply(ticket, &answer));
                }
            }
        }
    }

    /// What all its cores say together; or the one core that is meant.
    fn answer(&self, asked: &Asked) -> Vec<u8> {
        let mut answers = Vec::new();
        for worker in self.all() {
            if asked
                .scope
                .is_none_or(|scope| scope == worker.home.identity)
            {
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
    /// The thread, the identity and the database.
    pub fn seat(&self) -> Seat {
        Seat {
            worker: self.index,
            home: self.home(),
        }
    }
}
