//! The hub and its nodes: batches out, confirmations, errors and messages in.

use tracing::info;

use super::channel::{ChannelKey, Reach, SpotState};
use super::link::{self, Change};
use super::push::Push;
use super::{Kind, Link};
use crate::cluster::Slot;
use crate::cluster::redirect::{Verdict, verdict};
use crate::routing::NodeKey;
use crate::telemetry::worker_tallies::{ErrorKind, RedirectKind};
use crate::upstream::Phase;
use crate::upstream::connection::ReadError;
use crate::worker::core::Core;
use crate::worker::nodes::ConnectionKey;
use crate::worker::refresh_requests::RefreshReason;

/// So many redirects of one channel in a row are followed at once.
const HOPS_AT_ONCE: u8 = 4;
/// When what a node could not do now is asked for again.
const TRY_AGAIN_US: u64 = 50_000;
/// When what a node refused is asked for again, on behalf of those who had it before.
const REFUSED_AGAIN_US: u64 = 1_000_000;

impl Core {
    /// Sends what has to be changed to the nodes that are ready and have answered the last batch.
    pub fn flush_hub(&mut self) {
        for index in 0..self.hub.links.len() {
            let Some(link) = self.hub.links.get_mut(index) else {
                break;
            };
            let connection = self.connections.get(link.connection.0 as usize);
            let is_ready = connection.is_some_and(|connection| connection.phase == Phase::Ready);
            if !is_ready || link.batch.is_some() {
                continue;
            }
            if let Some(request) = link.credentials.pop_front() {
                // Its reply ends it, as that to `PING` ends a batch.
                self.send_to_link(index, Vec::new(), &request);
            } else if !link.dirty.is_empty() {
                let dirty = std::mem::take(&mut link.dirty);
                self.send_batch(index, dirty);
            }
        }
        let changes = self.hub.links.iter().map(Link::changes).sum::<usize>();
        // Other cores of the thread count into the same.
        let counted = std::mem::replace(&mut self.hub.changes_counted, changes);
        self.tallies.hub_changes.add(changes as u64);
        self.tallies.hub_changes.subtract(counted as u64);
    }

    /// Says new credentials over a connection, when the last batch is answered.
    pub(in crate::worker) fn authenticate_hub_link(
        &mut self,
        key: ConnectionKey,
        requests: &[Vec<u8>],
    ) {
        let mut links = self.hub.links.iter_mut();
        if let Some(link) = links.find(|link| link.connection == key) {
            link.credentials = requests.iter().cloned().collect();
        }
        self.flush_hub();
    }

    fn send_batch(&mut self, index: usize, dirty: Vec<ChannelKey>) {
        let Some(node) = self.hub.links.get(index).map(|link| link.node) else {
            return;
        };
        let mut wanted = Vec::new();
        for key in dirty {
            let spot = self.hub.channel(key).and_then(|channel| channel.spot(node));
            let state = match spot.map(|spot| (spot.state, spot.is_wanted)) {
                Some((SpotState::Off, true)) => SpotState::Joining,
                Some((SpotState::On, false)) => SpotState::Parting,
                _ => continue,
            };
            self.set_spot(key, node, state);
            wanted.push((key, state == SpotState::Joining));
        }
        let mut changes: Vec<Change<'_>> = wanted
            .iter()
            .filter_map(|(key, is_join)| {
                let channel = self.hub.channel(*key)?;
                Some(Change {
                    channel: *key,
                    kind: channel.kind,
                    name: &channel.name,
                    slot: match channel.reach {
                        Reach::Owner(slot) => Some(slot),
                        Reach::One(_) | Reach::Primaries => None,
                    },
                    is_join: *is_join,
                    is_alone: channel.is_alone,
                })
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        changes.sort_by_key(|change| {
            let slot = change.slot.map(Slot::number);
            (change.is_join, change.kind as usize, slot, change.is_alone)
        });
        let mut bytes = Vec::new();
        let groups = link::write_batch(&changes, &mut bytes);
        self.send_to_link(index, groups, &bytes);
    }

    /// Sends a batch, which may be nothing but its `PING`.
    pub(super) fn send_to_link(&mut self, index: usize, groups: Vec<link::Group>, bytes: &[u8]) {
        let Some(link) = self.hub.links.get_mut(index) else {
            return;
        };
        link.batch = Some(groups);
        if let Some(connection) = self.connections.get_mut(link.connection.0 as usize) {
            connection.send_unheard(bytes, self.now_us);
        }
    }

    /// A connection of the hub is open.
    pub fn hub_link_ready(&mut self, key: ConnectionKey) {
        // One that was given up while it was being opened is closed by its task.
        if self.hub.links.iter().any(|link| link.connection == key) {
            self.flush_hub();
        }
    }

    /// Takes what a node sent over a connection of the hub.
    ///
    /// # Errors
    /// The node does not speak the protocol; the connection must be given up.
    pub fn receive_pushes(&mut self, key: ConnectionKey) -> Result<(), ReadError> {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return Ok(());
        };
        connection.heard_us = self.now_us;
        let node = connection.node;
        let mut input = std::mem::take(&mut connection.input);
        let mut position = 0;
        let copies = self.limits.message_copies_per_turn;
        self.hub.fan_out.begin_turn(copies);
        let outcome = loop {
            let Some(connection) = self.connections.get_mut(key.0 as usize) else {
                break Ok(());
            };
            let rest = &input[position..];
            match connection.scanner.scan(rest) {
                Ok(None) => break Ok(()),
                Ok(Some(len)) => {
                    if let Err(error) = self.take_frame(key, node, &rest[..len]) {
                        break Err(error);
                    }
                    position += len;
                }
                Err(error) => break Err(error.into()),
            }
        };
        input.drain(..position);
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.input = input;
        }
        self.flush_hub();
        outcome
    }

