//! Clients that wait for the reply of a private connection: blocking commands, `WAIT`, `WATCH`
//! (contract: T5, T6, T8).
//!
//! While a client is blocked none of its further requests is looked at, as on one server. What it
//! waits for is a [`Blocked`] with one call or, for `WAIT`, one for each node. A call whose node
//! fails over, whose slot moves or whose connection is lost is made again where its slot is now,
//! with the time that is left. The server does the timing; only while a call has no node is the time
//! watched here.

use super::clients::Phase;
use super::core::Core;
use super::finish::Finish;
use super::leases::NoLease;
use super::leaving::LEAVING_US;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::polling::Poll;
use super::requests::Taken;
use super::wait;
use crate::command::{self, BlockTime, Command, stream_ids};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::{Args, Protocol, with_args};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::connection::ASKING;
use crate::upstream::{Caching, Dispatched};

/// What a client waits for.
#[derive(Debug)]
pub struct Blocked {
    /// When it began to wait, in microseconds on the process' clock.
    pub since_us: u64,
    /// What kind of wait.
    pub kind: BlockedBy,
    pub(super) command: &'static Command,
    pub(super) protocol: Protocol,
    pub(super) time: Option<BlockTime>,
    /// The first of its calls that is not answered, and all others.
    pub(super) calls: Vec<Call>,
    /// Whether it stands among those that wait for a node or a private connection.
    is_listed: bool,
    /// Somebody said `CLIENT UNBLOCK`, or Keyway drains: it ends with what is under way, and is not made
    /// again.
    pub(super) ends: Option<Ends>,
    /// The client is gone, but its call was only just sent: if data was there, the reply is on its way. Until then
    /// it may be made again where its keys are, unless it was perhaps executed.
    pub(super) leaves_at_us: Option<u64>,
}

/// How a client is let go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// With an error, or as if its time were up.
    pub(super) with_error: bool,
    /// When its nodes were asked to let it go, in microseconds.
    pub(super) asked_us: u64,
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
    /// Its connection's offset is brought up to now first; see [`wait`].
    pub(super) catches_up: bool,
    /// It waits for the last entries of its streams; see [`stream_ids`].
    pub(super) is_asking: bool,
    /// The steps that are asked in turn, when its keys lie in several slots.
    pub(super) poll: Option<Box<Poll>>,
    /// Something may still come for its connection: it is not lent again.
    pub(super) is_spoilt: bool,
    /// The node that `ASK` named for the next attempt.
    pub(super) asked: Option<NodeKey>,
    pub(super) attempts: u8,
    pub(super) not_before_us: u64,
    pub(super) is_done: bool,
    pub(super) reason: Reason,
}

