//! What goes before a blocked client's call and has to succeed first.

use std::borrow::Cow;

use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use super::wait;
use crate::command::{self, stream_ids};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::{Args, with_args};
use crate::upstream::{Caching, Dispatched};

impl Core {
    /// What goes before a call on its connection has its reply: the call follows. Returns what the call is answered
    /// with when nothing went before it, or that failed.
    pub(super) fn prelude_answered<'a>(
        &mut self,
        ticket: Ticket,
        from: ConnectionKey,
        reply: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        let index = ticket.part as usize;
        let client = self.clients.get(ticket.client);
        let Some(mut blocked) = client.and_then(|client| client.blocked.take()) else {
            return Some(Cow::Borrowed(reply));
        };
        let call = blocked.calls.get_mut(index);
        let has_prelude = call.is_some_and(|call| std::mem::take(&mut call.catches_up));
        let mut answer = Cow::Borrowed(reply);
        let mut follows = false;
        if has_prelude {
            if let Some(connection) = self.connections.get_mut(from.0 as usize) {
                connection.send_unheard(wait::PING, self.now_us);
            }
            follows = wait::prelude_succeeded(reply);
            match follows {
                true => self.send_call(&mut blocked, index, from),
                false => answer = wait::prelude_failed(blocked.command, reply),
            }
        }
        if let Some(client) = self.clients.get(ticket.client) {
            client.blocked = Some(blocked);
        }
        (!follows).then_some(answer)
    }

    /// Asks for the last entries of streams with a block, before the client's call is made. That is done at once and
    /// over the shared connection: what others add from now on is what the client waits for, and a private
    /// connection may have to be opened first.
    pub(super) fn ask_last_ids(&mut self, key: ClientKey, block: Vec<u8>) {
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_ref()) else {
            return;
        };
        let Some(call) = blocked.calls.first() else {
            return;
        };
        let dispatched = Dispatched {
            ticket: call.ticket,
            command: command::block_row(true),
            target: call.target,
            lane: None,
            protocol: blocked.protocol,
            received_us: blocked.since_us,
            attempts: 0,
            is_noted: false,
            may_be_done: false,
            caching: Caching::Unsaid,
        };
        let sequence = dispatched.ticket.sequence;
        self.gather_at(key, sequence, Gather::new(Finish::LastIds, 1));
        let commands = command::block_len(&block);
        self.send_or_park_block(dispatched, block, commands);
    }

    /// The last entries are known: the call is made.
    pub(super) fn last_ids_answered(&mut self, ticket: Ticket, reply: &[u8]) {
        let client = self.clients.get(ticket.client);
        let Some(blocked) = client.and_then(|client| client.blocked.as_mut()) else {
            // It waits no longer, and this is its reply.
            return self.reply(ticket, reply);
        };
        let command = blocked.command;
        let Some(call) = blocked.calls.first_mut() else {
            return;
        };
        let fill = |args: &Args<'_>| stream_ids::fill_last_ids(command, args, reply);
        call.is_asking = false;
        // Where it could not be asked, the node fills it in, or says in its own words what is wrong.
        if reply.first() == Some(&b'*')
            && let Some(filled) = with_args(&call.bytes, fill)
        {
            call.bytes = filled;
        }
        self.make_calls(ticket.client);
    }
}
