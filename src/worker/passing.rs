//! Replies that are passed on in pieces, as their client takes them (contract: P8).
//!
//! 1. A piece goes to the client's output as soon as it comes, if the reply's turn has come.
//! 2. While the client has more than [`WINDOW_BYTES`] to take, the node's next bytes are left in the socket
//!    and the node waits, unless room for the whole reply was reserved beforehand, or its turn has not come.
//! 3. A connection that is left unread has one client. Should others wait for replies behind this one all
//!    the same, its client has to go on within [`STALL_US`], or is closed.
//! 4. When the connection is lost in the middle, so is the client's: nobody can mend half a reply.
//!
//! Which replies these are, and how such a connection comes to have one client, is decided in
//! [`super::large_replies`].

use tracing::warn;

use super::clients::Phase;
use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::passing::ReplyPassing;
use crate::resp::reply::ReplyError;
use crate::upstream::{self, Connection, Dispatched, Passing, Purpose, Role};

/// So much of a reply that is passed on may wait for its client. Enough to keep a fast client busy while
/// the next piece is read.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// A client that others wait for is closed when it takes hardly anything for this long ...
const STALL_US: u64 = 1_000_000;
/// ... which is less than this.
const TAKEN_BYTES: usize = 64 * 1024;

/// What is remembered of a client to whom replies are passed on.
#[derive(Debug, Default)]
pub struct Taking {
    /// Connections that are left unread until it takes what came.
    left_unread: Vec<ConnectionKey>,
    /// Bytes of `limits.stream_buffer_bytes` that are reserved for it.
    reserved: usize,
    /// Replies that are passed on into these.
    in_room: usize,
}

