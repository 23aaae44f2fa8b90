//! The state of one connection to one node.

use std::collections::VecDeque;
use std::task::Waker;

use super::{
    Caching, Dispatched, InFlight, KnownScripts, Outbox, Passing, Purpose, Queued, Refusal,
    SendingEnd,
};
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::Protocol;
use crate::resp::reply::{ReplyError, ReplyScanner};
use crate::routing::NodeKey;

/// What goes right before a request that `ASK` sent elsewhere (contract: R4).
pub const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// Asks for a sign of life.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// How far a connection is.
///
/// ```text
/// Opening --> Ready --> Closed
///    \__________________^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Being dialled, or shaking hands. Requests wait in the outbox; none was written.
    Opening,
    /// In use.
    Ready,
    /// Not to be used any more; its task ends at its next turn.
    Closed,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All clients of the worker share it.
    Shared,
    /// Lent to one client at a time, for what must not be shared: commands that block, `WATCH`.
    Lease(Option<ClientKey>),
    /// Of one client that tracks keys (`CLIENT TRACKING`), for all its requests to this node.
    Tracking(ClientKey),
    /// All clients of the worker share it for reads from a replica. `READONLY` was said on it, and
    /// writes never go there.
    Read,
    /// Opened for one request, past all others; closed after its reply.
    Once,
    /// For what is too large to share a connection with others; used by one client at a time (contract:
    /// P8).
    Bulk,
    /// The worker's own, for the subscriptions of its clients; it receives pushes.
    Hub,
}

/// One connection to one node, in one protocol version.
#[derive(Debug)]
pub struct Connection {
    /// The node at the other end.
    pub node: NodeKey,
    /// Whose it is.
    pub role: Role,
    /// `READONLY` was said on it: a replica would answer what is for its primary.
    pub is_read_only: bool,
    /// Its client number at the node (`CLIENT ID`), once that is known.
    pub upstream_id: Option<u64>,
    /// The version its replies come in (contract: P1).
    pub protocol: Protocol,
    /// How far it is.
    pub phase: Phase,
    /// Requests that are not answered yet.
    pub outbox: Outbox,
    /// What the coming replies are for, oldest first.
    pub in_flight: VecDeque<InFlight>,
    /// What the node refused of the block whose replies are coming, if it did.
    pub refusal: Option<Box<Refusal>>,
    /// Bytes of a reply that is not whole yet.
    pub input: Vec<u8>,
    /// Frames the replies.
    pub scanner: ReplyScanner,
    /// The reply that is coming in pieces, if one is.
    pub passing: Option<Box<Passing>>,
    /// About how many bytes are to come as replies of which each may be large.
    pub reply_bytes_ahead: usize,
    /// The client whose request is passed on over it in pieces, and is not whole yet. Meanwhile nothing that
    /// was written is kept.
    pub upload: Option<ClientKey>,
    /// When the last byte came from the node, in microseconds on the process' clock.
    pub heard_us: u64,
    /// When the oldest unanswered request was handed over, in microseconds; meaningless while
    /// nothing is in flight.
    pub waiting_since_us: u64,
    /// Clients that are not read until the outbox has room again (contract: F6).
    pub waiting_for_room: Vec<ClientKey>,
    /// Closed as soon as nothing is in flight: its node left the cluster (contract: R10).
    pub is_retiring: bool,
    /// Whether more is sent.
    pub end: SendingEnd,
    /// The scripts that its node has; rare.
    pub scripts: Option<Box<KnownScripts>>,
    waker: Option<Waker>,
    is_woken: bool,
}

/// What [`Connection::expire`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// A request was not answered before its deadline.
    pub has_expired: bool,
    /// A request was not written before its deadline.
    pub is_stuck: bool,
}

/// A reply frame and what it is for.
pub struct Arrived {
    /// What to do with it.
    pub entry: InFlight,
    /// Length of the frame at the start of the bytes handed in.
    pub len: usize,
}

