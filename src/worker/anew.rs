//! Requests to all primaries or nodes that are begun anew, because one of those that were to be asked is out of
//! service (contract: M4).
//!
//! A part that was not sent, and is for a primary that gave its last slot away or for a replica that left, has nobody
//! to go to. Its slots' new owners were asked themselves, but nobody knows whether before or after the slots came to
//! them. So when the other parts are answered their replies are dropped, and those are asked who are there now: if what
//! was executed may be executed twice. Else it waits for its node, until its deadline.

use super::core::Core;
use super::park::{OF_A_PART, Parked};
use crate::command::{Command, Handling, Merge, Script};
use crate::pipeline::{ClientKey, Sequence, Ticket};
use crate::resp::write;
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// A request that is begun anew when all its parts are there.
#[derive(Debug)]
pub struct Anew {
    dispatched: Dispatched,
    request: Vec<u8>,
}

impl Core {
    /// Whether a part that waits is for a node that is not asked any more, and its request can be begun anew.
    pub(super) fn is_for_nobody(&mut self, dispatched: &Dispatched) -> bool {
        let command = dispatched.command;
        let is_gone = match dispatched.target {
            Target::Primary(..) => self.is_primary_gone(dispatched),
            Target::Node(node) => {
                matches!(command.handling, Handling::Nodes(_) | Handling::Census(_))
                    && !self.nodes.owns_slots(node)
                    && !self.nodes.replicas_to_ask().any(|replica| replica == node)
            }
            Target::Slot(_) | Target::Any => false,
        };
        is_gone && may_be_begun_anew(command) && self.nodes.is_covered()
    }

    /// Whether a part is for a primary that gave its last slot to one that was asked itself.
    pub(super) fn is_primary_gone(&mut self, dispatched: &Dispatched) -> bool {
        let Target::Primary(node, slot) = dispatched.target else {
            return false;
        };
        // A request that waited for a map was planned by a later one than that of the moment when it came.
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let client = self.clients.get(client);
        let planned_us = client.map_or(0, |client| client.replies.planned_us(sequence));
        let planned_us = planned_us.max(dispatched.received_us);
        let heir = self.nodes.owner(slot);
        !self.nodes.is_primary(node, slot)
            && heir.is_some_and(|heir| self.nodes.was_primary(heir, planned_us))
    }

    /// Answers such a part with nothing.
    pub(super) fn begin_anew(&mut self, parked: Parked) {
        let dispatched = parked.dispatched;
        let ticket = dispatched.ticket;
        let mut request = parked.bytes;
        if dispatched.command.handling == Handling::RandomKey {
            // Its parts are other commands.
            request.clear();
            write::command(&mut request, &["RANDOMKEY"]);
        }
        let clients = &mut self.clients;
        self.anew
            .retain(|other| clients.get(other.dispatched.ticket.client).is_some());
        if !self
            .anew
            .iter()
            .any(|other| other.is_of(ticket.client, ticket.sequence))
        {
            self.anew.push(Anew {
                dispatched,
                request,
            });
        }
        self.reply(ticket, b"");
    }

    /// All parts of a request are there: whether it was begun anew instead.
    pub(super) fn was_begun_anew(&mut self, client: ClientKey, sequence: Sequence) -> bool {
        let mut anew = self.anew.iter();
        let Some(at) = anew.position(|other| other.is_of(client, sequence)) else {
            return false;
        };
        let Anew {
            dispatched,
            request,
        } = self.anew.swap_remove(at);
        let ticket = Ticket {
            client,
            sequence,
            part: 0,
        };
        if self.has_expired(&dispatched) {
            let seconds = self.now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
            let mut text = format!(
                "CLUSTERDOWN a node left that '{}' was for; it waited {seconds:.1} s and was not executed; try again",
                dispatched.command.name
            );
            if !dispatched.command.is_repeatable() {
                text.push_str(OF_A_PART);
            }
            self.fail(ticket, ErrorKind::Deadline, &text);
            return true;
        }
        self.tallies.retries.increment();
        let target = Target::Any;
        self.plan_again(
            Dispatched {
                ticket,
                target,
                ..dispatched
            },
            request,
        );
        true
    }
}

impl Anew {
    fn is_of(&self, client: ClientKey, sequence: Sequence) -> bool {
        let ticket = self.dispatched.ticket;
        ticket.client == client && ticket.sequence == sequence
    }
}

/// Reads, and what leaves the same behind however often it is done.
fn may_be_begun_anew(command: &Command) -> bool {
    match command.handling {
        Handling::Primaries(Merge::AllSucceeded) | Handling::Script(Script::Flush) => {
            command.is_repeatable() || command.is_flush()
        }
        Handling::Script(Script::Kill) => false,
        Handling::Primaries(_)
        | Handling::Nodes(_)
        | Handling::Census(_)
        | Handling::Script(_)
        | Handling::RandomKey => command.is_repeatable(),
        _ => false,
    }
}
