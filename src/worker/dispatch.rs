//! The one place that knows clients *and* connections: a request gets its place in the client's
//! reply queue, and its bytes go to the outboxes of the nodes.

use super::clients::Client;
use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use super::replica_reads::ReadPlan;
use super::requests::Taken;
use crate::cluster::Slot;
use crate::command::{self, Access, Command, KeysError, Merge};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::{Args, Protocol};
use crate::routing::merge::MergePlan;
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::{Dispatched, Role};

/// Redis' own text (contract: M2).
pub(super) const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Why the keys of a request name no one place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongKeys {
    /// They lie in several slots (contract: M2).
    SeveralSlots,
    /// One has no value.
    Unpaired,
    /// Only a node can tell them.
    Unknown,
}

/// A private connection is for one node, which has to be known.
fn unknown_keys(command: &Command) -> Vec<u8> {
    format!(
        "ERR '{}' is not served by Keyway: it may block, and the servers do not specify where its keys are; \
         connect to the node directly for it",
        command.name
    )
    .into_bytes()
}

impl Core {
    /// Whether the client's next request may be routed now. Requests that are outstanding under an
    /// older slot map may still be sent elsewhere; a newer one must not overtake them
    /// (contract: R13).
    #[inline]
    pub(super) fn may_route(&mut self, key: ClientKey) -> bool {
        let map_version = self.map_version;
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.map_version == map_version {
            return true;
        }
        if !client.replies.is_settled() {
            return false;
        }
        client.map_version = map_version;
        true
    }

