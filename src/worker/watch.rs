//! `WATCH`: a client's keys are watched on a private connection, and its `EXEC` goes there
//! (contract: T3).
//!
//! All watched keys, and those of the transaction, share a slot. If the connection or its node is
//! lost, or the slot moves, nobody knows any more whether a key was touched: `EXEC` answers nil, as
//! it does when one was. What the slot's owner is, the map says, not the node that watches: one that was
//! replaced and has not heard of it would still carry `EXEC` out, after the client has read the key at its
//! heir, which may lack what it has.

use super::blocking::{BlockedBy, Call};
use super::core::Core;
use super::links::unknown_outcome;
use super::nodes::ConnectionKey;
use super::requests::Taken;
use crate::cluster::Slot;
use crate::command::Command;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::{Args, Protocol, write};
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// What a client watches.
#[derive(Debug)]
pub struct Watch {
    /// The slot of all its keys.
    pub slot: Slot,
    /// The connection that watches; `None` once it was lost.
    connection: Option<ConnectionKey>,
}

impl Core {
    /// `WATCH`.
    pub(super) fn plan_watch(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let target = match self.target_of(key, command, args) {
            Ok(target) => target,
            Err(refusal) => return self.refuse_keys(key, command, args, refusal),
        };
        let Target::Slot(slot) = target else {
            return Taken::Yes;
        };
        let is_standalone = self.nodes.is_standalone();
        let watch = self.clients.get(key).and_then(|c| c.watch.as_ref());
        if watch.is_some_and(|watch| watch.slot != slot && !is_standalone) {
            return self.refuse_request(key, args, ErrorKind::CrossSlot, |_| {
                b"CROSSSLOT Keys in request don't hash to the same slot: WATCH holds keys of one slot \
                  at a time"
                    .to_vec()
            });
        }
        if watch.is_some_and(|watch| watch.connection.is_none()) {
            return self.answer_simple(key, "OK");
        }
        if let Some(refused) = self.refuse_without_lease(key, args) {
            return refused;
        }
        if !self.is_settled(key) {
            return Taken::NotYet;
        }
        let call = Call::new(target, args.frame().to_vec());
        self.block(key, BlockedBy::Watch, command, None, call);
        Taken::Yes
    }

    /// `UNWATCH`.
    pub(super) fn plan_unwatch(&mut self, key: ClientKey) -> Taken {
        self.end_watch(key);
        self.answer_simple(key, "OK")
    }

    /// Forgets what a client watches; its connection goes back.
    pub(super) fn end_watch(&mut self, key: ClientKey) {
        let connection = self.watching_connection(key);
        if let Some(client) = self.clients.get(key) {
            client.watch = None;
        }
        if let Some(connection) = connection {
            self.unwatch(connection);
        }
    }