    fn take_frame(
        &mut self,
        key: ConnectionKey,
        node: NodeKey,
        frame: &[u8],
    ) -> Result<(), ReadError> {
        match frame.first() {
            Some(b'>') => match Push::parse(frame) {
                Push::Joined(kind, name) => self.node_joined(node, kind, name),
                Push::Parted(kind, name) => self.node_parted(node, kind, name),
                Push::Message {
                    kind,
                    name,
                    channel,
                } => self.hand_out(node, kind, name, channel, frame),
                Push::Other => {}
            },
            Some(b'-' | b'!') => {
                let slot = match verdict(frame) {
                    Verdict::Moved { slot, .. } | Verdict::Ask { slot, .. } => Some(slot),
                    _ => None,
                };
                let link = self.hub.link(node);
                let failed = link.and_then(|link| link.fail(slot)).map(|group| {
                    let channels = group.channels.clone();
                    (group.is_join, channels)
                });
                match failed {
                    Some((is_join, channels)) => self.node_refused(node, is_join, &channels, frame),
                    None => return self.end_batch(key, node),
                }
            }
            _ => return self.end_batch(key, node),
        }
        Ok(())
    }

    /// `PONG`: all that was asked is answered.
    fn end_batch(&mut self, key: ConnectionKey, node: NodeKey) -> Result<(), ReadError> {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return Ok(());
        };
        let entry = connection.in_flight.pop_front();
        let entry = entry.ok_or(ReadError::Unexpected)?;
        connection.outbox.pop(entry.len as usize);
        connection.waiting_since_us = self.now_us;
        let batch = self.hub.link(node).and_then(|link| link.batch.take());
        for channel in batch.into_iter().flatten().flat_map(|group| group.channels) {
            // What was neither confirmed nor refused was not done.
            let spot = self.hub.channel(channel).and_then(|of| of.spot(node));
            match spot.map(|spot| spot.state) {
                Some(SpotState::Joining) => self.set_spot(channel, node, SpotState::Off),
                Some(SpotState::Parting) => self.set_spot(channel, node, SpotState::On),
                Some(SpotState::Off | SpotState::On) | None => {}
            }
            self.place(channel);
        }
        Ok(())
    }

    fn node_joined(&mut self, node: NodeKey, kind: Kind, name: &[u8]) {
        if let Some(link) = self.hub.link(node) {
            link.confirm(kind, true);
        }
        if let Some(channel) = self.hub.find(kind, name) {
            self.set_spot(channel, node, SpotState::On);
            self.settle(channel);
        }
    }

    /// A node ended a subscription: it was asked to, or the channel's slot has left it
    /// (contract: S2).
    fn node_parted(&mut self, node: NodeKey, kind: Kind, name: &[u8]) {
        let Some(key) = self.hub.find(kind, name) else {
            return;
        };
        let spot = self.hub.channel(key).and_then(|channel| channel.spot(node));
        let Some(spot) = spot.copied() else {
            return;
        };
        if spot.state == SpotState::Parting
            && let Some(link) = self.hub.link(node)
        {
            link.confirm(kind, false);
        }
        self.set_spot(key, node, SpotState::Off);
        if spot.state == SpotState::On && spot.is_wanted {
            if self.hub.gap.open == 0 {
                info!(
                    "a slot moved; its channels are subscribed at the new owner, and what is published \
                     meanwhile may be missing"
                );
            }
            // The map may be behind: asked again, the node says who the owner is.
            self.request_refresh(RefreshReason::Moved);
        }
        self.place(key);
    }

    /// A node refused a command about these channels.
    fn node_refused(
        &mut self,
        node: NodeKey,
        is_join: bool,
        channels: &[ChannelKey],
        error: &[u8],
    ) {
        for key in channels {
            let spot = self
                .hub
                .channel(*key)
                .and_then(|channel| channel.spot(node));
            let asked = match is_join {
                true => SpotState::Joining,
                false => SpotState::Parting,
            };
            if spot.is_some_and(|spot| spot.state == asked) {
                self.set_spot(*key, node, SpotState::Off);
            }
        }
        if !is_join {
            // Its slot has left the node, and the subscription with it.
            return;
        }
        match verdict(error) {
            Verdict::Moved { slot, to } => {
                self.tallies.redirected(RedirectKind::Moved);
                self.request_refresh(RefreshReason::Moved);
                let owner = self.named_node(to, node);
                if let Some(owner) = owner
                    && self.nodes.redirect(slot, owner, self.now_us)
                {
                    self.map_version += 1;
                }
                for key in channels {
                    self.follow(*key, owner.is_some());
                }
            }
            Verdict::Pass => self.refuse(channels, error),
            Verdict::Ask { .. }
            | Verdict::TryAgain
            | Verdict::ClusterDown
            | Verdict::Loading
            | Verdict::MasterDown
            | Verdict::ReadOnly => {
                self.request_refresh(RefreshReason::ClusterDown);
                self.hub.last_obstacle = String::from_utf8_lossy(error).trim().to_owned();
                for key in channels {
                    self.wait_at(node, *key, TRY_AGAIN_US);
                }
            }
        }
    }

    /// A channel's slot has another owner.
    fn follow(&mut self, key: ChannelKey, is_known: bool) {
        let Some(channel) = self.hub.channel_mut(key) else {
            return;
        };
        channel.hops = channel.hops.saturating_add(1);
        if channel.hops > HOPS_AT_ONCE || !is_known {
            channel.hops = 0;
            for node in channel
                .spots
                .iter()
                .map(|spot| spot.node)
                .collect::<Vec<_>>()
            {
                self.wait_at(node, key, TRY_AGAIN_US);
            }
        } else {
            self.place(key);
        }
    }

    /// Lets a channel be without a node for a while.
    fn wait_at(&mut self, node: NodeKey, key: ChannelKey, pause_us: u64) {
        let Some(channel) = self.hub.channel_mut(key) else {
            return;
        };
        if let Some(spot) = channel.spot_mut(node) {
            spot.is_wanted = false;
        }
        channel.not_before_us = self.now_us + pause_us;
        self.settle(key);
        self.try_again(key, pause_us);
    }

    /// The node will not have it: a rule of its own, or a command it does not know.
    fn refuse(&mut self, channels: &[ChannelKey], error: &[u8]) {
        if channels.len() > 1 {
            // One of them may be the reason; the others must not suffer for it.
            for key in channels {
                if let Some(channel) = self.hub.channel_mut(*key) {
                    channel.is_alone = true;
                }
            }
            return;
        }
        for key in channels {
            let Some(channel) = self.hub.channel(*key) else {
                continue;
            };
            let nodes: Vec<NodeKey> = channel.spots.iter().map(|spot| spot.node).collect();
            let waiting: Vec<_> = channel.waiting.iter().copied().collect();
            for client in waiting {
                self.refuse_those_naming(client, *key, ErrorKind::Upstream, error);
            }
            for node in nodes {
                self.wait_at(node, *key, REFUSED_AGAIN_US);
            }
        }
    }
}
