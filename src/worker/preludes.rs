//! What goes before a blocked client's call, on the same connection, and has to succeed first.

use std::borrow::Cow;

use super::core::Core;
use super::nodes::ConnectionKey;
use super::wait;
use crate::command::stream_ids;
use crate::pipeline::Ticket;
use crate::resp::{Args, with_args};

/// What goes before a call, on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prelude {
    /// Brings the connection's offset up to now; see [`wait`].
    CatchUp,
    /// Asks for the last entries of streams; see [`stream_ids`].
    LastIds,
}

impl Core {
    /// A prelude has its reply: the call follows. Returns what the call is answered with when it had none, or its
    /// prelude failed.
    pub(super) fn prelude_answered<'a>(
        &mut self,
        ticket: Ticket,
        from: ConnectionKey,
        reply: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        let mut answer = Cow::Borrowed(reply);
        let Some(client) = self.clients.get(ticket.client) else {
            return Some(answer);
        };
        let index = ticket.part as usize;
        let Some(mut blocked) = client.blocked.take() else {
            return Some(answer);
        };
        let command = blocked.command;
        let call = blocked.calls.get_mut(index);
        let prelude = call.and_then(|call| Some((call.prelude.take()?, call)));
        let follows = match prelude {
            Some((Prelude::CatchUp, _)) => {
                if let Some(connection) = self.connections.get_mut(from.0 as usize) {
                    connection.send_unheard(wait::PING, self.now_us);
                }
                let has_succeeded = wait::prelude_succeeded(reply);
                if !has_succeeded {
                    answer = wait::prelude_failed(command, reply);
                }
                has_succeeded
            }
            Some((Prelude::LastIds, call)) => {
                let fill = |args: &Args<'_>| stream_ids::fill_last_ids(command, args, reply);
                if let Some(filled) = with_args(&call.bytes, fill) {
                    call.bytes = filled;
                }
                reply.first() == Some(&b'*')
            }
            None => false,
        };
        if follows {
            self.send_call(&mut blocked, index, from);
        }
        if let Some(client) = self.clients.get(ticket.client) {
            client.blocked = Some(blocked);
        }
        (!follows).then_some(answer)
    }
}