    fn unwatch(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.send_unheard(b"*1\r\n$7\r\nUNWATCH\r\n", self.now_us);
        }
        self.release_lease(key);
    }

    /// The client may have switched its version since it began to watch; its connection follows
    /// (contract: P1).
    pub(super) fn watch_in(&mut self, key: ClientKey, protocol: Protocol) {
        let Some(connection) = self.watching_connection(key) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(connection.0 as usize)
            && connection.protocol != protocol
        {
            connection.protocol = protocol;
            let version = match protocol {
                Protocol::Resp2 => "2",
                Protocol::Resp3 => "3",
            };
            let mut hello = Vec::new();
            write::command(&mut hello, &["HELLO", version]);
            connection.send_unheard(&hello, self.now_us);
        }
    }

    /// The connection on which a client watches. One that is not lent to it is another's by now.
    pub(super) fn watching_connection(&mut self, key: ClientKey) -> Option<ConnectionKey> {
        let connection = self.clients.get(key)?.watch.as_ref()?.connection?;
        let lessee = self.connections.get(connection.0 as usize)?.lessee();
        (lessee == Some(key)).then_some(connection)
    }

    /// `WATCH` or `EXEC` has its answer.
    pub(super) fn watch_answered(
        &mut self,
        key: ClientKey,
        kind: BlockedBy,
        from: Option<ConnectionKey>,
        target: Target,
        reply: &[u8],
    ) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if kind == BlockedBy::Exec {
            client.watch = None;
            match from {
                // Of a node that refused `MULTI` or `EXEC` itself it still watches (contract: C1).
                Some(from) if reply.first() == Some(&b'-') => self.close_lease(from),
                Some(from) => self.release_lease(from),
                None => {}
            }
            return;
        }
        if client.watch.is_some() {
            return;
        }
        match (from, target) {
            (Some(connection), Target::Slot(slot)) if reply.first() != Some(&b'-') => {
                let node = self
                    .connections
                    .get(connection.0 as usize)
                    .map(|to| to.node);
                // Meanwhile the slot may have got another owner, or `ASK` named this node for once.
                let is_owner = node.is_some() && node == self.nodes.owner(slot);
                client.watch = Some(Box::new(Watch {
                    slot,
                    connection: is_owner.then_some(connection),
                }));
                if !is_owner {
                    self.unwatch(connection);
                }
            }
            (Some(connection), _) => self.release_lease(connection),
            (None, _) => {}
        }
    }

    /// The map changed: nodes that lost the slot watch no more. An `EXEC` that is with such a node is left to it,
    /// since all that its client has read came from there.
    pub(super) fn watches_follow_map(&mut self) {
        let mut lost = Vec::new();
        for (index, connection) in &self.connections {
            let key = ConnectionKey(index as u32);
            let client = connection.lessee().and_then(|key| self.clients.get(key));
            let Some(client) = client else {
                continue;
            };
            let is_executing = client
                .blocked
                .as_ref()
                .is_some_and(|blocked| blocked.kind == BlockedBy::Exec);
            if let Some(watch) = &client.watch
                && watch.connection == Some(key)
                && !is_executing
                && self.nodes.owner(watch.slot) != Some(connection.node)
            {
                lost.push(key);
            }
        }
        for connection in lost {
            self.close_lease(connection);
        }
    }

    /// A node refused a request of a client that watches there, in a way that says that the slot is
    /// not its own any more. Returns false for a first `WATCH`, which is made again elsewhere.
    pub(super) fn watch_is_over(&mut self, ticket: Ticket, from: ConnectionKey) -> bool {
        if self.watching_connection(ticket.client) != Some(from) {
            return false;
        }
        self.close_lease(from);
        self.abort_watch(ticket);
        true
    }

    /// The connection that watches was lost with a request on it.
    pub(super) fn lost_watching(&mut self, dispatched: Dispatched, was_written: bool, why: &str) {
        let kind = self
            .clients
            .get(dispatched.ticket.client)
            .and_then(|client| client.blocked.as_ref())
            .map(|blocked| blocked.kind);
        let is_repeatable = dispatched.command.is_repeatable();
        if kind == Some(BlockedBy::Exec) && was_written && !is_repeatable {
            if let Some(client) = self.clients.get(dispatched.ticket.client) {
                client.watch = None;
            }
            self.tallies.failed(ErrorKind::OutcomeUnknown);
            let mut reply = Vec::new();
            write::error(&mut reply, unknown_outcome(&dispatched, why));
            return self.call_done(dispatched.ticket, None, &reply);
        }
        self.abort_watch(dispatched.ticket);
    }

    fn abort_watch(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        let mut reply = Vec::new();
        match client.blocked.as_ref().map(|blocked| blocked.kind) {
            Some(BlockedBy::Exec) => {
                client.watch = None;
                write::null_array(&mut reply, client.session.protocol);
            }
            _ => {
                if let Some(watch) = &mut client.watch {
                    watch.connection = None;
                }
                write::simple(&mut reply, "OK");
            }
        }
        self.call_done(ticket, None, &reply);
    }

    /// A private connection was lost while it only watched.
    pub(super) fn lost_watch(&mut self, key: ClientKey, connection: ConnectionKey) {
        if let Some(watch) = self.clients.get(key).and_then(|c| c.watch.as_mut())
            && watch.connection == Some(connection)
        {
            watch.connection = None;
        }
    }
}
