//! Connections come and go.

use std::sync::Arc;

use super::core::Core;
use super::nodes::ConnectionKey;
use super::refresh_requests::RefreshReason;
use crate::acl::Permission;
use crate::cluster::Endpoint;
use crate::command::Command;
use crate::resp::Protocol;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::handshake::More;
use crate::upstream::{Connection, Dispatched, Phase, Purpose, Role};

/// The first pause after a node could not be reached; doubled up to the longest.
const PAUSE_FIRST_US: u64 = 20_000;
/// The longest pause: how late a node that came back may be noticed.
const PAUSE_MAX_US: u64 = 500_000;
/// A node that was asked and says nothing for this long may be dead: a new view is asked for. If it
/// has lost its slots, it does not hold its requests back.
const SILENT_US: u64 = 500_000;

/// What kind of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It could not be opened: nothing was sent.
    NotOpened,
    /// The node was reached and refused it: nothing was sent.
    Refused,
    /// The node let Keyway in, but not into the database: nothing else was sent.
    NoDatabase,
    /// It was lost after it had been open.
    Lost,
}

impl Loss {
    /// Whether the node was reached, and said no.
    fn is_refusal(self) -> bool {
        match self {
            Loss::Refused | Loss::NoDatabase => true,
            Loss::NotOpened | Loss::Lost => false,
        }
    }
}

impl Core {
    /// Where a connection goes, and in which version.
    pub fn endpoint_of(&self, key: ConnectionKey) -> Option<(Endpoint, Protocol)> {
        let connection = self.connections.get(key.0 as usize)?;
        Some((
            self.nodes.get(connection.node)?.endpoint.clone(),
            connection.protocol,
        ))
    }

    /// What is asked for on a connection before it is used.
    pub fn asked_first(&mut self, key: ConnectionKey) -> More {
        match self.connections.get(key.0 as usize).map(|c| c.role) {
            Some(Role::Tracking(client)) => self.tracking_requests(client),
            Some(
                Role::Shared | Role::Lease(_) | Role::Read | Role::Once | Role::Bulk | Role::Hub,
            )
            | None => More::default(),
        }
    }

    /// A connection is open and greeted: what waits in its outbox may go.
    pub fn connection_ready(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        // One that was given up while it was being opened stays given up.
        if connection.phase == Phase::Opening {
            connection.phase = Phase::Ready;
        }
        connection.heard_us = self.now_us;
        let node = connection.node;
        self.tallies.upstream_connections.add(1);
        self.tallies.upstream_connects.increment();
        let role = connection.role;
        if let Some(node) = self.nodes.get_mut(node) {
            node.failures = 0;
            node.retry_at_us = 0;
            node.last_failure = None;
            node.refusal = None;
        }
        self.note_login(node);
        match role {
            Role::Hub => self.hub_link_ready(key),
            Role::Read => self.read_connection_ready(node),
            Role::Tracking(client) => self.private_ready(client, key),
            Role::Shared | Role::Once | Role::Bulk | Role::Lease(_) => {}
        }
    }

