//! Replies come back: to their clients, or elsewhere when the node says so.

use super::core::Core;
use super::nodes::ConnectionKey;
use super::pacing::LARGE_BYTES;
use super::park::{REDIRECTS, Reason};
use super::refresh_requests::RefreshReason;
use crate::cluster::redirect::{RedirectTo, Verdict, verdict};
use crate::command::Access;
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::RedirectKind;
use crate::upstream::connection::{Arrived, ReadError};
use crate::upstream::{Dispatched, InFlight, Purpose, Role};

/// So many redirects in a row are followed at once; further ones wait, so that two nodes that name
/// each other are not asked thousands of times a second (contract: R7).
const HOPS_AT_ONCE: u8 = 4;
/// A larger buffer, which held a large reply, is given back.
const INPUT_BYTES_KEPT: usize = 1024 * 1024;

impl Core {
    /// Takes what a node sent: delivers every whole reply, keeps the rest.
    ///
    /// # Errors
    /// The node does not speak the protocol; the connection must be given up.
    pub fn receive_replies(&mut self, key: ConnectionKey) -> Result<(), ReadError> {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return Ok(());
        };
        if connection.role == Role::Hub {
            let outcome = self.receive_pushes(key);
            self.tell_of_moves();
            return outcome;
        }
        connection.heard_us = self.now_us;
        // Taken out while replies are delivered: a redirect may write to this same connection.
        let mut input = std::mem::take(&mut connection.input);
        let mut position = 0;
        let outcome = loop {
            let Some(connection) = self.connections.get_mut(key.0 as usize) else {
                break Ok(());
            };
            if connection.passing.is_some() {
                match self.pass_on(key, &input[position..]) {
                    Ok(0) => break Ok(()),
                    Ok(len) => position += len,
                    Err(error) => break Err(error.into()),
                }
                continue;
            }
            match connection.next_reply(&input[position..]) {
                // What is asked for by nobody is not kept: it would be taken for the start of the next
                // reply (contract: F3).
                Ok(None)
                    if connection.in_flight.is_empty()
                        && input.get(position).is_some_and(|kind| *kind != b'>') =>
                {
                    break Err(ReadError::Unexpected);
                }
                Ok(None) => {
                    let rest = &input[position..];
                    let connection = self.connections.get(key.0 as usize);
                    let is_large = connection.is_some_and(|from| self.is_large(from, rest));
                    if !(is_large && self.take_in_pieces(key, rest)) {
                        break Ok(());
                    }
                }
                Ok(Some(Arrived { entry, len })) => {
                    let node = connection.node;
                    self.deliver(key, node, entry, &input[position..position + len]);
                    position += len;
                }
                Err(error) => break Err(error),
            }
        };
        if position == input.len() {
            input.clear();
            if input.capacity() > INPUT_BYTES_KEPT {
                input = Vec::new();
            }
        } else if position > 0 {
            input.drain(..position);
        }
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.input = input;
            connection.waiting_since_us = self.now_us;
        }
        self.tell_of_moves();
        self.resume_answered();
        self.release_room(key);
        outcome
    }

    /// Once the slot table has changed, and before anything that a new owner says: what clients were told by the
    /// old ones, or asked them to watch, holds no more.
    #[inline]
    pub(super) fn tell_of_moves(&mut self) {
        if self.told_version != self.map_version {
            self.told_version = self.map_version;
            self.slots_moved();
            self.watches_follow_map();
            self.uploads_follow_map();
        }
    }

    #[inline]
    fn deliver(&mut self, from: ConnectionKey, node: NodeKey, entry: InFlight, reply: &[u8]) {
        let len = entry.len as usize;
        if let Purpose::Reply(dispatched) = entry.purpose {
            self.tallies.in_flight.subtract(1);
            if dispatched.is_noted {
                self.note_answered(&dispatched);
            }
            let is_plain = reply.first() != Some(&b'-')
                && self
                    .clients
                    .get(dispatched.ticket.client)
                    .is_none_or(|client| {
                        client.written.note(node, dispatched.command.access);
                        client.parked.is_empty()
                    });
            if reply.len() >= LARGE_BYTES {
                self.note_large_reply();
            }
            if is_plain {
                self.record_duration(&dispatched);
                self.reply(dispatched.ticket, reply);
            } else {
                self.deliver_with_care(from, dispatched, len, reply);
            }
        } else {
            self.deliver_rare(from, entry.purpose, reply);
        }
        if let Some(connection) = self.connections.get_mut(from.0 as usize) {
            connection.outbox.pop(len);
        }
    }

    /// A reply that is no shared request's.
    #[cold]
    fn deliver_rare(&mut self, from: ConnectionKey, purpose: Purpose, reply: &[u8]) {
        match purpose {
            Purpose::Leased(dispatched) => {
                let command = dispatched.command;
                let reply = self.reply_to_block(from, command, reply);
                let node = self.connections.get(from.0 as usize).map(|to| to.node);
                // Not `WAIT` and `WATCH`, which go this way as well and write nothing.
                let is_write = command.is_block() || command.access == Access::Write;
                if is_write
                    && reply.first() != Some(&b'-')
                    && let Some(node) = node
                    && let Some(client) = self.clients.get(dispatched.ticket.client)
                {
                    client.written.note(node, command.access);
                }
                self.deliver_leased(from, dispatched, &reply);
            }
            Purpose::Uploaded(dispatched) => self.upload_answered(from, dispatched, reply),
            Purpose::Preflight(client) => self.preflight_answered(client, from, reply),
            Purpose::Queued(queued) => {
                if let Some(connection) = self.connections.get_mut(from.0 as usize) {
                    connection.note_queued(queued, reply);
                }
            }
            Purpose::Push => self.deliver_push(from, reply),
            // Which reply does not matter; an error says as well that what came before is here.
            Purpose::Barrier(ticket) => self.reply(ticket, b""),
            Purpose::Measure(asked_us) => self.node_measured(from, asked_us),
            Purpose::Reply(_) | Purpose::Passing(_) | Purpose::Discard => {
                if let Some(connection) = self.connections.get_mut(from.0 as usize) {
                    connection.refusal = None;
                }
            }
        }
    }

    /// An error reply, or a reply to a client some of whose requests wait.
    #[cold]
    fn deliver_with_care(
        &mut self,
        from: ConnectionKey,
        dispatched: Dispatched,
        len: usize,
        reply: &[u8],
    ) {
        let Some(connection) = self.connections.get(from.0 as usize) else {
            return;
        };
        let bytes = connection.outbox.front(len).to_vec();
        let (node, role) = (connection.node, connection.role);
        let reply = &*self.reply_to_block(from, dispatched.command, reply);
        // What waits for this one's lane may leave.
        self.resume_soon(dispatched.ticket.client);
        if reply.first() == Some(&b'-') {
            if role == Role::Read && self.leave_replica(node, dispatched, &bytes, reply) {
                return;
            }
            match verdict(reply) {
                Verdict::Pass => {
                    if self.mend_script(from, dispatched, &bytes, reply) {
                        return;
                    }
                }
                // A script can say anything; the server only speaks of the request's own slot.
                Verdict::Moved { slot, .. } | Verdict::Ask { slot, .. } if matches!(dispatched.target, Target::Slot(own) if own != slot) =>
                    {}
                Verdict::Moved { slot, to } => {
                    self.tallies.redirected(RedirectKind::Moved);
                    self.request_refresh(RefreshReason::Moved);
                    let Some(owner) = self.named_node(to, node) else {
                        self.park(dispatched, bytes, false, Reason::NoOwner(slot));
                        return;
                    };
                    if self.nodes.redirect(slot, owner, self.now_us) {
                        self.map_version += 1;
                    }
                    self.send_elsewhere(dispatched, bytes, owner, false);
                    return;
                }
                Verdict::Ask { slot, to } => {
                    if self.slot_is_moving(slot) {
                        self.trackers.moving.push(slot);
                    }
                    self.tallies.redirected(RedirectKind::Ask);
                    if let Target::Slot(slot) = dispatched.target {
                        self.nodes.note_moving(slot, self.now_us);
                    }
                    match self.named_node(to, node) {
                        Some(importing) => {
                            self.send_elsewhere(dispatched, bytes, importing, true);
                        }
                        None => {
                            let error = Reason::Server(reply.into());
                            self.park(dispatched, bytes, false, error);
                        }
                    }
                    return;
                }
                Verdict::TryAgain => {
                    return self.wait(dispatched, bytes, reply, RedirectKind::TryAgain, None);
                }
                Verdict::ClusterDown => {
                    let refresh = Some(RefreshReason::ClusterDown);
                    return self.wait(dispatched, bytes, reply, RedirectKind::ClusterDown, refresh);
                }
                Verdict::Loading => {
                    return self.wait(dispatched, bytes, reply, RedirectKind::Loading, None);
                }
                Verdict::MasterDown => {
                    let refresh = Some(RefreshReason::ClusterDown);
                    return self.wait(dispatched, bytes, reply, RedirectKind::MasterDown, refresh);
                }
                Verdict::ReadOnly => {
                    let refresh = Some(RefreshReason::ReadOnly);
                    return self.wait(dispatched, bytes, reply, RedirectKind::ReadOnly, refresh);
                }
            }
        } else if self.has_overtaken(&dispatched, &bytes) {
            // It overtook an earlier request on its key. A read is done again in its turn; after a
            // write the earlier one cannot be done any more.
            if dispatched.command.access == Access::Read {
                self.park(dispatched, bytes, false, Reason::Behind);
                return;
            }
            self.abandon_before(&dispatched, &bytes);
        }
        self.record_duration(&dispatched);
        self.reply(dispatched.ticket, reply);
    }

    /// The server says: not now, and nothing was executed (contract: R5).
    fn wait(
        &mut self,
        dispatched: Dispatched,
        bytes: Vec<u8>,
        reply: &[u8],
        kind: RedirectKind,
        refresh: Option<RefreshReason>,
    ) {
        self.tallies.redirected(kind);
        if let Some(reason) = refresh {
            self.request_refresh(reason);
        }
        self.park(dispatched, bytes, false, Reason::Server(reply.into()));
    }

    /// The node a redirect means; `None` when the node that answered does not know it either.
    pub(super) fn named_node(&mut self, to: RedirectTo<'_>, answered: NodeKey) -> Option<NodeKey> {
        let announced = to.announced(&self.nodes.get(answered)?.announced)?;
        Some(self.node_at(announced))
    }

    /// Follows a redirect: at once when the client waits for nothing else, else in its turn.
    pub(super) fn send_elsewhere(
        &mut self,
        mut dispatched: Dispatched,
        mut bytes: Vec<u8>,
        node: NodeKey,
        is_asking: bool,
    ) {
        dispatched.attempts = dispatched.attempts.saturating_add(1);
        self.carry_body(&mut dispatched, &mut bytes);
        let Some(client) = self.clients.get(dispatched.ticket.client) else {
            return;
        };
        client.map_version = super::clients::UNSETTLED;
        if dispatched.command.needs_only_primary() {
            return self.redirect_block(dispatched, bytes, is_asking);
        }
        if dispatched.attempts > HOPS_AT_ONCE {
            return self.park(dispatched, bytes, false, Reason::Unsettled(REDIRECTS));
        }
        if dispatched.lane.is_some() && client.replies.pending() > 1 {
            return self.park_redirected(dispatched, bytes, is_asking.then_some(node));
        }
        let client = dispatched.ticket.client;
        let connection = self.clients_connection(client, node, dispatched.protocol);
        match connection.and_then(|connection| self.still_open(connection)) {
            Ok(connection) if is_asking => self.send_asking(connection, dispatched, &bytes),
            Ok(connection) => self.send_again(connection, dispatched, &bytes),
            Err(reason) => self.park(dispatched, bytes, false, reason),
        }
    }

    /// Lets clients go on that waited for room in a connection's outbox.
    pub fn release_room(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        if connection.waiting_for_room.is_empty()
            || connection.outbox.len() > self.limits.outbox_bytes / 2
        {
            return;
        }
        for client in std::mem::take(&mut connection.waiting_for_room) {
            if let Some(client) = self.clients.get(client) {
                client.wake();
            }
        }
    }
}
