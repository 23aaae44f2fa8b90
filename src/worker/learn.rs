//! Commands that the table does not know (contract: R2): taking over what was learnt, and for those whose
//! keys only a node can tell, asking it.
//!
//! Such a request goes alone: it is sent once its client's earlier requests are answered, and holds the
//! later ones back, since nobody knows which keys it will work on (contract: R13). What a node has told is
//! remembered where it certainly holds for other requests ([`super::key_shapes`]); those are handled as any
//! other.

use std::collections::HashMap;
use std::sync::Arc;

use super::clients::UNSETTLED;
use super::core::Core;
use super::dispatch::CROSSSLOT;
use super::finish::Finish;
use super::requests::Taken;
use crate::cluster::Slot;
use crate::command::{self, Command, KeyPositions, Keys, LearntCommands, Lookup};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::reply::{elements, text};
use crate::resp::{Args, with_args, write};
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// What is said of a command that might be the servers' own, while none of them can be asked.
const UNTAUGHT: &str = "CLUSTERDOWN no seed has told the topology yet; a command that only the servers can know waited for one \
                        and was not executed; check cluster.seeds and that the nodes are up";

impl Core {
    /// Takes over what was learnt; clients that waited for it go on.
    pub fn take_learnt(&mut self, learnt: Arc<LearntCommands>) {
        self.learnt = learnt;
        // A command may find its keys elsewhere in another version of its module.
        self.key_shapes.clear();
        self.untaught = HashMap::new();
        if std::mem::take(&mut self.awaits_learnt) {
            for (_, client) in self.clients.iter_mut() {
                if client.is_stalled {
                    client.wake();
                }
            }
        }
    }

    /// Neither the table nor the servers know the command, as far as they were asked.
    #[cold]
    pub(super) fn refuse_unknown(
        &mut self,
        key: ClientKey,
        missed: Lookup,
        args: &Args<'_>,
    ) -> Taken {
        if command::is_http(args.name()) {
            return self.refuse_http(key);
        }
        if self.awaits_learnt {
            // A moment after the start; or no seed has answered yet, and what is said now would be taken for the last
            // word on a module's command. A known command's unknown sub-command is likelier one that its client
            // only tries when it connects, and does not wait for: `CLIENT` has such.
            let waits = self.nodes.topology().is_some() || matches!(missed, Lookup::Unknown);
            if waits && !self.has_waited_for_lesson(key) {
                return Taken::NotYet;
            }
            if waits && self.nodes.topology().is_none() {
                return self.refuse_request(key, args, ErrorKind::Deadline, |_| UNTAUGHT.into());
            }
        }
        self.teaching.request();
        self.refuse_request(key, args, ErrorKind::UnknownCommand, |args| match missed {
            Lookup::UnknownSubcommand(container) => {
                command::errors::unknown_subcommand(container, args)
            }
            Lookup::Unknown | Lookup::Found(_) => command::errors::unknown_command(args),
        })
    }

    /// Whether a client has waited for the first lesson as long as any request waits (contract: F1 F5). It begins
    /// with the first time it is asked.
    fn has_waited_for_lesson(&mut self, key: ClientKey) -> bool {
        let since_us = *self.untaught.entry(key).or_insert(self.now_us);
        let is_over = self.now_us.saturating_sub(since_us) >= self.limits.request_timeout_us;
        if is_over {
            self.untaught.remove(&key);
        }
        is_over
    }

    /// Those whose time is over are woken, and then told so.
    pub(super) fn look_after_untaught(&mut self) {
        let (now_us, limit_us) = (self.now_us, self.limits.request_timeout_us);
        let clients = &mut self.clients;
        self.untaught.retain(|key, since_us| {
            let Some(client) = clients.get(*key) else {
                return false;
            };
            if now_us.saturating_sub(*since_us) >= limit_us {
                client.wake();
            }
            true
        });
    }

