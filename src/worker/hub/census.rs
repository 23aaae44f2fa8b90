//! How many hear a message, and who is subscribed to what (contract: S4).
//!
//! The nodes answer, and take each of this Keyway's hubs for a client. Here that is put right. Clients
//! behind *other* Keyways cannot be told: each worker of such a one counts as one client, and so do
//! clients that are connected to the nodes themselves, at the node that is asked, as in any cluster.

use std::collections::HashSet;

use super::Kind;
use super::audience::Heads;
use crate::cluster::Slot;
use crate::command::{Census, Command, Keys, Merge};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::{Args, Protocol, reply, write};
use crate::routing::Target;
use crate::routing::merge::{self, InfoFacts, MergePlan};
use crate::worker::core::Core;
use crate::worker::finish::Finish;
use crate::worker::requests::Taken;

/// A `PUBLISH` whose reply has to be put right.
#[derive(Debug)]
pub struct Published {
    kind: Kind,
    channel: Box<[u8]>,
    slot: Slot,
    /// Who would have heard it when the request left: a hub that parts meanwhile is still in the node's
    /// answer, and a client that parts was there.
    heads: Heads,
}

/// A `PUBSUB` question that went to every node.
#[derive(Debug)]
pub struct Asked {
    census: Census,
    protocol: Protocol,
    /// The pattern of `CHANNELS`.
    pattern: Option<Box<[u8]>>,
}

/// So often, all in all about half a second, a question waits for changes of subscriptions that are on their way.
const WAITS_MAX: u8 = 8;

impl Census {
    /// How the nodes' replies become one.
    pub(crate) fn merge(self) -> Merge {
        match self {
            Census::Channels | Census::ShardChannels => Merge::Union,
            Census::NumSub | Census::ShardNumSub => Merge::SumByName,
            Census::NumPat => Merge::Sum,
        }
    }
}

impl Core {
    /// `PUBLISH` and `SPUBLISH`: always to the owner of the channel's slot, so that one publisher's
    /// messages keep their order and the hubs are where they are counted.
    pub fn plan_publish(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let channel = args.get(1).unwrap_or_default();
        let slot = Slot::of_key(channel);
        // A shard channel is a key; a channel of the whole cluster is none.
        let kind = match command.keys {
            Keys::None => Kind::Channel,
            _ => Kind::Shard,
        };
        let may_wait = self.local.audience.has_awaited() || self.holds_publishers();
        if may_wait && self.is_behind_a_subscribe(key, kind, channel) {
            return Taken::NotYet;
        }
        if self.local.audience.is_empty() {
            return self.forward(key, command, Target::Slot(slot), args.frame());
        }
        if !self.may_route(key) || !self.has_room_at(key, [slot]) {
            return Taken::NotYet;
        }
        let lane = match self.nodes.is_standalone() {
            true => Slot::new(0),
            false => Some(slot),
        };
        let heads = self.heads_at(kind, channel, slot).unwrap_or_default();
        let sequence = self.open_place(key, lane);
        let published = Finish::Published(Published {
            kind,
            channel: channel.into(),
            slot,
            heads,
        });
        let gather = Gather::in_lanes(published, lane.into_iter().collect());
        self.gather_at(key, sequence, gather);
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        let protocol = self.protocol_of(key);
        let dispatched = self.dispatched(ticket, command, Target::Slot(slot), lane, protocol);
        self.send_or_park(dispatched, args.frame());
        Taken::Yes
    }

    /// The number of those who heard it.
    pub(crate) fn count_receivers(&self, published: &Published, answer: &[u8], out: &mut Vec<u8>) {
        let heads = self.heads_at(published.kind, &published.channel, published.slot);
        match (reply::integer(answer), heads) {
            (Some(counted), Some(mut heads)) => {
                heads.hubs = heads.hubs.max(published.heads.hubs);
                heads.clients = heads.clients.max(published.heads.clients);
                write::integer(out, heads.correct(counted));
            }
            _ => out.extend_from_slice(answer),
        }
    }

    /// Who of this process hears what is published to a channel at its slot's owner.
    fn heads_at(&self, kind: Kind, channel: &[u8], slot: Slot) -> Option<Heads> {
        let node = self.nodes.get(self.nodes.owner(slot)?)?;
        Some(self.local.audience.hears(kind, channel, &node.endpoint))
    }

    /// How a `PUBSUB` question ends. `None` while subscriptions are changing at the nodes and it is
    /// worth while to wait for that.
    pub(crate) fn plan_census(
        &self,
        census: Census,
        args: &Args<'_>,
        protocol: Protocol,
        attempts: u8,
    ) -> Option<Finish> {
        let mut workers = self.local.workers.iter();
        let is_changing = workers.any(|tallies| tallies.hub_changes.value() > 0);
        if is_changing && attempts < WAITS_MAX {
            return None;
        }
        Some(Finish::Census(Asked {
            census,
            protocol,
            pattern: args.get(2).map(Box::from),
        }))
    }

    /// Merges the nodes' answers, and puts them right.
    pub(crate) fn answer_census<'a>(
        &self,
        asked: &Asked,
        replies: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) {
        let plan = MergePlan::new(asked.census.merge(), asked.protocol);
        let mut merged = Vec::new();
        merge::merge(&plan, replies, &InfoFacts::default(), &mut merged);
        let audience = &self.local.audience;
        let pattern = asked.pattern.as_deref();
        let is_right = audience.is_empty() || merged.starts_with(b"-");
        let corrected = match asked.census {
            _ if is_right => None,
            Census::Channels => with_names(&merged, &audience.names(Kind::Channel, pattern)),
            Census::ShardChannels => with_names(&merged, &audience.names(Kind::Shard, pattern)),
            Census::NumSub => self.corrected(Kind::Channel, &merged),
            Census::ShardNumSub => self.corrected(Kind::Shard, &merged),
            Census::NumPat => reply::integer(&merged).map(|counted| {
                let mut number = Vec::new();
                write::integer(&mut number, audience.patterns().correct(counted));
                number
            }),
        };
        out.extend_from_slice(&corrected.unwrap_or(merged));
    }

    /// Names and numbers in turn, the numbers put right.
    fn corrected(&self, kind: Kind, merged: &[u8]) -> Option<Vec<u8>> {
        let mut elements = reply::elements(merged)?;
        let mut out = Vec::new();
        write::array(&mut out, elements.left());
        while let Some(name) = elements.next() {
            let counted = reply::integer(elements.next()?)?;
            let heads = self.local.audience.of(kind, reply::text(name)?);
            out.extend_from_slice(name);
            write::integer(&mut out, heads.correct(counted));
        }
        Some(out)
    }
}

/// The names in a reply and others, each once.
fn with_names(merged: &[u8], names: &[Box<[u8]>]) -> Option<Vec<u8>> {
    let elements = reply::elements(merged)?;
    let known: HashSet<&[u8]> = elements.clone().filter_map(reply::text).collect();
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !known.contains(&***name))
        .collect();
    let mut out = Vec::new();
    write::array(&mut out, elements.left() + missing.len());
    for element in elements {
        out.extend_from_slice(element);
    }
    for name in missing {
        write::bulk(&mut out, name);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: S4
    #[test]
    fn own_channels_are_named_once() {
        let own = [b"a"[..].into(), b"b"[..].into()];
        let merged = with_names(b"*2\r\n$1\r\nx\r\n$1\r\na\r\n", &own).expect("an array");
        assert_eq!(merged, b"*3\r\n$1\r\nx\r\n$1\r\na\r\n$1\r\nb\r\n");
    }
}
