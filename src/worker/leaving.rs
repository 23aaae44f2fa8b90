//! A blocked client that leaves, or sends no more: which of the two cannot be told (contract: T5, P3).
//!
//! One server looks at a request before it notices the end of its client: what is there then the client gets, and
//! afterwards it is not blocked any more. So here: a call that is with its node is followed by the end of its
//! connection, which the node sees right behind it. One that was not written yet is asked over the shared connection
//! without blocking, before whatever others send from now on.

use super::blocking::BlockedBy;
use super::clients::Phase;
use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use crate::command::block::{BEGIN, END};
use crate::command::block_asked_once;
use crate::pipeline::{ClientKey, Gather};
use crate::resp::with_args;
use crate::upstream::{self, Caching, Dispatched};

/// How long such a client is waited for at most: for nodes that neither answer nor close.
pub(super) const LEAVING_US: u64 = 1_000_000;

/// The shortest time that every command can be given.
const SHORTEST_US: u64 = 1_000;

impl Core {
    /// A blocked client is gone, or Keyway lets it go: its private connections are closed at once, so
    /// that nothing is popped for nobody (contract: T5).
    pub(super) fn abandon_blocked(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(blocked) = client.blocked.take() else {
            return;
        };
        client.wake();
        self.tallies.blocked_clients.subtract(1);
        let mut calls = blocked.calls.into_iter().filter(|call| !call.is_done);
        let Some(first) = calls.next() else {
            return;
        };
        // Nothing is put together out of what some of them have said.
        drop(client.replies.take_gather(first.ticket.sequence));
        let connections = [first.connection]
            .into_iter()
            .chain(calls.map(|call| call.connection));
        for connection in connections.flatten() {
            self.close_lease(connection);
        }
        self.reply(first.ticket, b"");
    }

    /// The client sends no more while it is blocked. It may still get a reply that is on its way.
    pub(super) fn blocked_input_ended(&mut self, key: ClientKey) {
        let now_us = self.now_us;
        if self.ask_once_instead(key) {
            return;
        }
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return;
        };
        if !blocked.is_by_command() {
            // These do not wait for somebody else to come, and have a deadline.
            return;
        }
        let pending = || blocked.calls.iter().filter(|call| !call.is_done);
        if !pending().any(|call| call.connection.is_some() || call.is_asking) {
            return self.leave_blocked(key);
        }
        let last: Vec<ConnectionKey> = pending()
            .filter(|call| call.is_last_on_its_connection())
            .filter_map(|call| call.connection)
            .collect();
        blocked.leaves_at_us = Some(now_us + LEAVING_US);
        for connection in last {
            if let Some(connection) = self.connections.get_mut(connection.0 as usize) {
                connection.finish_sending();
            }
        }
    }

    /// Asks over the shared connection, if that is there, instead of a private one that is not there yet: by then
    /// somebody else's element would have come. Returns whether it does.
    fn ask_once_instead(&mut self, key: ClientKey) -> bool {
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_ref()) else {
            return false;
        };
        let [call] = &blocked.calls[..] else {
            return false;
        };
        let is_unwritten = call.connection.is_none_or(|connection| {
            let connection = self.connections.get(connection.0 as usize);
            connection.is_none_or(|connection| connection.phase == upstream::Phase::Opening)
        });
        let can_be_asked = blocked.kind == BlockedBy::Command
            && !call.is_done
            && !call.is_asking
            && call.is_last_on_its_connection()
            && is_unwritten;
        if !can_be_asked {
            return false;
        }
        let (ticket, target, lease) = (call.ticket, call.target, call.connection);
        let (protocol, received_us) = (blocked.protocol, blocked.since_us);
        // Should the node refuse `MULTI`, it must not block everybody either.
        let shortest = blocked
            .time
            .and_then(|time| with_args(&call.bytes, |args| time.rewrite(args, SHORTEST_US)));
        let request = shortest.as_ref().unwrap_or(&call.bytes);
        let bytes = [BEGIN, request, END].concat();
        let node = self.resolve(target).ok();
        let shared = node.and_then(|node| self.nodes.connection(node, protocol));
        let Some(shared) = shared else {
            return false;
        };
        let shared_phase = self.connections.get(shared.0 as usize).map(|c| c.phase);
        if shared_phase != Some(upstream::Phase::Ready) {
            return false;
        }
        if let Some(client) = self.clients.get(key) {
            client.blocked = None;
        }
        self.tallies.blocked_clients.subtract(1);
        if let Some(lease) = lease {
            self.close_lease(lease);
        }
        self.gather_at(key, ticket.sequence, Gather::new(Finish::AskedOnce, 1));
        let dispatched = Dispatched {
            ticket,
            command: block_asked_once(),
            target,
            lane: None,
            protocol,
            received_us,
            attempts: 0,
            caching: Caching::Unsaid,
            is_noted: false,
            may_be_done: false,
        };
        self.send_again(shared, dispatched, &bytes);
        true
    }

    /// A blocked client that has left is waited for no longer.
    pub(super) fn leave_blocked(&mut self, key: ClientKey) {
        self.abandon_blocked(key);
        self.look_at_no_more(key);
    }

    /// Nothing of what the client sent behind a command that blocked it is looked at. What it was answered before, it
    /// still gets.
    pub(super) fn look_at_no_more(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && client.phase != Phase::Gone
        {
            client.phase = Phase::Leaving;
            client.is_stalled = false;
            client.input = Vec::new();
            client.input_start = 0;
            client.wake();
        }
    }
}
