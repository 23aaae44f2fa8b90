//! The clients of one worker.

use std::net::SocketAddr;
use std::task::{Poll, Waker};

use slab::Slab;

use super::blocking::Blocked;
use super::client_reads::ClientReads;
use super::core::Core;
use super::databases::Selecting;
use super::finish::Finish;
use super::hub::Subscriptions;
use super::park::Parked;
use super::passing::Taking;
use super::tracking::Tracker;
use super::transactions::Transaction;
use super::uploads::Upload;
use super::vouching::Vouching;
use super::wait::WrittenTo;
use super::watch::Watch;
use crate::client::Session;
use crate::client::monitor::Monitoring;
use crate::pipeline::{ClientKey, Replies};
use crate::resp::scan::RequestScanner;

/// How far a client's connection is.
///
/// ```text
/// Open --> HalfClosed --> (leaves once everything is answered)
///   \----> Leaving -----> (the same, and later bytes are ignored)
///    \---> Gone --------> (leaves once its requests are settled; output is dropped)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading and writing.
    Open,
    /// The client will send no more; what it sent is still answered (contract: P3).
    HalfClosed,
    /// It said `QUIT`, broke the protocol or is being drained: earlier requests are answered, later
    /// bytes are ignored (contract: P7).
    Leaving,
    /// Its socket is broken. What it asked for still happens, as on a server that had read it.
    Gone,
}

/// What a client's task has to do for it before its next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Errand {
    /// Nothing.
    #[default]
    None,
    /// Its commands have to travel over other connections from now on: move it there.
    Move,
    /// The nodes have to be asked about its credentials.
    Vouch,
    /// A node has to be asked for the database that it wants.
    Select,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    generation: u32,
    /// What the client set on its connection.
    pub session: Session,
    /// The replies it waits for.
    pub replies: Replies<Finish>,
    /// Bytes that were read and are no whole request yet, or must wait.
    pub input: Vec<u8>,
    /// How much of `input` was processed.
    pub input_start: usize,
    /// When the first of those was read, in microseconds on the process' clock.
    pub input_since_us: u64,
    /// Bytes that the request being received needs in all, as far as that is known.
    pub wanted: usize,
    /// Frames the requests.
    pub scanner: RequestScanner,
    /// Requests that wait to be sent again, in the order they were received.
    pub parked: Vec<Parked>,
    /// Whether the worker's list of clients with such requests has it.
    pub is_listed_parked: bool,
    /// When the first of its parked requests is to be tried again or given up; until then they are not looked at.
    pub parked_due_us: u64,
    /// The slot map its outstanding requests were routed by. While it differs from the worker's, no
    /// further request is routed before those outstanding are answered (contract: R13).
    pub map_version: u64,
    /// A request could not be taken on; tried again at the next wake.
    pub is_stalled: bool,
    /// Its next request waits for the end of a pause.
    pub is_held_back: bool,
    /// How far it is with `MONITOR`.
    pub monitoring: Monitoring,
    /// How far its connection is.
    pub phase: Phase,
    /// What has to be done for it outside the core.
    pub errand: Errand,
    /// The credentials that it gave, where the nodes know the users, until it is answered.
    pub(super) vouching: Option<Box<Vouching>>,
    /// The database that it wants to select, until it is answered.
    pub(super) selecting: Option<Box<Selecting>>,
    /// What it waits for, if it does.
    pub blocked: Option<Box<Blocked>>,
    /// Its own connections, if it tracks keys or is about to.
    pub tracking: Option<Box<Tracker>>,
    /// What is remembered while it reads from replicas; most clients do not.
    pub reads: Option<Box<ClientReads>>,
    /// What it is subscribed to, if it is.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// What it watches (`WATCH`).
    pub watch: Option<Box<Watch>>,
    /// What it queued since `MULTI`.
    pub transaction: Option<Box<Transaction>>,
    /// How it takes replies that come in pieces, while there are any.
    pub taking: Option<Box<Taking>>,
    /// The request of which it is sending a large value.
    pub upload: Option<Box<Upload>>,
    /// The primaries it wrote to (`WAIT`).
    pub written: WrittenTo,
    waker: Option<Waker>,
    is_woken: bool,
}

/// A version no slot map has: marks a client whose requests are being sent again.
pub const UNSETTLED: u64 = u64::MAX;

