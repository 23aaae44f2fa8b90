//! A connection of the hub: what its node was asked, and what it has answered.
//!
//! The node is asked in batches, one at a time: commands that subscribe and end subscriptions, then
//! `PING`. A command that succeeds is answered by pushes, one for each channel, and by nothing else; one
//! that fails by one error. `PONG` ends the batch. So an error belongs to the first command that has not
//! been confirmed whole.

use std::collections::VecDeque;

use super::channel::{ChannelKey, Kind};
use crate::cluster::Slot;
use crate::resp::write;
use crate::routing::NodeKey;
use crate::worker::nodes::ConnectionKey;

/// So many channels in one command.
const CHANNELS_PER_COMMAND: usize = 1000;

/// One connection of the hub.
#[derive(Debug)]
pub(super) struct Link {
    pub node: NodeKey,
    pub connection: ConnectionKey,
    /// Channels whose spot at this node is not as it should be.
    pub dirty: Vec<ChannelKey>,
    /// Requests that say new credentials, to be sent one after another.
    pub credentials: VecDeque<Vec<u8>>,
    /// What was asked and is not answered yet.
    pub batch: Option<Vec<Group>>,
    /// Channels that have a spot at this node.
    pub spots: usize,
    /// Since when there has been none, in microseconds.
    pub idle_since_us: u64,
}

/// One command of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub kind: Kind,
    /// Whether it subscribes.
    pub is_join: bool,
    /// The slot of its channels, if they are shard channels.
    pub slot: Option<Slot>,
    pub channels: Vec<ChannelKey>,
    /// Channels that were not confirmed; none once it has failed.
    missing: usize,
}

/// A change that a node is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub channel: ChannelKey,
    pub kind: Kind,
    pub name: &'a [u8],
    pub slot: Option<Slot>,
    pub is_join: bool,
    /// It gets a command of its own.
    pub is_alone: bool,
}

impl Link {
    pub(super) fn new(node: NodeKey, connection: ConnectionKey, now_us: u64) -> Self {
        Link {
            node,
            connection,
            dirty: Vec::new(),
            credentials: VecDeque::new(),
            batch: None,
            spots: 0,
            idle_since_us: now_us,
        }
    }

    /// Channels that wait for a word of the node's.
    pub(super) fn changes(&self) -> usize {
        let groups = self.batch.iter().flatten();
        self.dirty.len() + groups.map(|group| group.missing).sum::<usize>()
    }

    /// A push confirmed one channel of a command.
    pub(super) fn confirm(&mut self, kind: Kind, is_join: bool) {
        let mut groups = self.batch.iter_mut().flatten();
        let first = groups.find(|group| group.missing > 0);
        if let Some(group) = first
            && group.kind == kind
            && group.is_join == is_join
        {
            group.missing -= 1;
        }
    }

    /// The command that an error is about; `slot` is what the error names. None when every command has
    /// been answered, so that it must be `PING` which failed.
    pub(super) fn fail(&mut self, slot: Option<Slot>) -> Option<&Group> {
        let groups = self.batch.as_mut()?;
        let named = slot.and_then(|slot| {
            let is_it = |group: &Group| group.slot == Some(slot);
            groups.iter().position(is_it)
        });
        let group = match named {
            Some(index) => groups.get_mut(index),
            None => groups.iter_mut().find(|group| group.missing > 0),
        }?;
        group.missing = 0;
        Some(group)
    }
}

/// Writes the commands for the changes, and the `PING` that ends them.
pub(super) fn write_batch(changes: &[Change<'_>], out: &mut Vec<u8>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut rest = changes;
    while let Some((first, _)) = rest.split_first() {
        let is_same = |change: &Change<'_>| {
            change.kind == first.kind
                && change.is_join == first.is_join
                && change.slot == first.slot
                && !change.is_alone
        };
        let alike = rest.iter().take_while(|change| is_same(change)).count();
        let count = match first.is_alone {
            true => 1,
            false => alike.clamp(1, CHANNELS_PER_COMMAND),
        };
        let (group, others) = rest.split_at(count);
        rest = others;
        let word = match first.is_join {
            true => first.kind.join_word(),
            false => first.kind.part_word(),
        };
        write::array(out, count + 1);
        write::bulk(out, word.to_ascii_uppercase().as_bytes());
        for change in group {
            write::bulk(out, change.name);
        }
        groups.push(Group {
            kind: first.kind,
            is_join: first.is_join,
            slot: first.slot,
            channels: group.iter().map(|change| change.channel).collect(),
            missing: count,
        });
    }
    write::command(out, &["PING"]);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        number: usize,
        name: &'static str,
        is_join: bool,
        slot: Option<u16>,
    ) -> Change<'static> {
        Change {
            channel: ChannelKey::new(number),
            kind: match slot {
                Some(_) => Kind::Shard,
                None => Kind::Channel,
            },
            name: name.as_bytes(),
            slot: slot.and_then(Slot::new),
            is_join,
            is_alone: name == "alone",
        }
    }

    fn link(changes: &[Change<'_>]) -> (Link, String) {
        let mut out = Vec::new();
        let mut link = Link::new(NodeKey(0), ConnectionKey(0), 0);
        link.batch = Some(write_batch(changes, &mut out));
        let text = String::from_utf8(out).expect("text");
        let words = text.split("\r\n").filter(|word| !word.starts_with('$'));
        (link, words.collect::<Vec<_>>().join(" "))
    }

    fn channels(group: Option<&Group>) -> Option<Vec<usize>> {
        let channels = group?.channels.iter();
        Some(channels.map(|channel| channel.index()).collect())
    }

    #[test]
    fn one_command_for_what_is_alike() {
        let (_, text) = link(&[
            change(0, "a", false, None),
            change(1, "b", true, None),
            change(2, "c", true, None),
            change(3, "alone", true, None),
            change(4, "s", true, Some(5)),
            change(5, "t", true, Some(6)),
        ]);
        assert_eq!(
            text,
            "*2 UNSUBSCRIBE a *3 SUBSCRIBE b c *2 SUBSCRIBE alone *2 SSUBSCRIBE s *2 SSUBSCRIBE t \
             *1 PING "
        );
    }

    #[test]
    fn an_error_belongs_to_the_first_command_not_confirmed() {
        let (mut link, _) = link(&[
            change(0, "a", true, None),
            change(1, "b", true, None),
            change(2, "alone", true, None),
            change(3, "c", false, None),
        ]);
        assert_eq!(link.changes(), 4);
        link.confirm(Kind::Channel, true);
        link.confirm(Kind::Channel, true);
        // Nobody asked for this one.
        link.confirm(Kind::Shard, false);
        assert_eq!(channels(link.fail(None)), Some(vec![2]));
        assert_eq!(link.changes(), 1);
        assert_eq!(channels(link.fail(None)), Some(vec![3]));
        assert_eq!(link.fail(None), None);
    }

    #[test]
    fn a_redirect_names_its_slot() {
        let (mut link, _) = link(&[
            change(0, "s", false, Some(5)),
            change(1, "t", true, Some(6)),
        ]);
        // The node ended it by itself, right before it was asked to.
        link.confirm(Kind::Shard, false);
        assert_eq!(channels(link.fail(Slot::new(5))), Some(vec![0]));
        assert_eq!(link.changes(), 1, "the other one is still to come");
    }
}
