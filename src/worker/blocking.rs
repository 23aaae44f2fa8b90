//! Clients that wait for the reply of a private connection: blocking commands, `WAIT`, `WATCH`
//! (contract: T5, T6, T8).
//!
//! While a client is blocked none of its further requests is looked at, as on one server. What it
//! waits for is a [`Blocked`] with one call or, for `WAIT`, one for each node. A call whose node
//! fails over, whose slot moves or whose connection is lost is made again where its slot is now,
//! with the time that is left. The server does the timing; only while a call has no node is the time
//! watched here.

use super::core::Core;
use super::finish::Finish;
use super::leases::NoLease;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::requests::Taken;
use super::wait;
use crate::cluster::redirect::{Verdict, verdict};
use crate::command::{self, BlockTime, Command};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::{Args, Protocol, with_args, write};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::{ErrorKind, RedirectKind};
use crate::upstream::connection::ASKING;
use crate::upstream::{Dispatched, Phase};

/// What a client waits for.
#[derive(Debug)]
pub struct Blocked {
    /// When it began to wait, in microseconds on the process' clock.
    pub since_us: u64,
    /// What kind of wait.
    pub kind: BlockedBy,
    pub(super) command: &'static Command,
    protocol: Protocol,
    time: Option<BlockTime>,
    /// The first of its calls that is not answered, and all others.
    pub(super) calls: Vec<Call>,
    /// The client is gone, but its call was only just sent: if data was there, the reply is on its way.
    leaves_at_us: Option<u64>,
}

/// What kind of request a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedBy {
    /// A command that blocks (`BLPOP`).
    Command,
    /// `WAIT`, `WAITAOF`.
    Replicas,
    /// `WATCH`: its connection is kept.
    Watch,
    /// `EXEC` on the connection that watches.
    Exec,
}

/// One request on one private connection.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ticket: Ticket,
    pub(super) target: Target,
    pub(super) bytes: Vec<u8>,
    pub(super) connection: Option<ConnectionKey>,
    /// What has to succeed on its connection first.
    pub(super) prelude: Option<&'static [u8]>,
    /// When it was handed to its connection, in microseconds.
    sent_us: u64,
    /// Something may still come for its connection: it is not lent again.
    is_spoilt: bool,
    /// The node that `ASK` named for the next attempt.
    asked: Option<NodeKey>,
    attempts: u8,
    not_before_us: u64,
    is_done: bool,
    reason: Reason,
}

/// The first pause before a call is made again; doubled each time.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest.
const PAUSE_MAX_US: u64 = 100_000;
/// So many redirects in a row are followed at once (contract: R7).
const HOPS_AT_ONCE: u8 = 4;
/// A client that ends right after its request gets what the server has ready, as it would from a server
/// that looks at requests before it notices the end.
const LEAVING_US: u64 = 20_000;

/// What becomes of a call after a reply that is not for the client.
enum Again {
    /// At once, at its slot's owner or the node that `ASK` named.
    Now(Option<NodeKey>),
    /// After a pause.
    Later,
}

impl Call {
    /// A request for a target; its place in the reply queue comes with [`Core::block`].
    pub(super) fn new(target: Target, bytes: Vec<u8>) -> Call {
        Call {
            ticket: Ticket {
                client: ClientKey {
                    index: u32::MAX,
                    generation: 0,
                },
                sequence: Sequence::default(),
                part: 0,
            },
            target,
            bytes,
            connection: None,
            prelude: None,
            sent_us: 0,
            is_spoilt: false,
            asked: None,
            attempts: 0,
            not_before_us: 0,
            is_done: false,
            reason: Reason::NoTopology,
        }
    }

    /// Lets it wait, longer each time.
    fn pause(&mut self, now_us: u64) {
        let pause_us = (PAUSE_FIRST_US << self.attempts.min(8)).min(PAUSE_MAX_US);
        self.attempts = self.attempts.saturating_add(1);
        self.not_before_us = now_us + pause_us;
    }
}

impl Blocked {
    /// Whether the client waits for a command that may take for ever.
    pub fn is_by_command(&self) -> bool {
        matches!(self.kind, BlockedBy::Command | BlockedBy::Replicas)
    }

