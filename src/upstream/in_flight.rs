//! What a connection waits for: one entry for each reply to come, oldest first.

use crate::cluster::Slot;
use crate::command::Command;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::Protocol;
use crate::resp::passing::ReplyPassing;
use crate::routing::Target;

/// What is said right before a request on a connection that tracks for its client (contract: S6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caching {
    /// Nothing.
    #[default]
    Unsaid,
    /// `CLIENT CACHING YES`.
    Yes,
    /// `CLIENT CACHING NO`.
    No,
}

impl Caching {
    /// The request that says it.
    pub fn request(self) -> &'static [u8] {
        match self {
            Caching::Unsaid => b"",
            Caching::Yes => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n",
            Caching::No => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n",
        }
    }
}

/// A request, or a part of one, that was handed to a connection.
#[derive(Clone, Copy, Debug)]
pub struct Dispatched {
    /// Whose reply this will be.
    pub ticket: Ticket,
    /// The request's row.
    pub command: &'static Command,
    /// Where it has to go; asked again for each resend.
    pub target: Target,
    /// What it must not overtake, and what must not overtake it: its client's requests on the same
    /// slot (contract: R13). Does not change, wherever it is sent.
    pub lane: Option<Slot>,
    /// The version its client spoke when it asked; the reply has to come in it, whatever the client
    /// switched to since (contract: P1).
    pub protocol: Protocol,
    /// When Keyway received it, on the process' clock in microseconds; its deadline counts from
    /// here, through all resends (contract: R7).
    pub received_us: u64,
    /// How often it was sent again; what it waits before the next time grows with it.
    pub attempts: u8,
    /// What its client said about caching its reply.
    pub caching: Caching,
    /// Whether its client reads from replicas and wants to read what it wrote: the time of the reply
    /// is noted.
    pub is_noted: bool,
    /// Whether it is a write that was sent before and got no reply: it may have been executed
    /// (`upstream.resend_lost_writes`).
    pub may_be_done: bool,
}

/// What to do with a reply.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// It belongs to a request.
    Reply(Dispatched),
    /// It belongs to a request, and is being passed on in pieces (contract: P8).
    Passing(Dispatched),
    /// It belongs to a request whose value was passed on in pieces: nothing of it is left to be sent again.
    Uploaded(Dispatched),
    /// It tells whether the node serves the key of a request that this client is sending in pieces.
    Preflight(ClientKey),
    /// It belongs to a request on a private connection, which may take as long as it likes.
    Leased(Dispatched),
    /// It belongs to the front of a block, before its `EXEC`.
    Queued(Queued),
    /// It only tells that everything the node said before has arrived (`PING` of a client that
    /// tracks).
    Barrier(Ticket),
    /// It is no reply, but a message of the node's own.
    Push,
    /// Nobody wants it: the `+OK` of `ASKING`, or the late reply to a request that was given up.
    Discard,
    /// How fast the node answers; asked at this time.
    Measure(u64),
}

impl Purpose {
    /// The request of a client that a reply belongs to.
    pub fn dispatched(&self) -> Option<&Dispatched> {
        match self {
            Purpose::Reply(dispatched)
            | Purpose::Passing(dispatched)
            | Purpose::Uploaded(dispatched)
            | Purpose::Leased(dispatched) => Some(dispatched),
            Purpose::Preflight(_)
            | Purpose::Queued(_)
            | Purpose::Barrier(_)
            | Purpose::Push
            | Purpose::Discard
            | Purpose::Measure(_) => None,
        }
    }
}

/// A reply that is passed on, or dropped, in pieces.
#[derive(Debug)]
pub struct Passing {
    /// How far it has come.
    pub framing: ReplyPassing,
    /// Whose it is; nobody's is dropped.
    pub to: Option<Ticket>,
    /// What is left of the room that was reserved for it; without any it is left unread while its client
    /// does not take what came.
    pub room: Option<usize>,
    /// Bytes that were passed on.
    pub passed: usize,
    /// Since when its client can take it, in microseconds; none while earlier replies are missing.
    pub turn_us: Option<u64>,
    /// Since when it is left unread, in microseconds; begins anew as its client takes some of it.
    pub waits_since_us: Option<u64>,
    /// What its client had to take then.
    pub left_to_take: usize,
}

/// The replies to `MULTI` and to the commands behind it, one after another. The bytes of all of them
/// belong to the entry of their `EXEC`, so that the block is sent again as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// How many of these replies are still to come, at least 1.
    pub left: u32,
    /// Whether the next one is that of `MULTI`.
    pub is_first: bool,
}

/// What a node said instead of `QUEUED`, for the first time in a block: nothing of it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error, as it came.
    pub error: Box<[u8]>,
    /// It was `MULTI` that was refused: what came behind it was executed at once.
    pub is_of_multi: bool,
}

/// One reply to come.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// What to do with the reply.
    pub purpose: Purpose,
    /// Length of the request's bytes in the outbox.
    pub len: u32,
    /// Bytes that its reply may have; 0 unless that is many.
    pub reply_bytes: u32,
}
