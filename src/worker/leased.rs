//! Replies of private connections: to the client that waits, or the call is made again elsewhere
//! (contract: T6).

use std::borrow::Cow;

use super::blocking::{BlockedBy, Call};
use super::clients::Phase;
use super::core::Core;
use super::links::unknown_outcome;
use super::nodes::ConnectionKey;
use super::park::{REDIRECTS, Reason};
use super::refresh_requests::RefreshReason;
use super::unblock::UNBLOCKED;
use crate::cluster::redirect::{Verdict, verdict};
use crate::pipeline::Ticket;
use crate::resp::write;
use crate::routing::NodeKey;
use crate::telemetry::worker_tallies::{ErrorKind, RedirectKind};
use crate::upstream::Dispatched;

/// So many redirects in a row are followed at once (contract: R7).
const HOPS_AT_ONCE: u8 = 4;

/// What becomes of a call after a reply that is not for the client.
enum Again {
    /// At once, at its slot's owner or the node that `ASK` named.
    Now(Option<NodeKey>),
    /// After a pause.
    Later,
}

impl Core {
    /// A private connection answered.
    pub(super) fn deliver_leased(
        &mut self,
        from: ConnectionKey,
        dispatched: Dispatched,
        reply: &[u8],
    ) {
        let node = self.connections.get(from.0 as usize).map(|c| c.node);
        let is_awaited = self
            .call_on(dispatched.ticket, from)
            .is_some_and(|call| !call.is_done);
        let (Some(node), true) = (node, is_awaited) else {
            return self.close_lease(from);
        };
        if reply.first() == Some(&b'-')
            && let Some(again) = self.call_again(node, reply)
        {
            if self.watch_is_over(dispatched.ticket, from) {
                return;
            }
            self.release_lease(from);
            self.call_later(dispatched.ticket, again, reply);
            return;
        }
        let Some(reply) = self.prelude_answered(dispatched.ticket, from, reply) else {
            return;
        };
        let reply = match self.call(dispatched.ticket).map(|call| &call.reason) {
            // The stream is not where it was asked for anew, either; there may be something else.
            Some(Reason::Server(said))
                if is_stream_gone(said)
                    && (reply.starts_with(b"-NOGROUP") || reply.starts_with(b"-WRONGTYPE")) =>
            {
                Cow::Owned(said.to_vec())
            }
            _ => reply,
        };
        match self.poll_answered(dispatched.ticket, from, &reply) {
            Some(reply) => self.call_done(dispatched.ticket, Some(from), reply),
            None => self.make_calls(dispatched.ticket.client),
        }
    }

    /// Whether an error means that the call has to be made again, and when.
    fn call_again(&mut self, node: NodeKey, reply: &[u8]) -> Option<Again> {
        let (kind, refresh, again) = match verdict(reply) {
            // A primary that became a replica lets its blocked clients go (contract: T6).
            Verdict::Pass if is_demoted(reply) => {
                self.request_refresh(RefreshReason::ReadOnly);
                return Some(Again::Later);
            }
            Verdict::Pass if is_stream_gone(reply) => return Some(Again::Later),
            Verdict::Pass => return None,
            Verdict::Moved { slot, to } => {
                let owner = self.named_node(to, node);
                if let Some(owner) = owner
                    && self.nodes.redirect(slot, owner, self.now_us)
                {
                    self.map_version += 1;
                }
                let again = owner.map_or(Again::Later, |_| Again::Now(None));
                (RedirectKind::Moved, Some(RefreshReason::Moved), again)
            }
            Verdict::Ask { to, .. } => {
                let importing = self.named_node(to, node);
                let again = importing.map_or(Again::Later, |node| Again::Now(Some(node)));
                (RedirectKind::Ask, None, again)
            }
            Verdict::TryAgain => (RedirectKind::TryAgain, None, Again::Later),
            Verdict::ClusterDown => {
                let refresh = Some(RefreshReason::ClusterDown);
                (RedirectKind::ClusterDown, refresh, Again::Later)
            }
            Verdict::Loading => (RedirectKind::Loading, None, Again::Later),
            Verdict::MasterDown => {
                let refresh = Some(RefreshReason::ClusterDown);
                (RedirectKind::MasterDown, refresh, Again::Later)
            }
            Verdict::ReadOnly => {
                let refresh = Some(RefreshReason::ReadOnly);
                (RedirectKind::ReadOnly, refresh, Again::Later)
            }
        };
        self.tallies.redirected(kind);
        if let Some(reason) = refresh {
            self.request_refresh(reason);
        }
        Some(again)
    }

