//! The one place that knows clients *and* connections: a request gets its place in the client's
//! reply queue, and its bytes go to the outboxes of the nodes.

use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::requests::Taken;
use crate::cluster::Slot;
use crate::command::{self, Command, Handling, Keys, KeysError, Merge};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::scan::{Limits, RequestScanner, Scanned, parse_integer};
use crate::resp::{Args, Protocol, write};
use crate::routing::Target;
use crate::routing::merge::{self, MergePlan};
use crate::routing::scan_cursor;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// Redis' own text (contract: M2).
const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

impl Core {
    /// Whether the client's next request may be routed now. Requests that are outstanding under an
    /// older slot map may still be sent elsewhere; a newer one must not overtake them
    /// (contract: R13).
    #[inline]
    fn may_route(&mut self, key: ClientKey) -> bool {
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
    fn has_room(&mut self, key: ConnectionKey, client: ClientKey) -> bool {
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

    /// The same for a request that goes to many nodes.
    fn has_room_everywhere(&mut self, client: ClientKey) -> bool {
        let limit = self.limits.outbox_bytes;
        for (_, connection) in &mut self.connections {
            if connection.outbox.len() >= limit {
                connection.wait_for_room(client);
                return false;
            }
        }
        true
    }

    #[inline]
    fn open_place(&mut self, key: ClientKey, lane: Option<Slot>) -> Sequence {
        match self.clients.get(key) {
            Some(client) => {
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
        let target = match command::key_positions(command, args) {
            Ok(positions) => {
                let mut slots = positions
                    .iter()
                    .map(|at| Slot::of_key(args.get(at).unwrap_or_default()));
                match slots.next() {
                    None => self.any_for(key),
                    Some(slot) if slots.all(|other| other == slot) => Target::Slot(slot),
                    Some(slot) if self.nodes.is_standalone() => Target::Slot(slot),
                    Some(_) => {
                        return self.refuse_request(key, args, ErrorKind::CrossSlot, |_| {
                            CROSSSLOT.as_bytes().to_vec()
                        });
                    }
                }
            }
            Err(KeysError::Pairs) => {
                return self.refuse_request(key, args, ErrorKind::Arity, |_| {
                    command::errors::wrong_arity(command)
                });
            }
            // The server has the right words for arguments that make no sense.
            Err(_) => self.any_for(key),
        };
        self.forward(key, command, target, args.frame())
    }

    /// Sends a request as it is to one node.
    #[inline]
    fn forward(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        target: Target,
        bytes: &[u8],
    ) -> Taken {
        if !self.may_route(key) {
            return Taken::NotYet;
        }
        let protocol = self.protocol_of(key);
        let connection = self.connection_for(target, protocol);
        if let Ok(connection) = &connection
            && !self.has_room(*connection, key)
        {
            return Taken::NotYet;
        }
        let lane = match target {
            // One server, one order: its clients may ask for keys of several slots at once.
            _ if self.nodes.is_standalone() => Slot::new(0),
            Target::Slot(slot) => Some(slot),
            Target::Node(_) | Target::Any => None,
        };
        let ticket = Ticket {
            client: key,
            sequence: self.open_place(key, lane),
            part: 0,
        };
        let dispatched = self.dispatched(ticket, command, target, lane, protocol);
        match connection {
            Ok(connection) => self.send(connection, dispatched, bytes),
            Err(reason) => self.park(dispatched, bytes.to_vec(), false, reason),
        }
        Taken::Yes
    }

    #[inline]
    fn dispatched(
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
        let step = match command.keys {
            Keys::Range { step, .. } => usize::from(step),
            _ => 1,
        };
        let mut splitter = std::mem::take(&mut self.splitter);
        let whole = splitter.group(args, positions.iter());
        let taken = match whole {
            Some(slot) => self.forward(key, command, Target::Slot(slot), args.frame()),
            None if self.nodes.is_standalone() => {
                self.forward(key, command, Target::Any, args.frame())
            }
            None if !self.may_route(key) || !self.has_room_everywhere(key) => Taken::NotYet,
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
        let mut order = Vec::new();
        if merge == Merge::ByKey {
            order.resize(splitter.key_count(), 0);
            for (index, part) in splitter.parts().enumerate() {
                for number in splitter.numbers(part) {
                    order[number] = index as u32;
                }
            }
        }
        let plan = MergePlan {
            merge,
            protocol,
            order,
        };
        let sequence = self.open_place(key, None);
        let lanes = splitter.parts().map(|part| part.slot).collect();
        let gather = Gather::in_lanes(Finish::Merge(plan), lanes);
        self.gather_at(key, sequence, gather);
        for (index, part) in splitter.parts().enumerate() {
            let ticket = Ticket {
                client: key,
                sequence,
                part: index as u32,
            };
            let dispatched = self.dispatched(
                ticket,
                command,
                Target::Slot(part.slot),
                Some(part.slot),
                protocol,
            );
            match self.connection_for(dispatched.target, protocol) {
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

    fn gather_at(&mut self, key: ClientKey, sequence: Sequence, gather: Gather<Finish>) {
        if let Some(client) = self.clients.get(key) {
            client.replies.gather_at(sequence, gather);
        }
    }

    /// Writes a request straight into a connection's outbox.
    fn send_with(
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

    /// A command that needs the whole request to be planned, and planned anew when it could not
    /// leave: the nodes it goes to, or a cursor, depend on the map.
    pub fn plan_whole(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        if !self.may_route(key) || !self.has_room_everywhere(key) {
            return Taken::NotYet;
        }
        let sequence = self.open_place(key, None);
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        let protocol = self.protocol_of(key);
        self.spread(
            self.dispatched(ticket, command, Target::Any, None, protocol),
            args,
        );
        Taken::Yes
    }

    /// A whole request that waited is planned once more.
    pub fn plan_again(&mut self, dispatched: Dispatched, bytes: Vec<u8>) {
        let mut scanner = RequestScanner::default();
        let limits = Limits {
            bulk_bytes_max: i64::MAX,
            request_bytes_max: usize::MAX,
            is_authenticated: true,
        };
        if let Ok(Scanned::Request { len }) = scanner.scan(&bytes, &limits) {
            self.spread(dispatched, &Args::new(&bytes[..len], scanner.spans()));
        }
    }

    fn spread(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        if self.nodes.topology().is_none() {
            return self.park(dispatched, args.frame().to_vec(), true, Reason::NoTopology);
        }
        let protocol = dispatched.protocol;
        match dispatched.command.handling {
            Handling::Primaries(merge) => {
                let targets = self.primaries();
                self.broadcast(
                    dispatched,
                    args.frame(),
                    targets,
                    Finish::merge(merge, protocol),
                );
            }
            Handling::Nodes(merge) => {
                let mut targets = self.primaries();
                targets.extend(self.nodes.replicas().iter().map(|node| Target::Node(*node)));
                self.broadcast(
                    dispatched,
                    args.frame(),
                    targets,
                    Finish::merge(merge, protocol),
                );
            }
            Handling::RandomKey => {
                let targets = self.primaries();
                let mut sizes = Vec::new();
                write::command(&mut sizes, &["DBSIZE"]);
                self.broadcast(dispatched, &sizes, targets, Finish::RandomKey(dispatched));
            }
            Handling::HashArgument(at) => {
                let slot = Slot::of_key(args.get(usize::from(at)).unwrap_or_default());
                let target = Target::Slot(slot);
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    args.frame(),
                );
            }
            Handling::SlotArgument(at) => {
                let number = args.get(usize::from(at)).and_then(parse_integer);
                let slot = number.and_then(|number| Slot::new(u16::try_from(number).ok()?));
                let target = slot.map_or(Target::Any, Target::Slot);
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    args.frame(),
                );
            }
            Handling::Scan => self.scan(dispatched, args),
            _ => {
                let target = self.any_for(dispatched.ticket.client);
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    args.frame(),
                );
            }
        }
    }

    /// Any primary for a client's request, but the same one each time, so that what it does without
    /// keys (scripts, for instance) keeps its order.
    fn any_for(&self, key: ClientKey) -> Target {
        let shards = self.nodes.shards();
        match shards.get(key.index as usize % shards.len().max(1)) {
            Some((slot, _)) => Target::Slot(*slot),
            None => Target::Any,
        }
    }

    fn primaries(&self) -> Vec<Target> {
        // By slot and not by node: after a failover the part goes to whoever took over.
        self.nodes
            .shards()
            .iter()
            .map(|(slot, _)| Target::Slot(*slot))
            .collect()
    }

    fn send_or_park(&mut self, dispatched: Dispatched, bytes: &[u8]) {
        match self.connection_for(dispatched.target, dispatched.protocol) {
            Ok(connection) => self.send(connection, dispatched, bytes),
            Err(reason) => self.park(dispatched, bytes.to_vec(), false, reason),
        }
    }

    fn broadcast(
        &mut self,
        dispatched: Dispatched,
        bytes: &[u8],
        targets: Vec<Target>,
        finish: Finish,
    ) {
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        if targets.is_empty() {
            let text = "CLUSTERDOWN no primary owns a slot; try again when the cluster is up";
            return self.fail(dispatched.ticket, ErrorKind::Upstream, text);
        }
        self.gather_at(client, sequence, Gather::new(finish, targets.len()));
        for (part, target) in targets.into_iter().enumerate() {
            let ticket = Ticket {
                part: part as u32,
                ..dispatched.ticket
            };
            self.send_or_park(
                Dispatched {
                    ticket,
                    target,
                    ..dispatched
                },
                bytes,
            );
        }
    }

    fn scan(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let Some(topology) = self.nodes.topology() else {
            return;
        };
        match scan_cursor::plan(self.scan_order.of(topology), args) {
            Ok(step) => {
                // The cursor means something only to the node that the snapshot names.
                let target = match self.nodes.snapshot_owner(step.slot()) {
                    Some(node) => Target::Node(node),
                    None => Target::Slot(step.slot()),
                };
                let bytes = step.request(args);
                let finish = Finish::Scan {
                    step,
                    request: args.frame().to_vec(),
                };
                self.gather_at(client, sequence, Gather::new(finish, 1));
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    &bytes,
                );
            }
            Err(text) => self.fail(dispatched.ticket, ErrorKind::Upstream, text),
        }
    }

    /// All parts of a request are there.
    pub fn finish(&mut self, key: ClientKey, sequence: Sequence) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(gather) = client.replies.take_gather(sequence) else {
            return;
        };
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        let mut out = self.spare_buffer();
        match &gather.plan {
            Finish::Merge(plan) => {
                merge::merge(
                    plan,
                    gather.replies(),
                    &self.info_facts(plan.merge),
                    &mut out,
                );
            }
            Finish::Scan { step, .. } => {
                let reply = gather.replies().next().unwrap_or_default();
                match self.nodes.topology() {
                    Some(topology) => {
                        step.reply(self.scan_order.of(topology), reply, &mut out);
                    }
                    None => out.extend_from_slice(reply),
                }
            }
            Finish::RandomKey(dispatched) => {
                if let Some(target) = self.weigh(gather.replies()) {
                    let mut bytes = Vec::new();
                    write::command(&mut bytes, &["RANDOMKEY"]);
                    return self.send_or_park(
                        Dispatched {
                            target,
                            ..*dispatched
                        },
                        &bytes,
                    );
                }
                match gather.replies().find(|reply| reply.first() == Some(&b'-')) {
                    Some(error) => out.extend_from_slice(error),
                    None => write::null(&mut out, dispatched.protocol),
                }
            }
            Finish::Workers(answer) => answer.merge(gather.replies(), &mut out),
        }
        self.reply(ticket, &out);
        out.clear();
        self.recycle(out);
    }

    /// One primary, chosen with the weight of its size; `None` when all are empty or one failed.
    fn weigh<'a>(&self, sizes: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Target> {
        let sizes: Option<Vec<u64>> = sizes
            .map(|size| u64::try_from(crate::resp::reply::integer(size)?).ok())
            .collect();
        let sizes = sizes?;
        let total: u64 = sizes.iter().sum();
        if total == 0 {
            return None;
        }
        let mut chosen = fastrand::u64(..total);
        let index = sizes
            .iter()
            .position(|size| match chosen.checked_sub(*size) {
                Some(rest) => {
                    chosen = rest;
                    false
                }
                None => true,
            })?;
        self.nodes
            .shards()
            .get(index)
            .map(|(slot, _)| Target::Slot(*slot))
    }
}
