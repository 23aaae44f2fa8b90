//! At which nodes a channel is subscribed, and what follows when that changes (contract: S2, S3).
//!
//! [`Core::place`] may be called at any time and as often as one likes: it compares what should be with
//! what is, and notes the difference for [`Core::flush_hub`] to send.

use std::sync::Arc;

use tracing::{info, warn};

use super::channel::{ChannelKey, Reach, Spot, SpotState};
use super::link::Link;
use crate::cluster::Slot;
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::routing::{NodeKey, Target};
use crate::upstream::{Phase, Role};
use crate::worker::core::Core;
use crate::worker::nodes::ConnectionKey;
use crate::worker::park::Reason;

/// When a channel that could not be placed is tried again; a node that came back, or took over, is
/// noticed at once.
const TRY_AGAIN_US: u64 = 50_000;

impl Core {
    /// Brings the spots of a channel in line with who wants it, the map, and which nodes are there.
    pub(super) fn place(&mut self, key: ChannelKey) {
        let Some(channel) = self.hub.channel(key) else {
            return;
        };
        let wanted = if !channel.is_wanted() {
            Vec::new()
        } else if self.now_us < channel.not_before_us {
            let kept = channel.spots.iter().filter(|spot| spot.is_wanted);
            kept.map(|spot| spot.node).collect()
        } else {
            self.wanted_nodes(key)
        };
        let Some(channel) = self.hub.channels.get_mut(key.index()) else {
            return;
        };
        for spot in &mut channel.spots {
            spot.is_wanted = wanted.contains(&spot.node);
        }
        channel.spots.retain(|spot| {
            let is_kept = spot.is_wanted || spot.state != SpotState::Off;
            if !is_kept && let Some(link) = self.hub.links.iter_mut().find(|l| l.node == spot.node)
            {
                link.lose_spot(self.now_us);
            }
            is_kept
        });
        for node in wanted {
            if channel.spot(node).is_none() {
                channel.spots.push(Spot {
                    node,
                    state: SpotState::Off,
                    is_wanted: true,
                });
                if let Some(link) = self.hub.links.iter_mut().find(|link| link.node == node) {
                    link.spots += 1;
                }
            }
        }
        for spot in &channel.spots {
            let is_right = match spot.state {
                SpotState::Off => !spot.is_wanted,
                SpotState::On => spot.is_wanted,
                // The end of the batch comes back here.
                SpotState::Joining | SpotState::Parting => true,
            };
            if !is_right && let Some(link) = self.hub.links.iter_mut().find(|l| l.node == spot.node)
            {
                link.dirty.push(key);
            }
        }
        let is_gone = channel.spots.is_empty() && !channel.is_wanted();
        self.settle(key);
        if is_gone {
            self.hub.remove(key);
        }
    }

    /// The nodes where a channel should be subscribed, as far as they can be asked; what is missing is
    /// tried again.
    fn wanted_nodes(&mut self, key: ChannelKey) -> Vec<NodeKey> {
        let Some(channel) = self.hub.channel(key) else {
            return Vec::new();
        };
        let (reach, present) = (channel.reach, channel.spots.clone());
        let mut wanted = Vec::new();
        let is_complete = match reach {
            Reach::One(slot) => {
                // It stays where it is, if that node is well.
                let kept = present.iter().find(|spot| {
                    let is_there = match spot.state {
                        SpotState::On => true,
                        SpotState::Off | SpotState::Joining => spot.is_wanted,
                        SpotState::Parting => false,
                    };
                    is_there && !self.is_unfit(spot.node)
                });
                let node = kept.map(|spot| spot.node);
                wanted.extend(node.or_else(|| self.any_fit(slot)));
                !wanted.is_empty()
            }
            Reach::Owner(slot) => {
                let owner = self.resolve(Target::Slot(slot));
                match owner.and_then(|node| self.hub_link(node).map(|()| node)) {
                    Ok(node) => wanted.push(node),
                    Err(reason) => self.note_obstacle(&reason),
                }
                !wanted.is_empty()
            }
            Reach::Primaries => {
                let primaries: Vec<NodeKey> =
                    self.nodes.shards().iter().map(|(_, node)| *node).collect();
                let count = primaries.len();
                for node in primaries {
                    match self.hub_link(node) {
                        Ok(()) => wanted.push(node),
                        Err(reason) => self.note_obstacle(&reason),
                    }
                }
                count > 0 && wanted.len() == count
            }
        };
        if !is_complete {
            self.try_again(key, TRY_AGAIN_US);
        }
        wanted
    }

