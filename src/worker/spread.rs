//! Requests that are planned as a whole, and anew when they could not leave: to all primaries or nodes,
//! a `SCAN` step, `RANDOMKEY`, and those that any primary answers. And what happens when all parts of a
//! request are there.

use super::clients::UNSETTLED;
use super::core::Core;
use super::finish::{Finish, WorkersAnswer};
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::requests::Taken;
use crate::cluster::Slot;
use crate::command::{Access, Command, Handling, Local, Merge, Script};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::reply::elements;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, with_args, write};
use crate::routing::Target;
use crate::routing::merge;
use crate::routing::poll::is_nothing;
use crate::routing::scan_cursor;
use crate::upstream::Dispatched;

impl Core {
    /// A command that needs the whole request to be planned, and planned anew when it could not
    /// leave: the nodes it goes to, or a cursor, depend on the map.
    pub fn plan_whole(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        // A script that does not end is ended although its connection is full.
        let needs_room = command.handling != Handling::Script(Script::Kill);
        if !self.may_route(key) || (needs_room && !self.has_room_for_whole(key, command, args)) {
            return Taken::NotYet;
        }
        // It has no lane: a part of it that waits would change places with requests on the keys that it writes.
        let is_write = matches!(command.access, Access::Write | Access::Effect);
        if is_write && !self.is_settled(key) {
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
        // The steps of a `SCAN` leave one after another.
        let holds_later = is_write || command.handling == Handling::Scan;
        if holds_later && let Some(client) = self.clients.get(key) {
            client.map_version = UNSETTLED;
        }
        Taken::Yes
    }

    /// Whether those take more requests where a request will go that is planned as a whole.
    fn has_room_for_whole(&mut self, key: ClientKey, command: &Command, args: &Args<'_>) -> bool {
        match command.handling {
            Handling::Primaries(_) | Handling::Script(_) | Handling::RandomKey => {
                self.has_room_everywhere(key, false)
            }
            Handling::Nodes(_) | Handling::Census(_) => self.has_room_everywhere(key, true),
            Handling::SlotArgument(at) => {
                let slot = slot_argument(at, args).or_else(|| self.slot_of_any(key));
                self.has_room_at(key, slot)
            }
            Handling::Scan => {
                let topology = self.nodes.topology();
                let step = topology.and_then(|topology| {
                    scan_cursor::plan(self.scan_order.of(topology), args).ok()
                });
                self.has_room_at(key, step.map(|step| step.slot()))
            }
            _ => self.has_room_at(key, self.slot_of_any(key)),
        }
    }

    /// A whole request that waited is planned once more.
    pub fn plan_again(&mut self, dispatched: Dispatched, bytes: Vec<u8>) {
        with_args(&bytes, |args| self.spread(dispatched, args));
    }

    pub(super) fn spread(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        if self.nodes.topology().is_none() {
            return self.park(dispatched, args.frame().to_vec(), true, Reason::NoTopology);
        }
        let protocol = dispatched.protocol;
        let targets = match dispatched.command.handling {
            Handling::Primaries(_)
            | Handling::Nodes(_)
            | Handling::Script(_)
            | Handling::Census(_)
            | Handling::RandomKey => match self.primaries() {
                Ok(targets) => targets,
                Err(reason) => {
                    return self.park(dispatched, args.frame().to_vec(), true, reason);
                }
            },
            _ => Vec::new(),
        };
        match dispatched.command.handling {
            Handling::Primaries(merge) => {
                let finish = match merge {
                    Merge::Info => Finish::info(args, protocol),
                    Merge::SlotStats => Finish::slot_stats(args, protocol),
                    merge => Finish::merge(merge, protocol),
                };
                self.broadcast(dispatched, args.frame(), targets, finish);
            }
            Handling::Nodes(merge) => {
                let mut targets = targets;
                targets.extend(self.nodes.replicas_to_ask().map(Target::Node));
                let finish = match merge {
                    Merge::Newest => Finish::newest(args, protocol),
                    merge => Finish::merge(merge, protocol),
                };
                self.broadcast(dispatched, args.frame(), targets, finish);
            }
            Handling::Script(script) => {
                let finish = self.spread_script(script, args, protocol);
                self.broadcast(dispatched, args.frame(), targets, finish);
            }
            Handling::RandomKey => {
                let (mut size, mut key) = (Vec::new(), Vec::new());
                write::command(&mut size, &["DBSIZE"]);
                write::command(&mut key, &["RANDOMKEY"]);
                // Both at once: asked only when the sizes are known, the chosen node would have taken
                // the client's next requests before.
                let parts = targets
                    .iter()
                    .flat_map(|target| [(*target, &*size), (*target, &*key)])
                    .collect();
                let finish = Finish::RandomKey(protocol);
                self.send_parts(dispatched, parts, finish);
            }
            Handling::Census(census) => {
                let finish = self.plan_census(census, args, protocol, dispatched.attempts);
                let Some(finish) = finish else {
                    let reason = Reason::Unsettled("subscriptions are changing");
                    return self.park(dispatched, args.frame().to_vec(), true, reason);
                };
                let mut targets = targets;
                targets.extend(self.nodes.replicas_to_ask().map(Target::Node));
                self.broadcast(dispatched, args.frame(), targets, finish);
            }
            Handling::SlotArgument(at) => {
                let target = slot_argument(at, args).map_or(Target::Any, Target::Slot);
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    args.frame(),
                );
            }
            Handling::Scan => self.scan(dispatched, args),
            Handling::Local(Local::ClientTracking) => self.spread_tracking(dispatched, args),
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
    pub(super) fn any_for(&self, key: ClientKey) -> Target {
        self.slot_of_any(key).map_or(Target::Any, Target::Slot)
    }

    /// A slot of that primary.
    pub(super) fn slot_of_any(&self, key: ClientKey) -> Option<Slot> {
        let shards = self.nodes.shards();
        let shard = shards.get(key.index as usize % shards.len().max(1))?;
        Some(shard.0)
    }

    /// Every primary, once.
    ///
    /// # Errors
    /// The map does not say at this moment which ones there are.
    pub(super) fn primaries(&self) -> Result<Vec<Target>, Reason> {
        let Some(targets) = self.nodes.primaries() else {
            self.request_refresh(RefreshReason::Moved);
            return Err(Reason::Unsettled("a new primary is not on the map yet"));
        };
        if targets.is_empty() {
            self.request_refresh(RefreshReason::Unowned);
            return Err(Reason::Unsettled("no primary owns a slot"));
        }
        Ok(targets)
    }

    pub(super) fn send_or_park(&mut self, dispatched: Dispatched, bytes: &[u8]) {
        match self.connection_of(&dispatched) {
            Ok(connection) => self.send(connection, dispatched, bytes),
            Err(reason) => self.park(dispatched, bytes.to_vec(), false, reason),
        }
    }

    pub(super) fn broadcast(
        &mut self,
        dispatched: Dispatched,
        bytes: &[u8],
        targets: Vec<Target>,
        finish: Finish,
    ) {
        let parts = targets.into_iter().map(|target| (target, bytes)).collect();
        self.send_parts(dispatched, parts, finish);
    }

    fn send_parts(&mut self, dispatched: Dispatched, parts: Vec<(Target, &[u8])>, finish: Finish) {
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let is_write = dispatched.command.access == Access::Write;
        let gather = Gather::new(finish, parts.len())
            .telling_no_values(is_write)
            .planned_at(self.now_us);
        self.gather_at(client, sequence, gather);
        for (part, (target, bytes)) in parts.into_iter().enumerate() {
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

    /// All parts of a request are there.
    pub fn finish(&mut self, key: ClientKey, sequence: Sequence) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let listener = client.session.listener;
        let Some(gather) = client.replies.take_gather(sequence) else {
            return;
        };
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        if self.was_begun_anew(key, sequence) {
            return;
        }
        if let Finish::Blocks = gather.plan {
            let replies: Vec<&[u8]> = gather.replies().collect();
            return self.blocks_answered(key, &replies);
        }
        if let Finish::LastIds = gather.plan {
            let reply = gather.replies().next().unwrap_or_default();
            return self.last_ids_answered(ticket, reply);
        }
        if let Finish::Pass(_) | Finish::Scan(_) = gather.plan {
            let reply = gather.replies().next().unwrap_or_default().to_vec();
            return match gather.plan {
                Finish::Pass(pass) => self.slot_passed(*pass, &reply),
                Finish::Scan(scanning) => self.scan_answered(*scanning, &reply),
                _ => {}
            };
        }
        let mut out = self.spare_buffer();
        match &gather.plan {
            Finish::Merge(plan) => {
                let facts = self.info_facts(plan, listener);
                merge::merge(plan, gather.replies(), &facts, &mut out);
            }
            Finish::Keys { request, bytes } => {
                let reply = gather.replies().next().unwrap_or_default();
                return self.keys_were_told(*request, bytes, reply);
            }
            Finish::ScriptExists { plan, kept } => {
                let mut on_all = Vec::new();
                merge::merge(
                    plan,
                    gather.replies(),
                    &self.info_facts(plan, listener),
                    &mut on_all,
                );
                merge::or_kept(&on_all, kept, &mut out);
            }
            Finish::ScriptBody { call, bytes, error } => {
                if self.body_was_asked_for((*call, bytes), gather.replies()) {
                    return;
                }
                out.extend_from_slice(error);
            }
            Finish::RandomKey(protocol) => {
                let replies: Vec<&[u8]> = gather.replies().collect();
                match replies.iter().find(|reply| reply.first() == Some(&b'-')) {
                    Some(error) => out.extend_from_slice(error),
                    None => match weigh(&replies) {
                        Some(key) => out.extend_from_slice(key),
                        None => write::null(&mut out, *protocol),
                    },
                }
            }
            Finish::Tracking(wanted) => {
                self.tracking_answered(key, wanted, gather.replies(), &mut out);
            }
            Finish::Barrier(pong) => out.extend_from_slice(pong),
            Finish::Across(computation) => computation.finish(gather.replies(), &mut out),
            Finish::Published(published) => {
                let answer = gather.replies().next().unwrap_or_default();
                self.count_receivers(published, answer, &mut out);
            }
            Finish::Census(asked) => self.answer_census(asked, gather.replies(), &mut out),
            Finish::Workers(answer) => answer.merge(gather.replies(), &mut out),
            Finish::AskedOnce => {
                let answer = gather.replies().next().unwrap_or_default();
                out.extend_from_slice(what_was_there(answer));
                if out.is_empty() {
                    self.look_at_no_more(key);
                }
            }
            // Looked at above.
            Finish::Blocks | Finish::LastIds | Finish::Pass(_) | Finish::Scan(_) => {}
        }
        self.reply_or_go_on(ticket, &out);
        out.clear();
        self.recycle(out);
        if matches!(gather.plan, Finish::Workers(WorkersAnswer::Monitoring)) {
            self.monitor_begins(key);
        }
    }
}

/// What the only command of a block found; nothing for a null.
fn what_was_there(answer: &[u8]) -> &[u8] {
    match elements(answer).and_then(|mut elements| elements.next()) {
        Some(found) if is_nothing(found) => b"",
        Some(found) => found,
        None => answer,
    }
}

/// One of the keys the primaries drew, chosen with the weight of their sizes; `None` when nobody has a
/// key. Size and key take turns in `replies`.
fn weigh<'a>(replies: &[&'a [u8]]) -> Option<&'a [u8]> {
    let drawn = replies.chunks_exact(2).filter_map(|pair| {
        let size = u64::try_from(crate::resp::reply::integer(pair[0])?).ok()?;
        let is_null = matches!(pair[1], b"$-1\r\n" | b"_\r\n");
        (!is_null && size > 0).then_some((size, pair[1]))
    });
    let drawn: Vec<(u64, &[u8])> = drawn.collect();
    let total: u64 = drawn.iter().map(|(size, _)| size).sum();
    let mut chosen = fastrand::u64(..total.max(1));
    for (size, key) in drawn {
        match chosen.checked_sub(size) {
            Some(rest) => chosen = rest,
            None => return Some(key),
        }
    }
    None
}

/// The slot that a request names (`CLUSTER COUNTKEYSINSLOT 1`).
fn slot_argument(at: u8, args: &Args<'_>) -> Option<Slot> {
    let number = args.get(usize::from(at)).and_then(parse_integer)?;
    Slot::new(u16::try_from(number).ok()?)
}
