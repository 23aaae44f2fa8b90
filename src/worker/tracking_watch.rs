//! What has to be watched for clients that track, because nobody tells (contract: S6).
//!
//! 1. In `BCAST` mode there is a connection to every primary.
//! 2. A connection over which nothing came for a while may be cut without a sign: the node is asked
//!    for one. While it gives none the client is told once that everything is invalid; what the node
//!    has to say still comes when it is back.
//! 3. A slot may get another owner without any client of Keyway noticing: the map is asked for often.
//! 4. A slot that moves is noticed when some client of this Keyway is sent on by its old owner. Then a
//!    key that a client knows to be missing there may be created at the new owner, and nobody would
//!    tell.

use super::core::Core;
use super::nodes::ConnectionKey;
use super::refresh_requests::RefreshReason;
use super::tracking::Private;
use crate::client::TrackingMode;
use crate::cluster::Slot;
use crate::pipeline::ClientKey;
use crate::routing::NodeKey;
use crate::upstream::{Phase, Role};

/// A connection over which nothing came for this long is asked for a sign of life.
const QUIET_US: u64 = 2_000_000;
/// One that was asked something and is silent for this long is not relied on.
const SILENT_US: u64 = 3_000_000;
/// How often the map is asked for while anybody tracks.
const REFRESH_US: u64 = 1_000_000;
/// A slot that is seen to move again and again is told of this often.
const MOVING_US: u64 = 100_000;

/// Slots that are seen to move, and when they were told of.
#[derive(Debug, Default)]
pub struct MovingSlots(Vec<(Slot, u64)>);

impl Core {
    /// A client that wants to hear of all keys is connected to all primaries.
    pub(super) fn follow_primaries(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (Some(tracking), Some(tracker)) = (&client.session.tracking, &client.tracking) else {
            return;
        };
        if tracking.mode() != TrackingMode::Broadcast
            || tracker.is_changing
            || tracker.retry_at_us > self.now_us
        {
            return;
        }
        let known: Vec<NodeKey> = tracker.connections.iter().map(|own| own.node).collect();
        let primaries = self.nodes.shards().iter().map(|(_, node)| *node);
        let missing: Vec<NodeKey> = primaries.filter(|node| !known.contains(node)).collect();
        for node in missing {
            // One that cannot be reached now is tried again with the next tick.
            let _ = self.open_private(key, node);
        }
    }

    /// The map has changed: clients' connections follow it.
    pub(super) fn trackers_follow(&mut self) {
        if self.trackers.is_empty() {
            return;
        }
        let mut left: Vec<(ConnectionKey, Option<ClientKey>)> = Vec::new();
        for (index, connection) in &self.connections {
            let Role::Tracking(client) = connection.role else {
                continue;
            };
            let key = ConnectionKey(index as u32);
            let is_primary = self.nodes.owns_slots(connection.node);
            left.push((key, (!is_primary).then_some(client)));
        }
        for (key, client) in left {
            if let Some(client) = client
                && let Some(tracker) = self.clients.get(client).and_then(|c| c.tracking.as_mut())
            {
                tracker.connections.retain(|own| own.connection != key);
            }
            self.leave_if_unknown(key);
        }
        for key in self.trackers.keys.clone() {
            self.follow_primaries(key);
        }
    }

    fn leave_if_unknown(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key.0 as usize) else {
            return;
        };
        let Role::Tracking(client) = connection.role else {
            return;
        };
        let tracker = self.clients.get(client).and_then(|c| c.tracking.as_ref());
        let is_known = tracker.is_some_and(|tracker| {
            let mut connections = tracker.connections.iter();
            connections.any(|own| own.connection == key)
        });
        if !is_known {
            self.leave_private(key);
        }
    }

    /// What time brings for clients that track. Called at least every 200 ms.
    pub(super) fn look_after_trackers(&mut self) {
        if self.trackers.is_empty() {
            return;
        }
        if self.now_us.saturating_sub(self.trackers.refreshed_us) >= REFRESH_US {
            self.trackers.refreshed_us = self.now_us;
            self.request_refresh(RefreshReason::Tracking);
        }
        for key in self.trackers.keys.clone() {
            self.follow_primaries(key);
            self.look_after_connections(key);
        }
    }

    fn look_after_connections(&mut self, key: ClientKey) {
        let now_us = self.now_us;
        let Some(tracker) = self.clients.get(key).and_then(|c| c.tracking.as_mut()) else {
            return;
        };
        let mut is_doubtful = false;
        let mut barriers = Vec::new();
        for Private {
            connection,
            doubted_us,
            ..
        } in &mut tracker.connections
        {
            let Some(connection) = self.connections.get_mut(connection.0 as usize) else {
                continue;
            };
            if connection.phase != Phase::Ready || connection.is_left_unread() {
                continue;
            }
            let heard_us = connection.heard_us;
            if connection.in_flight.is_empty() {
                if now_us.saturating_sub(heard_us) >= QUIET_US {
                    connection.ping(None, now_us);
                }
                continue;
            }
            let since_us = heard_us.max(connection.waiting_since_us);
            if now_us.saturating_sub(since_us) < SILENT_US {
                continue;
            }
            barriers.extend(connection.take_barriers());
            is_doubtful |= *doubted_us != Some(heard_us);
            *doubted_us = Some(heard_us);
        }
        if is_doubtful {
            self.invalidate_all(key);
        }
        for ticket in barriers {
            self.reply(ticket, b"");
        }
    }

    /// A node sent a request on to where its slot moves. Returns whether that is news for the others.
    pub(super) fn slot_is_moving(&mut self, slot: Slot) -> bool {
        let now_us = self.now_us;
        let told = &mut self.trackers.moving_slots.0;
        told.retain(|(_, told_us)| now_us.saturating_sub(*told_us) < MOVING_US);
        if told.iter().any(|(other, _)| *other == slot) {
            return false;
        }
        told.push((slot, now_us));
        self.slots_moved();
        true
    }
}
