//! Reads that may go to a replica: which do, and what happens when that replica cannot serve them.
//!
//! What a client may rely on is said in [`super::client_reads`]; which replica is chosen, in
//! [`super::replica_choice`]. A read that a replica cannot serve goes elsewhere at once: the client never
//! hears of it.

use super::client_reads::ClientReads;
use super::clients::UNSETTLED;
use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::replica_choice::{Choice, choose};
use crate::cluster::Slot;
use crate::cluster::redirect::{Verdict, verdict};
use crate::command::{Access, Command, Handling, Local, Script};
use crate::config::{ReadPolicy, fits_pattern};
use crate::pipeline::{ClientKey, Sequence};
use crate::resp::{Args, Protocol};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::{PrimaryRead, RedirectKind};
use crate::upstream::Dispatched;

/// A replica that cannot serve gets no reads for this long.
const REST_US: u64 = 200_000;
/// So many nodes in a row are asked at once; then the read waits.
const HOPS_AT_ONCE: u8 = 8;

/// What reading from replicas means for one request, or one part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPlan {
    /// Nothing.
    Plain,
    /// It must not leave yet.
    Wait,
    /// It writes to this slot; `is_noted` says whether the time of its reply matters.
    Write { slot: Slot, is_noted: bool },
    /// It reads, from the primary.
    Primary(PrimaryRead),
    /// It reads this slot from this replica.
    Replica { node: NodeKey, slot: Slot },
}

impl ReadPlan {
    /// Whether it goes to a replica, and so belongs to no lane.
    #[inline]
    pub(super) fn is_replica(self) -> bool {
        matches!(self, ReadPlan::Replica { .. })
    }

    /// Whether the time of its reply is noted.
    #[inline]
    pub(super) fn is_noted(self) -> bool {
        matches!(self, ReadPlan::Write { is_noted: true, .. })
    }
}

impl Core {
    /// What reading from replicas means for a request of this client.
    #[inline]
    pub(super) fn read_plan(
        &mut self,
        key: ClientKey,
        command: &Command,
        target: Target,
    ) -> ReadPlan {
        match self.clients.get(key) {
            Some(client) if client.reads.is_some() => self.read_plan_of(key, command, target),
            _ => ReadPlan::Plain,
        }
    }

    fn read_plan_of(&mut self, key: ClientKey, command: &Command, target: Target) -> ReadPlan {
        let Some(client) = self.clients.get(key) else {
            return ReadPlan::Plain;
        };
        let (Some(reads), Target::Slot(slot)) = (&mut client.reads, target) else {
            return ReadPlan::Plain;
        };
        match command.access {
            _ if self.nodes.is_standalone() => return ReadPlan::Plain,
            // A replica's connection would not track.
            Access::Read if client.tracking.is_some() => {
                return ReadPlan::Primary(PrimaryRead::Chosen);
            }
            Access::Read => {}
            Access::Harmless => return ReadPlan::Plain,
            Access::Write | Access::Effect => {
                if reads.holds_back_write(slot, &client.replies) {
                    return ReadPlan::Wait;
                }
                let is_noted = reads.wants_notes();
                return ReadPlan::Write { slot, is_noted };
            }
        }
        if client
            .watch
            .as_ref()
            .is_some_and(|watch| watch.slot == slot)
        {
            // A replica may lack what its primary had before it watched, and `EXEC` would not notice (contract: T3).
            return ReadPlan::Primary(PrimaryRead::Watching);
        }
        if reads.has_unanswered_write(slot, &client.replies) {
            return ReadPlan::Primary(PrimaryRead::UnansweredWrite);
        }
        if reads.has_recent_write(slot, &client.replies, self.now_us) {
            return ReadPlan::Primary(PrimaryRead::RecentWrite);
        }
        let policy = reads.policy;
        if self.nodes.is_moving(slot, self.now_us) {
            return ReadPlan::Primary(PrimaryRead::SlotMoving);
        }
        match self.choose(policy, key, slot) {
            Choice::Primary => ReadPlan::Primary(PrimaryRead::Chosen),
            Choice::NoReplica => ReadPlan::Primary(PrimaryRead::NoReplica),
            Choice::Replica(node) => ReadPlan::Replica { node, slot },
        }
    }

    /// The node for a client's read of a slot.
    fn choose(&mut self, policy: ReadPolicy, key: ClientKey, slot: Slot) -> Choice {
        if policy == ReadPolicy::LowestLatency {
            let protocol = self.protocol_of(key);
            self.wants_measures(protocol);
        }
        let (nodes, now_us) = (&self.nodes, self.now_us);
        let owner = nodes.owner(slot);
        let Some((primary, node)) =
            owner.and_then(|owner| Some((nodes.standing(owner, now_us)?, nodes.get(owner)?)))
        else {
            return Choice::NoReplica;
        };
        let replicas = node.reads.replicas.iter();
        let replicas = replicas.filter_map(|replica| nodes.standing(*replica, now_us));
        let reader = (u64::from(key.generation) << 40)
            ^ (u64::from(key.index) << 16)
            ^ u64::from(slot.number());
        choose(policy, reader, primary, replicas, node.reads.fastest)
    }