    /// When the client has waited as long as it wanted; `None` is for ever.
    fn deadline_us(&self, request_timeout_us: u64) -> Option<u64> {
        match self.kind {
            BlockedBy::Command | BlockedBy::Replicas => match self.time {
                Some(BlockTime { us: 1.., .. }) => self.time.map(|time| self.since_us + time.us),
                _ => None,
            },
            BlockedBy::Watch | BlockedBy::Exec => Some(self.since_us + request_timeout_us),
        }
    }
}

impl Core {
    /// A command that may block its client.
    pub(super) fn plan_blocking(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let target = match self.target_of(key, command, args) {
            Ok(target) => target,
            Err(refusal) => return self.refuse_keys(key, command, args, refusal),
        };
        if let Some(refused) = self.refuse_without_lease(key, args) {
            return refused;
        }
        if !self.is_settled(key) {
            return Taken::NotYet;
        }
        let time = command::block_time(command, args);
        let call = Call::new(target, args.frame().to_vec());
        self.block(key, BlockedBy::Command, command, time, call);
        Taken::Yes
    }

    /// Whether the client's earlier requests are all answered: what it does on a private connection
    /// must not overtake them (invariant 2).
    pub(super) fn is_settled(&mut self, key: ClientKey) -> bool {
        self.clients
            .get(key)
            .is_none_or(|client| client.is_settled())
    }

    /// An error, when no private connection is free and as many clients wait for one as may.
    pub(super) fn refuse_without_lease(
        &mut self,
        key: ClientKey,
        args: &Args<'_>,
    ) -> Option<Taken> {
        let limits = &self.limits;
        if self.leases.is_exhausted(limits.leases) && self.blocked_retry.len() >= limits.lease_queue
        {
            let text = format!(
                "ERR all {} private connections of this Keyway's worker are in use (limits.leases) and \
                 {} clients wait for one (limits.lease_queue); try again later",
                limits.leases, limits.lease_queue
            );
            return Some(self.refuse_request(key, args, ErrorKind::Limit, |_| text.into_bytes()));
        }
        None
    }

    /// Lets a client wait for one call.
    pub(super) fn block(
        &mut self,
        key: ClientKey,
        kind: BlockedBy,
        command: &'static Command,
        time: Option<BlockTime>,
        call: Call,
    ) {
        self.block_for(key, kind, command, time, vec![call], None);
    }

    /// Lets a client wait for calls, whose replies become one by `finish` when there are several.
    pub(super) fn block_for(
        &mut self,
        key: ClientKey,
        kind: BlockedBy,
        command: &'static Command,
        time: Option<BlockTime>,
        mut calls: Vec<Call>,
        finish: Option<Finish>,
    ) {
        let sequence = self.open_place(key, None);
        for (part, call) in calls.iter_mut().enumerate() {
            call.ticket = Ticket {
                client: key,
                sequence,
                part: part as u32,
            };
        }
        if let Some(finish) = finish {
            self.gather_at(key, sequence, Gather::new(finish, calls.len()));
        }
        let since_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.blocked = Some(Box::new(Blocked {
            since_us,
            kind,
            command,
            protocol: client.session.protocol,
            time,
            calls,
            leaves_at_us: None,
        }));
        self.tallies.blocked_clients.add(1);
        self.make_calls(key);
    }

    /// Makes those of a client's calls that are due and have no connection.
    pub(super) fn make_calls(&mut self, key: ClientKey) {
        let Some(mut blocked) = self
            .clients
            .get(key)
            .and_then(|client| client.blocked.take())
        else {
            return;
        };
        let deadline_us = blocked.deadline_us(self.limits.request_timeout_us);
        let mut is_over = false;
        let mut is_waiting = false;
        for index in 0..blocked.calls.len() {
            let call = &blocked.calls[index];
            if call.is_done || call.connection.is_some() {
                continue;
            }
            let waited_us = self.now_us.saturating_sub(blocked.since_us);
            let is_starved = matches!(call.reason, Reason::NoLease)
                && waited_us >= self.limits.request_timeout_us;
            is_over |=
                is_starved || deadline_us.is_some_and(|deadline_us| self.now_us >= deadline_us);
            if is_over {
                break;
            }
            if call.not_before_us > self.now_us || !self.make_call(key, &mut blocked, index) {
                is_waiting = true;
            }
        }
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.blocked = Some(blocked);
        if is_over {
            self.give_up_blocked(key);
        } else if is_waiting {
            self.blocked_retry.push(key);
            if let Some(waker) = &self.tick_waker {
                waker.wake_by_ref();
            }
        }
    }

