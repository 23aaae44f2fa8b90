//! Requests with a value too large to be held: they are passed on in pieces, as their client sends them
//! (contract: P8).
//!
//! ```text
//! Waiting --> Asked --> Sending --> (whole: it is in flight like any other)
//!    ^----------/  \______ \_____> Dropping --> (the client is told, the rest is for nobody)
//! ```
//!
//! 1. Begun for a command that writes to one key, which is its first argument, as soon as that key is there
//!    and the rest is long; when the client waits for nothing else, so its order is kept (contract: R13).
//! 2. It goes over a connection for large things, so that nobody waits behind a slow sender.
//! 3. A node looks at a request only once it is whole, and what was passed on cannot be sent elsewhere. So the node is
//!    asked first whether it serves the key (`EXISTS`), and its redirects and "not now" are followed as always.
//!    Should the slot move while the value is under way, the client is told that nothing was executed.
//! 4. While the node takes no more than it is given, the client is not read.
//! 5. Without its end a request has no effect: when the client or the node is lost before, nothing was executed.

use super::clients::{Phase, UNSETTLED};
use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::requests::Processed;
use crate::client;
use crate::client::monitor::Monitoring;
use crate::cluster::Slot;
use crate::cluster::redirect::{Verdict, verdict};
use crate::command::{self, Access, Command, Handling, Keys, Lookup};
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::request_passing::RequestPassing;
use crate::resp::scan::{Limits, RequestScanner};
use crate::resp::{Args, write};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::{ErrorKind, RedirectKind};
use crate::upstream::connection::ASKING;
use crate::upstream::{self, Dispatched, Purpose};

/// So much may wait for the node's socket.
const WINDOW_BYTES: usize = 512 * 1024;
/// The first pause before a node is asked again; doubled up to the longest.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest.
const PAUSE_MAX_US: u64 = 100_000;
/// So many redirects in a row are followed at once (contract: R7).
const HOPS_AT_ONCE: u8 = 4;

/// A request of which the client is sending the value.
#[derive(Debug)]
pub struct Upload {
    command: &'static Command,
    key: Vec<u8>,
    slot: Slot,
    framing: RequestPassing,
    state: State,
    /// When it began, and when it came on last, in microseconds.
    since_us: u64,
    moved_us: u64,
    attempts: u8,
}

#[derive(Debug)]
enum State {
    /// It has no connection yet.
    Waiting {
        not_before_us: u64,
        reason: Reason,
        /// The node that `ASK` named.
        asked: Option<NodeKey>,
    },
    /// The node was asked whether it serves the key.
    Asked(ConnectionKey),
    /// It is under way.
    Sending(ConnectionKey),
    /// The client was told that it failed.
    Dropping,
}

/// Whether a request is passed on in pieces.
pub(super) enum Begun {
    /// No: it has to come whole.
    No,
    /// Later, when the client waits for nothing else.
    NotYet,
    /// Yes.
    Yes,
}

