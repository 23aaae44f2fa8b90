//! What each worker, and the control thread, counts.
//!
//! Fields are written by their own thread only (see [`super::tally`]). To add one: a field here, and
//! a row in [`super::metrics`] that gives it a name and a help text.

use super::latency::LatencyHistogram;
use super::tally::{Gauge, Tally};

/// The counters of one worker. The worker holds it in an `Arc`; the control thread reads it.
#[derive(Debug, Default)]
pub struct WorkerTallies {
    /// Requests read from clients, those that Keyway answers itself included.
    pub requests: Tally,
    /// Wrong passwords, and users that are not there or switched off.
    pub auth_failures: Tally,
    /// Replies queued for clients, errors included.
    pub replies: Tally,
    /// Bytes read from clients.
    pub client_bytes_in: Tally,
    /// Bytes written to clients.
    pub client_bytes_out: Tally,
    /// Bytes read from nodes.
    pub upstream_bytes_in: Tally,
    /// Bytes written to nodes.
    pub upstream_bytes_out: Tally,
    /// Clients connected now.
    pub clients: Gauge,
    /// Clients taken over from the accept loop so far, each counted at the moment it joins
    /// [`WorkerTallies::clients`]; the accept loop balances by the two.
    pub clients_total: Tally,
    /// Connections that are no clients yet: their PROXY header or TLS handshake is under way.
    pub arriving: Gauge,
    /// TLS handshakes with clients that succeeded.
    pub tls_handshakes: Tally,
    /// Connections that never became clients.
    pub lost_arrivals: ByKind<{ LostArrival::ALL.len() }>,
    /// Clients closed because they were too slow.
    pub slow_clients: ByKind<{ SlowClient::ALL.len() }>,
    /// Connections to nodes open now.
    pub upstream_connections: Gauge,
    /// Connections to nodes that were opened.
    pub upstream_connects: Tally,
    /// Connections to nodes that could not be opened or were lost.
    pub upstream_failures: Tally,
    /// Those of them that the node refused in the handshake.
    pub upstream_refusals: Tally,
    /// Users besides the service user that have connections of their own here.
    pub identities: Gauge,
    /// Clients that were not let in because there were too many such users.
    pub identities_refused: Tally,
    /// Databases besides the first, once for each user, that have connections of their own here.
    pub databases: Gauge,
    /// Times that a client could not select a database because there were too many such.
    pub databases_refused: Tally,
    /// Clients that wait for a private connection's reply now: blocking commands, `WAIT`, `WATCH`.
    pub blocked_clients: Gauge,
    /// Clients whose next request waits for the end of a pause.
    pub held_back_clients: Gauge,
    /// Clients in `MONITOR` now.
    pub monitors: Gauge,
    /// Private connections open now, lent or not.
    pub leases: Gauge,
    /// Requests written or queued to a node and not yet answered.
    pub in_flight: Gauge,
    /// Requests that wait for a node, a slot owner or the end of a pause.
    pub parked: Gauge,
    /// Requests that were sent again.
    pub retries: Tally,
    /// Writes that are sent again although they may have been executed.
    pub writes_resent: Tally,
    /// Clients that track keys now.
    pub tracking_clients: Gauge,
    /// Invalidations that came from nodes.
    pub tracking_invalidations: Tally,
    /// How often a client was told that all it cached is invalid because nobody could know.
    pub tracking_flushes: Tally,
    /// Clients that are subscribed to something.
    pub subscribers: Gauge,
    /// Channels subscribed at nodes for this worker's clients.
    pub hub_subscriptions: Gauge,
    /// Changes of those that the nodes have not confirmed.
    pub hub_changes: Gauge,
    /// Messages handed to subscribers.
    pub messages: Tally,
    /// Subscriptions that were interrupted while clients had them.
    pub subscription_gaps: Tally,
    /// Subscribers closed because they did not read.
    pub slow_subscribers: Tally,
    /// Requests that were passed on in pieces.
    pub streamed_requests: Tally,
    /// Replies that were passed on in pieces.
    pub streamed_replies: Tally,
    /// Large replies that were dropped and asked for again, so that others did not wait behind them.
    pub streams_fetched_again: Tally,
    /// Redirects and "come again" errors from nodes.
    pub redirects: ByKind<{ RedirectKind::ALL.len() }>,
    /// Reads that were sent to a replica.
    pub replica_reads: Tally,
    /// Reads of clients with another policy than "primary" that were sent to a primary.
    pub primary_reads: ByKind<{ PrimaryRead::ALL.len() }>,
    /// Errors that Keyway itself gave to clients.
    pub errors: ByKind<{ ErrorKind::ALL.len() }>,
    /// From a request's arrival to its reply being queued for the client.
    pub latency: LatencyHistogram,
}

impl WorkerTallies {
    /// Counts a redirect.
    #[inline]
    pub fn redirected(&self, kind: RedirectKind) {
        self.redirects.increment(kind as usize);
    }

    /// Counts a read that went to a primary although replicas serve its client.
    #[inline]
    pub fn read_from_primary(&self, kind: PrimaryRead) {
        self.primary_reads.increment(kind as usize);
    }

    /// Counts an error reply of Keyway's own.
    #[inline]
    pub fn failed(&self, kind: ErrorKind) {
        self.errors.increment(kind as usize);
    }
}