    /// One attempt; false when the call has to wait.
    fn make_call(&mut self, key: ClientKey, blocked: &mut Blocked, index: usize) -> bool {
        let asked = blocked.calls[index].asked.take();
        let target = blocked.calls[index].target;
        let route = match asked {
            Some(node) => Ok(node),
            None => self.resolve(target),
        };
        let held = match blocked.kind {
            BlockedBy::Watch | BlockedBy::Exec => self.watching_connection(key),
            BlockedBy::Command | BlockedBy::Replicas => None,
        };
        let lease = match (held, route) {
            (Some(connection), _) => Ok(connection),
            (None, Ok(node)) => self.lease(node, blocked.protocol, key),
            (None, Err(reason)) => Err(NoLease::Unreachable(reason)),
        };
        let now_us = self.now_us;
        let call = &mut blocked.calls[index];
        let connection = match lease {
            Ok(connection) => connection,
            Err(NoLease::Busy) => {
                call.reason = Reason::NoLease;
                call.asked = asked;
                return false;
            }
            Err(NoLease::Unreachable(reason)) => {
                call.reason = reason;
                call.asked = asked;
                call.pause(self.now_us);
                return false;
            }
        };
        call.connection = Some(connection);
        if let Some(connection) = self.connections.get_mut(connection.0 as usize)
            && asked.is_some()
        {
            connection.send_unheard(ASKING, now_us);
        }
        self.send_call(blocked, index, connection);
        true
    }

    /// Hands a call, or its prelude, to its connection.
    fn send_call(&mut self, blocked: &mut Blocked, index: usize, to: ConnectionKey) {
        let call = &mut blocked.calls[index];
        let left_us = blocked.time.filter(|time| time.us > 0).map(|time| {
            let passed_us = self.now_us.saturating_sub(blocked.since_us);
            (time, time.us.saturating_sub(passed_us))
        });
        let rewritten = match left_us {
            Some((time, left_us)) if left_us < time.us => {
                with_args(&call.bytes, |args| time.rewrite(args, left_us))
            }
            _ => None,
        };
        let bytes = rewritten.as_deref().unwrap_or(&call.bytes);
        let dispatched = Dispatched {
            ticket: call.ticket,
            command: blocked.command,
            target: call.target,
            lane: None,
            protocol: blocked.protocol,
            received_us: blocked.since_us,
            attempts: call.attempts,
        };
        call.sent_us = self.now_us;
        let bytes = call.prelude.unwrap_or(bytes);
        if let Some(connection) = self.connections.get_mut(to.0 as usize) {
            connection.send_leased(dispatched, bytes, self.now_us);
        }
    }

    /// A prelude has its reply: the call follows. Returns false when it has none, or failed.
    fn prelude_answered(&mut self, ticket: Ticket, from: ConnectionKey, reply: &[u8]) -> bool {
        let Some(client) = self.clients.get(ticket.client) else {
            return false;
        };
        let index = ticket.part as usize;
        let Some(mut blocked) = client.blocked.take() else {
            return false;
        };
        let prelude = blocked
            .calls
            .get_mut(index)
            .and_then(|call| call.prelude.take());
        let follows = prelude.is_some() && wait::prelude_succeeded(reply);
        if follows {
            if let Some(connection) = self.connections.get_mut(from.0 as usize) {
                connection.send_unheard(wait::PING, self.now_us);
            }
            self.send_call(&mut blocked, index, from);
        }
        if let Some(client) = self.clients.get(ticket.client) {
            client.blocked = Some(blocked);
        }
        follows
    }

