//! Clients that track keys (`CLIENT TRACKING`, contract: S6).
//!
//! A server tells of changes on the connection that read. So a client that tracks has a connection of
//! its own to each node that it reads from, opened when it is first needed, with `CLIENT TRACKING ON` as
//! its first request; in `BCAST` mode to every primary at once. All its requests go over these: reads
//! so that they are tracked, writes for `NOLOOP`, everything for the order of replies and
//! invalidations.
//!
//! No stale value, in short:
//! 1. A value is cached only if it was read from the slot's owner on a connection that tracks. What came
//!    through `ASK`, or on a lease, is followed by its own invalidation.
//! 2. An invalidation is said at once and again behind all replies that came before it (see
//!    `pipeline/replies/messages.rs`).
//! 3. A connection that is lost takes with it what its server would have told: everything is
//!    invalidated. So it is when a slot has another owner, behind all replies still to come from the
//!    old one; and when a slot begins to move, since a key that was not there may be created at the
//!    new node.
//! 4. Clients that are silent, or nodes, are not trusted: see `tracking_watch.rs`.

use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::requests::Taken;
use super::tracking_watch::MovingSlots;
use crate::client::{Tracking, TrackingChange, TrackingMode};
use crate::cluster::Slot;
use crate::command::{Command, Handling, Local};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::{Args, Protocol, write};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::handshake::More;
use crate::upstream::{Caching, Dispatched, InFlight, Phase, Purpose, Role};

/// The pause after a primary could not be told what a client wants to hear of.
const RETRY_US: u64 = 500_000;

/// The clients of a worker that track keys, and what it remembers for all of them.
#[derive(Debug, Default)]
pub struct Trackers {
    /// Who they are.
    pub(super) keys: Vec<ClientKey>,
    /// What is said before the request that is being taken on.
    pub(super) caching: Caching,
    /// When the map was last asked for because somebody tracks.
    pub(super) refreshed_us: u64,
    /// Slots that are seen to move.
    pub(super) moving_slots: MovingSlots,
    /// Slots that the other workers have to be told of.
    pub(super) moving: Vec<Slot>,
}

impl Trackers {
    /// Whether nobody tracks keys.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What the worker keeps of a client that tracks, or is about to.
#[derive(Debug, Default)]
pub struct Tracker {
    /// Its connections, at most one for each node.
    pub(super) connections: Vec<Private>,
    /// How many connections count for it (`limits.leases`).
    reserved: usize,
    /// Not connected to any more primaries before this time (microseconds): one refused.
    pub(super) retry_at_us: u64,
    /// `CLIENT TRACKING ON` is on its way: none of the client's further requests is looked at.
    pub(super) is_changing: bool,
    /// Whether the servers agree about a change is not known.
    pub(super) is_uncertain: bool,
    /// It would have been told to forget everything while it spoke RESP2.
    pub(super) is_flush_owed: bool,
}

/// A connection of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Private {
    pub(super) node: NodeKey,
    pub(super) connection: ConnectionKey,
    /// The last sign of life of its node that the client was warned about.
    pub(super) doubted_us: Option<u64>,
}

impl Core {
    /// Decides about a request of a client that tracks, or is about to.
    #[cold]
    pub(super) fn decide_tracked(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        // What changes how its replies look, or ends its connections, waits for all of them.
        let is_turn = matches!(
            command.handling,
            Handling::Local(Local::Hello | Local::Reset | Local::ClientTracking)
        );
        if is_turn && !client.is_settled() {
            return Taken::NotYet;
        }
        let protocol = client.session.protocol;
        self.trackers.caching = self.caching_of(key);
        let taken = match self.decide_in_other_mode(key, command, args) {
            Some(taken) => taken,
            None if command.handling == Handling::Local(Local::Ping) => {
                self.plan_barrier(key, args)
            }
            None => self.plan(key, command, args),
        };
        self.trackers.caching = Caching::Unsaid;
        if taken == Taken::NotYet {
            return taken;
        }
        if !command.name.starts_with("client|") {
            self.forget_caching(key);
        } else if command.handling == Handling::Local(Local::ClientCaching) {
            self.cache_transaction(key, args);
        }
        let Some(client) = self.clients.get(key) else {
            return taken;
        };
        if client.session.tracking.is_none() && command.handling == Handling::Local(Local::Reset) {
            self.stop_tracking(key);
        } else if protocol != client.session.protocol
            && let Some(tracker) = &mut client.tracking
            && std::mem::take(&mut tracker.is_flush_owed)
        {
            self.invalidate_all(key);
        }
        taken
    }

