//! A worker's whole state, without sockets and without a clock.
//!
//! Everything that must be right happens here, in plain synchronous code over `&mut Core`: the tasks
//! around it only move bytes and tell the time. The simulation in the tests drives it the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;
use tracing::warn;

use super::anew::Anew;
use super::clients::Clients;
use super::hub::Hub;
use super::key_shapes::KeyShapes;
use super::large_keys::LargeKeys;
use super::learnt_cell::LearntCell;
use super::leases::Leases;
use super::limits::Used;
pub use super::limits::WorkerLimits;
use super::local::{Asked, LocalFacts};
use super::nodes::{ConnectionKey, Nodes};
use super::park::Reason;
use super::refresh_requests::{RefreshReason, RefreshRequests};
use super::scan::FurtherStep;
use super::script_cache::{ScriptCache, SeenScripts};
use super::scrutiny::Scrutiny;
use super::tracking::Trackers;
use crate::acl::{Doors, Identity, IdentityNumber};
use crate::client::Home;
use crate::cluster::{AddressMap, Database, Topology};
use crate::command::LearntCommands;
use crate::pipeline::{ClientKey, Filled, Ticket};
use crate::resp::{Protocol, write};
use crate::routing::scan_cursor::CurrentOrder;
use crate::routing::split::Splitter;
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::telemetry::{Seldom, WorkerTallies};
use crate::upstream::connection::ASKING;
use crate::upstream::{Caching, Connection, Dispatched, Phase, Role};

/// One worker's state.
pub struct Core {
    /// The time of this turn, in microseconds on the process' clock.
    pub now_us: u64,
    /// Limits from the configuration.
    pub limits: WorkerLimits,
    /// What this worker counts.
    pub tallies: Arc<WorkerTallies>,
    /// Its clients.
    pub clients: Clients,
    /// Its connections to nodes.
    pub connections: Slab<Connection>,
    /// The nodes and the slot table.
    pub nodes: Nodes,
    /// What its clients are subscribed to.
    pub hub: Hub,
    /// Counts the changes of the slot table.
    pub map_version: u64,
    /// The version that clients which depend on a slot's owner were told of.
    pub(super) told_version: u64,
    /// Connections whose task must be started.
    pub to_open: Vec<ConnectionKey>,
    /// Private connections.
    pub leases: Leases,
    /// Blocked clients that wait for a node or a private connection.
    pub blocked_retry: Vec<ClientKey>,
    /// Clients whose large request waits for a node.
    pub(super) uploads_waiting: Vec<ClientKey>,
    /// Clients with requests that wait.
    pub parked_clients: Vec<ClientKey>,
    /// Requests to all nodes that are begun anew when all their parts are there.
    pub(super) anew: Vec<Anew>,
    /// Those that were asked behind the pages of `SCAN`; also some that are over.
    pub(super) further_steps: Vec<FurtherStep>,
    /// Those for whom a reply has come that others may have waited for.
    pub to_resume: Vec<ClientKey>,
    /// Wakes the task that looks after time.
    pub tick_waker: Option<Waker>,
    /// Groups keys by slot.
    pub splitter: Splitter,
    /// The order in which `SCAN` visits the snapshot's shards.
    pub scan_order: CurrentOrder,
    /// Its number among the workers.
    pub index: usize,
    /// What local commands need to know and the worker does not change.
    pub local: Arc<LocalFacts>,
    /// When deadlines and idle clients were looked at.
    pub looked_after_us: u64,
    /// When slow clients were looked for.
    pub(super) looked_for_slow_us: u64,
    /// Clients that speak HTTP, in the log.
    pub(super) told_http: Seldom,
    /// Clients that gave way to others, in the log.
    pub(super) told_slow_holder: Seldom,
    /// No new clients; those that are left finish (contract: F7).
    pub is_draining: bool,
    /// Wakes the worker's thread when its last client left while it drains.
    pub drained_waker: Option<Waker>,
    /// Commands learnt from the servers.
    pub learnt: Arc<LearntCommands>,
    /// Where they come from.
    pub teaching: Arc<LearntCell>,
    /// Whether they are still to come: a command that nobody knows waits for them.
    pub awaits_learnt: bool,
    /// Clients whose next command nobody knows yet, and since when they wait (microseconds).
    pub(super) untaught: HashMap<ClientKey, u64>,
    /// Where the keys of requests were that only a node could tell.
    pub key_shapes: KeyShapes,
    /// Bodies of scripts, shared by all workers.
    pub scripts: Arc<ScriptCache>,
    /// Those bodies this worker has seen lately.
    pub seen_scripts: SeenScripts,
    /// What every request is looked at for: a pause, and monitors.
    pub scrutiny: Scrutiny,
    /// Questions for all workers, to be handed out by the tasks around.
    pub questions: Vec<Asked>,
    /// Users and rules, for each listener.
    pub doors: Arc<Doors>,
    /// Clients whose password is looked at later.
    pub(super) auth_waiting: Vec<ClientKey>,
    /// Clients that track keys.
    pub trackers: Trackers,
    /// Until when nodes are measured, and in which version.
    pub(super) measured_until: Option<(u64, Protocol)>,
    /// Keys whose replies were large a moment ago.
    pub(super) large_keys: LargeKeys,
    /// What all cores of the thread have used of common limits.
    pub used: Used,
    /// As whom its connections are opened; without one as the service user. Never changes.
    pub(super) identity: Option<Arc<Identity>>,
    /// The database of all its connections. Never changes.
    pub(super) database: Database,
    /// Since when it has had no client.
    pub(super) deserted_since_us: Option<u64>,
    /// Nodes to which somebody found no connection for large things free, and when last.
    pub(super) bulk_wanted: Vec<(NodeKey, u64)>,
    /// Until when large replies are not surprising, in microseconds.
    pub(super) large_until_us: u64,
    address_map: Arc<AddressMap>,
    refresh: Arc<RefreshRequests>,
    /// Output buffers that no client uses at the moment.
    pub(super) spare_buffers: Vec<Vec<u8>>,
}