impl Client {
    /// Makes the client's task run, once for any number of calls before it runs.
    #[inline]
    pub fn wake(&mut self) {
        if !self.is_woken {
            self.is_woken = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Notes that the client's task runs, and how to wake it the next time.
    #[inline]
    pub fn begin_turn(&mut self, waker: &Waker) {
        self.is_woken = false;
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Whether nothing it asked for is outstanding.
    pub fn is_settled(&self) -> bool {
        self.replies.is_settled()
    }

    /// Whether its task may end.
    pub fn has_finished(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::HalfClosed => {
                self.is_settled() && !self.is_stalled && self.replies.output().is_empty()
            }
            Phase::Leaving => self.is_settled() && self.replies.output().is_empty(),
            Phase::Gone => self.is_settled(),
        }
    }

    /// Bytes that were read and not processed.
    pub fn unprocessed(&self) -> usize {
        self.input.len() - self.input_start
    }
}

/// The table of a worker's clients.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Slab<Client>,
    next_generation: u32,
}

impl Clients {
    /// Takes in a client.
    pub fn insert(&mut self, session: Session) -> ClientKey {
        self.adopt(Client {
            generation: 0,
            session,
            replies: Replies::default(),
            input: Vec::new(),
            input_start: 0,
            input_since_us: 0,
            wanted: 0,
            scanner: RequestScanner::default(),
            parked: Vec::new(),
            is_listed_parked: false,
            parked_due_us: u64::MAX,
            map_version: 0,
            is_stalled: false,
            is_held_back: false,
            monitoring: Monitoring::No,
            phase: Phase::Open,
            errand: Errand::None,
            vouching: None,
            selecting: None,
            blocked: None,
            tracking: None,
            reads: None,
            subscriptions: None,
            watch: None,
            transaction: None,
            taking: None,
            upload: None,
            written: WrittenTo::default(),
            waker: None,
            is_woken: false,
        })
    }

    /// Takes in a client that was somewhere else before.
    pub(super) fn adopt(&mut self, mut client: Client) -> ClientKey {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        client.generation = generation;
        let index = self.slots.insert(client);
        // More than 2^32 clients do not fit into memory.
        ClientKey {
            index: index as u32,
            generation,
        }
    }

    /// The client with this key, if it has not left.
    #[inline]
    pub fn get(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|client| client.generation == key.generation)
    }

    /// Lets a client leave.
    pub fn remove(&mut self, key: ClientKey) -> Option<Client> {
        self.get(key)?;
        self.slots.try_remove(key.index as usize)
    }

