//! Requests that wait: for a node, a slot's owner, or the end of a pause.
//!
//! Each client keeps its own, in the order it sent them, and sends nothing new while it has any:
//! that is what keeps its commands in order through retries (contract: R13). What a retry may cost is
//! bounded by time alone (contract: R7): the request's deadline.

use crate::cluster::Slot;
use crate::command::Handling;
use crate::pipeline::ClientKey;
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

use super::clients::UNSETTLED;
use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;

/// Why a request waits. It was not executed, whatever the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The cluster's map is not known yet.
    NoTopology,
    /// Nobody owns the slot.
    NoOwner(Slot),
    /// The node could not be reached, or the connection was lost before the request was executed.
    Unreachable(String),
    /// The server's own error, which says that nothing was executed (contract: R5).
    Server(Box<[u8]>),
    /// An earlier request of the same client on the same slot waits.
    Behind,
}

/// A request, or a part of one, that waits.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Whose it is and where it goes.
    pub dispatched: Dispatched,
    /// The request as it goes over the wire.
    pub bytes: Vec<u8>,
    /// Whether `bytes` is the client's whole request, to be planned anew, and not a part.
    pub is_whole: bool,
    /// Not tried before this time (microseconds).
    pub not_before_us: u64,
    /// The next pause (microseconds); grows with each attempt.
    pub pause_us: u64,
    /// Why it waits.
    pub reason: Reason,
}

/// The first pause; a slot that moves or a connection that is being opened is back by then.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest pause: a new owner is noticed by the snapshot long before, this only polls.
const PAUSE_MAX_US: u64 = 100_000;

impl Core {
    /// Lets a request wait.
    pub fn park(
        &mut self,
        mut dispatched: Dispatched,
        mut bytes: Vec<u8>,
        mut is_whole: bool,
        reason: Reason,
    ) {
        if let Some(request) = self.take_scan(&dispatched) {
            // The cursor in `bytes` means nothing to another node: the step is planned anew.
            bytes = request;
            is_whole = true;
            dispatched.target = Target::Any;
        }
        let pause_us = (PAUSE_FIRST_US << dispatched.attempts.min(8)).min(PAUSE_MAX_US);
        let not_before_us = self.now_us + pause_us;
        dispatched.attempts = dispatched.attempts.saturating_add(1);
        self.park_again(Parked {
            dispatched,
            bytes,
            is_whole,
            not_before_us,
            pause_us: (pause_us * 2).min(PAUSE_MAX_US),
            reason,
        });
    }

    /// The client's own request, when `dispatched` is a step of a `SCAN`.
    fn take_scan(&mut self, dispatched: &Dispatched) -> Option<Vec<u8>> {
        if dispatched.command.handling != Handling::Scan {
            return None;
        }
        let client = self.clients.get(dispatched.ticket.client)?;
        match client.replies.take_gather(dispatched.ticket.sequence)?.plan {
            Finish::Scan { request, .. } => Some(request),
            Finish::Merge(_) | Finish::RandomKey(_) | Finish::Workers(_) => None,
        }
    }

    fn park_again(&mut self, parked: Parked) {
        let ticket = parked.dispatched.ticket;
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        if !client.replies.is_waiting(ticket.sequence) {
            return;
        }
        client.map_version = UNSETTLED;
        if client.parked.is_empty() {
            self.parked_clients.push(ticket.client);
            if let Some(waker) = &self.tick_waker {
                waker.wake_by_ref();
            }
        }
        let order = |parked: &Parked| {
            (
                parked.dispatched.ticket.sequence,
                parked.dispatched.ticket.part,
            )
        };
        let place = client
            .parked
            .partition_point(|other| order(other) <= order(&parked));
        client.parked.insert(place, parked);
        self.tallies.parked.add(1);
    }

    /// Sends again what is due. With `all`, pauses are ignored: the map changed.
    pub fn resume(&mut self, all: bool) {
        for key in std::mem::take(&mut self.parked_clients) {
            self.resume_client(key, all);
        }
    }

