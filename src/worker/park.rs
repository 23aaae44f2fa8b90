//! Requests that wait: for a node, a slot's owner, or the end of a pause.
//!
//! Each client keeps its own, in the order it sent them, and sends nothing new while it has any:
//! that is what keeps its commands in order through retries (contract: R13). What a retry may cost is
//! bounded by time alone (contract: R7): the request's deadline.
//!
//! The order within a slot, in detail:
//! 1. Requests of one slot go out one after another on one connection; a node answers in order.
//! 2. When one of them has to be sent again, those behind it are on their way already. It waits until
//!    each of them is answered or waits as well; then all leave in order, on one connection.
//! 3. A later one that was carried out meanwhile, on the same key, leaves no place for the earlier
//!    one: a read is done once more in its turn; after a write the earlier one is given up.

use std::sync::Arc;

use crate::cluster::Slot;
use crate::command::Handling;
use crate::pipeline::ClientKey;
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

use super::clients::UNSETTLED;
use super::core::Core;
use super::lanes::{Lanes, share_key};
use super::links::not_resent;
use super::nodes::ConnectionKey;

/// Why a request waits. It was not executed, whatever the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The cluster's map is not known yet.
    NoTopology,
    /// Nobody owns the slot.
    NoOwner(Slot),
    /// No private connection was free.
    NoLease,
    /// The map does not say where to go; in these words.
    Unsettled(&'static str),
    /// The node could not be reached, or the connection was lost before the request was executed.
    Unreachable(String),
    /// The server's own error, which says that nothing was executed (contract: R5).
    Server(Box<[u8]>),
    /// It was carried out before an earlier request of its client, and is done again in its turn.
    Behind,
    /// A node named another one; it goes there in its turn.
    Redirected,
    /// A later request of the same client on the same key was carried out.
    Overtaken,
    /// Its reply is large and waits for its turn.
    Large,
    /// No connection for large things was free.
    NoBulk,
    /// The nodes do not know the client's user, or another password of it; the whole text. It waits no longer.
    Refused(Arc<str>),
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
    /// The node that a redirect named for this once (contract: R4).
    pub asked: Option<NodeKey>,
    /// Whether its reply is known to be large: it waits for its turn and goes over a connection for such,
    /// or its client's own.
    pub is_large: bool,
}

/// The first pause; a slot that moves or a connection that is being opened is back by then.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest pause: a new owner is noticed by the snapshot long before, this only polls.
const PAUSE_MAX_US: u64 = 100_000;

/// Why a request waits that was sent on too often.
pub(super) const REDIRECTS: &str = "the nodes redirect to each other (a slot may be half moved; or cluster.address_map sends several nodes to one)";
/// Said of a write of which other parts may have been executed (contract: M1).
pub(super) const OF_A_PART: &str =
    " (this speaks of a part of the request; other parts may have been)";

