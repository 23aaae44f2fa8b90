//! Reads over several slots, for those who asked for them (`compatibility.cross_slot_reads`; contract:
//! M3). What is asked and computed is in [`routing::across`](crate::routing::across); here the parts
//! leave, and a read that fetches too much is given up.

use super::core::Core;
use super::finish::Finish;
use super::requests::Taken;
use crate::command::{self, Across, Command};
use crate::config::CrossSlotReads;
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::Args;
use crate::routing::across::Computation;
use crate::routing::across::double::DoubleFormat;
use crate::telemetry::worker_tallies::ErrorKind;

impl Core {
    /// How a request whose keys are in several slots is computed, if it may be.
    #[cold]
    pub(super) fn across_of(&self, command: &Command) -> Option<Across> {
        match self.local.cross_slot_reads {
            CrossSlotReads::Emulate => command.across,
            CrossSlotReads::Refuse => None,
        }
    }

    /// Sends the parts of such a request.
    #[cold]
    pub(super) fn plan_across(
        &mut self,
        key: ClientKey,
        across: Across,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        if !self.may_route(key) {
            return Taken::NotYet;
        }
        let protocol = self.protocol_of(key);
        let format = self.double_format();
        // The keys were found once already, so there is no mistake in them.
        let positions: Vec<usize> = command::key_positions(command, args)
            .map(|positions| positions.iter().collect())
            .unwrap_or_default();
        let planned = Computation::plan(across, args, &positions, protocol, format);
        let (computation, parts) = match planned {
            Ok(plan) => plan,
            Err(text) => {
                return self.refuse_request(key, args, ErrorKind::Upstream, |_| text.into());
            }
        };
        if !self.has_room_at(key, parts.iter().map(|part| part.slot)) {
            return Taken::NotYet;
        }
        let sequence = self.open_place(key, None);
        let lanes = parts.iter().map(|part| part.slot).collect();
        let finish = Finish::Across(Box::new(computation));
        let gather = Gather::in_lanes(finish, lanes).at_most(self.limits.cross_slot_read_bytes);
        self.send_in_lanes(key, sequence, gather, parts.into_iter());
        Taken::Yes
    }

    /// How the servers write scores.
    fn double_format(&self) -> DoubleFormat {
        let version = self
            .nodes
            .topology()
            .map(|topology| &*topology.server_version);
        DoubleFormat::of_server(version.unwrap_or_default())
    }

    /// The parts that came hold more than may be kept (contract: F6). Those that are still to come are
    /// dropped.
    #[cold]
    pub(super) fn give_up_gather(&mut self, ticket: Ticket) {
        if let Some(client) = self.clients.get(ticket.client) {
            drop(client.replies.take_gather(ticket.sequence));
        }
        let text = format!(
            "ERR what this read over several slots needs is more than {} bytes \
             (limits.cross_slot_read_bytes); give the keys one hash tag, so that one node computes it",
            self.limits.cross_slot_read_bytes
        );
        self.fail(ticket, ErrorKind::Limit, &text);
    }
}