    /// A connection knows its client number at the node.
    pub fn connection_numbered(&mut self, key: ConnectionKey, client_id: Option<u64>) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.upstream_id = client_id;
        }
    }

    /// A connection ends. Each of its requests is answered or waits for another connection
    /// (contract: F1, F2).
    pub fn connection_lost(&mut self, key: ConnectionKey, loss: Loss, why: &str) {
        let Some(mut connection) = self.connections.try_remove(key.0 as usize) else {
            return;
        };
        let node_key = connection.node;
        if self.nodes.connection(node_key, connection.protocol) == Some(key) {
            self.nodes
                .set_connection(node_key, connection.protocol, None);
        }
        self.read_connection_lost(key, &connection);
        if loss == Loss::Lost {
            self.tallies.upstream_connections.subtract(1);
        }
        if !connection.is_retiring {
            self.tallies.upstream_failures.increment();
            if loss.is_refusal() {
                self.tallies.upstream_refusals.increment();
            }
        }
        let mut endpoint = String::new();
        if let Some(node) = self.nodes.get_mut(node_key) {
            endpoint = node.endpoint.to_string();
            // A client's own connection may be refused for what the client asked for.
            let is_private = matches!(connection.role, Role::Tracking(_));
            if loss == Loss::NotOpened || (loss.is_refusal() && !is_private) {
                let pause = (PAUSE_FIRST_US << node.failures.min(10)).min(PAUSE_MAX_US);
                node.failures += 1;
                node.retry_at_us = self.now_us + pause;
                node.last_failure = Some(Arc::from(format!("{endpoint}: {why}")));
            }
        }
        self.note_refusal(node_key, connection.role, loss, why);
        if !connection.is_retiring {
            self.request_refresh(match loss {
                Loss::NotOpened | Loss::Refused | Loss::NoDatabase => RefreshReason::ConnectRefused,
                Loss::Lost => RefreshReason::ConnectionLost,
            });
        }
        if let Role::Tracking(client) = connection.role {
            let was_open = connection.phase != Phase::Opening;
            self.private_lost(client, key, was_open, loss.is_refusal());
        }
        let reason = format!("{endpoint}: {why}");
        if let Some(client) = connection.upload.take() {
            self.lost_upload(client, key, &reason);
        }
        self.settle_in_flight(&mut connection, &reason);
        if connection.role == Role::Hub {
            self.hub_link_lost(key, &reason);
        }
        if let Role::Lease(lessee) = connection.role {
            self.lease_ended(key);
            if let Some(client) = lessee {
                self.lost_watch(client, key);
            }
        }
        for client in std::mem::take(&mut connection.waiting_for_room) {
            if let Some(client) = self.clients.get(client) {
                client.wake();
            }
        }
    }

    fn settle_in_flight(&mut self, connection: &mut Connection, why: &str) {
        // Of a block of which the node refused a command, nothing will have been executed.
        let mut refusal = connection.refusal.take();
        while let Some(entry) = connection.pop_in_flight() {
            let len = entry.len as usize;
            if let Purpose::Queued(queued) = entry.purpose {
                refusal = refusal.filter(|_| !queued.is_first);
                continue;
            }
            if let Purpose::Barrier(ticket) = entry.purpose {
                self.reply(ticket, b"");
            }
            if let Purpose::Uploaded(dispatched) = entry.purpose {
                self.tallies.in_flight.subtract(1);
                match connection.outbox.is_front_written(len) {
                    true => self.fail_unknown(&dispatched, why),
                    false => self.fail_unsent(&dispatched, why),
                }
            }
            if let Purpose::Passing(dispatched) = entry.purpose {
                let bytes = connection.outbox.front(len).to_vec();
                self.lost_passing(connection, &dispatched, &bytes, why);
            }
            let is_refused = refusal.take().is_some_and(|refusal| !refusal.is_of_multi);
            let is_refused = |command: &Command| is_refused && command.is_block();
            if let Purpose::Reply(dispatched) = entry.purpose {
                self.tallies.in_flight.subtract(1);
                let was_written = connection.phase != Phase::Opening
                    && connection.outbox.is_front_written(len)
                    && !is_refused(dispatched.command);
                let may_be_done = was_written && !dispatched.command.is_repeatable();
                if may_be_done && !self.is_resent(dispatched.command) {
                    self.fail_unknown(&dispatched, why);
                } else {
                    let dispatched = Dispatched {
                        may_be_done: may_be_done || dispatched.may_be_done,
                        ..dispatched
                    };
                    let bytes = connection.outbox.front(len).to_vec();
                    let reason = self.reason_of_loss(connection.node, why);
                    self.park(dispatched, bytes, false, reason);
                    if may_be_done {
                        self.tallies.writes_resent.increment();
                    }
                }
            }
            if let Purpose::Leased(dispatched) = entry.purpose {
                let was_written = connection.phase != Phase::Opening
                    && connection.outbox.is_front_written(len)
                    && !is_refused(dispatched.command);
                let reason = self.reason_of_loss(connection.node, why);
                self.lost_leased(dispatched, was_written, reason, why);
            }
            connection.outbox.pop(len);
        }
    }

    /// A request that was passed on in pieces was not sent whole.
    fn fail_unsent(&mut self, dispatched: &Dispatched, why: &str) {
        let text = not_sent_whole(dispatched.command, why);
        self.fail(dispatched.ticket, ErrorKind::Deadline, &text);
    }

    /// Whether a write is sent again although it may have been executed (contract: F2, by choice).
    fn is_resent(&self, command: &Command) -> bool {
        let list = &self.local.resend_lost_writes;
        let rights = || self.learnt.rights(command);
        !list.is_nothing() && list.permission(command, rights(), None) == Permission::Granted
    }

    /// A write was sent and no reply came: nobody can know (contract: F2, invariant 7).
    pub(super) fn fail_unknown(&mut self, dispatched: &Dispatched, why: &str) {
        self.record_duration(dispatched);
        let text = unknown_outcome(dispatched, why);
        self.fail(dispatched.ticket, ErrorKind::OutcomeUnknown, &text);
    }

    /// Requests wait in the outbox of a connection that is not open yet, but their slot has another
    /// owner now: they go there at once (contract: F1).
    pub fn reroute_unsent(&mut self) {
        let opening: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                connection.phase == Phase::Opening
                    && connection.role != Role::Read
                    && !self.nodes.owns_slots(connection.node)
            })
            .map(|(index, _)| index)
            .collect();
        for index in opening {
            self.empty_unopened(index, "it does not own the slot any more");
        }
    }

    /// Takes back what waits in the outbox of a connection that is not open yet.
    pub(super) fn empty_unopened(&mut self, index: usize, why: &str) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let mut emptied = Connection::new(connection.node, connection.protocol, connection.role);
        emptied.in_flight = std::mem::take(&mut connection.in_flight);
        emptied.outbox = std::mem::take(&mut connection.outbox);
        emptied.reply_bytes_ahead = std::mem::take(&mut connection.reply_bytes_ahead);
        let waiting_for_room = std::mem::take(&mut connection.waiting_for_room);
        let upload = connection.upload.take();
        if let Role::Lease(_) = connection.role {
            // Its one client finds another.
            connection.role = Role::Lease(None);
            connection.phase = Phase::Closed;
        }
        self.settle_in_flight(&mut emptied, why);
        if let Some(client) = upload {
            self.lost_upload(client, ConnectionKey(index as u32), why);
        }
        for client in waiting_for_room {
            if let Some(client) = self.clients.get(client) {
                client.wake();
            }
        }
    }

    /// Gives up connections to nodes that own no slot any more and do not answer what was asked:
    /// their reads can be done elsewhere, their writes cannot (contract: F2).
    pub fn leave_silent_strangers(&mut self) {
        let nodes = &self.nodes;
        let now_us = self.now_us;
        let mut has_silent = false;
        for (_, connection) in &mut self.connections {
            let is_silent = connection.phase == Phase::Ready
                && !connection.in_flight.is_empty()
                && !connection.is_left_unread()
                && now_us.saturating_sub(connection.waiting_since_us.max(connection.heard_us))
                    > SILENT_US;
            // A lease is silent while its client is blocked.
            has_silent |= is_silent
                && matches!(
                    connection.role,
                    Role::Shared | Role::Bulk | Role::Tracking(_)
                );
            let has_failed = nodes
                .get(connection.node)
                .is_some_and(|node| node.has_failed);
            if is_silent && has_failed && !nodes.owns_slots(connection.node) {
                connection.phase = Phase::Closed;
                connection.wake();
            }
        }
        if has_silent {
            // A node that stopped without closing anything sends no sign (contract: R8).
            self.request_refresh(RefreshReason::Timeout);
        }
    }

    /// Answers requests whose deadline passed while a node keeps them (contract: F5); their late
    /// replies are dropped (contract: F3).
    pub fn expire_in_flight(&mut self) {
        let timeout_us = self.limits.request_timeout_us;
        let now_us = self.now_us;
        let mut expired = Vec::new();
        let mut unopened = Vec::new();
        for (index, connection) in &mut self.connections {
            // One that was sent again may stand behind younger ones: all have to be looked at.
            let oldest_us = connection.oldest_received_us();
            if oldest_us.is_none_or(|oldest_us| now_us.saturating_sub(oldest_us) < timeout_us / 2) {
                continue;
            }
            if connection.phase == Phase::Opening {
                unopened.push(index);
                continue;
            }
            let outcome = connection.expire(now_us.saturating_sub(timeout_us), &mut expired);
            let is_silent = now_us.saturating_sub(connection.heard_us) >= timeout_us / 2;
            if outcome.is_stuck || (outcome.has_expired && is_silent) {
                // It answers nobody, or takes nothing: what it was not asked yet must not wait behind,
                // and must not be asked after its client was told that it was not.
                connection.phase = Phase::Closed;
                connection.wake();
            }
        }
        // What was not sent must not be sent after its client was told so: it waits with the others.
        for index in unopened {
            self.empty_unopened(index, "it does not accept the connection");
        }
        for dispatched in expired {
            self.tallies.in_flight.subtract(1);
            self.request_refresh(RefreshReason::Timeout);
            self.expire(&dispatched);
        }
    }

    fn expire(&mut self, dispatched: &Dispatched) {
        self.record_duration(dispatched);
        let (kind, text) = no_answer(dispatched, self.now_us);
        self.fail(dispatched.ticket, kind, &text);
    }

    /// A request, or a part of one, ends now, well or not.
    #[inline]
    pub(super) fn record_duration(&self, dispatched: &Dispatched) {
        let took_us = self.now_us.saturating_sub(dispatched.received_us);
        self.tallies.latency.record(took_us);
    }
}