/// So many output buffers are kept for the next clients that need one.
const SPARE_BUFFERS: usize = 64;
/// A larger buffer is not kept.
const SPARE_BUFFER_BYTES: usize = 256 * 1024;

impl Core {
    /// A worker that knows nothing yet.
    pub fn new(
        index: usize,
        limits: WorkerLimits,
        tallies: Arc<WorkerTallies>,
        address_map: Arc<AddressMap>,
        refresh: Arc<RefreshRequests>,
        local: Arc<LocalFacts>,
    ) -> Self {
        Core {
            now_us: 0,
            limits,
            tallies,
            clients: Clients::default(),
            connections: Slab::new(),
            nodes: Nodes::default(),
            hub: Hub::default(),
            map_version: 1,
            told_version: 1,
            to_open: Vec::new(),
            leases: Leases::default(),
            blocked_retry: Vec::new(),
            uploads_waiting: Vec::new(),
            parked_clients: Vec::new(),
            anew: Vec::new(),
            further_steps: Vec::new(),
            to_resume: Vec::new(),
            tick_waker: None,
            splitter: Splitter::default(),
            scan_order: CurrentOrder::default(),
            index,
            local,
            looked_after_us: 0,
            looked_for_slow_us: 0,
            told_http: Seldom::default(),
            told_slow_holder: Seldom::default(),
            is_draining: false,
            drained_waker: None,
            scrutiny: Scrutiny::default(),
            questions: Vec::new(),
            doors: Arc::default(),
            auth_waiting: Vec::new(),
            trackers: Trackers::default(),
            measured_until: None,
            learnt: Arc::default(),
            teaching: Arc::default(),
            awaits_learnt: false,
            untaught: HashMap::new(),
            key_shapes: KeyShapes::default(),
            large_keys: LargeKeys::default(),
            used: Used::default(),
            identity: None,
            database: Database::FIRST,
            deserted_since_us: None,
            bulk_wanted: Vec::new(),
            large_until_us: 0,
            scripts: Arc::default(),
            seen_scripts: SeenScripts::default(),
            address_map,
            refresh,
            spare_buffers: Vec::new(),
        }
    }