    pub(super) fn try_again(&mut self, key: ChannelKey, pause_us: u64) {
        self.hub.unplaced.push((key, self.now_us + pause_us));
    }

    fn note_obstacle(&mut self, reason: &Reason) {
        self.hub.last_obstacle = match reason {
            Reason::NoTopology => "no seed has told the topology yet".to_owned(),
            Reason::NoOwner(slot) => format!("slot {} has no owner", slot.number()),
            Reason::Unreachable(why) => why.clone(),
            Reason::Refused(text) => {
                self.hub.refusal = Some(Arc::clone(text));
                text.to_string()
            }
            other => format!("{other:?}"),
        };
    }

    /// A node that can be asked for what any node can serve: the slot's owner, another primary, a
    /// replica, in this order.
    fn any_fit(&mut self, slot: Slot) -> Option<NodeKey> {
        let shards = self.nodes.shards();
        let start = slot.index() % shards.len().max(1);
        let primaries = shards.iter().map(|(_, node)| *node);
        let mut candidates: Vec<NodeKey> = self.nodes.owner(slot).into_iter().collect();
        candidates.extend(primaries.clone().skip(start));
        candidates.extend(primaries.take(start));
        candidates.extend(self.nodes.replicas());
        for node in candidates {
            match self.hub_link(node) {
                Ok(()) => return Some(node),
                Err(reason) => self.note_obstacle(&reason),
            }
        }
        None
    }

    /// Whether a node is not to be trusted with a subscription, although it may answer: one that the
    /// cluster gave up hears of no messages.
    pub(super) fn is_unfit(&self, node: NodeKey) -> bool {
        let node = self.nodes.get(node);
        node.is_none_or(|node| !node.is_member || node.has_failed)
    }

    /// Makes sure that there is a connection to a node.
    ///
    /// # Errors
    /// The node could not be reached a moment ago, or the cluster has given it up.
    fn hub_link(&mut self, node: NodeKey) -> Result<(), Reason> {
        if self.is_unfit(node) {
            let why = "the cluster has given the node up".to_owned();
            return Err(Reason::Unreachable(why));
        }
        if self.hub.link(node).is_some() {
            return Ok(());
        }
        let connection = self.open(node, Protocol::Resp3, Role::Hub)?;
        let link = Link::new(node, connection, self.now_us);
        self.hub.links.push(link);
        Ok(())
    }

    /// Closes a connection nobody needs, or nobody trusts any more.
    pub(super) fn close_link(&mut self, connection: ConnectionKey) {
        self.hub.links.retain(|link| link.connection != connection);
        if let Some(connection) = self.connections.get_mut(connection.0 as usize) {
            connection.is_retiring = true;
            connection.phase = Phase::Closed;
            connection.wake();
        }
    }

    /// A connection of the hub is gone: what it served is subscribed elsewhere.
    pub fn hub_link_lost(&mut self, connection: ConnectionKey, why: &str) {
        let Some(link) = self
            .hub
            .links
            .iter()
            .find(|link| link.connection == connection)
        else {
            return;
        };
        let node = link.node;
        self.close_link(connection);
        self.lose_node(node, why);
        self.flush_hub();
    }

    /// No channel is subscribed at this node any more.
    pub(super) fn lose_node(&mut self, node: NodeKey, why: &str) {
        let mut lost = Vec::new();
        let mut served = 0usize;
        for key in self.hub.keys() {
            let Some(spot) = self.hub.channel(key).and_then(|channel| channel.spot(node)) else {
                continue;
            };
            let is_serving = spot.is_serving();
            served += usize::from(is_serving);
            self.set_spot(key, node, SpotState::Off);
            if let Some(channel) = self.hub.channel_mut(key) {
                channel.spots.retain(|spot| spot.node != node);
                if !is_serving {
                    // It did not even confirm: it may close every connection that asks for this (contract: R7).
                    channel.not_before_us = self.now_us + TRY_AGAIN_US;
                    self.try_again(key, TRY_AGAIN_US);
                }
            }
            lost.push(key);
        }
        if served > 0 {
            let node = self.nodes.get(node);
            warn!(
                node = node.map(|node| node.endpoint.to_string()),
                subscriptions = served,
                why,
                "lost subscriptions; subscribing elsewhere"
            );
        }
        for key in lost {
            self.place(key);
        }
    }