impl Core {
    /// Lets a request wait.
    pub fn park(
        &mut self,
        mut dispatched: Dispatched,
        mut bytes: Vec<u8>,
        mut is_whole: bool,
        reason: Reason,
    ) {
        if dispatched.command.is_asked_once() {
            return self.reply(dispatched.ticket, b"");
        }
        if dispatched.command.handling == Handling::Scan && self.end_page_early(dispatched.ticket) {
            return;
        }
        if dispatched.command.handling == Handling::Scan
            && let Some(request) = self.scan_to_plan_anew(dispatched.ticket)
        {
            // The cursor in `bytes` means nothing to another node: the step is planned anew.
            bytes = request;
            is_whole = true;
            dispatched.target = Target::Any;
        }
        self.carry_body(&mut dispatched, &mut bytes);
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
            asked: None,
            is_large: false,
        });
    }

    /// Lets a redirected request wait for its turn, which comes as soon as those that the client sent
    /// after it are back; `asked` is the node it goes to, if not its slot's owner.
    pub fn park_redirected(
        &mut self,
        dispatched: Dispatched,
        bytes: Vec<u8>,
        asked: Option<NodeKey>,
    ) {
        self.park_again(Parked {
            dispatched,
            bytes,
            is_whole: false,
            not_before_us: self.now_us,
            pause_us: PAUSE_FIRST_US,
            reason: Reason::Redirected,
            asked,
            is_large: false,
        });
    }

    /// Lets a request wait whose reply is large, until it is its turn.
    pub(super) fn park_large(&mut self, dispatched: Dispatched, bytes: Vec<u8>) {
        self.park_again(Parked {
            dispatched,
            bytes,
            is_whole: false,
            not_before_us: self.now_us,
            pause_us: PAUSE_FIRST_US,
            reason: Reason::Large,
            asked: None,
            is_large: true,
        });
    }

    /// Lets a request wait until its client's earlier ones are answered. It is looked at with each of these, and leaves
    /// with the last one.
    pub(super) fn park_until_its_turn(&mut self, parked: Parked) {
        self.park_again(Parked {
            not_before_us: self.now_us,
            pause_us: PAUSE_FIRST_US,
            reason: Reason::Large,
            ..parked
        });
    }

    /// Lets a request wait longer.
    pub(super) fn park_in_vain(&mut self, parked: Parked, reason: Reason) {
        self.park_again(Parked {
            not_before_us: self.now_us + parked.pause_us,
            pause_us: (parked.pause_us * 2).min(PAUSE_MAX_US),
            reason,
            asked: None,
            ..parked
        });
    }

    /// A client's requests are looked at once more when the replies at hand are delivered.
    pub fn resume_soon(&mut self, key: ClientKey) {
        if self.to_resume.last() != Some(&key) {
            self.to_resume.push(key);
        }
    }

    /// Sends again what waited for replies that have come.
    pub fn resume_answered(&mut self) {
        while let Some(key) = self.to_resume.pop() {
            self.resume_client(key, false);
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
        if let Reason::Refused(text) = &parked.reason {
            let text = Arc::clone(text);
            return match parked.dispatched.may_be_done {
                true => self.give_up(&parked),
                false => self.fail(ticket, ErrorKind::NoAuth, &text),
            };
        }
        client.map_version = UNSETTLED;
        if !client.is_listed_parked {
            client.is_listed_parked = true;
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
        let deadline_us = parked.dispatched.received_us + self.limits.request_timeout_us;
        let due_us = parked.not_before_us.min(deadline_us);
        client.parked_due_us = client.parked_due_us.min(due_us);
        client.parked.insert(place, parked);
        self.tallies.parked.add(1);
    }

    /// Whether a request of this client that came before this one, and has a key in common with it,
    /// is waiting.
    pub fn has_overtaken(&mut self, dispatched: &Dispatched, bytes: &[u8]) -> bool {
        self.clients
            .get(dispatched.ticket.client)
            .is_some_and(|client| {
                let mut parked = client.parked.iter();
                parked.any(|earlier| earlier.is_overtaken_by(dispatched, bytes))
            })
    }

    /// Sends again what is due. With `all`, pauses are ignored: the map changed.
    pub fn resume(&mut self, all: bool) {
        for key in std::mem::take(&mut self.parked_clients) {
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            if all || client.parked_due_us <= self.now_us {
                client.is_listed_parked = false;
                self.resume_client(key, all);
            } else {
                self.parked_clients.push(key);
            }
        }
    }

    pub(super) fn resume_client(&mut self, key: ClientKey, all: bool) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if client.parked.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut client.parked);
        client.parked_due_us = u64::MAX;
        // What stands behind a reply that its client is taking waits for the client: its time stands still. Where
        // the replies before it are missing, the nodes are late, and its time runs.
        let is_taking = client.replies.is_first_passing();
        let mut lanes = Lanes::new(
            client.replies.waiting_lanes(),
            waiting.iter().filter_map(|parked| parked.dispatched.lane),
        );
        self.tallies.parked.subtract(waiting.len() as u64);
        for parked in waiting {
            let lane = parked.dispatched.lane;
            if !is_taking && self.has_expired(&parked.dispatched) {
                self.give_up(&parked);
                continue;
            }
            let is_due = all || parked.not_before_us <= self.now_us;
            let sent = match is_due && lanes.is_open(lane) {
                true => self.attempt(parked, &lanes),
                false => {
                    self.park_again(parked);
                    None
                }
            };
            lanes.pass(lane, sent);
        }
    }

    /// One more attempt; a request that cannot leave yet waits longer each time. Returns the connection
    /// that took it.
    fn attempt(&mut self, parked: Parked, lanes: &Lanes) -> Option<ConnectionKey> {
        let dispatched = parked.dispatched;
        if parked.is_large {
            return self.attempt_large(parked);
        }
        if parked.is_whole {
            self.tallies.retries.increment();
            self.plan_again(dispatched, parked.bytes);
            return None;
        }
        let parked = match dispatched.command.needs_only_primary() {
            true => self.hold_for_only_primary(parked)?,
            false => parked,
        };
        if self.is_for_nobody(&dispatched) {
            self.begin_anew(parked);
            return None;
        }
        let client = dispatched.ticket.client;
        let route = match parked.asked {
            Some(node) => self.clients_connection(client, node, dispatched.protocol),
            None => self.connection_of(&dispatched),
        };
        match route.and_then(|connection| self.still_open(connection)) {
            Ok(connection) if !lanes.takes(dispatched.lane, connection) => {
                self.park_again(parked);
                None
            }
            Ok(connection) => {
                self.tallies.retries.increment();
                match parked.asked {
                    Some(_) => self.send_asking(connection, dispatched, &parked.bytes),
                    None => self.send_again(connection, dispatched, &parked.bytes),
                }
                Some(connection)
            }
            Err(reason) => {
                self.tallies.retries.increment();
                self.park_in_vain(parked, reason);
                None
            }
        }
    }

    /// Whether a request's deadline has passed.
    pub fn has_expired(&self, dispatched: &Dispatched) -> bool {
        self.now_us.saturating_sub(dispatched.received_us) >= self.limits.request_timeout_us
    }

    /// Answers a request whose deadline passed while it waited (contract: F1).
    fn give_up(&mut self, parked: &Parked) {
        self.record_duration(&parked.dispatched);
        let mut text = parked.reason.text(&parked.dispatched, self.now_us);
        if parked.dispatched.may_be_done {
            let text = not_resent(&parked.dispatched, self.now_us, &text);
            return self.fail(parked.dispatched.ticket, ErrorKind::OutcomeUnknown, &text);
        }
        let ticket = parked.dispatched.ticket;
        let is_part = self
            .clients
            .get(ticket.client)
            .is_some_and(|client| client.replies.gathers_several(ticket.sequence));
        let command = parked.dispatched.command;
        if is_part && !command.is_repeatable() && !command.is_block() {
            // The error of one part becomes the reply to the whole request (contract: M1).
            text.push_str(OF_A_PART);
        }
        self.fail(parked.dispatched.ticket, ErrorKind::Deadline, &text);
    }

    /// The requests of a client that wait, came before `later` and have a key in common with it cannot
    /// be sent any more, because `later` was carried out (contract: R13).
    pub fn abandon_before(&mut self, later: &Dispatched, bytes: &[u8]) {
        let Some(client) = self.clients.get(later.ticket.client) else {
            return;
        };
        let (abandoned, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut client.parked)
            .into_iter()
            .partition(|parked| parked.is_overtaken_by(later, bytes));
        client.parked = kept;
        self.tallies.parked.subtract(abandoned.len() as u64);
        for mut parked in abandoned {
            parked.reason = Reason::Overtaken;
            self.give_up(&parked);
        }
    }
}