    /// Makes the calls that wait. With `all`, pauses are ignored: the map changed.
    pub(super) fn retry_blocked(&mut self, all: bool) {
        for key in std::mem::take(&mut self.blocked_retry) {
            if all && let Some(client) = self.clients.get(key) {
                for call in client.blocked.iter_mut().flat_map(|b| b.calls.iter_mut()) {
                    call.not_before_us = 0;
                }
            }
            self.make_calls(key);
        }
    }

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
        if !self.prelude_answered(dispatched.ticket, from, reply) {
            self.call_done(dispatched.ticket, Some(from), reply);
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
        let Some(call) = self.call(ticket) else {
            return;
        };
        call.connection = None;
        call.reason = Reason::Server(reply.into());
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
    pub(super) fn lost_leased(&mut self, dispatched: Dispatched, was_written: bool, why: &str) {
        let now_us = self.now_us;
        let Some(client) = self.clients.get(dispatched.ticket.client) else {
            return;
        };
        let Some(blocked) = &mut client.blocked else {
            return;
        };
        if matches!(blocked.kind, BlockedBy::Watch | BlockedBy::Exec) && client.watch.is_some() {
            return self.lost_watching(dispatched, was_written, why);
        }
        let part = dispatched.ticket.part as usize;
        let Some(call) = blocked.calls.get_mut(part).filter(|call| !call.is_done) else {
            return;
        };
        call.connection = None;
        call.reason = Reason::Unreachable(why.to_owned());
        call.not_before_us = now_us;
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
        self.reply(ticket, reply);
    }

    fn call(&mut self, ticket: Ticket) -> Option<&mut Call> {
        let blocked = self.clients.get(ticket.client)?.blocked.as_mut()?;
        let call = blocked.calls.get_mut(ticket.part as usize)?;
        (call.ticket == ticket).then_some(call)
    }

    fn call_on(&mut self, ticket: Ticket, connection: ConnectionKey) -> Option<&mut Call> {
        self.call(ticket)
            .filter(|call| call.connection == Some(connection))
    }

    /// The client has waited as long as it wanted and no node could be asked, or none answered.
    fn give_up_blocked(&mut self, key: ClientKey) {
        let now_us = self.now_us;
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return;
        };
        let (kind, command, protocol) = (blocked.kind, blocked.command, blocked.protocol);
        let since_us = blocked.since_us;
        let mut pending = Vec::new();
        for call in blocked.calls.iter_mut().filter(|call| !call.is_done) {
            pending.push((call.ticket, call.connection.take(), call.reason.clone()));
        }
        for (ticket, connection, reason) in pending {
            if let Some(connection) = connection {
                self.close_lease(connection);
            }
            let mut reply = Vec::new();
            match kind {
                // As a server that had nothing for so long.
                BlockedBy::Command if !matches!(reason, Reason::NoLease) => {
                    write::null_array(&mut reply, protocol)
                }
                BlockedBy::Command | BlockedBy::Replicas | BlockedBy::Watch | BlockedBy::Exec => {
                    let dispatched = Dispatched {
                        ticket,
                        command,
                        target: Target::Any,
                        lane: None,
                        protocol,
                        received_us: since_us,
                        attempts: 0,
                    };
                    self.tallies.failed(ErrorKind::Deadline);
                    write::error(&mut reply, reason.text(&dispatched, now_us));
                }
            }
            self.call_done(ticket, None, &reply);
        }
    }

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
        for call in blocked.calls.into_iter().filter(|call| !call.is_done) {
            if let Some(connection) = call.connection {
                self.close_lease(connection);
            }
            self.reply(call.ticket, b"");
        }
    }

    /// The client sends no more while it is blocked: it has left, as a server would see it. Returns
    /// whether it may still get a reply that is on its way.
    pub(super) fn blocked_input_ended(&mut self, key: ClientKey) -> bool {
        let now_us = self.now_us;
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return true;
        };
        let sent_us = blocked.calls.iter().map(|call| call.sent_us).max();
        let leaves_at_us = sent_us.unwrap_or(0) + LEAVING_US;
        if !blocked.is_by_command() || leaves_at_us > now_us {
            blocked.leaves_at_us = Some(leaves_at_us);
            return true;
        }
        self.abandon_blocked(key);
        false
    }

    /// Looks after blocked clients on private connections: those whose node does not answer although
    /// their time has passed, and those that have left.
    pub(super) fn look_after_blocked(&mut self) {
        let now_us = self.now_us;
        let timeout_us = self.limits.request_timeout_us;
        let mut overdue = Vec::new();
        let mut left = Vec::new();
        for client in self.lessees() {
            let Some(blocked) = self.clients.get(client).and_then(|c| c.blocked.as_ref()) else {
                continue;
            };
            if blocked.leaves_at_us.is_some_and(|at_us| at_us <= now_us) {
                left.push(client);
                continue;
            }
            let grace_us = match blocked.is_by_command() {
                // The server does the timing; this is for one that hangs.
                true => timeout_us,
                false => 0,
            };
            let deadline_us = blocked.deadline_us(timeout_us);
            if deadline_us.is_some_and(|deadline_us| now_us >= deadline_us + grace_us) {
                overdue.push(client);
            }
        }
        for client in left {
            self.abandon_blocked(client);
            self.cut_off(client);
        }
        for client in overdue {
            self.request_refresh(RefreshReason::Timeout);
            self.give_up_blocked(client);
        }
    }

    /// Blocked clients whose node left the cluster ask where their slot is now.
    pub(super) fn leave_strangers_blocked(&mut self) {
        let mut closed = Vec::new();
        for (index, connection) in &self.connections {
            if connection.is_retiring
                && connection.lessee().is_some()
                && connection.phase != Phase::Closed
            {
                closed.push((ConnectionKey(index as u32), connection.lessee()));
            }
        }
        for (key, client) in closed {
            let is_blocked = client
                .and_then(|client| self.clients.get(client)?.blocked.as_ref())
                .is_some_and(|blocked| blocked.is_by_command());
            if is_blocked && let Some(connection) = self.connections.get_mut(key.0 as usize) {
                connection.phase = Phase::Closed;
                connection.wake();
            }
        }
    }

    /// Clients that have a private connection, each once.
    fn lessees(&self) -> Vec<ClientKey> {
        let mut lessees: Vec<ClientKey> = self
            .connections
            .iter()
            .filter_map(|(_, connection)| connection.lessee())
            .collect();
        lessees.dedup();
        lessees
    }

    /// `CLIENT UNBLOCK`: whether this client was blocked by a command. The node is told, so that the
    /// client gets what it has if that came first.
    pub(super) fn unblock(&mut self, key: ClientKey, with_error: bool) -> bool {
        let Some(blocked) = self.clients.get(key).and_then(|c| c.blocked.as_mut()) else {
            return false;
        };
        if !blocked.is_by_command() {
            return false;
        }
        let protocol = blocked.protocol;
        let mut sent = Vec::new();
        let mut unsent = Vec::new();
        for call in blocked.calls.iter_mut().filter(|call| !call.is_done) {
            call.is_spoilt = true;
            match call.connection {
                Some(connection) => sent.push((call.ticket, connection)),
                None => unsent.push((call.ticket, None)),
            }
        }
        for (ticket, connection) in sent {
            if !self.unblock_at_node(connection, protocol, with_error) {
                self.close_lease(connection);
                unsent.push((ticket, Some(connection)));
            }
        }
        for (ticket, _) in unsent {
            let mut reply = Vec::new();
            match with_error {
                true => write::error(&mut reply, UNBLOCKED),
                false => write::null_array(&mut reply, protocol),
            }
            self.call_done(ticket, None, &reply);
        }
        true
    }

    /// Asks a node to let one of its clients, which is a private connection, go.
    fn unblock_at_node(
        &mut self,
        key: ConnectionKey,
        protocol: Protocol,
        with_error: bool,
    ) -> bool {
        let Some(connection) = self.connections.get(key.0 as usize) else {
            return false;
        };
        let Some(id) = connection.upstream_id else {
            return false;
        };
        let Ok(shared) = self.connection_to(connection.node, protocol) else {
            return false;
        };
        let how = if with_error { "ERROR" } else { "TIMEOUT" };
        let mut bytes = Vec::new();
        write::command(&mut bytes, &["CLIENT", "UNBLOCK", &id.to_string(), how]);
        if let Some(connection) = self.connections.get_mut(shared.0 as usize) {
            connection.send_unheard(&bytes, self.now_us);
        }
        true
    }
}

/// What `CLIENT UNBLOCK id ERROR` lets a client read.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// What a primary that became a replica says to its blocked clients.
fn is_demoted(reply: &[u8]) -> bool {
    reply.starts_with(b"-UNBLOCKED ") && memchr::memmem::find(reply, b"instance state").is_some()
}
