//! What clients that track are told, and where between their replies (contract: S6).

use super::clients::Client;
use super::core::Core;
use super::lanes::keys_of;
use super::nodes::ConnectionKey;
use crate::client::TrackingMode;
use crate::command::Access;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::{Protocol, write};
use crate::upstream::{Dispatched, Role};

/// Everything the client cached is invalid.
const FLUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// Whether a client is told what is invalid. RESP2 has no pushes: a server says nothing either.
fn is_told(client: &mut Client) -> bool {
    let Some(tracking) = &client.session.tracking else {
        return false;
    };
    if client.session.protocol != Protocol::Resp3 {
        return false;
    }
    if tracking.mode() == TrackingMode::Broadcast {
        // Others may read for it, over connections that do not track.
        client.replies.values_come_elsewhere();
    }
    true
}

impl Core {
    /// A node sent a message of its own on a client's connection.
    pub(super) fn deliver_push(&mut self, from: ConnectionKey, push: &[u8]) {
        const INVALIDATE: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";
        let Some(Role::Tracking(key)) = self.connections.get(from.0 as usize).map(|c| c.role)
        else {
            return;
        };
        if push.starts_with(INVALIDATE) {
            self.tallies.tracking_invalidations.increment();
            self.say_invalid(key, push);
        }
    }

    /// Nothing the client cached may be used any more, nor what it has been answered and not read.
    pub(super) fn invalidate_all(&mut self, key: ClientKey) {
        if self.owes_flush(key) {
            return;
        }
        self.tallies.tracking_flushes.increment();
        self.say_invalid(key, FLUSH);
    }

    /// A client in RESP2 hears nothing, and of what it reads then it is promised nothing, also later. But one server
    /// would still keep what it promised in RESP3 before; if that cannot be kept here, the client is told once it
    /// speaks RESP3 again.
    fn owes_flush(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let is_silent = client.session.protocol != Protocol::Resp3;
        if is_silent && let Some(tracker) = &mut client.tracking {
            tracker.is_flush_owed = true;
        }
        is_silent
    }

    fn say_invalid(&mut self, key: ClientKey, push: &[u8]) {
        let hard = self.limits.client_output_hard_bytes;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if !is_told(client) {
            return;
        }
        client.replies.say(push, FLUSH);
        client.wake();
        if client.replies.buffered_bytes() > hard {
            self.cut_off_reader(key);
        }
    }

    /// Keys may be elsewhere now: what was read from their old node, and what is still to come from it,
    /// is not kept up to date any more.
    pub(super) fn slots_moved(&mut self) {
        for index in 0..self.trackers.keys.len() {
            let Some(key) = self.trackers.keys.get(index).copied() else {
                break;
            };
            if self.owes_flush(key) {
                continue;
            }
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            if is_told(client) {
                self.tallies.tracking_flushes.increment();
                client.replies.say_after_all(FLUSH);
                client.wake();
            }
        }
    }

    /// The reply to this request will not be kept up to date: it is followed by an invalidation.
    pub(super) fn read_untracked(&mut self, dispatched: &Dispatched, bytes: &[u8]) {
        let is_write = dispatched.command.access == Access::Write && !dispatched.command.is_block();
        if is_write || dispatched.protocol != Protocol::Resp3 {
            return;
        }
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let Some(client) = self.clients.get(client) else {
            return;
        };
        if client.session.tracking.is_none() {
            return;
        }
        let keys = keys_of(dispatched.command, bytes).unwrap_or_default();
        let mut message = Vec::new();
        if keys.is_empty() {
            message.extend_from_slice(FLUSH);
        } else {
            write::push(&mut message, Protocol::Resp3, 2);
            write::bulk(&mut message, b"invalidate");
            write::array(&mut message, keys.len());
            for key in keys {
                write::bulk(&mut message, &key);
            }
        }
        client.replies.say_after(sequence, &message, FLUSH);
    }
}
