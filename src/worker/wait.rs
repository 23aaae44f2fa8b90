//! `WAIT` and `WAITAOF`: the replicas of every primary that this client wrote to (contract: T8).
//!
//! A server counts the replicas that have what the asking connection wrote. A client's writes went out
//! on connections that others share, so the question goes out on a private connection to each of those
//! primaries, right after a command that brings the connection's own offset up to now.
//!
//! Which command does that was found by asking. Up to Redis 7.0 any will do, `PING` for instance. Since
//! then, and in Valkey 8, only one that goes to the replicas does; `FUNCTION RESTORE` of no function at
//! all is the one that does so and changes nothing.

use std::borrow::Cow;

use super::blocking::{BlockedBy, Call};
use super::core::Core;
use super::finish::Finish;
use super::requests::Taken;
use crate::command::{self, Access, Command, Merge};
use crate::pipeline::ClientKey;
use crate::resp::{Args, write};
use crate::routing::{NodeKey, Target};

/// `FUNCTION RESTORE` of an empty dump: the version of Redis 7.0's format and a checksum. Where there are
/// no functions yet it is an unknown command, and the `PING` after it is enough; so it is where Redis 7.0
/// forbids it to the user. Where a later server does, no number would be true, and the client hears why.
pub(super) const CATCH_UP: &[u8] =
    b"*3\r\n$8\r\nFUNCTION\r\n$7\r\nRESTORE\r\n$10\r\n\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda\r\n";

/// See [`CATCH_UP`].
pub(super) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// How Redis 7.0 begins what it says to a user who may not do something; later servers name the user.
const FORBIDDEN_BY_7_0: &[u8] = b"-NOPERM this user";

/// Whether a connection's offset covers all writes that were answered before, now that [`CATCH_UP`] has this
/// reply and [`PING`] follows.
pub(super) fn prelude_succeeded(reply: &[u8]) -> bool {
    reply.starts_with(b"+OK")
        || reply.starts_with(b"-ERR unknown command")
        || reply.starts_with(FORBIDDEN_BY_7_0)
}

/// What the client hears whose connection could not be brought up to now.
pub(super) fn prelude_failed<'a>(command: &Command, reply: &'a [u8]) -> Cow<'a, [u8]> {
    if !reply.starts_with(b"-NOPERM") {
        return Cow::Borrowed(reply);
    }
    let mut explained = Vec::new();
    let text = format!(
        "NOPERM '{}' needs +function|restore at the nodes, to bring the connection that asks up to this client's \
         writes (nothing is restored): {}",
        command.name,
        String::from_utf8_lossy(reply)
            .trim_start_matches('-')
            .trim_end()
    );
    write::error(&mut explained, text);
    Cow::Owned(explained)
}

/// What `WAIT`, or `WAITAOF`, says when nobody has what was written.
pub(super) fn write_none(command: &Command, out: &mut Vec<u8>) {
    if command.name == "waitaof" {
        // Here and at replicas.
        write::array(out, 2);
        write::integer(out, 0);
    }
    write::integer(out, 0);
}

/// The primaries a client wrote to: one bit for each of the first 63 nodes, the last bit for all
/// others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrittenTo(u64);

const OTHERS: u32 = 63;

impl WrittenTo {
    /// Notes what a command does to a node.
    #[inline]
    pub fn note(&mut self, node: NodeKey, access: Access) {
        match access {
            Access::Write | Access::Effect => self.0 |= 1 << node.0.min(OTHERS),
            Access::Read | Access::Harmless => {}
        }
    }

    /// It is not known any more which they are, if there are any.
    pub(super) fn forget_which(&mut self) {
        if self.0 != 0 {
            self.0 |= 1 << OTHERS;
        }
    }

    /// These nodes were forgotten: their numbers will be others', and who took their slots over is not known.
    pub(super) fn forget(&mut self, nodes: &[NodeKey]) {
        let is_written = |node: &NodeKey| node.0 < OTHERS && self.0 >> node.0 & 1 == 1;
        if nodes.iter().any(is_written) {
            self.forget_which();
        }
    }

    /// The nodes; `None` when it is not known of one which it is.
    fn nodes(self) -> Option<Vec<NodeKey>> {
        if self.0 >> OTHERS != 0 {
            return None;
        }
        let bits = (0..OTHERS).filter(|bit| self.0 >> bit & 1 == 1);
        Some(bits.map(NodeKey).collect())
    }
}

impl Core {
    /// `WAIT`, `WAITAOF`.
    pub(super) fn plan_wait(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        if let Some(refused) = self.refuse_without_lease(key, args) {
            return refused;
        }
        if !self.is_settled(key) || !self.may_route(key) {
            return Taken::NotYet;
        }
        let calls: Vec<Call> = self
            .written_shards(key)
            .into_iter()
            .map(|target| Call::new(target, args.frame().to_vec()))
            .collect();
        let time = command::block_time(command, args);
        let finish = Finish::merge(Merge::Min, self.protocol_of(key));
        self.block_for(key, BlockedBy::Replicas, command, time, calls, Some(finish));
        Taken::Yes
    }

    /// Whether a client wrote anything, which a connection that is asked about it has to catch up with.
    pub(super) fn has_written(&mut self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|client| client.written != WrittenTo::default())
    }

    /// The primaries a client wrote to; all of them when it wrote to none, and when one that it wrote
    /// to is a primary no more: which one took its slots over is not known.
    fn written_shards(&mut self, key: ClientKey) -> Vec<Target> {
        let written = self.clients.get(key).and_then(|c| c.written.nodes());
        let shards = self.nodes.shards();
        let target = |(slot, node): &(_, NodeKey)| Target::Primary(*node, *slot);
        let is_written = |node: &NodeKey| written.as_ref().is_some_and(|all| all.contains(node));
        let found: Vec<Target> = shards
            .iter()
            .filter(|(_, node)| is_written(node))
            .map(target)
            .collect();
        let count = written.as_ref().map_or(0, Vec::len);
        if count > 0 && found.len() == count {
            return found;
        }
        let all: Vec<Target> = shards.iter().map(target).collect();
        match all.is_empty() {
            true => vec![Target::Any],
            false => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: T8
    #[test]
    fn only_what_may_change_data_counts() {
        let mut written = WrittenTo::default();
        written.note(NodeKey(3), Access::Read);
        written.note(NodeKey(4), Access::Harmless);
        assert_eq!(written.nodes(), Some(vec![]));
        written.note(NodeKey(0), Access::Write);
        written.note(NodeKey(62), Access::Effect);
        assert_eq!(written.nodes(), Some(vec![NodeKey(0), NodeKey(62)]));
        written.note(NodeKey(1000), Access::Write);
        assert_eq!(written.nodes(), None);
    }
}