    fn call_later(&mut self, ticket: Ticket, again: Again, reply: &[u8]) {
        let now_us = self.now_us;
        self.tallies.retries.increment();
        let client = self.clients.get(ticket.client);
        let blocked = client.and_then(|client| client.blocked.as_ref());
        let is_leaving = blocked.is_some_and(|blocked| blocked.leaves_at_us.is_some());
        if is_leaving && !matches!(again, Again::Now(_)) {
            // By then there might be what came after its client had left.
            return self.leave_blocked(ticket.client);
        }
        let Some(call) = self.call(ticket) else {
            return;
        };
        call.connection = None;
        call.reason = match verdict(reply) {
            // What the node said has an address that is not for clients, after a word that they would obey.
            Verdict::Moved { .. } | Verdict::Ask { .. } => Reason::Unsettled(REDIRECTS),
            _ => Reason::Server(reply.into()),
        };
        call.pause(now_us);
        if let Again::Now(asked) = again {
            call.asked = asked;
            if call.attempts <= HOPS_AT_ONCE {
                call.not_before_us = now_us;
            }
        }
        self.make_calls(ticket.client);
    }

    /// A private connection was lost with a call on it.
    pub(super) fn lost_leased(
        &mut self,
        dispatched: Dispatched,
        was_written: bool,
        reason: Reason,
        why: &str,
    ) {
        let now_us = self.now_us;
        if self.call(dispatched.ticket).is_none_or(|call| call.is_done) {
            // It was given up, and its client may wait for another one by now.
            return;
        }
        let Some(client) = self.clients.get(dispatched.ticket.client) else {
            return;
        };
        let Some(blocked) = &mut client.blocked else {
            return;
        };
        if matches!(blocked.kind, BlockedBy::Watch | BlockedBy::Exec) && client.watch.is_some() {
            return self.lost_watching(dispatched, was_written, why);
        }
        if blocked.leaves_at_us.is_some() {
            return self.leave_blocked(dispatched.ticket.client);
        }
        let part = dispatched.ticket.part as usize;
        let command = blocked.command;
        let Some(call) = blocked.calls.get_mut(part) else {
            return;
        };
        if call.poll.is_some() && was_written && !command.is_repeatable() {
            // It did not block, so nobody knows whether it took an element (contract: T7, F2).
            self.tallies.failed(ErrorKind::OutcomeUnknown);
            let dispatched = Dispatched {
                command,
                ..dispatched
            };
            let mut reply = Vec::new();
            write::error(&mut reply, unknown_outcome(&dispatched, why));
            return self.call_done(dispatched.ticket, None, &reply);
        }
        call.connection = None;
        call.reason = reason;
        // What was blocked goes on elsewhere, but a node that loses each connection after it has executed the
        // command gives an element each time.
        call.pause(now_us);
        self.tallies.retries.increment();
        self.make_calls(dispatched.ticket.client);
    }

    /// A call has its reply.
    pub(super) fn call_done(&mut self, ticket: Ticket, from: Option<ConnectionKey>, reply: &[u8]) {
        let Some(client) = self.clients.get(ticket.client) else {
            return;
        };
        let Some(blocked) = &mut client.blocked else {
            return;
        };
        let kind = blocked.kind;
        let Some(call) = blocked.calls.get_mut(ticket.part as usize) else {
            return;
        };
        call.is_done = true;
        call.connection = None;
        let (is_spoilt, target) = (call.is_spoilt, call.target);
        let since_us = blocked.since_us;
        let is_dismissed = client.phase == Phase::Leaving && blocked.is_for_ever();
        if blocked.calls.iter().all(|call| call.is_done) {
            client.blocked = None;
            client.wake();
            self.tallies.blocked_clients.subtract(1);
        }
        match (kind, from) {
            (BlockedBy::Watch | BlockedBy::Exec, from) => {
                self.watch_answered(ticket.client, kind, from, target, reply);
            }
            (_, Some(from)) if is_spoilt => self.close_lease(from),
            (_, Some(from)) => self.release_lease(from),
            (_, None) => {}
        }
        self.tallies
            .latency
            .record(self.now_us.saturating_sub(since_us));
        match is_dismissed
            && reply
                .get(1..)
                .is_some_and(|text| text.starts_with(UNBLOCKED.as_bytes()))
        {
            // It is closed without a reply (see [`Core::dismiss`]).
            true => self.reply(ticket, b""),
            false => self.reply(ticket, reply),
        }
    }

    pub(super) fn call(&mut self, ticket: Ticket) -> Option<&mut Call> {
        let blocked = self.clients.get(ticket.client)?.blocked.as_mut()?;
        let call = blocked.calls.get_mut(ticket.part as usize)?;
        (call.ticket == ticket).then_some(call)
    }

    fn call_on(&mut self, ticket: Ticket, connection: ConnectionKey) -> Option<&mut Call> {
        self.call(ticket)
            .filter(|call| call.connection == Some(connection))
    }
}

/// What a primary that became a replica says to its blocked clients, and to `WAIT` and `WAITAOF`.
fn is_demoted(reply: &[u8]) -> bool {
    let says = |words: &[u8]| memchr::memmem::find(reply, words).is_some();
    (reply.starts_with(b"-UNBLOCKED ") && says(b"instance state"))
        || (reply.starts_with(b"-ERR WAIT") && says(b"cannot be used with replica instances"))
}

/// What Redis 7.0 says to a client that waits for a consumer group when its stream is deleted, which is what a stream
/// that moves looks like to the node it leaves: it is asked for again.
fn is_stream_gone(reply: &[u8]) -> bool {
    reply.starts_with(b"-UNBLOCKED the stream key")
}