    /// A new map: what is bound to owners or primaries moves, and what stands at a node that left or
    /// failed.
    pub fn hub_follows_map(&mut self) {
        if self.hub.is_idle() {
            return;
        }
        let nodes: Vec<_> = self
            .hub
            .links
            .iter()
            .filter(|link| self.is_unfit(link.node))
            .map(|link| (link.node, link.connection))
            .collect();
        for (node, connection) in nodes {
            self.close_link(connection);
            self.lose_node(node, "the cluster has given it up");
        }
        for key in self.hub.keys() {
            let is_stable = self.hub.channel(key).is_some_and(|channel| {
                matches!(channel.reach, Reach::One(_)) && !channel.spots.is_empty()
            });
            if !is_stable {
                self.place(key);
            }
        }
        self.flush_hub();
    }

    /// Notes what a node says of a channel.
    pub(super) fn set_spot(&mut self, key: ChannelKey, node: NodeKey, state: SpotState) {
        let Some(channel) = self.hub.channels.get_mut(key.index()) else {
            return;
        };
        let Some(spot) = channel.spots.iter_mut().find(|spot| spot.node == node) else {
            return;
        };
        let counts = |state| matches!(state, SpotState::On | SpotState::Parting);
        let (before, after) = (counts(spot.state), counts(state));
        spot.state = state;
        let endpoint = self.nodes.get(node).map(|node| &node.endpoint);
        let audience = &self.local.audience;
        if after && !before {
            self.tallies.hub_subscriptions.add(1);
            if let Some(endpoint) = endpoint {
                audience.hub_joined(channel.kind, &channel.name, endpoint);
            }
        } else if before && !after {
            self.tallies.hub_subscriptions.subtract(1);
            if let Some(endpoint) = endpoint {
                audience.hub_parted(channel.kind, &channel.name, endpoint);
            }
        }
    }

    /// Looks whether a channel is in effect now, and tells those who wait for it.
    pub(super) fn settle(&mut self, key: ChannelKey) {
        let now_us = self.now_us;
        let Some(channel) = self.hub.channels.get_mut(key.index()) else {
            return;
        };
        let mut wanted = channel.spots.iter().filter(|spot| spot.is_wanted);
        let mut serving = channel.spots.iter().filter(|spot| spot.is_serving());
        let home = channel.home;
        if !serving.clone().any(|spot| Some(spot.node) == home)
            && let Some(spot) = serving.next()
        {
            channel.home = Some(spot.node);
        }
        let is_served = channel.spots.iter().any(Spot::is_serving);
        let is_in_effect = is_served && wanted.all(Spot::is_serving);
        if channel.is_in_effect == is_in_effect {
            if !is_in_effect && !channel.is_wanted() {
                self.close_gap(key);
            }
            return;
        }
        channel.is_in_effect = is_in_effect;
        let waiting: Vec<ClientKey> = channel.waiting.iter().copied().collect();
        if is_in_effect {
            channel.hops = 0;
            channel.is_alone = false;
            self.close_gap(key);
            self.channel_is_ready(key, &waiting);
        } else {
            if !channel.subscribers.is_empty() && channel.interrupted_us.is_none() {
                channel.interrupted_us = Some(now_us);
                self.open_gap();
            }
            self.channel_is_missing(key, &waiting);
        }
    }

    fn open_gap(&mut self) {
        self.tallies.subscription_gaps.increment();
        let gap = &mut self.hub.gap;
        if gap.open == 0 {
            gap.since_us = self.now_us;
            gap.all = 0;
        }
        gap.open += 1;
        gap.all += 1;
    }

    fn close_gap(&mut self, key: ChannelKey) {
        let channel = self.hub.channels.get_mut(key.index());
        if channel.is_none_or(|channel| channel.interrupted_us.take().is_none()) {
            return;
        }
        let gap = &mut self.hub.gap;
        gap.open = gap.open.saturating_sub(1);
        if gap.open == 0 {
            info!(
                subscriptions = gap.all,
                milliseconds = self.now_us.saturating_sub(gap.since_us) / 1000,
                "all subscriptions are in effect again; what was published meanwhile may be missing"
            );
        }
    }
}

impl Link {
    fn lose_spot(&mut self, now_us: u64) {
        self.spots = self.spots.saturating_sub(1);
        if self.spots == 0 {
            self.idle_since_us = now_us;
        }
    }
}