impl Core {
    /// A request is not whole, and much of it is missing.
    #[cold]
    pub(super) fn begin_upload(
        &mut self,
        key: ClientKey,
        bytes: &[u8],
        scanner: &RequestScanner,
    ) -> Begun {
        let args = Args::new(bytes, scanner.spans());
        let Some(command) = self.streams_to_node(key, &args, scanner.arguments()) else {
            return Begun::No;
        };
        let now_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return Begun::No;
        };
        client.is_stalled = true;
        if !client.is_settled() {
            return Begun::NotYet;
        }
        let name = args.get(1).unwrap_or_default().to_vec();
        client.session.last_command_us = now_us;
        client.session.last_command = Some(command);
        client.upload = Some(Box::new(Upload {
            command,
            slot: Slot::of_key(&name),
            key: name,
            framing: RequestPassing::default(),
            state: State::Waiting {
                not_before_us: now_us,
                reason: Reason::NoTopology,
                asked: None,
            },
            since_us: now_us,
            moved_us: now_us,
            attempts: 0,
        }));
        self.tallies.streamed_requests.increment();
        self.route_upload(key);
        Begun::Yes
    }

    /// The row of a request that can be passed on in pieces, of which these arguments of `argc` are there.
    fn streams_to_node(
        &mut self,
        key: ClientKey,
        args: &Args<'_>,
        argc: usize,
    ) -> Option<&'static Command> {
        if args.len() < 2 || self.scrutiny.is_on() {
            return None;
        }
        let command = match command::lookup(args) {
            Lookup::Found(command) => command,
            missed => match self.learnt.look_up(missed, args) {
                Lookup::Found(command) => command,
                Lookup::Unknown | Lookup::UnknownSubcommand(_) => return None,
            },
        };
        let client = self.clients.get(key)?;
        let is_in_mode = client.blocked.is_some()
            || client.transaction.is_some()
            || client.subscriptions.is_some()
            || client.tracking.is_some()
            || client.monitoring != Monitoring::No;
        let fits = command.handling == Handling::Keyed
            && command.access == Access::Write
            && matches!(
                command.keys,
                Keys::Range {
                    first: 1,
                    last: 1,
                    ..
                }
            )
            && command.accepts(argc)
            && client::may_run(&client.session, command).is_ok();
        (fits && !is_in_mode).then_some(command)
    }

    /// Finds a connection for an upload that has none, and asks its node.
    fn route_upload(&mut self, key: ClientKey) {
        let (now_us, protocol) = (self.now_us, self.protocol_of(key));
        let Some(upload) = self.upload(key) else {
            return;
        };
        let State::Waiting { asked, .. } = upload.state else {
            return;
        };
        let slot = upload.slot;
        let route = match asked {
            Some(node) => Ok(node),
            None => self.resolve(Target::Slot(slot)),
        };
        let route = route.and_then(|node| self.bulk_connection(node, protocol));
        let at = match route {
            Ok(at) => at,
            Err(reason) => return self.upload_waits(key, reason, None),
        };
        let Some(connection) = self.connections.get_mut(at.0 as usize) else {
            return;
        };
        let Some(upload) = self
            .clients
            .get(key)
            .and_then(|client| client.upload.as_mut())
        else {
            return;
        };
        connection.upload = Some(key);
        if asked.is_some() {
            // It told where the key is: the value follows at once.
            connection.send_unkept(Purpose::Discard, ASKING, now_us);
            upload.state = State::Sending(at);
            self.wake_uploader(key);
        } else {
            let mut question = Vec::new();
            write::command(&mut question, &[&b"EXISTS"[..], &upload.key]);
            connection.send_unkept(Purpose::Preflight(key), &question, now_us);
            upload.state = State::Asked(at);
        }
    }

    fn upload(&mut self, key: ClientKey) -> Option<&mut Upload> {
        self.clients.get(key)?.upload.as_deref_mut()
    }

    fn wake_uploader(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key) {
            client.wake();
        }
    }

    /// An upload waits for a node, longer each time; until its deadline.
    fn upload_waits(&mut self, key: ClientKey, reason: Reason, asked: Option<NodeKey>) {
        let now_us = self.now_us;
        let Some(upload) = self.upload(key) else {
            return;
        };
        let is_redirect = matches!(reason, Reason::Redirected) && upload.attempts < HOPS_AT_ONCE;
        let pause_us = match is_redirect {
            true => 0,
            false => (PAUSE_FIRST_US << upload.attempts.min(8)).min(PAUSE_MAX_US),
        };
        upload.attempts = upload.attempts.saturating_add(1);
        upload.state = State::Waiting {
            not_before_us: now_us + pause_us,
            reason,
            asked,
        };
        if is_redirect {
            return self.route_upload(key);
        }
        self.uploads_waiting.push(key);
        if let Some(waker) = &self.tick_waker {
            waker.wake_by_ref();
        }
    }

    /// Tries those again that wait for a node. Called with every tick.
    pub(super) fn retry_uploads(&mut self) {
        for key in std::mem::take(&mut self.uploads_waiting) {
            let (now_us, timeout_us) = (self.now_us, self.limits.request_timeout_us);
            let Some(upload) = self.upload(key) else {
                continue;
            };
            let State::Waiting {
                not_before_us,
                reason,
                ..
            } = &upload.state
            else {
                continue;
            };
            if now_us.saturating_sub(upload.since_us) >= timeout_us {
                let (reason, received_us) = (reason.clone(), upload.since_us);
                let dispatched = Dispatched {
                    received_us,
                    ..self.upload_dispatched(key)
                };
                let text = reason.text(&dispatched, now_us);
                self.drop_upload(key, ErrorKind::Deadline, &text);
            } else if *not_before_us <= now_us {
                self.tallies.retries.increment();
                self.route_upload(key);
            } else {
                self.uploads_waiting.push(key);
            }
        }
    }

    /// What its request is when it is in flight.
    fn upload_dispatched(&mut self, key: ClientKey) -> Dispatched {
        let protocol = self.protocol_of(key);
        let row = self.upload(key).map(|upload| (upload.command, upload.slot));
        let target = row.map_or(Target::Any, |(_, slot)| Target::Slot(slot));
        let command = row.map_or_else(|| command::block_row(true), |(command, _)| command);
        let ticket = Ticket {
            client: key,
            sequence: Default::default(),
            part: 0,
        };
        let lane = self.lane_of(target);
        self.dispatched(ticket, command, target, lane, protocol)
    }

    /// The client is told that its request failed; the rest of it is read and dropped.
    fn drop_upload(&mut self, key: ClientKey, kind: ErrorKind, text: &str) {
        self.tallies.failed(kind);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if let Some(upload) = &mut client.upload {
            upload.state = State::Dropping;
        }
        let is_muted = client.session.next_is_muted();
        client
            .replies
            .answer(is_muted, |out| write::error(out, text));
        client.wake();
    }

    /// The node said whether it serves the key.
    #[cold]
    pub(super) fn preflight_answered(&mut self, key: ClientKey, from: ConnectionKey, reply: &[u8]) {
        let Some(upload) = self.upload(key) else {
            return;
        };
        if !matches!(upload.state, State::Asked(at) if at == from) {
            return;
        }
        let own_slot = upload.slot;
        let (refresh, kind) = match verdict(reply) {
            _ if reply.first() != Some(&b'-') => return self.upload_may_go(key, from),
            // Whatever else it says, such as a missing permission, it says again to the request itself.
            Verdict::Pass => return self.upload_may_go(key, from),
            Verdict::Moved { slot, .. } | Verdict::Ask { slot, .. } if slot != own_slot => {
                return self.upload_may_go(key, from);
            }
            Verdict::Moved { slot, to } => {
                self.tallies.redirected(RedirectKind::Moved);
                self.request_refresh(RefreshReason::Moved);
                let reason = match self.learn_owner(from, slot, to) {
                    Some(_) => Reason::Redirected,
                    None => Reason::NoOwner(slot),
                };
                self.leave_upload_connection(from);
                return self.upload_waits(key, reason, None);
            }
            Verdict::Ask { slot, to } => {
                self.tallies.redirected(RedirectKind::Ask);
                if self.slot_is_moving(slot) {
                    self.trackers.moving.push(slot);
                }
                let node = self.connections.get(from.0 as usize).map(|from| from.node);
                let importing = node.and_then(|node| self.named_node(to, node));
                self.leave_upload_connection(from);
                let reason = match importing {
                    Some(_) => Reason::Redirected,
                    None => Reason::Server(reply.into()),
                };
                return self.upload_waits(key, reason, importing);
            }
            Verdict::TryAgain => (None, RedirectKind::TryAgain),
            Verdict::ClusterDown => (Some(RefreshReason::ClusterDown), RedirectKind::ClusterDown),
            Verdict::Loading => (None, RedirectKind::Loading),
            Verdict::MasterDown => (Some(RefreshReason::ClusterDown), RedirectKind::MasterDown),
            Verdict::ReadOnly => (Some(RefreshReason::ReadOnly), RedirectKind::ReadOnly),
        };
        self.tallies.redirected(kind);
        if let Some(reason) = refresh {
            self.request_refresh(reason);
        }
        self.leave_upload_connection(from);
        self.upload_waits(key, Reason::Server(reply.into()), None);
    }

    fn upload_may_go(&mut self, key: ClientKey, to: ConnectionKey) {
        let now_us = self.now_us;
        if let Some(upload) = self.upload(key) {
            upload.state = State::Sending(to);
            upload.moved_us = now_us;
        }
        self.wake_uploader(key);
    }

    /// Nothing of the upload went there: the connection is free.
    fn leave_upload_connection(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.upload = None;
        }
    }

    /// A node that answered named the owner of a slot.
    fn learn_owner(
        &mut self,
        from: ConnectionKey,
        slot: Slot,
        to: crate::cluster::redirect::RedirectTo<'_>,
    ) -> Option<NodeKey> {
        let answered = self.connections.get(from.0 as usize)?.node;
        let owner = self.named_node(to, answered)?;
        if self.nodes.redirect(slot, owner, self.now_us) {
            self.map_version += 1;
        }
        Some(owner)
    }

    /// Takes bytes of a client whose request is passed on.
    pub(super) fn process_upload(&mut self, key: ClientKey, bytes: &[u8]) -> Processed {
        let mut processed = Processed {
            consumed: 0,
            wanted: 0,
            is_cut_short: false,
        };
        let now_us = self.now_us;
        let (bulk_bytes_max, request_bytes_max) =
            (self.limits.argument_bytes, self.limits.request_bytes);
        let Some(client) = self.clients.get(key) else {
            return processed;
        };
        if client.phase == Phase::Leaving {
            processed.consumed = bytes.len();
            return processed;
        }
        let limits = Limits {
            bulk_bytes_max,
            request_bytes_max,
            is_authenticated: true,
        };
        let Some(upload) = &mut client.upload else {
            return processed;
        };
        let to = match upload.state {
            State::Waiting { .. } | State::Asked(_) => {
                client.is_stalled = true;
                return processed;
            }
            State::Sending(at) => {
                let connection = self.connections.get_mut(at.0 as usize);
                let connection = connection.filter(|to| to.upload == Some(key));
                let Some(connection) = connection else {
                    client.is_stalled = true;
                    return processed;
                };
                if connection.outbox.len() >= WINDOW_BYTES {
                    client.is_stalled = true;
                    return processed;
                }
                Some((at, connection))
            }
            State::Dropping => None,
        };
        let count = match upload.framing.pass(bytes, &limits) {
            Ok(count) => count,
            Err(error) => {
                self.abandon_upload(key);
                self.refuse_protocol(key, error);
                processed.consumed = bytes.len();
                return processed;
            }
        };
        processed.consumed = count;
        upload.moved_us = now_us;
        client.session.last_command_us = now_us;
        let is_done = upload.framing.is_done();
        processed.is_cut_short = is_done && count < bytes.len();
        match to {
            Some((at, connection)) => {
                connection.outbox.push(&bytes[..count]);
                connection.wake();
                if is_done {
                    self.upload_is_whole(key, at);
                }
            }
            None if is_done => client.upload = None,
            None => {}
        }
        processed
    }

    /// The last byte of a request went to its connection: from now on it is one like any other.
    fn upload_is_whole(&mut self, key: ClientKey, to: ConnectionKey) {
        let mut dispatched = self.upload_dispatched(key);
        let plan = self.read_plan(key, dispatched.command, dispatched.target);
        dispatched.is_noted = plan.is_noted();
        dispatched.ticket.sequence = self.open_place(key, dispatched.lane);
        self.read_plan_leaves(plan, key, dispatched.ticket.sequence);
        self.tallies.requests.increment();
        self.tallies.in_flight.add(1);
        if let Some(client) = self.clients.get(key) {
            client.upload = None;
            // What follows goes over other connections.
            client.map_version = UNSETTLED;
        }
        if let Some(connection) = self.connections.get_mut(to.0 as usize) {
            connection.upload = None;
            connection.expect_uploaded(dispatched, self.now_us);
        }
    }

    /// A connection's socket took some of an upload.
    pub(super) fn upload_went_on(&mut self, at: ConnectionKey) {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(at.0 as usize) else {
            return;
        };
        let has_room = connection.outbox.len() < WINDOW_BYTES / 2;
        if let Some(key) = connection.upload
            && let Some(client) = self.clients.get(key)
        {
            if let Some(upload) = &mut client.upload {
                upload.moved_us = now_us;
            }
            if client.is_stalled && has_room {
                client.wake();
            }
        }
    }

    /// A request that was passed on has its reply.
    #[cold]
    pub(super) fn upload_answered(
        &mut self,
        from: ConnectionKey,
        dispatched: Dispatched,
        reply: &[u8],
    ) {
        self.tallies.in_flight.subtract(1);
        if dispatched.is_noted {
            self.note_answered(&dispatched);
        }
        let took_us = self.now_us.saturating_sub(dispatched.received_us);
        self.tallies.latency.record(took_us);
        let node = self.connections.get(from.0 as usize).map(|from| from.node);
        if reply.first() != Some(&b'-') {
            if let Some(client) = self.clients.get(dispatched.ticket.client)
                && let Some(node) = node
            {
                client.written.note(node, dispatched.command.access);
            }
            return self.reply(dispatched.ticket, reply);
        }
        let kind = match verdict(reply) {
            Verdict::Pass => return self.reply(dispatched.ticket, reply),
            Verdict::Moved { slot, to } => {
                self.learn_owner(from, slot, to);
                RedirectKind::Moved
            }
            Verdict::Ask { .. } => RedirectKind::Ask,
            Verdict::TryAgain => RedirectKind::TryAgain,
            Verdict::ClusterDown => RedirectKind::ClusterDown,
            Verdict::Loading => RedirectKind::Loading,
            Verdict::MasterDown => RedirectKind::MasterDown,
            Verdict::ReadOnly => RedirectKind::ReadOnly,
        };
        self.tallies.redirected(kind);
        self.request_refresh(RefreshReason::Moved);
        let said = String::from_utf8_lossy(reply.get(1..).unwrap_or_default());
        let text = format!(
            "TRYAGAIN '{}' was not executed: the node stopped serving its slot while the value was being sent \
             ({}); send it again",
            dispatched.command.name,
            said.trim_ascii_end()
        );
        self.fail(dispatched.ticket, ErrorKind::Deadline, &text);
    }

    /// The client sends no more, or is gone: without its end the request has no effect.
    pub(super) fn abandon_upload(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(upload) = client.upload.take() else {
            return;
        };
        client.is_stalled = false;
        if let State::Asked(at) | State::Sending(at) = upload.state
            && let Some(connection) = self.connections.get_mut(at.0 as usize)
            && connection.upload == Some(key)
        {
            connection.upload = None;
            connection.close_quietly();
        }
    }

    /// The connection was lost before the request was whole.
    #[cold]
    pub(super) fn lost_upload(&mut self, key: ClientKey, lost: ConnectionKey, why: &str) {
        let Some(upload) = self.upload(key) else {
            return;
        };
        match upload.state {
            State::Sending(at) if at == lost && !upload.framing.is_empty() => {
                let text = format!(
                    "ERR '{}' was not executed: the connection to the node was lost while the value was being sent \
                     ({why}); send it again",
                    upload.command.name
                );
                self.drop_upload(key, ErrorKind::Deadline, &text);
            }
            State::Asked(at) | State::Sending(at) if at == lost => {
                self.upload_waits(key, Reason::Unreachable(why.to_owned()), None);
            }
            State::Waiting { .. } | State::Asked(_) | State::Sending(_) | State::Dropping => {}
        }
    }

    /// Gives up connections whose node does not take what it is sent, or does not answer.
    pub(super) fn look_after_uploads(&mut self) {
        let (now_us, timeout_us) = (self.now_us, self.limits.request_timeout_us);
        for (_, connection) in &mut self.connections {
            let Some(key) = connection.upload else {
                continue;
            };
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            let moved_us = client
                .upload
                .as_ref()
                .map_or(now_us, |upload| upload.moved_us);
            let waits_for_node =
                !connection.outbox.unwritten().is_empty() || !connection.in_flight.is_empty();
            if waits_for_node && now_us.saturating_sub(moved_us) > timeout_us {
                connection.phase = upstream::Phase::Closed;
                connection.wake();
            }
        }
    }
}
