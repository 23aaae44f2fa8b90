//! How a blocked client's wait ends other than by its reply or its leaving: its time is up while no node can be
//! asked, its node left, or somebody says `CLIENT UNBLOCK` (contract: T6, C2).

use super::blocking::{BlockedBy, Ends};
use super::core::Core;
use super::links::{no_answer, no_answer_to_harmless};
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::wait;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::{Protocol, write};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::{Caching, Dispatched, Phase};

/// When a node that has not let a connection go is asked again.
const AGAIN_US: u64 = 1_000_000;

/// What `CLIENT UNBLOCK id ERROR` lets a client read.
pub(super) const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl Core {
    /// The client has waited as long as it wanted and no node could be asked, or none answered.
    pub(super) fn give_up_blocked(&mut self, key: ClientKey) {
        let now_us = self.now_us;
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return;
        };
        let (kind, command, protocol) = (blocked.kind, blocked.command, blocked.protocol);
        let since_us = blocked.since_us;
        let mut pending = Vec::new();
        for call in blocked.calls.iter_mut().filter(|call| !call.is_done) {
            let connection = call.connection.take();
            pending.push((call.ticket, call.target, connection, call.reason.clone()));
        }
        for (ticket, target, connection, mut reason) in pending {
            // Of what the socket did not take to the end, the node can have executed nothing.
            let was_sent = connection.is_some_and(|at| self.has_written_all(at));
            if let Some(connection) = connection {
                self.close_lease(connection);
                if !was_sent {
                    reason = Reason::Unreachable("it does not take what it is sent".to_owned());
                }
            }
            let mut reply = Vec::new();
            match kind {
                // As a server that had nothing for so long.
                BlockedBy::Command
                    if was_sent || !matches!(reason, Reason::NoLease | Reason::Refused(_)) =>
                {
                    write::null_array(&mut reply, protocol)
                }
                BlockedBy::Command | BlockedBy::Replicas | BlockedBy::Watch | BlockedBy::Exec => {
                    let dispatched = Dispatched {
                        ticket,
                        command,
                        target,
                        lane: None,
                        protocol,
                        received_us: since_us,
                        attempts: 0,
                        caching: Caching::Unsaid,
                        is_noted: false,
                        may_be_done: false,
                    };
                    let (error, text) = match kind {
                        // A block that was sent may have been executed.
                        BlockedBy::Exec if was_sent => no_answer(&dispatched, now_us),
                        _ if was_sent => no_answer_to_harmless(&dispatched, now_us),
                        _ => (ErrorKind::Deadline, reason.text(&dispatched, now_us)),
                    };
                    self.tallies.failed(error);
                    write::error(&mut reply, text);
                }
            }
            self.call_done(ticket, None, &reply);
        }
    }

    fn has_written_all(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key.0 as usize);
        connection.is_some_and(|connection| {
            connection.phase != Phase::Opening && connection.outbox.unwritten().is_empty()
        })
    }

    /// Looks after blocked clients on private connections: those whose node does not answer although
    /// their time has passed, and those that have left.
    pub(super) fn look_after_blocked(&mut self) {
        let now_us = self.now_us;
        let timeout_us = self.limits.request_timeout_us;
        let mut overdue = Vec::new();
        let mut left = Vec::new();
        let mut let_go = Vec::new();
        for client in self.lessees() {
            let Some(blocked) = self.clients.get(client).and_then(|c| c.blocked.as_ref()) else {
                continue;
            };
            if blocked.leaves_at_us.is_some_and(|at_us| at_us <= now_us) {
                left.push(client);
                continue;
            }
            if blocked
                .ends
                .is_some_and(|ends| now_us.saturating_sub(ends.asked_us) >= AGAIN_US)
            {
                let_go.push(client);
                continue;
            }
            let grace_us = match blocked.is_by_command() {
                // The server does the timing; this is for one that hangs.
                true => timeout_us,
                false => 0,
            };
            let deadline_us = blocked.deadline_us(timeout_us);
            let is_over = |deadline_us: u64| now_us >= deadline_us.saturating_add(grace_us);
            if deadline_us.is_some_and(is_over) {
                overdue.push(client);
            }
        }
        for client in left {
            self.leave_blocked(client);
        }
        for client in let_go {
            self.ask_again_to_let_go(client);
        }
        for client in overdue {
            self.request_refresh(RefreshReason::Timeout);
            self.give_up_blocked(client);
        }
    }

    /// Blocked clients whose node left the cluster ask where their slot is now.
    pub(super) fn leave_strangers_blocked(&mut self) {
        let mut closed = Vec::new();
        for (index, connection) in &self.connections {
            if connection.is_retiring
                && connection.lessee().is_some()
                && connection.phase != Phase::Closed
            {
                closed.push((ConnectionKey(index as u32), connection.lessee()));
            }
        }
        for (key, client) in closed {
            let is_blocked = client
                .and_then(|client| self.clients.get(client)?.blocked.as_ref())
                .is_some_and(|blocked| blocked.is_by_command());
            if is_blocked && let Some(connection) = self.connections.get_mut(key.0 as usize) {
                connection.phase = Phase::Closed;
                connection.wake();
            }
        }
    }

    /// Clients that have a private connection, each once.
    fn lessees(&self) -> Vec<ClientKey> {
        let mut lessees: Vec<ClientKey> = self
            .connections
            .iter()
            .filter_map(|(_, connection)| connection.lessee())
            .collect();
        lessees.dedup();
        lessees
    }

    /// `CLIENT UNBLOCK`: whether this client was blocked by a command. The node is told, so that the
    /// client gets what it has if that came first.
    pub(super) fn unblock(&mut self, key: ClientKey, with_error: bool) -> bool {
        let now_us = self.now_us;
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return false;
        };
        if !blocked.is_by_command() {
            return false;
        }
        blocked.ends = Some(Ends {
            with_error,
            asked_us: now_us,
        });
        self.ask_to_let_go(key, with_error);
        self.end_unblocked(key);
        true
    }

    /// Asks the nodes of a client's calls to let it go.
    fn ask_to_let_go(&mut self, key: ClientKey, with_error: bool) {
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return;
        };
        let protocol = blocked.protocol;
        let mut asked = Vec::new();
        for call in blocked.calls.iter_mut().filter(|call| !call.is_done) {
            // A step of a poll is answered in a moment.
            if call.poll.is_none() {
                call.is_spoilt = true;
                asked.extend(call.connection.map(|connection| (call.ticket, connection)));
            }
        }
        for (ticket, connection) in asked {
            if !self.unblock_at_node(connection, protocol, with_error) {
                self.close_lease(connection);
                if let Some(call) = self.call(ticket) {
                    call.connection = None;
                }
            }
        }
    }

    /// Asks them once more: they are asked over another connection, which may have been lost with the word. What they
    /// have popped by then is still waited for.
    fn ask_again_to_let_go(&mut self, key: ClientKey) {
        let now_us = self.now_us;
        let blocked = self.clients.get(key).and_then(|c| c.blocked.as_mut());
        let Some(ends) = blocked.and_then(|blocked| blocked.ends.as_mut()) else {
            return;
        };
        ends.asked_us = now_us;
        let with_error = ends.with_error;
        self.ask_to_let_go(key, with_error);
        self.end_unblocked(key);
    }

    /// A client was let go: those of its calls that are nowhere end here.
    pub(super) fn end_unblocked(&mut self, key: ClientKey) {
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_ref()) else {
            return;
        };
        let mut reply = Vec::new();
        match (blocked.ends, blocked.kind) {
            (Some(ends), _) if ends.with_error => write::error(&mut reply, UNBLOCKED),
            // As many as are known to have what was written: the others' numbers are merged with it.
            (Some(_), BlockedBy::Replicas) => wait::write_none(blocked.command, &mut reply),
            (Some(_), BlockedBy::Command | BlockedBy::Watch | BlockedBy::Exec) => {
                write::null_array(&mut reply, blocked.protocol);
            }
            (None, _) => return,
        }
        let calls = blocked.calls.iter();
        let nowhere: Vec<Ticket> = calls
            .filter(|call| !call.is_done && call.connection.is_none())
            .map(|call| call.ticket)
            .collect();
        for ticket in nowhere {
            self.call_done(ticket, None, &reply);
        }
    }

    /// Asks a node to let one of its clients, which is a private connection, go.
    fn unblock_at_node(
        &mut self,
        key: ConnectionKey,
        protocol: Protocol,
        with_error: bool,
    ) -> bool {
        let Some(connection) = self.connections.get(key.0 as usize) else {
            return false;
        };
        let Some(id) = connection.upstream_id else {
            return false;
        };
        let Ok(shared) = self.connection_to(connection.node, protocol) else {
            return false;
        };
        let how = if with_error { "ERROR" } else { "TIMEOUT" };
        let mut bytes = Vec::new();
        write::command(&mut bytes, &["CLIENT", "UNBLOCK", &id.to_string(), how]);
        if let Some(connection) = self.connections.get_mut(shared.0 as usize) {
            connection.send_unheard(&bytes, self.now_us);
        }
        true
    }
}
