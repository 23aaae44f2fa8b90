//! What becomes of a reply that turns out to be large (contract: P8).
//!
//! All clients of a worker share a connection for each node, and a reply can only be left unread, for a
//! client that is slow to take it, together with all that is behind it. So, as soon as its first bytes
//! tell that a reply is larger than `limits.stream_threshold_bytes`:
//!
//! 1. There is room for all of it (`limits.stream_buffer_bytes`): it is passed on right there, and the
//!    connection is read on whatever the client does.
//! 2. It is the client's turn, and nobody else waits on the connection: it becomes the client's own (*given
//!    away*) until the reply is over. Others get a new one.
//! 3. Its turn has not come or others wait, and the request may be repeated: the reply is dropped at full
//!    speed, and the request is made again over a connection for large things, in its turn. It costs the
//!    transfer twice, and the others no more than the node and the network need for it; its key is
//!    remembered, so that the next read of it goes over such a connection at once ([`super::large_keys`]).
//! 4. It may not be repeated, and it is the client's turn: the connection is given away, those behind wait,
//!    and the client must not stop reading.
//! 5. It may not be repeated, and its turn has not come: it is held until then, up to
//!    `limits.client_output_hard_bytes`.
//!
//! So a reply is left unread in its client's turn only. Before that the client cannot take it, however fast it
//! reads: it would hold a connection for as long as another node is late, and what it has to hear first may come
//! to stand behind this reply on the same connection at any time (`MOVED`, `TRYAGAIN`), so that neither would
//! ever come.
//!
//! The order of one client's requests (contract: R13) is kept by what keeps it for any request that is sent
//! again: see [`super::park`]. Not done for replies that Keyway has to look at as a whole: errors, parts
//! that are merged, transactions, commands that block. Those are held whole, as all small ones.

use super::clients::UNSETTLED;
use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::{Parked, Reason};
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::resp::scan::parse_integer;
use crate::routing::NodeKey;
use crate::upstream::{Connection, Dispatched, Phase, Purpose, Role};

/// A connection for large things that nobody used for this long is closed.
const IDLE_US: u64 = 60_000_000;

/// Who waits on a connection behind its first reply.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    /// Requests of other clients.
    has_others: bool,
    /// Later requests of the same client before which the first must take effect.
    must_be_later: bool,
}

impl Behind {
    fn of(connection: &Connection, first: &Dispatched) -> Behind {
        let mut behind = Behind::default();
        for entry in connection.in_flight.iter().skip(1) {
            let Purpose::Reply(other) = entry.purpose else {
                continue;
            };
            if other.ticket.client != first.ticket.client {
                behind.has_others = true;
            } else if other.ticket.sequence > first.ticket.sequence {
                let is_apart =
                    matches!((other.lane, first.lane), (Some(one), Some(two)) if one != two);
                behind.must_be_later |= !is_apart && !other.command.is_repeatable();
            }
        }
        behind
    }
}

/// About how long the reply will be that begins with these bytes.
fn expected_len(connection: &Connection, bytes: &[u8]) -> usize {
    let wanted = connection.scanner.wanted(bytes);
    let count = match bytes.first() {
        Some(b'$' | b'=' | b'!' | b'+') => return wanted,
        Some(b'*' | b'~' | b'%') => memchr::memchr(b'\r', bytes)
            .and_then(|end| parse_integer(&bytes[1..end]))
            .and_then(|count| u64::try_from(count).ok()),
        _ => None,
    };
    let (position, pending) = connection.scanner.progress();
    let Some(count) = count.map(|count| count << u8::from(bytes[0] == b'%')) else {
        return usize::MAX;
    };
    match count.checked_sub(pending) {
        // As if the values to come were like those that came, and a quarter more.
        Some(come @ 1..) => {
            let all = u128::from(count) * position as u128 / u128::from(come);
            usize::try_from(all + all / 4).map_or(usize::MAX, |len| len.max(wanted))
        }
        _ => usize::MAX,
    }
}

impl Core {
    /// Whether the reply that begins with these bytes is large.
    #[inline]
    pub(super) fn is_large(&self, connection: &Connection, bytes: &[u8]) -> bool {
        let threshold = self.limits.stream_threshold_bytes;
        !bytes.is_empty()
            && (bytes.len() > threshold || connection.scanner.wanted(bytes) > threshold)
    }