/// The first pause before a call is made again; doubled each time.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest.
const PAUSE_MAX_US: u64 = 100_000;
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
            catches_up: false,
            is_asking: false,
            poll: None,
            is_spoilt: false,
            asked: None,
            attempts: 0,
            not_before_us: 0,
            is_done: false,
            reason: Reason::NoTopology,
        }
    }

    /// Whether nothing follows it there for its client: nothing goes before it any more and it is no step of a poll.
    pub(super) fn is_last_on_its_connection(&self) -> bool {
        !self.catches_up && self.poll.is_none()
    }

    /// Lets it wait, longer each time.
    pub(super) fn pause(&mut self, now_us: u64) {
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

    /// Whether the client is gone and nothing is on its way any more: no call is made for it.
    fn has_left(&self, now_us: u64) -> bool {
        let has_looked = |call: &Call| call.poll.as_ref().is_some_and(|poll| poll.has_looked());
        self.leaves_at_us
            .is_some_and(|at_us| at_us <= now_us || self.calls.iter().any(has_looked))
    }

    /// Whether it ends with an element or not at all.
    pub(super) fn is_for_ever(&self) -> bool {
        self.kind == BlockedBy::Command && self.deadline_us(0).is_none()
    }

    /// The nodes that its calls name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeKey> {
        let calls = self.calls.iter();
        calls.flat_map(|call| [call.target.node(), call.asked].into_iter().flatten())
    }

    /// When the client has waited as long as it wanted; `None` is for ever.
    pub(super) fn deadline_us(&self, request_timeout_us: u64) -> Option<u64> {
        match self.kind {
            BlockedBy::Command | BlockedBy::Replicas => match self.time {
                // A client may name any time that fits into 64 bits.
                Some(BlockTime { us: us @ 1.., .. }) => Some(self.since_us.saturating_add(us)),
                _ => None,
            },
            BlockedBy::Watch | BlockedBy::Exec => {
                Some(self.since_us.saturating_add(request_timeout_us))
            }
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
        let mut asked_first = None;
        let call = match self.target_of(key, command, args) {
            Ok(target) => {
                asked_first = stream_ids::ask_last_ids(command, args);
                let mut call = Call::new(target, args.frame().to_vec());
                call.is_asking = asked_first.is_some();
                call
            }
            Err(wrong) => match self.poll_of(command, args, wrong) {
                Some(poll) => Call::polling(poll),
                None => return self.refuse_keys(key, command, args, wrong),
            },
        };
        if let Some(refused) = self.refuse_without_lease(key, args) {
            return refused;
        }
        if !self.is_settled(key) {
            return Taken::NotYet;
        }
        let time = command::block_time(command, args);
        self.block(key, BlockedBy::Command, command, time, call);
        if let Some(block) = asked_first {
            self.ask_last_ids(key, block);
        }
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
        if self.are_leases_exhausted() && self.blocked_retry.len() >= limits.lease_queue {
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
        calls: Vec<Call>,
        finish: Option<Finish>,
    ) {
        let sequence = self.open_place(key, None);
        if let Some(finish) = finish {
            self.gather_at(key, sequence, Gather::new(finish, calls.len()));
        }
        self.block_at(key, sequence, kind, command, time, calls);
    }

    /// Lets a client wait for calls, whose reply has this place.
    pub(super) fn block_at(
        &mut self,
        key: ClientKey,
        sequence: Sequence,
        kind: BlockedBy,
        command: &'static Command,
        time: Option<BlockTime>,
        mut calls: Vec<Call>,
    ) {
        for (part, call) in calls.iter_mut().enumerate() {
            call.ticket = Ticket {
                client: key,
                sequence,
                part: part as u32,
            };
        }
        let since_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let mut blocked = Blocked {
            since_us,
            kind,
            command,
            protocol: client.session.protocol,
            time,
            calls,
            is_listed: false,
            ends: None,
            leaves_at_us: None,
        };
        if client.phase == Phase::HalfClosed && blocked.is_by_command() {
            // It was blocked before when its end was seen, and will not be seen to end once more.
            blocked.leaves_at_us = Some(since_us + LEAVING_US);
        }
        client.blocked = Some(Box::new(blocked));
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
        if blocked.ends.is_some() {
            if let Some(client) = self.clients.get(key) {
                client.blocked = Some(blocked);
            }
            return self.end_unblocked(key);
        }
        if blocked.has_left(self.now_us) {
            if let Some(client) = self.clients.get(key) {
                client.blocked = Some(blocked);
            }
            return self.leave_blocked(key);
        }
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
            if call.is_asking
                || call.not_before_us > self.now_us
                || !self.make_call(key, &mut blocked, index)
            {
                is_waiting = true;
                is_over |= matches!(blocked.calls[index].reason, Reason::Refused(_));
            }
        }
        let is_listed = blocked.is_listed;
        blocked.is_listed |= is_waiting && !is_over;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.blocked = Some(blocked);
        if is_over {
            self.give_up_blocked(key);
        } else if is_waiting && !is_listed {
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
        let has_written = blocked.kind == BlockedBy::Replicas && self.has_written(key);
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
        if has_written {
            // For each connection anew: none knows what was said on another (contract: T8).
            call.catches_up = true;
        }
        if let Some(connection) = self.connections.get_mut(connection.0 as usize)
            && asked.is_some()
        {
            connection.send_unheard(ASKING, now_us);
        }
        self.send_call(blocked, index, connection);
        true
    }

    /// Hands a call, or what goes before it, to its connection.
    pub(super) fn send_call(&mut self, blocked: &mut Blocked, index: usize, to: ConnectionKey) {
        let call = &mut blocked.calls[index];
        // A step of a poll does not block.
        let time = blocked.time.filter(|_| call.poll.is_none());
        let left_us = time.filter(|time| time.us > 0).map(|time| {
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
        let bytes = match call.catches_up {
            true => wait::CATCH_UP,
            false => bytes,
        };
        let dispatched = Dispatched {
            ticket: call.ticket,
            command: match call.poll.is_some() {
                true => command::block_row(false),
                false => blocked.command,
            },
            target: call.target,
            lane: None,
            protocol: blocked.protocol,
            received_us: blocked.since_us,
            attempts: call.attempts,
            is_noted: false,
            may_be_done: false,
            caching: Caching::Unsaid,
        };
        if !self.trackers.is_empty() && matches!(blocked.kind, BlockedBy::Command | BlockedBy::Exec)
        {
            self.read_untracked(&dispatched, bytes);
        }
        if let Some(connection) = self.connections.get_mut(to.0 as usize) {
            if dispatched.command.is_block() {
                let commands = command::block_len(bytes);
                connection.send_leased_block(dispatched, bytes, commands, self.now_us);
            } else {
                connection.send_leased(dispatched, bytes, self.now_us);
            }
            if blocked.leaves_at_us.is_some() && call.is_last_on_its_connection() {
                connection.finish_sending();
            }
        }
    }

    /// Makes the calls that wait. With `all`, pauses are ignored: the map changed.
    pub(super) fn retry_blocked(&mut self, all: bool) {
        for key in std::mem::take(&mut self.blocked_retry) {
            let client = self.clients.get(key);
            if let Some(blocked) = client.and_then(|client| client.blocked.as_mut()) {
                blocked.is_listed = false;
                if all {
                    for call in &mut blocked.calls {
                        call.not_before_us = 0;
                    }
                }
            }
            self.make_calls(key);
        }
    }
}