    /// Everyone, with their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ClientKey, &mut Client)> {
        self.slots.iter_mut().map(|(index, client)| {
            (
                ClientKey {
                    index: index as u32,
                    generation: client.generation,
                },
                client,
            )
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Core {
    /// Takes in a client of the first listener.
    pub fn client_joins(&mut self, id: u64, address: &str, local: Option<SocketAddr>) -> ClientKey {
        self.client_joins_at(0, id, address, local)
    }

    /// Takes in a client that was accepted by the listener with this number.
    pub fn client_joins_at(
        &mut self,
        listener: u16,
        id: u64,
        address: &str,
        local: Option<SocketAddr>,
    ) -> ClientKey {
        self.tallies.clients.add(1);
        let local_address = match local {
            Some(local) => local.to_string(),
            // On a Unix socket both sides are the socket's path.
            None => address.to_owned(),
        };
        let door = self.doors.of_listener(listener);
        let mut session = Session::new(id, address, &local_address, &door, self.now_us);
        session.listener = listener;
        session.settle_at(self.home());
        let key = self.clients.insert(session);
        self.follow_home(key);
        let guess = self.first_reply_bytes();
        if let Some(client) = self.clients.get(key) {
            client.replies.guess_len(guess);
        }
        self.refresh_policy(key);
        if self.is_draining {
            self.dismiss(key);
        }
        key
    }

    /// Notes how a client that has just joined is connected, and the name in its certificate: as a user's
    /// name it is as good as credentials.
    pub fn client_shows(&mut self, key: ClientKey, is_tls: bool, certificate: Option<String>) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.session.is_tls = is_tls;
        if let Some(name) = certificate {
            let door = self.doors.of_listener(client.session.listener);
            client.session.show_certificate(&name, &door);
        }
        self.follow_home(key);
    }

    /// A client's task has ended.
    pub fn client_left(&mut self, key: ClientKey) {
        self.let_go_of(key);
        if let Some(client) = self.clients.remove(key) {
            self.tallies.clients.subtract(1);
            self.forget_taking(client.taking);
        }
        self.may_be_drained();
    }

    /// Ends what a client that goes away has at nodes and at other clients.
    pub(super) fn let_go_of(&mut self, key: ClientKey) {
        self.stop_tracking(key);
        self.abandon_upload(key);
        self.forget_subscriptions(key);
        self.end_watch(key);
        self.end_scrutiny(key);
    }

    /// Wakes who waits for the last client to leave, if it has.
    pub(super) fn may_be_drained(&mut self) {
        if self.is_draining
            && self.clients.is_empty()
            && let Some(waker) = self.drained_waker.take()
        {
            waker.wake();
        }
    }

    /// Lets a client leave between replies: what it asked for is answered, nothing more is read.
    pub fn dismiss(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && matches!(client.phase, Phase::Open | Phase::HalfClosed)
        {
            client.phase = Phase::Leaving;
            client.is_stalled = false;
            client.wake();
            self.let_go(key);
        }
    }

    /// A client that leaves waits no longer for a command that may block for ever. What it was given
    /// by then it still gets. If that is nothing, one that wanted to wait for ever gets no reply, as from a server
    /// that is stopped: nil would be one that its command never has.
    fn let_go(&mut self, key: ClientKey) {
        let blocked = self.clients.get(key).and_then(|c| c.blocked.as_ref());
        let is_for_ever = blocked.is_some_and(|blocked| blocked.is_for_ever());
        if !self.unblock(key, is_for_ever) {
            return;
        }
        if let Some(client) = self.clients.get(key) {
            client.wake();
        }
    }

    /// Closes a client at once. What it asked for still happens; nobody hears of it.
    pub fn cut_off(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && client.phase != Phase::Gone
        {
            client.phase = Phase::Gone;
            client.is_stalled = false;
            client.input = Vec::new();
            client.input_start = 0;
            client.replies.discard_output();
            client.wake();
            if client
                .blocked
                .as_ref()
                .is_some_and(|blocked| blocked.is_by_command())
            {
                self.abandon_blocked(key);
            }
            self.end_scrutiny(key);
            self.forget_subscriptions(key);
            self.abandon_upload(key);
            self.go_on_passing(key);
        }
    }

    /// Lets all clients leave between replies (contract: F7).
    pub fn drain(&mut self) {
        self.is_draining = true;
        let keys: Vec<ClientKey> = self.clients.iter_mut().map(|(key, _)| key).collect();
        for key in keys {
            self.dismiss(key);
        }
    }

    /// Ready once the worker drains and has no client any more.
    pub fn poll_drained(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_draining && self.clients.is_empty() {
            return Poll::Ready(());
        }
        self.drained_waker = Some(waker.clone());
        Poll::Pending
    }

    /// What time brings: deadlines, pauses, idle clients. Called at least every 100 ms.
    pub fn tick(&mut self) {
        self.resume(false);
        self.retry_uploads();
        self.end_pause_in_time();
        self.tend_hub();
        self.retry_blocked(false);
        self.retry_auth();
        self.look_after_untaught();
        if self.now_us.saturating_sub(self.looked_after_us) < LOOK_AFTER_US {
            return;
        }
        self.looked_after_us = self.now_us;
        self.look_after_further_steps();
        self.expire_in_flight();
        self.look_after_passing();
        self.look_after_uploads();
        self.close_slow_holders();
        self.leave_silent_strangers();
        self.leave_silent_replicas();
        self.measure_nodes();
        self.forget_strangers();
        self.look_after_trackers();
        self.look_after_blocked();
        self.close_idle_leases();
        self.close_idle_bulk();
        self.large_keys.forget_old(self.now_us);
        self.close_idle_clients();
        self.close_slow_clients();
    }

    fn close_idle_clients(&mut self) {
        let limit_us = self.limits.client_idle_us;
        if limit_us == 0 {
            return;
        }
        let now_us = self.now_us;
        let idle: Vec<ClientKey> = self
            .clients
            .iter_mut()
            .filter(|(_, client)| {
                client.is_settled()
                    && client.upload.is_none()
                    && client.errand == Errand::None
                    && !client.is_held_back
                    && !client.is_monitor()
                    && !client.is_subscriber()
                    && now_us.saturating_sub(client.session.last_command_us) > limit_us
            })
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            self.dismiss(key);
        }
    }
}

/// How often deadlines of requests in flight and idle clients are looked at.
const LOOK_AFTER_US: u64 = 100_000;