/// The counters of the control thread.
#[derive(Debug, Default)]
pub struct ControlTallies {
    /// Connections accepted and handed to a worker.
    pub accepted: Tally,
    /// Connections refused because of `limits.max_clients`.
    pub refused_clients: Tally,
    /// How often accepting paused because file descriptors or memory ran out.
    pub accept_pauses: Tally,
    /// Topology refreshes that ended with a view of the cluster.
    pub refreshes: Tally,
    /// Topology refreshes that no node answered usefully.
    pub refresh_failures: Tally,
    /// Times that certificates, keys and CAs of one user were read again.
    pub tls_reloads: Tally,
    /// Times that this failed, and the old ones stayed.
    pub tls_reload_failures: Tally,
    /// Replicas that may serve reads.
    pub replicas_serving: Gauge,
    /// Replicas that lag, load, are cut off or do not answer.
    pub replicas_left_out: Gauge,
    /// For each listener its name, and connections that it accepted.
    pub listeners: Vec<(String, Tally)>,
}

/// One tally for each kind of something.
#[derive(Debug)]
pub struct ByKind<const KINDS: usize>([Tally; KINDS]);

impl<const KINDS: usize> Default for ByKind<KINDS> {
    fn default() -> Self {
        ByKind(std::array::from_fn(|_| Tally::default()))
    }
}

impl<const KINDS: usize> ByKind<KINDS> {
    #[inline]
    fn increment(&self, kind: usize) {
        if let Some(tally) = self.0.get(kind) {
            tally.increment();
        }
    }

    /// Counts one of the kind at this place of its `ALL`; only the owning thread may call this.
    pub fn count(&self, kind: usize) {
        self.increment(kind);
    }

    /// The count of the kind at this place of its `ALL`.
    pub fn value(&self, kind: usize) -> u64 {
        self.0.get(kind).map_or(0, Tally::value)
    }

    /// The count of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Tally::value).sum()
    }
}

/// Declares an enum whose variants label a metric, with `ALL` in the order of declaration.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them; a variant's discriminant is its place here.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The value of the metric's `kind` label.
            pub fn label(self) -> &'static str {
                match self {
                    $($name::$variant => $label,)+
                }
            }
        }
    };
}

label_values! {
    /// Answers of a node that send the request elsewhere or ask to come again (contract: R3 to R5).
    RedirectKind {
        /// The slot has another owner.
        Moved = "moved",
        /// This key, this once, elsewhere.
        Ask = "ask",
        /// Keys of a migrating slot are split over two nodes.
        TryAgain = "tryagain",
        /// The cluster does not serve the slot now.
        ClusterDown = "clusterdown",
        /// The node loads its data set.
        Loading = "loading",
        /// A replica lost its primary.
        MasterDown = "masterdown",
        /// The node was demoted to a replica.
        ReadOnly = "readonly",
        /// The node lacks a script, and got its body (contract: T4).
        NoScript = "noscript",
    }
}

label_values! {
    /// Why a read went to a primary although replicas serve its client.
    PrimaryRead {
        /// The policy chose it.
        Chosen = "chosen",
        /// No replica can serve: there is none, or all lag, load or do not answer.
        NoReplica = "no_replica",
        /// The client's write to this part of the key space is not answered yet (contract: R13).
        UnansweredWrite = "unanswered_write",
        /// The client wrote there a short time ago and wants to read it (`read_your_writes`).
        RecentWrite = "recent_write",
        /// The client watches keys there (contract: T3).
        Watching = "watching",
        /// Keys of the slot are moving, which a replica may not know.
        SlotMoving = "slot_moving",
        /// A replica was asked and could not serve.
        AskedAgain = "asked_again",
    }
}

label_values! {
    /// Why Keyway itself answered with an error.
    ErrorKind {
        /// The client broke the protocol (contract: P5).
        Protocol = "protocol",
        /// No such command or sub-command.
        UnknownCommand = "unknown_command",
        /// Wrong number of arguments.
        Arity = "arity",
        /// Keys of several slots in a command that cannot be split (contract: M2).
        CrossSlot = "crossslot",
        /// Not authenticated, or wrongly.
        NoAuth = "noauth",
        /// The user may not do it.
        NoPerm = "noperm",
        /// Refused by rule, or not supported (contract: C7).
        Refused = "refused",
        /// The request's deadline passed before it could be written (contract: F1).
        Deadline = "deadline",
        /// Written, connection lost, no reply (contract: F2).
        OutcomeUnknown = "outcome_unknown",
        /// A node answered something that cannot be used.
        Upstream = "upstream",
        /// `EXEC` or `DISCARD` out of place, or `EXEC` after a command was refused (contract: T1).
        Transaction = "transaction",
        /// A limit was reached (contract: F6).
        Limit = "limit",
    }
}

label_values! {
    /// Why a connection never became a client.
    LostArrival {
        /// The TLS handshake failed.
        Tls = "tls",
        /// The PROXY header is missing or malformed.
        ProxyHeader = "proxy_header",
        /// It took too long.
        TimedOut = "timeout",
        /// It was the oldest of too many.
        GaveWay = "gave_way",
        /// Its PROXY header names an address that may not connect (again).
        Unwelcome = "unwelcome",
        /// It was closed already.
        Closed = "closed",
    }
}

label_values! {
    /// What a client was too slow with.
    SlowClient {
        /// It did not authenticate.
        Authentication = "authentication",
        /// Its request did not arrive.
        Request = "request",
        /// It took or sent a large value while others waited for the connection.
        LargeValue = "large_value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_count_into_their_own_place() {
        let tallies = WorkerTallies::default();
        for (index, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
            for _ in 0..=index {
                tallies.failed(*kind);
            }
        }
        for index in 0..ErrorKind::ALL.len() {
            assert_eq!(tallies.errors.value(index), index as u64 + 1);
        }
        tallies.redirected(RedirectKind::ReadOnly);
        assert_eq!(tallies.redirects.value(RedirectKind::ReadOnly as usize), 1);
        assert_eq!(tallies.redirects.value(RedirectKind::Moved as usize), 0);
    }
}