    /// A connection's first reply is large and begins with these bytes. Returns whether it comes in pieces from now
    /// on.
    #[cold]
    pub(super) fn take_in_pieces(&mut self, key: ConnectionKey, bytes: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return false;
        };
        let Some(entry) = connection.in_flight.front_mut() else {
            return false;
        };
        if bytes.first() == Some(&b'>') {
            // It is the reply to nothing, whatever is waited for.
            return false;
        }
        let first = match entry.purpose {
            Purpose::Reply(first) | Purpose::Uploaded(first) => first,
            Purpose::Discard => {
                self.start_passing(key, None, None);
                return true;
            }
            Purpose::Passing(_)
            | Purpose::Preflight(_)
            | Purpose::Leased(_)
            | Purpose::Queued(_)
            | Purpose::Barrier(_)
            | Purpose::Push
            | Purpose::Measure(_) => return false,
        };
        let ticket = first.ticket;
        if matches!(bytes.first(), None | Some(b'-')) || first.command.is_block() {
            return false;
        }
        let Some(client) = self.clients.get(ticket.client) else {
            entry.purpose = Purpose::Discard;
            self.tallies.in_flight.subtract(1);
            self.start_passing(key, None, None);
            return true;
        };
        if !client.replies.is_waiting(ticket.sequence)
            || client.replies.is_gathering(ticket.sequence)
            || self.is_step(ticket)
        {
            return false;
        }
        self.take_clients(key, &first, bytes)
    }

    /// The same, for a reply that is for a client as it is.
    fn take_clients(&mut self, key: ConnectionKey, first: &Dispatched, bytes: &[u8]) -> bool {
        let client = self.clients.get(first.ticket.client);
        let is_its_turn =
            client.is_some_and(|client| client.replies.is_next(first.ticket.sequence));
        let Some(connection) = self.connections.get(key.0 as usize) else {
            return false;
        };
        let request_len = connection.in_flight.front().map_or(0, |entry| entry.len);
        let request = connection.outbox.front(request_len as usize).to_vec();
        let behind = Behind::of(connection, first);
        let len = expected_len(connection, bytes);
        let (node, role) = (connection.node, connection.role);
        let may_be_repeated = first.command.is_repeatable() && !behind.must_be_later;
        if self.has_overtaken(first, &request) {
            if may_be_repeated {
                self.fetch_again(key, *first, request);
            }
            return may_be_repeated;
        }
        let is_its_own = match role {
            Role::Shared | Role::Read => false,
            // One that was given away while others waited on it.
            Role::Bulk => !behind.has_others,
            Role::Lease(_) | Role::Tracking(_) | Role::Once | Role::Hub => true,
        };
        let has_room = len <= self.limits.client_output_hard_bytes && self.has_stream_room(len);
        if is_its_turn && is_its_own {
            if role == Role::Bulk && first.command.is_repeatable() {
                self.note_large(first.command, &request);
            }
            self.pass_to_client(key, first, None, len);
        } else if has_room {
            self.pass_to_client(key, first, Some(len), len);
        } else if is_its_turn && !behind.has_others && self.may_open_bulk(node) {
            self.give_away(key, first.ticket.client);
            self.pass_to_client(key, first, None, len);
        } else if may_be_repeated {
            self.fetch_again(key, *first, request);
        } else if is_its_turn {
            self.give_away(key, first.ticket.client);
            self.pass_to_client(key, first, None, len);
        } else {
            // The room grows with what comes, whatever the limit, until its turn has come.
            self.pass_to_client(key, first, Some(0), len);
        }
        true
    }

    fn pass_to_client(
        &mut self,
        key: ConnectionKey,
        first: &Dispatched,
        room: Option<usize>,
        len: usize,
    ) {
        self.note_large_reply();
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        let node = connection.node;
        if let Some(entry) = connection.in_flight.front_mut() {
            entry.purpose = Purpose::Passing(*first);
        }
        self.tallies.in_flight.subtract(1);
        self.tallies.streamed_replies.increment();
        let took_us = self.now_us.saturating_sub(first.received_us);
        self.tallies.latency.record(took_us);
        if first.is_noted {
            self.note_answered(first);
        }
        if let Some(client) = self.clients.get(first.ticket.client) {
            client.written.note(node, first.command.access);
            client.replies.begin_passing(first.ticket.sequence, len);
        }
        self.start_passing(key, Some(first.ticket), room);
    }

    /// Drops the reply as it comes, and asks for it once more in its client's turn.
    fn fetch_again(&mut self, key: ConnectionKey, first: Dispatched, request: Vec<u8>) {
        self.note_large_reply();
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        if let Some(entry) = connection.in_flight.front_mut() {
            entry.purpose = Purpose::Discard;
        }
        self.tallies.in_flight.subtract(1);
        self.tallies.streams_fetched_again.increment();
        self.note_large(first.command, &request);
        self.start_passing(key, None, None);
        self.park_large(first, request);
        self.resume_soon(first.ticket.client);
    }

    /// A shared connection becomes one client's own: others get a new one. Further requests of those who have any
    /// on it wait until these are answered, because they would overtake them.
    pub(super) fn give_away(&mut self, key: ConnectionKey, client: ClientKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        if !matches!(connection.role, Role::Shared | Role::Read) {
            return;
        }
        connection.role = Role::Bulk;
        // Nobody else may have one on which `READONLY` was said.
        connection.is_retiring |= connection.is_read_only;
        let (node, protocol) = (connection.node, connection.protocol);
        let waiting_for_room = std::mem::take(&mut connection.waiting_for_room);
        let behind = connection
            .in_flight
            .iter()
            .filter_map(|entry| match entry.purpose {
                Purpose::Reply(dispatched) => Some(dispatched.ticket.client),
                _ => None,
            });
        let on_it: Vec<ClientKey> = behind.chain([client]).collect();
        if self.nodes.connection(node, protocol) == Some(key) {
            self.nodes.set_connection(node, protocol, None);
        }
        if self.nodes.read_connection(node, protocol) == Some(key) {
            self.nodes.set_read_connection(node, protocol, None);
        }
        for client in waiting_for_room {
            if let Some(client) = self.clients.get(client) {
                client.wake();
            }
        }
        for client in on_it {
            if let Some(client) = self.clients.get(client) {
                client.map_version = UNSETTLED;
            }
        }
    }

    /// Makes the request for a large reply once more, if it is its turn. Returns the connection that took it.
    pub(super) fn attempt_large(&mut self, parked: Parked) -> Option<ConnectionKey> {
        let dispatched = &parked.dispatched;
        let ticket = dispatched.ticket;
        let client = self.clients.get(ticket.client)?;
        if !client.replies.is_next(ticket.sequence) {
            self.park_until_its_turn(parked);
            return None;
        }
        let (target, protocol) = (dispatched.target, dispatched.protocol);
        let route = self.resolve(target).and_then(|node| {
            // What a client that tracks is told comes over its own connections only.
            let own = self.private_connection(ticket.client, node, protocol);
            match own {
                Some(own) => own.and_then(|own| self.still_open(own)),
                None => self.bulk_connection(node, protocol),
            }
        });
        match route {
            Ok(connection) => {
                self.tallies.retries.increment();
                self.send_again(connection, parked.dispatched, &parked.bytes);
                Some(connection)
            }
            Err(reason) => {
                self.park_in_vain(parked, reason);
                None
            }
        }
    }

    /// A connection for large things that nobody uses, opened if there is none.
    ///
    /// # Errors
    /// The node could not be reached a moment ago, or there are as many as may be.
    pub(super) fn bulk_connection(
        &mut self,
        node: NodeKey,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        let mut connections = self.connections.iter();
        let idle = connections.find(|(_, connection)| {
            connection.node == node && connection.protocol == protocol && connection.is_idle_bulk()
        });
        match idle {
            Some((index, _)) => Ok(ConnectionKey(index as u32)),
            None if self.may_open_bulk(node) => self.open(node, protocol, Role::Bulk),
            None => {
                // Those of the other version make room; they count until their tasks have ended.
                self.close_idle_bulk_beyond(node, self.limits.bulk_connections.saturating_sub(1));
                self.want_bulk(node);
                Err(Reason::NoBulk)
            }
        }
    }

    /// Whether one more connection for large things may be opened to a node.
    fn may_open_bulk(&self, node: NodeKey) -> bool {
        let connections = self.connections.iter();
        let open = connections
            .filter(|(_, connection)| connection.role == Role::Bulk && connection.node == node);
        open.count() < self.limits.bulk_connections
    }

    /// Closes as many idle ones of a node as are open beyond `most`. There may be more than the limit, because a
    /// connection that was given away while others waited on it is one from then on.
    fn close_idle_bulk_beyond(&mut self, node: NodeKey, most: usize) {
        let connections = self.connections.iter();
        let open = connections.filter(|(_, connection)| {
            connection.role == Role::Bulk
                && connection.node == node
                && connection.phase != Phase::Closed
        });
        let excess = open.count().saturating_sub(most);
        let connections = self.connections.iter_mut();
        let idle = connections
            .filter(|(_, connection)| connection.node == node && connection.is_idle_bulk());
        for (_, connection) in idle.take(excess) {
            connection.close_quietly();
        }
    }

    /// Closes connections for large things that nobody needed for a while, and those that are too many.
    pub(super) fn close_idle_bulk(&mut self) {
        let now_us = self.now_us;
        let connections = self.connections.iter();
        let mut nodes: Vec<NodeKey> = connections
            .filter(|(_, connection)| connection.is_idle_bulk())
            .map(|(_, connection)| connection.node)
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes {
            self.close_idle_bulk_beyond(node, self.limits.bulk_connections);
        }
        for (_, connection) in &mut self.connections {
            if connection.is_idle_bulk() && now_us.saturating_sub(connection.heard_us) > IDLE_US {
                connection.close_quietly();
            }
        }
    }
}