    /// Takes over a new snapshot: requests that waited for it leave, connections to nodes that left
    /// are closed once idle (contract: R10).
    pub fn apply_topology(&mut self, topology: Arc<Topology>) {
        let is_moved = self.nodes.apply(topology, self.now_us);
        self.map_version += 1;
        match is_moved {
            true => self.tell_of_moves(),
            false => self.told_version = self.map_version,
        }
        self.reroute_unsent();
        self.leave_silent_strangers();
        let nodes = &self.nodes;
        let logins = &self.local.refused_logins;
        logins.retain(|node| nodes.knows(node));
        for (_, connection) in &mut self.connections {
            let node = self.nodes.get(connection.node);
            let is_used_once = connection.role == Role::Once
                || (connection.role == Role::Bulk && connection.is_read_only);
            connection.is_retiring = is_used_once || node.is_none_or(|node| !node.is_member);
            if connection.is_retiring {
                connection.wake();
            }
        }
        self.trackers_follow();
        self.retire_read_connections();
        self.hub_follows_map();
        self.leave_strangers_blocked();
        self.resume(true);
        self.retry_blocked(true);
    }

    /// Forgets nodes nobody needs any more.
    pub fn forget_strangers(&mut self) {
        if !self.nodes.has_strangers() {
            return;
        }
        let clients = &mut self.clients;
        let mut waited_for: Vec<NodeKey> = Vec::new();
        for (_, connection) in &self.connections {
            waited_for.push(connection.node);
            // What is lost with it is asked where its target is, and that names the node whose heir this one is.
            let requests = connection.in_flight.iter();
            let named = requests.filter_map(|entry| entry.purpose.dispatched()?.target.node());
            waited_for.extend(named.filter(|node| *node != connection.node));
        }
        for key in &self.parked_clients {
            let Some(client) = clients.get(*key) else {
                continue;
            };
            waited_for.extend(client.parked.iter().flat_map(|parked| {
                let target = parked.dispatched.target.node();
                [target, parked.asked].into_iter().flatten()
            }));
        }
        for key in &self.blocked_retry {
            let Some(blocked) = clients.get(*key).and_then(|c| c.blocked.as_ref()) else {
                continue;
            };
            waited_for.extend(blocked.nodes());
        }
        for key in &self.uploads_waiting {
            let upload = clients.get(*key).and_then(|client| client.upload.as_ref());
            waited_for.extend(upload.and_then(|upload| upload.asked()));
        }
        let is_waited_for = |node: NodeKey| waited_for.contains(&node);
        let forgotten = self.nodes.forget_strangers(is_waited_for);
        if !forgotten.is_empty() {
            for (_, client) in clients.iter_mut() {
                client.written.forget(&forgotten);
            }
        }
    }

    /// What all its connections are opened for.
    #[inline]
    pub fn home(&self) -> Home {
        let identity = self.identity.as_deref();
        Home {
            identity: identity.map_or(IdentityNumber::SERVICE, Identity::number),
            database: self.database,
        }
    }

    /// Asks the control thread for a new view of the cluster.
    pub fn request_refresh(&self, reason: RefreshReason) {
        self.refresh.request(reason);
    }

    /// The node a redirect names, after the address map (contract: R3, R12).
    pub fn node_at(&mut self, announced: crate::cluster::Endpoint) -> NodeKey {
        let endpoint = self.address_map.map(&announced);
        self.nodes.at(endpoint, announced)
    }

    /// The version a client speaks.
    pub fn protocol_of(&mut self, key: ClientKey) -> Protocol {
        self.clients
            .get(key)
            .map(|client| client.session.protocol)
            .unwrap_or_default()
    }

    /// The node a target means at this moment.
    #[inline]
    pub fn resolve(&mut self, target: Target) -> Result<NodeKey, Reason> {
        let found = match target {
            Target::Slot(slot) => self.nodes.owner(slot),
            Target::Primary(node, slot) => match self.nodes.is_primary(node, slot) {
                true => Some(node),
                false => self.nodes.owner(slot),
            },
            Target::Node(node) => self.nodes.get(node).map(|_| node),
            Target::Any => self.nodes.any_primary(),
        };
        match found {
            Some(node) => Ok(node),
            None => Err(self.nobody(target)),
        }
    }

    #[cold]
    fn nobody(&self, target: Target) -> Reason {
        self.request_refresh(RefreshReason::Unowned);
        match target {
            _ if self.nodes.topology().is_none() => Reason::NoTopology,
            Target::Slot(slot) | Target::Primary(_, slot) => Reason::NoOwner(slot),
            Target::Node(_) => Reason::Unreachable("it left the cluster".to_owned()),
            Target::Any => Reason::Unreachable("no node owns a slot".to_owned()),
        }
    }

