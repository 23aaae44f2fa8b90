//! `EXEC`: the whole block goes out at once, behind what the client sent before, as any request.

use super::only_primary::SEVERAL_PRIMARIES;
use crate::cluster::Slot;
use crate::command::{Command, block_row};
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::Args;
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;
use crate::worker::core::Core;
use crate::worker::requests::Taken;

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Core {
    /// `EXEC` of a client in a transaction.
    pub(super) fn plan_exec(&mut self, key: ClientKey) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let is_watching = client.watch.is_some();
        let Some(transaction) = &client.transaction else {
            return Taken::Yes;
        };
        if transaction.is_aborted {
            self.end_transaction(key);
            return self.refuse_without_abort(key, ABORTED);
        }
        let is_cut = transaction.queue.is_cut;
        if transaction.queue.needs_only_primary && self.lost_only_primary(is_watching) {
            self.end_transaction(key);
            return self.refuse_without_abort(key, SEVERAL_PRIMARIES);
        }
        if is_watching || is_cut {
            self.exec_in_steps(key)
        } else {
            self.exec_block(key)
        }
    }

    /// `EXEC` or `EXEC x`: what is refused for its arity ends the transaction as well.
    pub(in crate::worker) fn refuse_arity(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let taken = self.refuse_request(key, args, ErrorKind::Arity, |_| {
            crate::command::errors::wrong_arity(command)
        });
        if command.is_block() {
            self.end_transaction(key);
        }
        taken
    }

    /// The path of most transactions: one slot, one block.
    fn exec_block(&mut self, key: ClientKey) -> Taken {
        if !self.may_route(key) {
            return Taken::NotYet;
        }
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let Some(slot) = client
            .transaction
            .as_ref()
            .map(|transaction| transaction.queue.slot)
        else {
            return Taken::Yes;
        };
        let protocol = client.session.protocol;
        let target = self.block_target(key, slot);
        let connection = self.connection_for(key, target, protocol);
        if let Ok(connection) = &connection
            && !self.has_room(*connection, key)
        {
            return Taken::NotYet;
        }
        let lane = self.lane_of(target);
        let ticket = Ticket {
            client: key,
            sequence: self.open_place(key, lane),
            part: 0,
        };
        let transaction = self.clients.get(key).and_then(|c| c.transaction.take());
        let Some(transaction) = transaction else {
            return Taken::Yes;
        };
        let queue = transaction.queue;
        let commands = queue.commands.len() as u32;
        let row = block_row(queue.is_repeatable);
        let bytes = queue.into_block();
        let dispatched = self.dispatched(ticket, row, target, lane, protocol);
        match connection {
            Ok(connection) => self.send_block(connection, dispatched, &bytes, commands),
            Err(reason) => self.park(dispatched, bytes, false, reason),
        }
        Taken::Yes
    }

    /// Where a block goes: its slot's owner, or any one primary when it has no key.
    pub(super) fn block_target(&self, key: ClientKey, slot: Option<Slot>) -> Target {
        match slot {
            Some(slot) => Target::Slot(slot),
            None => self.any_for(key),
        }
    }

    /// Sends one of several blocks.
    pub(in crate::worker) fn send_or_park_block(
        &mut self,
        dispatched: Dispatched,
        bytes: Vec<u8>,
        commands: u32,
    ) {
        if dispatched.command.needs_only_primary()
            && let Some(reason) = self.unknown_primaries()
        {
            return self.park(dispatched, bytes, false, reason);
        }
        match self.connection_for(
            dispatched.ticket.client,
            dispatched.target,
            dispatched.protocol,
        ) {
            Ok(connection) => self.send_block(connection, dispatched, &bytes, commands),
            Err(reason) => self.park(dispatched, bytes, false, reason),
        }
    }
}