impl Core {
    /// The first reply that a connection waits for comes in pieces from now on; to nobody, or to a client
    /// for which `room` bytes are reserved, or which is waited for when there is none.
    pub(super) fn start_passing(
        &mut self,
        key: ConnectionKey,
        to: Option<Ticket>,
        room: Option<usize>,
    ) {
        if let (Some(ticket), Some(room)) = (to, room)
            && let Some(client) = self.clients.get(ticket.client)
        {
            self.used.stream_bytes.add(room);
            let taking = client.taking.get_or_insert_default();
            taking.reserved += room;
            taking.in_room += 1;
        }
        let turn_us = to.and_then(|ticket| {
            let client = self.clients.get(ticket.client)?;
            let is_its_turn = client.replies.is_next(ticket.sequence);
            is_its_turn.then_some(self.now_us)
        });
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.scanner.reset();
            connection.passing = Some(Box::new(Passing {
                framing: ReplyPassing::default(),
                to,
                room,
                passed: 0,
                turn_us,
                waits_since_us: None,
                left_to_take: 0,
            }));
        }
    }

    /// Passes on what came; returns how much of it is done with.
    ///
    /// # Errors
    /// The node does not speak the protocol.
    pub(super) fn pass_on(
        &mut self,
        key: ConnectionKey,
        bytes: &[u8],
    ) -> Result<usize, ReplyError> {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return Ok(bytes.len());
        };
        let Some(passing) = &mut connection.passing else {
            return Ok(0);
        };
        let count = passing.framing.pass(bytes)?;
        let is_over = passing.framing.is_done();
        passing.passed += count;
        if let Some(ticket) = passing.to {
            let left = passing.room.map(|room| room.checked_sub(count));
            passing.room = passing.room.map(|room| room.saturating_sub(count));
            let spare_buffers = &mut self.spare_buffers;
            if let Some(client) = self.clients.get(ticket.client) {
                let replies = &mut client.replies;
                if passing.turn_us.is_none() && replies.is_next(ticket.sequence) {
                    passing.turn_us = Some(self.now_us);
                }
                replies.lend(|| spare_buffers.pop().unwrap_or_default());
                replies.pass(ticket.sequence, &bytes[..count]);
                client.wake();
            }
            if left == Some(None) && !is_over {
                self.more_than_expected(key, ticket, count);
            }
        }
        if is_over {
            self.passing_is_over(key);
        }
        Ok(count)
    }

    /// A reply turned out larger than the room that was reserved for it.
    #[cold]
    fn more_than_expected(&mut self, key: ConnectionKey, ticket: Ticket, count: usize) {
        let step = count.max(WINDOW_BYTES);
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        // Before its turn a reply is not left unread. It may fill more than the limit, as any that is held whole.
        let is_held = !client.replies.is_next(ticket.sequence);
        let is_too_much = client.replies.buffered_bytes() > self.limits.client_output_hard_bytes;
        if is_held && is_too_much && client.phase != Phase::Gone {
            return self.cut_off_reader(ticket.client);
        }
        if is_held || self.has_stream_room(step) {
            if let Some(taking) = self.taking(ticket.client) {
                taking.reserved += step;
                self.used.stream_bytes.add(step);
            }
            if let Some(passing) = self.passing_of(key) {
                passing.room = Some(step);
            }
            return;
        }
        if let Some(taking) = self.taking(ticket.client) {
            taking.in_room -= 1;
        }
        if let Some(passing) = self.passing_of(key) {
            passing.room = None;
        }
        self.give_away(key, ticket.client);
    }

    fn passing_of(&mut self, key: ConnectionKey) -> Option<&mut Passing> {
        self.connections
            .get_mut(key.0 as usize)?
            .passing
            .as_deref_mut()
    }

    fn taking(&mut self, key: ClientKey) -> Option<&mut Taking> {
        self.clients.get(key)?.taking.as_deref_mut()
    }

    /// Whether so many bytes more may be reserved for large replies.
    pub(super) fn has_stream_room(&self, len: usize) -> bool {
        let room = self.limits.stream_buffer_bytes;
        len <= room.saturating_sub(self.used.stream_bytes.get())
    }

    fn stream_window(&self) -> usize {
        let limits = &self.limits;
        limits
            .stream_window_bytes
            .min(limits.client_output_hard_bytes / 2)
    }

    /// The last piece was passed on.
    fn passing_is_over(&mut self, key: ConnectionKey) {
        let now_us = self.now_us;
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        let Some(passing) = connection.passing.take() else {
            return;
        };
        let Some(entry) = connection.pop_in_flight() else {
            return;
        };
        connection.outbox.pop(entry.len as usize);
        let Some(ticket) = passing.to else {
            connection.refusal = None;
            return;
        };
        // What the client asked for behind this reply was not late while it could take it, the client was.
        let took_us = passing
            .turn_us
            .map_or(0, |turn_us| now_us.saturating_sub(turn_us));
        let stood_still =
            |received_us: &mut u64| *received_us = received_us.saturating_add(took_us).min(now_us);
        for entry in &mut connection.in_flight {
            if let Purpose::Reply(dispatched) = &mut entry.purpose
                && dispatched.ticket.client == ticket.client
            {
                stood_still(&mut dispatched.received_us);
            }
        }
        if let Some(client) = self.clients.get(ticket.client)
            && client.replies.is_next(ticket.sequence)
        {
            for parked in &mut client.parked {
                stood_still(&mut parked.dispatched.received_us);
            }
        }
        self.tallies.replies.increment();
        self.end_of_passing(&passing, ticket);
        self.resume_soon(ticket.client);
    }

    /// A reply is passed on no more; what was passed on stands.
    fn end_of_passing(&mut self, passing: &Passing, ticket: Ticket) {
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        client.replies.end_passing(ticket.sequence);
        client.wake();
        if passing.room.is_some()
            && let Some(taking) = &mut client.taking
        {
            taking.in_room -= 1;
        }
    }

    /// Whether a connection's next bytes are to be left unread: they belong to a client that has enough to
    /// take.
    pub(super) fn is_left_unread(&mut self, key: ConnectionKey) -> bool {
        let window = self.stream_window();
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return false;
        };
        let is_alone = connection.role == Role::Bulk && connection.in_flight.len() == 1;
        let Some(passing) = &mut connection.passing else {
            return false;
        };
        let (None, Some(ticket)) = (passing.room, passing.to) else {
            return false;
        };
        let Some(client) = self.clients.get(ticket.client) else {
            return false;
        };
        if client.phase == Phase::Gone {
            if is_alone {
                // The rest is for nobody, and nobody waits behind it.
                connection.close_quietly();
            }
            return is_alone;
        }
        if client.replies.wants_more(ticket.sequence, window) {
            passing.waits_since_us = None;
            return false;
        }
        if passing.waits_since_us.is_none() {
            passing.waits_since_us = Some(self.now_us);
            passing.left_to_take = client.replies.output().len();
        }
        let taking = client.taking.get_or_insert_default();
        if !taking.left_unread.contains(&key) {
            taking.left_unread.push(key);
        }
        true
    }

    /// A client to whom replies are passed on has taken some bytes, or is gone.
    #[cold]
    pub(super) fn go_on_passing(&mut self, key: ClientKey) {
        let window = self.stream_window();
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let is_gone = client.phase == Phase::Gone;
        let has_room = client.replies.buffered_bytes() < window;
        let Some(taking) = &mut client.taking else {
            return;
        };
        let now_us = self.now_us;
        taking.left_unread.retain(|place| {
            let Some(connection) = self.connections.get_mut(place.0 as usize) else {
                return false;
            };
            let Some(passing) = &mut connection.passing else {
                return false;
            };
            let ticket = passing.to.filter(|ticket| ticket.client == key);
            let may_go_on = ticket
                .is_none_or(|ticket| is_gone || client.replies.wants_more(ticket.sequence, window));
            let left = client.replies.output().len();
            if may_go_on && ticket.is_some() {
                passing.waits_since_us = None;
                connection.heard_us = now_us;
                connection.wake();
            } else if let Some(since_us) = &mut passing.waits_since_us
                && passing.left_to_take.saturating_sub(left) >= TAKEN_BYTES
            {
                // What was held until its turn is more than the window.
                *since_us = now_us;
                passing.left_to_take = left;
            }
            !may_go_on
        });
        if taking.in_room == 0 && (has_room || is_gone) {
            self.used
                .stream_bytes
                .subtract(std::mem::take(&mut taking.reserved));
            if taking.left_unread.is_empty() {
                client.taking = None;
            }
        }
    }

    /// A client has left; what was reserved for it is free.
    pub(super) fn forget_taking(&mut self, taking: Option<Box<Taking>>) {
        if let Some(taking) = taking {
            self.used.stream_bytes.subtract(taking.reserved);
        }
    }

    /// The connection was lost in the middle of a reply.
    #[cold]
    pub(super) fn lost_passing(
        &mut self,
        connection: &mut Connection,
        dispatched: &Dispatched,
        bytes: &[u8],
        why: &str,
    ) {
        let ticket = dispatched.ticket;
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        let is_unseen = client.replies.take_back_pieces(ticket.sequence);
        let is_gone = client.phase == Phase::Gone;
        let address = client.session.address.clone();
        if let Some(passing) = connection.passing.take() {
            self.end_of_passing(&passing, ticket);
        }
        if !is_unseen {
            if !is_gone {
                warn!(client = %address, why, "closed a client in the middle of a reply: its node was lost");
            }
            self.cut_off(ticket.client);
        } else if dispatched.command.is_repeatable() {
            let reason = Reason::Unreachable(why.to_owned());
            self.park(*dispatched, bytes.to_vec(), false, reason);
        } else {
            self.fail_unknown(dispatched, why);
        }
    }

    /// Closes clients that take nothing while others wait behind their reply, and connections whose node
    /// fell silent in the middle of one.
    pub(super) fn look_after_passing(&mut self) {
        let now_us = self.now_us;
        let timeout_us = self.limits.request_timeout_us;
        let mut stalling = Vec::new();
        for (_, connection) in &mut self.connections {
            let (Some(passing), taker) = (&connection.passing, connection.taker()) else {
                continue;
            };
            let others = |entry: &upstream::InFlight| match entry.purpose {
                Purpose::Reply(dispatched) => Some(dispatched.ticket.client) != taker,
                _ => false,
            };
            match passing.waits_since_us {
                Some(since_us)
                    if now_us.saturating_sub(since_us) > STALL_US
                        && connection.in_flight.iter().any(others) =>
                {
                    stalling.extend(taker);
                }
                Some(_) => {}
                None if now_us.saturating_sub(connection.heard_us) > timeout_us => {
                    connection.phase = upstream::Phase::Closed;
                    connection.wake();
                }
                None => {}
            }
        }
        for key in stalling {
            if let Some(client) = self.clients.get(key)
                && client.phase != Phase::Gone
            {
                warn!(
                    client = %client.session.address,
                    "closed a client that does not take a large reply while others wait behind it"
                );
                self.cut_off(key);
            }
        }
    }
}