impl Parked {
    /// Whether a request that is answered came after this one and works on one of its keys.
    fn is_overtaken_by(&self, later: &Dispatched, bytes: &[u8]) -> bool {
        let earlier = &self.dispatched;
        earlier.lane.is_some()
            && earlier.lane == later.lane
            && earlier.ticket.sequence < later.ticket.sequence
            && share_key((earlier.command, &self.bytes), (later.command, bytes))
    }
}

impl Reason {
    /// What the client is told when the deadline has passed. It was not executed in any case.
    pub(super) fn text(&self, dispatched: &Dispatched, now_us: u64) -> String {
        let seconds = now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
        let name = dispatched.command.name;
        match self {
            Reason::NoTopology => format!(
                "CLUSTERDOWN no seed has told the topology yet; '{name}' waited {seconds:.1} s and was not \
                 executed; Keyway's log says why: check cluster.seeds, that the nodes are up, and what they want \
                 (password, TLS)"
            ),
            Reason::NoOwner(slot) => format!(
                "CLUSTERDOWN Hash slot not served: slot {} has no owner; '{name}' waited \
                 {seconds:.1} s and was not executed; try again when the cluster has recovered",
                slot.number()
            ),
            Reason::NoLease => format!(
                "ERR no private connection was free for {seconds:.1} s (limits.leases); '{name}' was not \
                 executed; try again later"
            ),
            Reason::Unsettled(why) => format!(
                "CLUSTERDOWN {why}; '{name}' waited {seconds:.1} s and was not executed; try again \
                 when the cluster has recovered"
            ),
            Reason::Unreachable(why) => format!(
                "CLUSTERDOWN {}: {why}; '{name}' waited {seconds:.1} s and was not executed; try \
                 again when the node is back or a replica has taken over",
                match dispatched.target {
                    Target::Slot(slot) | Target::Primary(_, slot) => {
                        format!("the node of slot {} is down", slot.number())
                    }
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
            Reason::Redirected => format!(
                "CLUSTERDOWN the slot moves and replies from its old node are missing; '{name}' \
                 waited {seconds:.1} s and was not executed"
            ),
            Reason::Large => format!(
                "CLUSTERDOWN the reply to '{name}' is large, and its client's earlier requests were not answered; it \
                 waited {seconds:.1} s and was not executed; try again"
            ),
            Reason::NoBulk => format!(
                "CLUSTERDOWN no connection for large replies was free for {seconds:.1} s (limits.bulk_connections); \
                 '{name}' was not executed; try again later"
            ),
            Reason::Refused(text) => text.to_string(),
            Reason::Overtaken => format!(
                "TRYAGAIN '{name}' was not executed: its slot moved, and a later request on the same \
                 key was carried out first"
            ),
        }
    }
}