    /// A request whose keys only a node can tell.
    #[cold]
    pub(super) fn plan_asked(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        if self.nodes.is_standalone() && self.is_free(key) {
            let target = self.any_for(key);
            return self.forward(key, command, target, args.frame());
        }
        if let Some(positions) = self.key_shapes.find(command, args) {
            let keys = positions.iter().filter_map(|at| args.get(*at as usize));
            return match one_slot(keys) {
                Ok(Some(slot)) => self.forward(key, command, Target::Slot(slot), args.frame()),
                Ok(None) => {
                    let target = self.any_for(key);
                    self.forward(key, command, target, args.frame())
                }
                Err(SeveralSlots) => {
                    self.refuse_request(key, args, ErrorKind::CrossSlot, |_| CROSSSLOT.into())
                }
            };
        }
        if !self.is_settled(key)
            || !self.may_route(key)
            || !self.has_room_at(key, self.slot_of_any(key))
        {
            return Taken::NotYet;
        }
        let Some(getkeys) = command::row_named("command|getkeys") else {
            return Taken::Yes;
        };
        let sequence = self.open_place(key, None);
        let protocol = self.protocol_of(key);
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        let target = self.any_for(key);
        let request = self.dispatched(ticket, command, target, None, protocol);
        let finish = Finish::Keys {
            request,
            bytes: args.frame().to_vec(),
        };
        self.gather_at(key, sequence, Gather::new(finish, 1));
        if let Some(client) = self.clients.get(key) {
            client.map_version = UNSETTLED;
        }
        let mut question = Vec::with_capacity(args.frame().len() + 64);
        write::array(&mut question, args.len() + 2);
        write::bulk(&mut question, b"COMMAND");
        write::bulk(&mut question, b"GETKEYS");
        question.extend_from_slice(args.raw(0, args.len()));
        self.send_or_park(
            Dispatched {
                command: getkeys,
                ..request
            },
            &question,
        );
        Taken::Yes
    }

    /// The slot of a request whose keys only a node can tell, as far as it is known without asking:
    /// from an earlier answer, else from what is specified. The node says whether it is right.
    pub(super) fn known_slot(&self, command: &'static Command, args: &Args<'_>) -> Option<Slot> {
        if let Some(positions) = self.key_shapes.find(command, args) {
            let mut keys = positions.iter().filter_map(|at| args.get(*at as usize));
            return keys.next().map(Slot::of_key);
        }
        specified(command, args)
            .first()
            .and_then(|at| args.get(at))
            .map(Slot::of_key)
    }

    /// A node has told the keys of a request, or that it cannot.
    pub(super) fn keys_were_told(&mut self, request: Dispatched, bytes: &[u8], reply: &[u8]) {
        if with_args(bytes, |args| self.refuse_told(request, args, reply)) == Some(true) {
            return;
        }
        let target = with_args(bytes, |args| self.target_of_told(request, args, reply));
        match target {
            Some(Ok(target)) => {
                let Ticket {
                    client, sequence, ..
                } = request.ticket;
                // It waits for nothing: its client has nothing else on its way.
                let plan = self.read_plan(client, request.command, target);
                self.read_plan_leaves(plan, client, sequence);
                let request = Dispatched {
                    target,
                    is_noted: plan.is_noted(),
                    ..request
                };
                match self.planned_connection(client, plan, target, request.protocol) {
                    Ok(connection) => self.send(connection, request, bytes),
                    Err(reason) => self.park(request, bytes.to_vec(), false, reason),
                }
            }
            Some(Err(SeveralSlots)) => {
                self.fail(request.ticket, ErrorKind::CrossSlot, CROSSSLOT);
            }
            None => {}
        }
    }

    fn target_of_told(
        &mut self,
        request: Dispatched,
        args: &Args<'_>,
        reply: &[u8],
    ) -> Result<Target, SeveralSlots> {
        if self.nodes.is_standalone() {
            return Ok(self.any_for(request.ticket.client));
        }
        let keys: Option<Vec<&[u8]>> = elements(reply).map(|keys| keys.filter_map(text).collect());
        let slot = match keys {
            Some(keys) => {
                let limit = self.limits.key_shapes;
                self.key_shapes.note(request.command, args, &keys, limit);
                one_slot(keys.into_iter())?
            }
            // It has none, or the request is wrong, or this node does not know the command: what is
            // specified leads at least to a node that says so.
            None => {
                let known = specified(request.command, args);
                one_slot(known.iter().filter_map(|at| args.get(at)))?
            }
        };
        Ok(match slot {
            Some(slot) => Target::Slot(slot),
            None => self.any_for(request.ticket.client),
        })
    }
}

/// The keys that are specified, where there may be others.
fn specified(command: &Command, args: &Args<'_>) -> KeyPositions {
    match command.keys {
        Keys::Asked(specs) => command::spec::positions(&specs.0, args).unwrap_or_default(),
        _ => KeyPositions::default(),
    }
}

struct SeveralSlots;

/// The one slot of all keys; `None` without a key.
fn one_slot<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Result<Option<Slot>, SeveralSlots> {
    let mut slots = keys.map(Slot::of_key);
    let Some(slot) = slots.next() else {
        return Ok(None);
    };
    match slots.all(|other| other == slot) {
        true => Ok(Some(slot)),
        false => Err(SeveralSlots),
    }
}
