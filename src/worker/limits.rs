//! The limits of a worker, and what of them its cores share.

use std::cell::Cell;
use std::rc::Rc;

use super::hub::MESSAGE_COPIES_PER_TURN;
use super::pacing::FIRST_REPLY_BYTES;
use super::passing::WINDOW_BYTES;
use super::upload_flow::UPLOAD_WINDOW_BYTES;

/// The limits a worker keeps, in the units it uses.
#[derive(Clone, Debug)]
pub struct WorkerLimits {
    /// From a request's arrival to its reply or error, in microseconds.
    pub request_timeout_us: u64,
    /// Longest argument of a request, in bytes.
    pub argument_bytes: i64,
    /// Largest request as a whole, in bytes.
    pub request_bytes: usize,
    /// Requests of one client that may be outstanding.
    pub requests_in_flight_per_client: usize,
    /// Unread reply bytes from which on a client is not read.
    pub client_output_soft_bytes: usize,
    /// Unread reply bytes at which a client is closed.
    pub client_output_hard_bytes: usize,
    /// Unanswered request bytes of one connection from which on those who fill it are not read.
    pub outbox_bytes: usize,
    /// What one read over several slots may fetch from the nodes.
    pub cross_slot_read_bytes: usize,
    /// What a client may queue between `MULTI` and `EXEC`, in bytes.
    pub transaction_bytes: usize,
    /// A client that sends nothing for this long is closed, in microseconds; 0 for never.
    pub client_idle_us: u64,
    /// A client that has not authenticated for this long is closed, in microseconds; 0 for never.
    pub authentication_us: u64,
    /// How long a small request may take to arrive, in microseconds; 0 for any time.
    pub request_arrival_us: u64,
    /// A replica that does not answer reads for this long loses them, in microseconds.
    pub replica_timeout_us: u64,
    /// Channels, patterns and shard channels that one client may be subscribed to.
    pub subscriptions_per_client: usize,
    /// Unread bytes at which a subscriber is closed at once (contract: S5).
    pub subscriber_output_hard_bytes: usize,
    /// Unread bytes at which a subscriber is closed after some time.
    pub subscriber_output_soft_bytes: usize,
    /// That time, in microseconds.
    pub subscriber_output_soft_us: u64,
    /// Copies of messages that are made in one turn, for as many subscribers; a long message counts for
    /// several.
    pub message_copies_per_turn: usize,
    /// Private connections to nodes, for clients that block or watch.
    pub leases: usize,
    /// Clients that may wait for one.
    pub lease_queue: usize,
    /// Databases besides the first that clients may have selected, once for each identity.
    pub databases: usize,
    /// Answers about keys that are remembered.
    pub key_shapes: usize,
    /// A longer reply is passed on in pieces (contract: P8).
    pub stream_threshold_bytes: usize,
    /// A request of which more than this is missing is passed on in pieces, if it can be.
    pub upload_threshold_bytes: usize,
    /// What such replies may fill while their clients do not take them.
    pub stream_buffer_bytes: usize,
    /// So much of such a reply may wait for a client that has no room reserved.
    pub stream_window_bytes: usize,
    /// Connections to one node for what is too large to share one.
    pub bulk_connections: usize,
    /// How long a client may hold one of those while others wait for it, in microseconds; 0 for any time.
    pub large_value_us: u64,
    /// So much of a request that is passed on in pieces may wait for its node's socket.
    pub upload_window_bytes: usize,
    /// A client's replies are taken to be this long before its first, while others get large ones.
    pub first_reply_bytes: usize,
}

impl Default for WorkerLimits {
    /// The defaults of the configuration.
    fn default() -> Self {
        WorkerLimits {
            request_timeout_us: 20_000_000,
            argument_bytes: 512 << 20,
            request_bytes: 1 << 30,
            requests_in_flight_per_client: 1024,
            client_output_soft_bytes: 1 << 20,
            client_output_hard_bytes: 1 << 30,
            outbox_bytes: 8 << 20,
            cross_slot_read_bytes: 64 << 20,
            transaction_bytes: 1 << 30,
            client_idle_us: 0,
            authentication_us: 30_000_000,
            request_arrival_us: 60_000_000,
            replica_timeout_us: 1_000_000,
            subscriptions_per_client: 100_000,
            subscriber_output_hard_bytes: 32 << 20,
            subscriber_output_soft_bytes: 8 << 20,
            subscriber_output_soft_us: 60_000_000,
            message_copies_per_turn: MESSAGE_COPIES_PER_TURN,
            leases: 10_000,
            lease_queue: 1_000,
            databases: 16,
            key_shapes: 1_024,
            stream_threshold_bytes: 256 << 10,
            upload_threshold_bytes: 256 << 10,
            stream_buffer_bytes: 16 << 20,
            stream_window_bytes: WINDOW_BYTES,
            bulk_connections: 32,
            large_value_us: 5_000_000,
            upload_window_bytes: UPLOAD_WINDOW_BYTES,
            first_reply_bytes: FIRST_REPLY_BYTES,
        }
    }
}

/// What all cores of a thread have used of limits that hold for the thread: it has one for each identity
/// and database.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// Private connections, of `limits.leases`.
    pub leases: Amount,
    /// Bytes reserved for large replies, of `limits.stream_buffer_bytes`.
    pub stream_bytes: Amount,
}

/// An amount that several cores of one thread change.
#[derive(Clone, Debug, Default)]
pub struct Amount(Rc<Cell<usize>>);

impl Amount {
    /// How much it is.
    pub fn get(&self) -> usize {
        self.0.get()
    }

    /// Makes it more.
    pub fn add(&self, more: usize) {
        self.0.set(self.0.get() + more);
    }

    /// Makes it less.
    pub fn subtract(&self, less: usize) {
        debug_assert!(less <= self.0.get(), "more is given back than was taken");
        self.0.set(self.0.get().saturating_sub(less));
    }
}