    /// What goes right before the client's next request, or the blocks of its transaction.
    pub(super) fn caching_of(&mut self, key: ClientKey) -> Caching {
        let tracking = self
            .clients
            .get(key)
            .and_then(|client| client.session.tracking.as_deref());
        match tracking.filter(|tracking| tracking.is_caching_said) {
            Some(tracking) if tracking.mode() == TrackingMode::OptIn => Caching::Yes,
            Some(tracking) if tracking.mode() == TrackingMode::OptOut => Caching::No,
            _ => Caching::Unsaid,
        }
    }

    /// `CLIENT CACHING YES` in a transaction holds for the rest of it. Here it holds for all of it: what
    /// is tracked without need does no harm. For the same reason `NO` does nothing.
    fn cache_transaction(&mut self, key: ClientKey, args: &Args<'_>) {
        if let Some(client) = self.clients.get(key)
            && client.transaction.is_some()
            && let Some(tracking) = &mut client.session.tracking
            && tracking.mode() == TrackingMode::OptIn
            && args
                .get(2)
                .is_some_and(|how| how.eq_ignore_ascii_case(b"yes"))
        {
            tracking.is_caching_said = true;
        }
    }

    /// `CLIENT CACHING` holds for one command, also when that is refused, or for one transaction.
    pub(super) fn forget_caching(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && client.transaction.is_none()
            && let Some(tracking) = &mut client.session.tracking
        {
            tracking.is_caching_said = false;
        }
    }

    /// `CLIENT TRACKING`. The servers have the last word about `ON`: it goes to all nodes the client is
    /// connected to, or to one, or in `BCAST` mode to all primaries.
    pub(super) fn plan_tracking(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        if !client.is_settled() {
            return Taken::NotYet;
        }
        let wanted = match TrackingChange::parse(args) {
            Ok(TrackingChange::On(wanted)) => wanted,
            Ok(TrackingChange::Off) => {
                self.stop_tracking(key);
                return self.say_ok(key);
            }
            Err(text) => {
                return self.refuse_request(key, args, ErrorKind::Refused, |_| text.into());
            }
        };
        let before = client.session.tracking.as_deref();
        if Tracking::after(before, &wanted).is_too_large() {
            return self.refuse_request(key, args, ErrorKind::Limit, |_| {
                b"ERR CLIENT TRACKING: the prefixes of one client may have 1 mb in all".to_vec()
            });
        }
        let is_new = client.tracking.is_none();
        // Its connections count from now on: one to each primary, however few it will need. Those to
        // primaries that join later are not refused.
        let count = self.nodes.shards().len().max(1);
        if is_new && !self.reserve_leases(count) {
            return self.refuse_request(key, args, ErrorKind::Limit, |_| {
                b"ERR CLIENT TRACKING: too many private connections to nodes (limits.leases); try \
                  again when others have left"
                    .to_vec()
            });
        }
        if let Some(client) = self.clients.get(key) {
            let tracker = client.tracking.get_or_insert_default();
            tracker.is_changing = true;
            if is_new {
                tracker.reserved = count;
            }
        }
        if is_new {
            self.trackers.keys.push(key);
            self.tallies.tracking_clients.add(1);
        }
        self.may_route(key);
        let sequence = self.open_place(key, None);
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        self.spread_tracking(
            self.dispatched(ticket, command, Target::Any, None, Protocol::Resp3),
            args,
        );
        Taken::Yes
    }

    fn say_ok(&mut self, key: ClientKey) -> Taken {
        self.tallies.replies.increment();
        if let Some(client) = self.clients.get(key) {
            let is_muted = client.session.next_is_muted();
            let replies = &mut client.replies;
            replies.answer(is_muted, |out| write::simple(out, "OK"));
        }
        Taken::Yes
    }