/// Why a connection cannot go on reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are no reply.
    #[error(transparent)]
    Malformed(#[from] ReplyError),
    /// A reply came although nothing was asked.
    #[error("the server sent a reply to no request")]
    Unexpected,
}

impl Connection {
    /// A connection that is about to be opened.
    pub fn new(node: NodeKey, protocol: Protocol, role: Role) -> Self {
        Connection {
            node,
            role,
            is_read_only: role == Role::Read,
            upstream_id: None,
            protocol,
            phase: Phase::Opening,
            outbox: Outbox::default(),
            in_flight: VecDeque::new(),
            refusal: None,
            input: Vec::new(),
            scanner: ReplyScanner::default(),
            passing: None,
            reply_bytes_ahead: 0,
            upload: None,
            heard_us: 0,
            waiting_since_us: 0,
            waiting_for_room: Vec::new(),
            is_retiring: role == Role::Once,
            end: SendingEnd::Open,
            scripts: None,
            waker: None,
            is_woken: false,
        }
    }

    /// Hands over a request.
    #[inline]
    pub fn send(&mut self, dispatched: Dispatched, bytes: &[u8], now_us: u64) {
        if dispatched.caching != Caching::Unsaid {
            self.say_caching(dispatched.caching, now_us);
        }
        self.outbox.push(bytes);
        self.expect(Purpose::Reply(dispatched), bytes.len(), now_us);
    }

    /// Hands over a request that is written right here.
    pub fn send_with(
        &mut self,
        dispatched: Dispatched,
        write: impl FnOnce(&mut Vec<u8>),
        now_us: u64,
    ) {
        if dispatched.caching != Caching::Unsaid {
            self.say_caching(dispatched.caching, now_us);
        }
        let len = self.outbox.push_with(write);
        self.expect(Purpose::Reply(dispatched), len, now_us);
    }

    /// Says whether the reply to the next request will be cached (contract: S6).
    #[cold]
    fn say_caching(&mut self, caching: Caching, now_us: u64) {
        if let Role::Tracking(_) = self.role {
            self.send_unheard(caching.request(), now_us);
        }
    }

    /// Asks for a sign of life. Its reply comes after everything that the node has said before; without
    /// `ticket` nobody waits for it.
    pub fn ping(&mut self, ticket: Option<Ticket>, now_us: u64) {
        let purpose = ticket.map_or(Purpose::Discard, Purpose::Barrier);
        self.outbox.push(PING);
        self.expect(purpose, PING.len(), now_us);
    }