/// What a client is told when a node was asked and did not answer in time.
pub(super) fn no_answer(dispatched: &Dispatched, now_us: u64) -> (ErrorKind, String) {
    let name = dispatched.command.name;
    let seconds = now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
    if dispatched.command.is_repeatable() {
        no_answer_to_harmless(dispatched, now_us)
    } else {
        let again = match dispatched.may_be_done {
            true => "was sent more than once (upstream.resend_lost_writes)",
            false => "was not sent again",
        };
        let text = format!(
            "ERR the node did not answer '{name}' within {seconds:.1} s: outcome unknown; it may \
             or may not have been executed and {again}"
        );
        (ErrorKind::OutcomeUnknown, text)
    }
}

/// What it is told when trying again can do no harm.
pub(super) fn no_answer_to_harmless(dispatched: &Dispatched, now_us: u64) -> (ErrorKind, String) {
    let name = dispatched.command.name;
    let seconds = now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
    let text = format!("ERR the node did not answer '{name}' within {seconds:.1} s; try again");
    (ErrorKind::Deadline, text)
}

/// What a client is told whose write may have been executed, and could not be sent again in time.
pub(super) fn not_resent(dispatched: &Dispatched, now_us: u64, why: &str) -> String {
    let name = dispatched.command.name;
    let seconds = now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
    format!(
        "ERR the connection to the node was lost before '{name}' was answered, and it could not be sent again within \
         {seconds:.1} s: outcome unknown; it may or may not have been executed (again: {why})"
    )
}

/// What a client is told whose request was passed on in pieces, and not to its end.
pub(super) fn not_sent_whole(command: &Command, why: &str) -> String {
    format!(
        "ERR '{}' was not executed: the connection to the node was lost while the value was being sent ({why}); send \
         it again",
        command.name
    )
}

/// What a client is told when nobody can know whether its request was executed.
pub(super) fn unknown_outcome(dispatched: &Dispatched, why: &str) -> String {
    let name = dispatched.command.name;
    format!(
        "ERR the connection to the node was lost before '{name}' was answered ({why}): outcome \
         unknown; it may or may not have been executed and was not sent again"
    )
}