    /// Sends `CLIENT TRACKING ON` to those who have to know.
    pub(super) fn spread_tracking(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        let Ok(TrackingChange::On(wanted)) = TrackingChange::parse(args) else {
            return;
        };
        let mut targets = match self.primaries() {
            Ok(targets) => targets,
            Err(reason) => {
                return self.park(dispatched, args.frame().to_vec(), true, reason);
            }
        };
        let client = dispatched.ticket.client;
        if wanted.mode() != TrackingMode::Broadcast {
            let own = self.clients.get(client).and_then(|c| c.tracking.as_ref());
            let own: Vec<NodeKey> = own.map_or_else(Vec::new, |tracker| {
                let connections = tracker.connections.iter();
                connections.map(|private| private.node).collect()
            });
            let is_own =
                |target: &Target| matches!(target, Target::Primary(node, _) if own.contains(node));
            match targets.iter().any(is_own) {
                true => targets.retain(is_own),
                false => {
                    let any = client.index as usize % targets.len().max(1);
                    targets = targets.into_iter().skip(any).take(1).collect();
                }
            }
        }
        let finish = Finish::Tracking(Box::new(wanted));
        self.broadcast(dispatched, args.frame(), targets, finish);
    }

    /// All servers that were asked for `CLIENT TRACKING ON` have answered.
    pub(super) fn tracking_answered<'a>(
        &mut self,
        key: ClientKey,
        wanted: &Tracking,
        replies: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(tracker) = &mut client.tracking else {
            return;
        };
        tracker.is_changing = false;
        let is_uncertain = std::mem::take(&mut tracker.is_uncertain);
        let is_error = |reply: &&[u8]| reply.first() == Some(&b'-');
        let refusal = replies.clone().find(is_error);
        out.extend_from_slice(refusal.or(replies.clone().next()).unwrap_or_default());
        let Some(_) = refusal else {
            let before = client.session.tracking.as_deref();
            let now = Tracking::after(before, wanted);
            client.session.tracking = Some(Box::new(now));
            return self.follow_primaries(key);
        };
        if client.session.tracking.is_none() {
            self.stop_tracking(key);
        } else if is_uncertain || !replies.clone().all(|reply| is_error(&reply)) {
            // Some may have accepted it. What was in effect is put into effect anew.
            self.leave_private_connections(key);
            self.invalidate_all(key);
        }
    }

    /// A client does not track any more.
    pub(super) fn stop_tracking(&mut self, key: ClientKey) {
        self.leave_private_connections(key);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.session.tracking = None;
        if let Some(tracker) = client.tracking.take() {
            self.give_back_leases(tracker.reserved);
            self.trackers.keys.retain(|other| *other != key);
            self.tallies.tracking_clients.subtract(1);
        }
    }

    fn leave_private_connections(&mut self, key: ClientKey) {
        let Some(tracker) = self.clients.get(key).and_then(|c| c.tracking.as_mut()) else {
            return;
        };
        for private in std::mem::take(&mut tracker.connections) {
            self.leave_private(private.connection);
        }
    }

    /// Closes a connection that its client does not know any more, once nothing is awaited over it.
    pub(super) fn leave_private(&mut self, key: ConnectionKey) {
        let clients = &mut self.clients;
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.is_retiring = true;
            let is_awaited = |entry: &InFlight| match entry.purpose {
                Purpose::Reply(_) => true,
                // Half of it was for nothing, unless the other half is for nobody (contract: R10).
                Purpose::Passing(dispatched) => clients
                    .get(dispatched.ticket.client)
                    .is_some_and(|client| client.phase != super::clients::Phase::Gone),
                // Uploads and leases have other connections; barriers are answered when this one ends.
                _ => false,
            };
            if connection.phase == Phase::Ready && !connection.in_flight.iter().any(is_awaited) {
                connection.phase = Phase::Closed;
            }
            connection.wake();
        }
    }

    /// The connection over which a client that tracks reaches a node; `None` when it shares one.
    #[cold]
    pub(super) fn private_connection(
        &mut self,
        client: ClientKey,
        node: NodeKey,
        protocol: Protocol,
    ) -> Option<Result<ConnectionKey, Reason>> {
        if protocol != Protocol::Resp3 {
            // Replies have the shape of the client's version, and RESP2 has no invalidations.
            return None;
        }
        let tracker = self.clients.get(client)?.tracking.as_ref()?;
        let mut connections = tracker.connections.iter();
        let known = connections.find(|private| private.node == node);
        Some(match known {
            Some(private) => Ok(private.connection),
            None => self.open_private(client, node),
        })
    }

    pub(super) fn open_private(
        &mut self,
        client: ClientKey,
        node: NodeKey,
    ) -> Result<ConnectionKey, Reason> {
        let connection = self.open(node, Protocol::Resp3, Role::Tracking(client))?;
        if let Some(tracker) = self.clients.get(client).and_then(|c| c.tracking.as_mut()) {
            tracker.connections.push(Private {
                node,
                connection,
                doubted_us: None,
            });
        }
        Ok(connection)
    }

    /// What is asked for on a new connection before it is used.
    pub(super) fn tracking_requests(&mut self, client: ClientKey) -> More {
        let mut more = More::default();
        if let Some(client) = self.clients.get(client)
            && let Some(tracking) = &client.session.tracking
        {
            more.count = tracking.write_requests(&mut more.requests);
        }
        more
    }

    /// A client's connection is open.
    pub(super) fn private_ready(&mut self, client: ClientKey, key: ConnectionKey) {
        let Some(client_state) = self.clients.get(client) else {
            return self.leave_private(key);
        };
        let tracker = client_state.tracking.as_ref();
        if !tracker.is_some_and(|tracker| tracker.knows(key)) {
            return self.leave_private(key);
        }
        let tracking = client_state.session.tracking.as_ref();
        if tracking.is_some_and(|tracking| tracking.mode() == TrackingMode::Broadcast) {
            // Whoever reads over other connections was not told what changed before.
            self.invalidate_all(client);
        }
    }

    /// A client's connection has ended, and with it what its node knew of what the client caches.
    pub(super) fn private_lost(
        &mut self,
        client: ClientKey,
        key: ConnectionKey,
        was_open: bool,
        is_refused: bool,
    ) {
        let Some(tracker) = self.clients.get(client).and_then(|c| c.tracking.as_mut()) else {
            return;
        };
        let is_known = tracker.knows(key);
        tracker
            .connections
            .retain(|private| private.connection != key);
        if is_refused {
            tracker.retry_at_us = self.now_us + RETRY_US;
        }
        if is_known && was_open {
            self.invalidate_all(client);
        }
    }

    /// `PING` of a client that tracks: its reply comes behind all invalidations that nodes had sent, as
    /// on one server.
    fn plan_barrier(&mut self, key: ClientKey, args: &Args<'_>) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let tracker = client.tracking.as_ref();
        let own = tracker.map_or(&[][..], |tracker| &tracker.connections);
        let own: Vec<ConnectionKey> = own.iter().map(|private| private.connection).collect();
        let connections = &mut self.connections;
        let is_ready = |key: &ConnectionKey| {
            let connection = connections.get(key.0 as usize);
            connection.is_some_and(|connection| connection.phase == Phase::Ready)
        };
        let ready: Vec<ConnectionKey> = own.into_iter().filter(is_ready).collect();
        if ready.is_empty() || args.len() > 2 || client.session.protocol != Protocol::Resp3 {
            return self.answer_locally(key, Local::Ping, args);
        }
        let mut reply = Vec::new();
        match args.get(1) {
            Some(text) => write::bulk(&mut reply, text),
            None => write::simple(&mut reply, "PONG"),
        }
        let sequence: Sequence = self.open_place(key, None);
        let gather = Gather::new(Finish::Barrier(reply), ready.len());
        self.gather_at(key, sequence, gather);
        for (part, connection) in ready.into_iter().enumerate() {
            let ticket = Ticket {
                client: key,
                sequence,
                part: part as u32,
            };
            if let Some(connection) = self.connections.get_mut(connection.0 as usize) {
                connection.ping(Some(ticket), self.now_us);
            }
        }
        Taken::Yes
    }
}

impl Tracker {
    /// Whether this is one of the client's connections.
    fn knows(&self, key: ConnectionKey) -> bool {
        let mut connections = self.connections.iter();
        connections.any(|private| private.connection == key)
    }
}
