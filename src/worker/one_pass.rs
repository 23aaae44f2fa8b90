//! What looks at keys of several slots once and does not wait, for those who asked for it
//! (`cross_slot_blocking = "poll"`; contract: T7): `XREAD` and `XREADGROUP` without `BLOCK`, `LMPOP`, `ZMPOP`.
//!
//! Streams are read at all nodes at once, and what they have is put together in the order of the keys. What takes
//! from the first key that has something asks one slot after the other, so that at any moment at most one request may
//! take an element; its client's further requests wait until it is over, because they may be about the later keys.

use super::clients::UNSETTLED;
use super::core::Core;
use super::finish::Finish;
use super::requests::Taken;
use crate::command::{Command, Keys, Merge};
use crate::config::CrossSlotBlocking;
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::Args;
use crate::routing::Target;
use crate::routing::across::Part;
use crate::routing::poll::{Step, is_nothing, steps};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// The slots that are still to be asked.
#[derive(Debug)]
pub struct Pass {
    dispatched: Dispatched,
    rest: std::vec::IntoIter<Step>,
}

impl Core {
    /// The steps of a request over several slots that does not block, when such are served.
    #[cold]
    pub(super) fn pass_of(&self, command: &Command, args: &Args<'_>) -> Option<Vec<Step>> {
        match self.local.cross_slot_blocking {
            CrossSlotBlocking::Poll => steps(command, args),
            CrossSlotBlocking::Refuse => None,
        }
    }

    /// Sends such a request.
    #[cold]
    pub(super) fn plan_pass(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        steps: Vec<Step>,
    ) -> Taken {
        if !self.may_route(key) {
            return Taken::NotYet;
        }
        match command.keys {
            Keys::Streams => self.read_streams(key, command, steps),
            _ => self.take_from_first(key, command, steps),
        }
    }

    fn read_streams(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        steps: Vec<Step>,
    ) -> Taken {
        let slots = || steps.iter().map(|step| step.slot);
        if !self.has_room_at(key, slots()) || self.holds_back_parts(key, command, slots()) {
            return Taken::NotYet;
        }
        let sequence = self.open_place(key, None);
        let finish = Finish::merge(Merge::Streams, self.protocol_of(key));
        let gather = Gather::in_lanes(finish, slots().collect());
        let part = |step: Step| Part {
            slot: step.slot,
            command,
            bytes: step.request,
        };
        self.send_in_lanes(key, sequence, gather, steps.into_iter().map(part));
        Taken::Yes
    }

    /// Sends the parts of a request, each to the owner of its slot.
    pub(super) fn send_in_lanes(
        &mut self,
        key: ClientKey,
        sequence: Sequence,
        gather: Gather<Finish>,
        parts: impl Iterator<Item = Part>,
    ) {
        self.gather_at(key, sequence, gather);
        for (index, part) in parts.enumerate() {
            let ticket = Ticket {
                client: key,
                sequence,
                part: index as u32,
            };
            let protocol = self.protocol_of(key);
            let target = Target::Slot(part.slot);
            let dispatched = self.dispatched(ticket, part.command, target, None, protocol);
            self.send_in_lane(dispatched, part);
        }
    }

    fn send_in_lane(&mut self, dispatched: Dispatched, part: Part) {
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let target = Target::Slot(part.slot);
        let plan = self.read_plan(client, part.command, target);
        self.read_plan_leaves(plan, client, sequence);
        let dispatched = Dispatched {
            target,
            lane: (!plan.is_replica()).then_some(part.slot),
            is_noted: plan.is_noted(),
            ..dispatched
        };
        match self.planned_connection(client, plan, target, dispatched.protocol) {
            Ok(connection) => self.send(connection, dispatched, &part.bytes),
            Err(reason) => self.park(dispatched, part.bytes, false, reason),
        }
    }

    fn take_from_first(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        steps: Vec<Step>,
    ) -> Taken {
        if !self.is_settled(key) || !self.has_room_at(key, steps.first().map(|step| step.slot)) {
            return Taken::NotYet;
        }
        let ticket = Ticket {
            client: key,
            sequence: self.open_place(key, None),
            part: 0,
        };
        let protocol = self.protocol_of(key);
        let pass = Pass {
            dispatched: self.dispatched(ticket, command, Target::Any, None, protocol),
            rest: steps.into_iter(),
        };
        self.ask_next_slot(pass);
        if let Some(client) = self.clients.get(key) {
            client.map_version = UNSETTLED;
        }
        Taken::Yes
    }

    fn ask_next_slot(&mut self, mut pass: Pass) {
        let Some(Step { slot, request }) = pass.rest.next() else {
            return;
        };
        let dispatched = pass.dispatched;
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let gather = Gather::in_lanes(Finish::Pass(Box::new(pass)), vec![slot]);
        self.gather_at(client, sequence, gather);
        let part = Part {
            slot,
            command: dispatched.command,
            bytes: request,
        };
        self.send_in_lane(dispatched, part);
    }

    /// A slot answered: with what the client gets, or nothing, and the next one is asked.
    pub(super) fn slot_passed(&mut self, pass: Pass, reply: &[u8]) {
        let dispatched = pass.dispatched;
        if !is_nothing(reply) || pass.rest.as_slice().is_empty() {
            return self.reply_or_go_on(dispatched.ticket, reply);
        }
        if self.has_expired(&dispatched) {
            let seconds = self.now_us.saturating_sub(dispatched.received_us) as f64 / 1e6;
            let text = format!(
                "CLUSTERDOWN the nodes answer late; '{}' was tried for {seconds:.1} s and took nothing; try again",
                dispatched.command.name
            );
            return self.fail(dispatched.ticket, ErrorKind::Deadline, &text);
        }
        self.ask_next_slot(pass);
    }
}