    fn resume_client(&mut self, key: ClientKey, all: bool) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let waiting = std::mem::take(&mut client.parked);
        self.tallies.parked.subtract(waiting.len() as u64);
        // What stays is put back as it is, so that what comes behind it on the same slot stays too.
        for parked in waiting {
            if self.has_expired(&parked.dispatched) {
                self.give_up(&parked);
            } else if all || parked.not_before_us <= self.now_us {
                self.attempt(parked);
            } else {
                self.park_again(parked);
            }
        }
    }

    /// One more attempt; a request that cannot leave yet waits longer each time.
    fn attempt(&mut self, parked: Parked) {
        self.tallies.retries.increment();
        let dispatched = parked.dispatched;
        if parked.is_whole {
            self.plan_again(dispatched, parked.bytes);
            return;
        }
        match self.connection_for(dispatched.target, dispatched.protocol) {
            Ok(connection) if self.has_earlier(&dispatched, connection) => {
                // It is looked at again when the map changes or the earlier one is answered.
                let not_before_us = self.now_us + PAUSE_FIRST_US;
                self.park_again(Parked {
                    not_before_us,
                    reason: Reason::Behind,
                    ..parked
                });
            }
            Ok(connection) => self.send_again(connection, dispatched, &parked.bytes),
            Err(reason) => {
                let pause_us = (parked.pause_us * 2).min(PAUSE_MAX_US);
                let not_before_us = self.now_us + parked.pause_us;
                self.park_again(Parked {
                    not_before_us,
                    pause_us,
                    reason,
                    ..parked
                });
            }
        }
    }

    /// Whether a request's deadline has passed.
    pub fn has_expired(&self, dispatched: &Dispatched) -> bool {
        self.now_us.saturating_sub(dispatched.received_us) >= self.limits.request_timeout_us
    }

    /// Answers a request whose deadline passed while it waited (contract: F1).
    fn give_up(&mut self, parked: &Parked) {
        let text = parked.reason.text(&parked.dispatched, self.now_us);
        self.fail(parked.dispatched.ticket, ErrorKind::Deadline, &text);
    }

    /// See [`Client::has_earlier`](super::clients::Client::has_earlier).
    pub fn has_earlier(&mut self, dispatched: &Dispatched, connection: ConnectionKey) -> bool {
        let client = self.clients.get(dispatched.ticket.client);
        client.is_some_and(|client| client.has_earlier(dispatched, Some(connection)))
    }

    /// Hands a request to a connection that is not the one it took at first.
    pub fn send_again(&mut self, key: ConnectionKey, dispatched: Dispatched, bytes: &[u8]) {
        if let Some(client) = self.clients.get(dispatched.ticket.client) {
            client.note_resent(dispatched, key);
        }
        self.send(key, dispatched, bytes);
    }

    /// The requests of a client on `target`'s slot that wait and come before `sequence` cannot be
    /// sent any more, because a later write was executed: they are answered with the reason they
    /// wait for (contract: R13).
    pub fn abandon_before(&mut self, later: &Dispatched) {
        let Some(client) = self.clients.get(later.ticket.client) else {
            return;
        };
        let (abandoned, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut client.parked)
            .into_iter()
            .partition(|parked| {
                parked.dispatched.target == later.target
                    && parked.dispatched.ticket.sequence < later.ticket.sequence
            });
        client.parked = kept;
        for resent in &mut client.resent {
            resent.is_overtaken |= resent.dispatched.target == later.target
                && resent.dispatched.ticket.sequence < later.ticket.sequence;
        }
        self.tallies.parked.subtract(abandoned.len() as u64);
        for parked in abandoned {
            self.give_up(&parked);
        }
    }
}

impl Reason {
    /// What the client is told when the deadline has passed. It was not executed in any case.
    fn text(&self, dispatched: &Dispatched, now_us: u64) -> String {
        let seconds = now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
        let name = dispatched.command.name;
        match self {
            Reason::NoTopology => format!(
                "CLUSTERDOWN no seed has answered yet; '{name}' waited {seconds:.1} s and was not \
                 executed; check cluster.seeds and that the nodes are up"
            ),
            Reason::NoOwner(slot) => format!(
                "CLUSTERDOWN Hash slot not served: slot {} has no owner; '{name}' waited \
                 {seconds:.1} s and was not executed; try again when the cluster has recovered",
                slot.number()
            ),
            Reason::Unreachable(why) => format!(
                "CLUSTERDOWN {}: {why}; '{name}' waited {seconds:.1} s and was not executed; try \
                 again when the node is back or a replica has taken over",
                match dispatched.target {
                    Target::Slot(slot) => format!("the node of slot {} is down", slot.number()),
                    Target::Node(_) | Target::Any => "the node is down".to_owned(),
                },
            ),
            Reason::Server(error) => {
                // The server's text first: a client may look at its first word.
                let text = String::from_utf8_lossy(error);
                format!(
                    "{} ('{name}' was tried for {seconds:.1} s)",
                    text.trim_start_matches('-').trim_end()
                )
            }
            Reason::Behind => format!(
                "CLUSTERDOWN an earlier request on the same slot could not be sent; '{name}' waited \
                 {seconds:.1} s and was not executed"
            ),
        }
    }
}