    /// Hands a request to a connection.
    #[inline]
    pub fn send(&mut self, key: ConnectionKey, dispatched: Dispatched, bytes: &[u8]) {
        match self.connections.get_mut(key.0 as usize) {
            Some(connection) if connection.phase != Phase::Closed => {
                connection.send(dispatched, bytes, self.now_us);
                self.tallies.in_flight.add(1);
            }
            _ => {
                let reason = Reason::Unreachable("the connection was closed".to_owned());
                self.park(dispatched, bytes.to_vec(), false, reason);
            }
        }
    }

    /// A connection, unless it has been given up and only its task does not know yet.
    ///
    /// # Errors
    /// It has been given up.
    pub fn still_open(&self, key: ConnectionKey) -> Result<ConnectionKey, Reason> {
        match self.connections.get(key.0 as usize) {
            Some(connection) if connection.phase != Phase::Closed => Ok(key),
            _ => Err(Reason::Unreachable("the connection was closed".to_owned())),
        }
    }

    /// Hands a request to a connection, with `ASKING` before it (contract: R4).
    pub fn send_asking(&mut self, key: ConnectionKey, dispatched: Dispatched, bytes: &[u8]) {
        if !self.trackers.is_empty() {
            self.read_untracked(&dispatched, bytes);
        }
        // A server forgets `ASKING` with the next command, and `CLIENT CACHING` is one.
        let dispatched = Dispatched {
            caching: Caching::Unsaid,
            ..dispatched
        };
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.send_unheard(ASKING, self.now_us);
        }
        self.send_again(key, dispatched, bytes);
    }

    /// Takes the reply to a request, or to a part of one, and merges when it was the last part.
    #[inline]
    pub fn reply(&mut self, ticket: Ticket, reply: &[u8]) {
        let spare_buffers = &mut self.spare_buffers;
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        client
            .replies
            .lend(|| spare_buffers.pop().unwrap_or_default());
        match client.replies.deliver(ticket.sequence, ticket.part, reply) {
            Filled::Waiting => {}
            Filled::Done => {
                client.wake();
                self.tallies.replies.increment();
                if client.replies.buffered_bytes() > self.limits.client_output_hard_bytes {
                    self.cut_off_reader(ticket.client);
                }
            }
            Filled::Complete => self.finish(ticket.client, ticket.sequence),
            Filled::TooLarge => self.give_up_gather(ticket),
        }
    }

    /// A client does not read its replies (contract: F6).
    #[cold]
    pub(super) fn cut_off_reader(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key) {
            warn!(
                client = %client.session.address,
                unread_bytes = client.replies.buffered_bytes(),
                "closed a client that does not read its replies (limits.client_output_hard_bytes)"
            );
        }
        self.cut_off(key);
    }

    /// Whether requests or clients wait for a node, so that time has to be looked at often.
    pub fn is_anyone_waiting(&self) -> bool {
        !self.parked_clients.is_empty()
            || !self.blocked_retry.is_empty()
            || !self.uploads_waiting.is_empty()
            || self.holds_publishers()
    }

    /// Whether something is left to be done outside the core.
    #[inline]
    pub fn has_errands(&self) -> bool {
        !self.to_open.is_empty()
            || !self.questions.is_empty()
            || !self.trackers.moving.is_empty()
            || self.scrutiny.monitors.has_news()
    }

    /// Answers a request, or a part of one, with an error of Keyway's own.
    pub fn fail(&mut self, ticket: Ticket, kind: ErrorKind, text: &str) {
        self.tallies.failed(kind);
        if let Some(client) = self.clients.get(ticket.client)
            && let Some(tracker) = &mut client.tracking
        {
            tracker.is_uncertain = tracker.is_changing;
        }
        let mut reply = Vec::new();
        write::error(&mut reply, text);
        self.reply_or_go_on(ticket, &reply);
    }

    /// Takes back an output buffer.
    #[inline]
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare_buffers.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BUFFER_BYTES {
            self.spare_buffers.push(buffer);
        }
    }

    /// An output buffer for a client that has none.
    #[inline]
    pub fn spare_buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }
}
