//! What nodes say of requests that are passed on in pieces: before they leave, and in the end.

use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::uploads::State;
use crate::cluster::Slot;
use crate::cluster::redirect::{RedirectTo, Verdict, verdict};
use crate::pipeline::ClientKey;
use crate::routing::NodeKey;
use crate::telemetry::worker_tallies::{ErrorKind, RedirectKind};
use crate::upstream::Dispatched;

impl Core {
    /// The node said whether it serves the key.
    #[cold]
    pub(super) fn preflight_answered(&mut self, key: ClientKey, from: ConnectionKey, reply: &[u8]) {
        let Some(upload) = self.upload(key) else {
            return;
        };
        if !matches!(upload.state, State::Asked(at) if at == from) {
            return;
        }
        let own_slot = upload.slot;
        let (refresh, kind) = match verdict(reply) {
            _ if reply.first() != Some(&b'-') => return self.upload_may_go(key, from),
            // Whatever else it says, such as a missing permission, it says again to the request itself.
            Verdict::Pass => return self.upload_may_go(key, from),
            Verdict::Moved { slot, .. } | Verdict::Ask { slot, .. } if slot != own_slot => {
                return self.upload_may_go(key, from);
            }
            Verdict::Moved { slot, to } => {
                self.tallies.redirected(RedirectKind::Moved);
                self.request_refresh(RefreshReason::Moved);
                let reason = match self.learn_owner(from, slot, to) {
                    Some(_) => Reason::Redirected,
                    None => Reason::NoOwner(slot),
                };
                self.leave_upload_connection(from);
                return self.upload_waits(key, reason, None);
            }
            Verdict::Ask { slot, to } => {
                self.tallies.redirected(RedirectKind::Ask);
                if self.slot_is_moving(slot) {
                    self.trackers.moving.push(slot);
                }
                let node = self.connections.get(from.0 as usize).map(|from| from.node);
                let importing = node.and_then(|node| self.named_node(to, node));
                self.leave_upload_connection(from);
                let reason = match importing {
                    Some(_) => Reason::Redirected,
                    None => Reason::Server(reply.into()),
                };
                return self.upload_waits(key, reason, importing);
            }
            Verdict::TryAgain => (None, RedirectKind::TryAgain),
            Verdict::ClusterDown => (Some(RefreshReason::ClusterDown), RedirectKind::ClusterDown),
            Verdict::Loading => (None, RedirectKind::Loading),
            Verdict::MasterDown => (Some(RefreshReason::ClusterDown), RedirectKind::MasterDown),
            Verdict::ReadOnly => (Some(RefreshReason::ReadOnly), RedirectKind::ReadOnly),
        };
        self.tallies.redirected(kind);
        if let Some(reason) = refresh {
            self.request_refresh(reason);
        }
        self.leave_upload_connection(from);
        self.upload_waits(key, Reason::Server(reply.into()), None);
    }

    fn upload_may_go(&mut self, key: ClientKey, to: ConnectionKey) {
        let now_us = self.now_us;
        if let Some(upload) = self.upload(key) {
            upload.state = State::Sending(to);
            upload.moved_us = now_us;
        }
        self.wake_uploader(key);
    }

    /// Nothing of the upload went there: the connection is free.
    fn leave_upload_connection(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.upload = None;
        }
    }

    /// A node that answered named the owner of a slot.
    fn learn_owner(
        &mut self,
        from: ConnectionKey,
        slot: Slot,
        to: RedirectTo<'_>,
    ) -> Option<NodeKey> {
        let answered = self.connections.get(from.0 as usize)?.node;
        let owner = self.named_node(to, answered)?;
        if self.nodes.redirect(slot, owner, self.now_us) {
            self.map_version += 1;
        }
        Some(owner)
    }

    /// A request that was passed on has its reply.
    #[cold]
    pub(super) fn upload_answered(
        &mut self,
        from: ConnectionKey,
        dispatched: Dispatched,
        reply: &[u8],
    ) {
        self.tallies.in_flight.subtract(1);
        if dispatched.is_noted {
            self.note_answered(&dispatched);
        }
        let took_us = self.now_us.saturating_sub(dispatched.received_us);
        self.tallies.latency.record(took_us);
        let node = self.connections.get(from.0 as usize).map(|from| from.node);
        if reply.first() != Some(&b'-') {
            if let Some(client) = self.clients.get(dispatched.ticket.client)
                && let Some(node) = node
            {
                client.written.note(node, dispatched.command.access);
            }
            return self.reply(dispatched.ticket, reply);
        }
        let kind = match verdict(reply) {
            Verdict::Pass => return self.reply(dispatched.ticket, reply),
            Verdict::Moved { slot, to } => {
                self.learn_owner(from, slot, to);
                RedirectKind::Moved
            }
            Verdict::Ask { .. } => RedirectKind::Ask,
            Verdict::TryAgain => RedirectKind::TryAgain,
            Verdict::ClusterDown => RedirectKind::ClusterDown,
            Verdict::Loading => RedirectKind::Loading,
            Verdict::MasterDown => RedirectKind::MasterDown,
            Verdict::ReadOnly => RedirectKind::ReadOnly,
        };
        self.tallies.redirected(kind);
        self.request_refresh(RefreshReason::Moved);
        let said = String::from_utf8_lossy(reply.get(1..).unwrap_or_default());
        let text = format!(
            "TRYAGAIN '{}' was not executed: the node stopped serving its slot while the value was being sent \
             ({}); send it again",
            dispatched.command.name,
            said.trim_ascii_end()
        );
        self.fail(dispatched.ticket, ErrorKind::Deadline, &text);
    }
}