    /// Whether a connection takes more requests; if not, the client is woken once it does
    /// (contract: F6).
    #[inline]
    pub(super) fn has_room(&mut self, key: ConnectionKey, client: ClientKey) -> bool {
        let limit = self.limits.outbox_bytes;
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return true;
        };
        if connection.outbox.len() < limit {
            return true;
        }
        connection.wait_for_room(client);
        false
    }

    /// The same for a request that goes to the owners of several slots. How much waits for other nodes does not matter
    /// (contract: F4).
    pub(super) fn has_room_at(
        &mut self,
        client: ClientKey,
        slots: impl IntoIterator<Item = Slot>,
    ) -> bool {
        let mut last = None;
        for slot in slots {
            let owner = self.nodes.owner(slot);
            if owner == last {
                continue;
            }
            last = owner;
            if let Some(owner) = owner
                && !self.has_room_at_node(client, owner)
            {
                return false;
            }
        }
        let reads_elsewhere = |client: &mut Client| client.reads.is_some();
        if !self.clients.get(client).is_some_and(reads_elsewhere) {
            return true;
        }
        let limit = self.limits.outbox_bytes;
        let full = self.connections.iter_mut().find(|(_, connection)| {
            connection.role == Role::Read && connection.outbox.len() >= limit
        });
        full.is_none_or(|(_, connection)| {
            connection.wait_for_room(client);
            false
        })
    }

    fn has_room_at_node(&mut self, client: ClientKey, node: NodeKey) -> bool {
        let protocol = self.protocol_of(client);
        // A node that cannot be reached holds up nobody here: what is for it is parked.
        match self.clients_connection(client, node, protocol) {
            Ok(connection) => self.has_room(connection, client),
            Err(_) => true,
        }
    }

    /// The same for a request to all primaries, and all their replicas if they are asked as well.
    pub(super) fn has_room_everywhere(&mut self, client: ClientKey, with_replicas: bool) -> bool {
        let primaries = self.nodes.shards().iter().map(|(_, node)| *node);
        let mut nodes: Vec<NodeKey> = primaries.collect();
        if with_replicas {
            nodes.extend(self.nodes.replicas_to_ask());
        }
        nodes
            .into_iter()
            .all(|node| self.has_room_at_node(client, node))
    }

    #[inline]
    pub(super) fn open_place(&mut self, key: ClientKey, lane: Option<Slot>) -> Sequence {
        match self.clients.get(key) {
            Some(client) => {
                debug_assert!(client.session.is_at_home(), "it goes as somebody else");
                let is_muted = client.session.next_is_muted();
                client.replies.open(is_muted, lane)
            }
            None => Sequence::default(),
        }
    }

    /// A command whose keys share a slot: the path of most requests.
    #[inline]
    pub fn plan_keyed(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        match self.target_of(key, command, args) {
            Ok(target) => self.forward(key, command, target, args.frame()),
            Err(WrongKeys::Unknown) => self.plan_asked(key, command, args),
            Err(WrongKeys::SeveralSlots) if let Some(across) = self.across_of(command) => {
                self.plan_across(key, across, command, args)
            }
            Err(WrongKeys::SeveralSlots) if let Some(steps) = self.pass_of(command, args) => {
                self.plan_pass(key, command, steps)
            }
            Err(refusal) => self.refuse_keys(key, command, args, refusal),
        }
    }

    /// Where a request goes whose keys share a slot.
    #[inline]
    pub(super) fn target_of(
        &self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Result<Target, WrongKeys> {
        match command::key_positions(command, args) {
            Ok(positions) => {
                let mut slots = positions
                    .iter()
                    .map(|at| Slot::of_key(args.get(at).unwrap_or_default()));
                match slots.next() {
                    None => Ok(self.any_for(key)),
                    Some(slot) if slots.all(|other| other == slot) => Ok(Target::Slot(slot)),
                    Some(slot) if self.nodes.is_standalone() => Ok(Target::Slot(slot)),
                    Some(_) => Err(WrongKeys::SeveralSlots),
                }
            }
            Err(KeysError::Pairs) => Err(WrongKeys::Unpaired),
            Err(KeysError::Asked) => Err(WrongKeys::Unknown),
            // The server has the right words for arguments that make no sense. It may still find keys
            // among them (`ZUNION " 1" k`) and name their owner: `Any` is redirected like a slot.
            Err(_) => Ok(Target::Any),
        }
    }

    /// Answers a request that has no one place to go to.
    #[cold]
    pub(super) fn refuse_keys(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        wrong: WrongKeys,
    ) -> Taken {
        match wrong {
            WrongKeys::SeveralSlots => {
                self.refuse_request(key, args, ErrorKind::CrossSlot, |_| CROSSSLOT.into())
            }
            WrongKeys::Unknown => {
                self.refuse_request(key, args, ErrorKind::Refused, |_| unknown_keys(command))
            }
            WrongKeys::Unpaired => self.refuse_request(key, args, ErrorKind::Arity, |_| {
                command::errors::wrong_arity(command)
            }),
        }
    }

    /// Sends a request as it is to one node.
    #[inline]
    pub(super) fn forward(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        target: Target,
        bytes: &[u8],
    ) -> Taken {
        if !self.may_route(key) {
            return Taken::NotYet;
        }
        let plan = self.read_plan(key, command, target);
        if plan == ReadPlan::Wait {
            return Taken::NotYet;
        }
        let protocol = self.protocol_of(key);
        if !self.large_keys.is_empty()
            && !plan.is_replica()
            && self.is_large_read(key, command, bytes)
        {
            let to = (target, self.lane_of(target));
            self.forward_large(key, command, to, protocol, bytes);
            return Taken::Yes;
        }
        let connection = self.planned_connection(key, plan, target, protocol);
        let reply_bytes = self.reply_bytes_of(key, command);
        if let Ok(connection) = &connection
            && !(self.has_room(*connection, key)
                && (reply_bytes == 0 || self.has_reply_room(*connection, key, reply_bytes)))
        {
            return Taken::NotYet;
        }
        let lane = match plan.is_replica() {
            true => None,
            false => self.lane_of(target),
        };
        let ticket = Ticket {
            client: key,
            sequence: self.open_place(key, lane),
            part: 0,
        };
        self.read_plan_leaves(plan, key, ticket.sequence);
        let mut dispatched = self.dispatched(ticket, command, target, lane, protocol);
        dispatched.is_noted = plan.is_noted();
        match connection {
            Ok(connection) => {
                self.send(connection, dispatched, bytes);
                if reply_bytes > 0 {
                    self.expect_reply_bytes(connection, ticket, reply_bytes);
                }
            }
            Err(reason) => self.park(dispatched, bytes.to_vec(), false, reason),
        }
        Taken::Yes
    }

    /// The lane of a request for a target.
    #[inline]
    pub(super) fn lane_of(&self, target: Target) -> Option<Slot> {
        match target {
            // One server, one order: its clients may ask for keys of several slots at once.
            _ if self.nodes.is_standalone() => Slot::new(0),
            Target::Slot(slot) => Some(slot),
            Target::Primary(..) | Target::Node(_) | Target::Any => None,
        }
    }

    #[inline]
    pub(super) fn dispatched(
        &self,
        ticket: Ticket,
        command: &'static Command,
        target: Target,
        lane: Option<Slot>,
        protocol: Protocol,
    ) -> Dispatched {
        Dispatched {
            ticket,
            command,
            target,
            lane,
            protocol,
            received_us: self.now_us,
            attempts: 0,
            is_noted: false,
            may_be_done: false,
            caching: self.trackers.caching,
        }
    }

    /// A command that is split by slot (contract: M1).
    pub fn plan_split(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        merge: Merge,
    ) -> Taken {
        let Ok(positions) = command::key_positions(command, args) else {
            // `MSET a 1 b`. A server has these words for it; a node of a cluster would speak of slots.
            return self.refuse_request(key, args, ErrorKind::Arity, |_| {
                command::errors::wrong_arity(command)
            });
        };
        let step = command.keys.step();
        let mut splitter = std::mem::take(&mut self.splitter);
        let whole = splitter.group(args, positions.iter());
        let taken = match whole {
            Some(slot) => self.forward(key, command, Target::Slot(slot), args.frame()),
            None if self.nodes.is_standalone() => {
                self.forward(key, command, Target::Any, args.frame())
            }
            None if !self.may_route(key)
                || !self.has_room_at(key, splitter.parts().map(|part| part.slot)) =>
            {
                Taken::NotYet
            }
            None if self.holds_back_parts(key, command, splitter.parts().map(|part| part.slot)) => {
                Taken::NotYet
            }
            None => {
                self.send_split(key, command, args, merge, &splitter, step);
                Taken::Yes
            }
        };
        self.splitter = splitter;
        taken
    }

    fn send_split(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        merge: Merge,
        splitter: &crate::routing::split::Splitter,
        step: usize,
    ) {
        let protocol = self.protocol_of(key);
        let order = match merge {
            Merge::ByKey => splitter.order(),
            _ => Vec::new(),
        };
        let plan = MergePlan {
            order,
            ..MergePlan::new(merge, protocol)
        };
        let sequence = self.open_place(key, None);
        let lanes = splitter.parts().map(|part| part.slot).collect();
        let is_write = command.access == Access::Write;
        let gather = Gather::in_lanes(Finish::Merge(plan), lanes).telling_no_values(is_write);
        self.gather_at(key, sequence, gather);
        for (index, part) in splitter.parts().enumerate() {
            let ticket = Ticket {
                client: key,
                sequence,
                part: index as u32,
            };
            let target = Target::Slot(part.slot);
            let plan = self.read_plan(key, command, target);
            self.read_plan_leaves(plan, key, sequence);
            let lane = (!plan.is_replica()).then_some(part.slot);
            let mut dispatched = self.dispatched(ticket, command, target, lane, protocol);
            dispatched.is_noted = plan.is_noted();
            match self.planned_connection(key, plan, target, protocol) {
                Ok(connection) => self.send_with(connection, dispatched, |out| {
                    splitter.write_part(args, part, step, out);
                }),
                Err(reason) => {
                    let mut bytes = Vec::new();
                    splitter.write_part(args, part, step, &mut bytes);
                    self.park(dispatched, bytes, false, reason);
                }
            }
        }
    }

    pub(super) fn gather_at(&mut self, key: ClientKey, sequence: Sequence, gather: Gather<Finish>) {
        if let Some(client) = self.clients.get(key) {
            client.replies.gather_at(sequence, gather);
        }
    }

    /// Writes a request straight into a connection's outbox.
    pub(super) fn send_with(
        &mut self,
        key: ConnectionKey,
        dispatched: Dispatched,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.send_with(dispatched, write, self.now_us);
            self.tallies.in_flight.add(1);
        }
    }
}