    /// The connection for a request: to a replica if that is planned and can be, else for its target.
    #[inline]
    pub(super) fn planned_connection(
        &mut self,
        client: ClientKey,
        plan: ReadPlan,
        target: Target,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        if let ReadPlan::Replica { node, .. } = plan
            && let Ok(connection) = self.read_connection_to(node, protocol)
        {
            return Ok(connection);
        }
        self.connection_for(client, target, protocol)
    }

    /// A planned request, or a part of one, leaves.
    #[inline]
    pub(super) fn read_plan_leaves(&mut self, plan: ReadPlan, key: ClientKey, sequence: Sequence) {
        if plan != ReadPlan::Plain {
            self.note_leaving(plan, key, sequence);
        }
    }

    fn note_leaving(&mut self, plan: ReadPlan, key: ClientKey, sequence: Sequence) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(reads) = &mut client.reads else {
            return;
        };
        match plan {
            ReadPlan::Plain | ReadPlan::Wait => {}
            ReadPlan::Write { slot, .. } => reads.write_leaves(slot, sequence),
            ReadPlan::Primary(kind) => self.tallies.read_from_primary(kind),
            ReadPlan::Replica { slot, .. } => {
                reads.read_leaves(slot, sequence);
                self.tallies.replica_reads.increment();
            }
        }
    }

    /// Whether a request has to wait for reads from replicas; if not, and it may write anywhere, later
    /// reads go behind it. Those that go by key are looked at once their slot is known.
    pub(super) fn is_held_back_by_reads(
        &mut self,
        key: ClientKey,
        command: &Command,
        args: &Args<'_>,
    ) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let Some(reads) = &mut client.reads else {
            return false;
        };
        let may_write_anywhere = match command.handling {
            Handling::Keyed
            | Handling::Split(_)
            | Handling::Script(Script::Eval | Script::EvalSha)
            | Handling::Local(_)
            | Handling::Container
            | Handling::Wait
            | Handling::Refused
            | Handling::Subscription(_)
            | Handling::Publish
            | Handling::Census(_)
            | Handling::Monitor => false,
            Handling::Blocking => command.blocks(args),
            Handling::Transaction(_) => true,
            Handling::Anywhere
            | Handling::Primaries(_)
            | Handling::Nodes(_)
            | Handling::SlotArgument(_)
            | Handling::HashArgument(_)
            | Handling::Script(Script::Load | Script::Exists | Script::Flush | Script::Kill)
            | Handling::Scan
            | Handling::RandomKey => matches!(command.access, Access::Write | Access::Effect),
        };
        if !may_write_anywhere {
            return false;
        }
        if reads.holds_back_barrier(&client.replies) {
            return true;
        }
        reads.barrier_leaves(client.replies.next_sequence());
        false
    }

    /// Whether a split write has to wait for reads from replicas.
    pub(super) fn holds_back_parts(
        &mut self,
        key: ClientKey,
        command: &Command,
        mut slots: impl Iterator<Item = Slot>,
    ) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let Some(reads) = &client.reads else {
            return false;
        };
        command.access != Access::Read
            && slots.any(|slot| reads.holds_back_write(slot, &client.replies))
    }

    /// The reply to a noted write came.
    #[cold]
    pub(super) fn note_answered(&mut self, dispatched: &Dispatched) {
        let now_us = self.now_us;
        if let Some(client) = self.clients.get(dispatched.ticket.client)
            && let Some(reads) = &mut client.reads
        {
            reads.write_answered(dispatched.lane, now_us);
        }
    }

    /// The connection for a request that is sent again. A read of which the client may see any moment's
    /// value may go to a replica, also when it was on its way to the primary before.
    pub(super) fn connection_again(
        &mut self,
        dispatched: &Dispatched,
    ) -> Result<ConnectionKey, Reason> {
        if dispatched.command.access == Access::Read
            && let Some(node) = self.replica_for(dispatched)
            && let Ok(connection) = self.read_connection_to(node, dispatched.protocol)
        {
            return Ok(connection);
        }
        let client = dispatched.ticket.client;
        self.connection_for(client, dispatched.target, dispatched.protocol)
    }

    fn replica_for(&mut self, dispatched: &Dispatched) -> Option<NodeKey> {
        let Target::Slot(slot) = dispatched.target else {
            return None;
        };
        let (key, sequence) = (dispatched.ticket.client, dispatched.ticket.sequence);
        let is_by_key = matches!(
            dispatched.command.handling,
            Handling::Keyed
                | Handling::Split(_)
                | Handling::Blocking
                | Handling::Script(Script::Eval | Script::EvalSha)
        );
        let plan = match is_by_key {
            true => self.read_plan(key, dispatched.command, dispatched.target),
            false => ReadPlan::Plain,
        };
        let ReadPlan::Replica { node, .. } = plan else {
            return None;
        };
        let reads = self.clients.get(key)?.reads.as_mut()?;
        reads.read_leaves(slot, sequence);
        Some(node)
    }

    /// A replica answered a read with an error. Returns whether the read went elsewhere; if not, the error
    /// is dealt with as one of any node.
    #[cold]
    pub(super) fn leave_replica(
        &mut self,
        from: NodeKey,
        dispatched: Dispatched,
        bytes: &[u8],
        reply: &[u8],
    ) -> bool {
        let (kind, refresh) = match verdict(reply) {
            // The script is known to the primary, or can be made known there.
            Verdict::Pass if reply.starts_with(b"-NOSCRIPT") => {
                self.read_from_primary(dispatched, bytes);
                return true;
            }
            Verdict::Pass => return false,
            Verdict::Moved { slot, .. } | Verdict::Ask { slot, .. } if matches!(dispatched.target, Target::Slot(own) if own != slot) =>
            {
                return false;
            }
            // The key may be at either node, which the primary knows.
            Verdict::Ask { .. } | Verdict::TryAgain => {
                self.tallies.redirected(match verdict(reply) {
                    Verdict::Ask { .. } => RedirectKind::Ask,
                    _ => RedirectKind::TryAgain,
                });
                if let Target::Slot(slot) = dispatched.target {
                    self.nodes.note_moving(slot, self.now_us);
                }
                self.read_from_primary(dispatched, bytes);
                return true;
            }
            // The replica's view may be older than the map: it is not believed, the read follows the map,
            // or the redirect of the primary.
            Verdict::Moved { .. } => (RedirectKind::Moved, Some(RefreshReason::Moved)),
            Verdict::ClusterDown => (RedirectKind::ClusterDown, Some(RefreshReason::ClusterDown)),
            Verdict::MasterDown => (RedirectKind::MasterDown, Some(RefreshReason::ClusterDown)),
            Verdict::Loading => (RedirectKind::Loading, None),
            Verdict::ReadOnly => (RedirectKind::ReadOnly, None),
        };
        self.tallies.redirected(kind);
        if let Some(reason) = refresh {
            self.request_refresh(reason);
        }
        self.rest(from);
        self.read_elsewhere(dispatched, bytes, reply);
        true
    }

    /// Gives a replica no reads for a while.
    pub(super) fn rest(&mut self, node: NodeKey) {
        let until_us = self.now_us + REST_US;
        if let Some(node) = self.nodes.get_mut(node) {
            node.reads.rests_until_us = until_us;
        }
    }

    fn read_from_primary(&mut self, mut dispatched: Dispatched, bytes: &[u8]) {
        self.tallies.read_from_primary(PrimaryRead::AskedAgain);
        dispatched.attempts = dispatched.attempts.saturating_add(1);
        let client = dispatched.ticket.client;
        match self.connection_for(client, dispatched.target, dispatched.protocol) {
            Ok(connection) => self.send(connection, dispatched, bytes),
            Err(reason) => self.park(dispatched, bytes.to_vec(), false, reason),
        }
    }

    fn read_elsewhere(&mut self, mut dispatched: Dispatched, bytes: &[u8], reply: &[u8]) {
        dispatched.attempts = dispatched.attempts.saturating_add(1);
        if dispatched.attempts > HOPS_AT_ONCE {
            let reason = Reason::Server(reply.into());
            return self.park(dispatched, bytes.to_vec(), false, reason);
        }
        let replica = self
            .replica_for(&dispatched)
            .and_then(|node| self.read_connection_to(node, dispatched.protocol).ok());
        match replica {
            Some(connection) => self.send(connection, dispatched, bytes),
            None => self.read_from_primary(dispatched, bytes),
        }
    }

    /// A command that may have changed a client's policy was answered.
    #[inline]
    pub(super) fn policy_may_change(&mut self, key: ClientKey, local: Local) {
        if matches!(
            local,
            Local::ReadOnly | Local::ReadWrite | Local::ClientSetName | Local::Hello | Local::Reset
        ) {
            self.refresh_policy(key);
        }
    }

    /// Gives a client the policy of its listener, its name and what it said.
    pub(super) fn refresh_policy(&mut self, key: ClientKey) {
        let facts = std::sync::Arc::clone(&self.local);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let listener = facts.listener(client.session.listener);
        let mut by_name = listener.read_policy_by_name.iter();
        let name = client.session.name();
        let policy = match by_name.find(|(pattern, _)| fits_pattern(pattern, name)) {
            _ if client.session.is_read_write => ReadPolicy::Primary,
            Some((_, policy)) => *policy,
            None => listener.read_policy,
        };
        let before = client
            .reads
            .as_ref()
            .map_or(ReadPolicy::Primary, |r| r.policy);
        if policy == before {
            return;
        }
        // Requests in flight are ordered by the old policy: the next waits for them.
        client.map_version = UNSETTLED;
        client.reads = (policy != ReadPolicy::Primary)
            .then(|| Box::new(ClientReads::new(policy, listener.read_your_writes)));
    }
}