    /// Nobody waits for barriers any more; those who did.
    pub fn take_barriers(&mut self) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        for entry in &mut self.in_flight {
            if let Purpose::Barrier(ticket) = entry.purpose {
                tickets.push(ticket);
                entry.purpose = Purpose::Discard;
            }
        }
        tickets
    }

    /// Asks the node for a sign of life, to measure how fast it answers.
    pub fn send_measure(&mut self, now_us: u64) {
        self.outbox.push(PING);
        self.expect(Purpose::Measure(now_us), PING.len(), now_us);
    }

    /// Hands over a request on a private connection, whose reply is not awaited by time.
    pub fn send_leased(&mut self, dispatched: Dispatched, bytes: &[u8], now_us: u64) {
        self.outbox.push(bytes);
        self.expect(Purpose::Leased(dispatched), bytes.len(), now_us);
    }

    /// Hands over a block: `MULTI`, so many commands, and `EXEC`, whose reply is the block's.
    pub fn send_block(&mut self, dispatched: Dispatched, bytes: &[u8], commands: u32, now_us: u64) {
        if dispatched.caching != Caching::Unsaid {
            self.say_caching(dispatched.caching, now_us);
        }
        self.expect_queued(commands, now_us);
        self.outbox.push(bytes);
        self.expect(Purpose::Reply(dispatched), bytes.len(), now_us);
    }

    /// Hands over a block on a private connection.
    pub fn send_leased_block(
        &mut self,
        dispatched: Dispatched,
        bytes: &[u8],
        commands: u32,
        now_us: u64,
    ) {
        self.expect_queued(commands, now_us);
        self.send_leased(dispatched, bytes, now_us);
    }

    fn expect_queued(&mut self, commands: u32, now_us: u64) {
        let queued = Queued {
            left: commands + 1,
            is_first: true,
        };
        self.expect(Purpose::Queued(queued), 0, now_us);
    }

    /// Takes a reply that comes before that of `EXEC`.
    pub fn note_queued(&mut self, queued: Queued, reply: &[u8]) {
        if queued.is_first {
            self.refusal = None;
        }
        if reply.first() == Some(&b'-') && self.refusal.is_none() {
            self.refusal = Some(Box::new(Refusal {
                error: reply.into(),
                is_of_multi: queued.is_first,
            }));
        }
        if queued.left > 1 {
            self.in_flight.push_front(InFlight {
                purpose: Purpose::Queued(Queued {
                    left: queued.left - 1,
                    is_first: false,
                }),
                len: 0,
                reply_bytes: 0,
            });
        }
    }

    /// Hands over a request whose reply nobody wants.
    pub fn send_unheard(&mut self, bytes: &[u8], now_us: u64) {
        self.outbox.push(bytes);
        self.expect(Purpose::Discard, bytes.len(), now_us);
    }

    /// Hands over a request of which nothing is kept once it is written.
    pub fn send_unkept(&mut self, purpose: Purpose, bytes: &[u8], now_us: u64) {
        self.outbox.push(bytes);
        self.expect(purpose, 0, now_us);
    }

    /// The last byte of a request that was passed on in pieces was handed over.
    pub fn expect_uploaded(&mut self, dispatched: Dispatched, now_us: u64) {
        // What is left of it: while that is not written, the node cannot have executed it.
        let rest = self.outbox.len();
        self.expect(Purpose::Uploaded(dispatched), rest, now_us);
    }

    /// The client that a private connection is lent to.
    pub fn lessee(&self) -> Option<ClientKey> {
        match self.role {
            Role::Lease(lessee) => lessee,
            Role::Shared | Role::Read | Role::Once | Role::Hub | Role::Bulk | Role::Tracking(_) => {
                None
            }
        }
    }

    #[inline]
    fn expect(&mut self, purpose: Purpose, len: usize, now_us: u64) {
        if self.in_flight.is_empty() {
            self.waiting_since_us = now_us;
        }
        // A request is at most 1 GiB (`resp::scan`).
        self.in_flight.push_back(InFlight {
            purpose,
            len: len as u32,
            reply_bytes: 0,
        });
        self.wake();
    }

    /// Nothing more is sent: the node answers what it has got, or sees that its client has left and blocks it no
    /// longer.
    pub fn finish_sending(&mut self) {
        self.end.want();
        self.wake();
    }

    /// Notes that a client waits for the outbox to empty. Once is enough, however often it tries.
    pub fn wait_for_room(&mut self, client: ClientKey) {
        if !self.waiting_for_room.contains(&client) {
            self.waiting_for_room.push(client);
        }
    }

    /// When the oldest of the requests that are not answered was received.
    pub fn oldest_received_us(&self) -> Option<u64> {
        self.in_flight
            .iter()
            .filter_map(|entry| match entry.purpose {
                Purpose::Reply(dispatched) | Purpose::Uploaded(dispatched) => {
                    Some(dispatched.received_us)
                }
                Purpose::Passing(_)
                | Purpose::Preflight(_)
                | Purpose::Leased(_)
                | Purpose::Queued(_)
                | Purpose::Barrier(_)
                | Purpose::Push
                | Purpose::Discard
                | Purpose::Measure(_) => None,
            })
            .min()
    }

    /// Gives up the requests that were received at `until_us` or before and handed to the socket
    /// whole: they go to `expired`, and their late replies will be dropped. One that was not even
    /// written is left where it is, so that it is known not to have been executed once the connection
    /// is closed.
    pub fn expire(&mut self, until_us: u64, expired: &mut Vec<Dispatched>) -> Expired {
        let mut outcome = Expired::default();
        // What a client asked for behind a reply that it takes slowly waits for nobody else.
        let taker = self.taker();
        let mut end = 0;
        for entry in &mut self.in_flight {
            end += entry.len as usize;
            match entry.purpose {
                Purpose::Reply(dispatched) | Purpose::Uploaded(dispatched)
                    if dispatched.received_us <= until_us
                        && taker != Some(dispatched.ticket.client) =>
                {
                    if self.outbox.is_front_written(end) {
                        expired.push(dispatched);
                        entry.purpose = Purpose::Discard;
                        outcome.has_expired = true;
                    } else {
                        outcome.is_stuck = true;
                    }
                }
                Purpose::Reply(_)
                | Purpose::Uploaded(_)
                | Purpose::Preflight(_)
                | Purpose::Passing(_)
                | Purpose::Leased(_)
                | Purpose::Queued(_)
                | Purpose::Barrier(_)
                | Purpose::Push
                | Purpose::Discard
                | Purpose::Measure(_) => {}
            }
        }
        outcome
    }

    /// The client to whom a reply is being passed on, once its turn has come.
    pub fn taker(&self) -> Option<ClientKey> {
        let passing = self.passing.as_ref()?;
        passing.turn_us?;
        Some(passing.to?.client)
    }

    /// Whether it is for large things and nobody uses it.
    pub fn is_idle_bulk(&self) -> bool {
        self.role == Role::Bulk
            && self.phase == Phase::Ready
            && self.in_flight.is_empty()
            && self.upload.is_none()
            && !self.is_retiring
            && !self.is_read_only
    }

    /// Closes a connection that nobody needs any more, which is no failure.
    pub fn close_quietly(&mut self) {
        self.phase = Phase::Closed;
        self.is_retiring = true;
        self.wake();
    }

    /// Whether the node's next bytes are left unread on purpose.
    pub fn is_left_unread(&self) -> bool {
        let passing = self.passing.as_ref();
        passing.is_some_and(|passing| passing.waits_since_us.is_some())
    }

    /// Finds the next whole reply at the start of `bytes`. A push is not an answer to anything and
    /// comes back with [`Purpose::Push`].
    ///
    /// # Errors
    /// What came is no reply, or a reply to nothing.
    #[inline]
    pub fn next_reply(&mut self, bytes: &[u8]) -> Result<Option<Arrived>, ReadError> {
        let Some(len) = self.scanner.scan(bytes)? else {
            return Ok(None);
        };
        if bytes[0] == b'>' {
            let entry = InFlight {
                purpose: Purpose::Push,
                len: 0,
                reply_bytes: 0,
            };
            return Ok(Some(Arrived { entry, len }));
        }
        let entry = self.pop_in_flight().ok_or(ReadError::Unexpected)?;
        Ok(Some(Arrived { entry, len }))
    }

    /// Takes out what the first reply is for.
    #[inline]
    pub fn pop_in_flight(&mut self) -> Option<InFlight> {
        let entry = self.in_flight.pop_front()?;
        self.reply_bytes_ahead -= entry.reply_bytes as usize;
        Some(entry)
    }

    /// The reply to the request that was just handed over may have this many bytes.
    pub fn expect_reply_bytes(&mut self, bytes: u32) {
        if let Some(entry) = self.in_flight.back_mut() {
            self.reply_bytes_ahead += bytes as usize - entry.reply_bytes as usize;
            entry.reply_bytes = bytes;
        }
    }

    /// Makes the connection's task run, once for any number of calls before it runs.
    #[inline]
    pub fn wake(&mut self) {
        if !self.is_woken {
            self.is_woken = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Notes that the connection's task runs, and how to wake it the next time.
    #[inline]
    pub fn begin_turn(&mut self, waker: &Waker) {
        self.is_woken = false;
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}
