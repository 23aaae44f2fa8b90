//! What happens once all parts of a request were answered.

use super::hub::census;
use super::one_pass::Pass;
use super::scan::Scanning;
use crate::client::Tracking;
use crate::client::local::NO_SUCH_CLIENT;
use crate::command::Merge;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, Protocol, reply, write};
use crate::routing::across::Computation;
use crate::routing::merge::{MergePlan, SlotOrder};
use crate::upstream::Dispatched;

/// How the parts of a request become its reply.
#[derive(Debug)]
pub enum Finish {
    /// They are merged.
    Merge(MergePlan),
    /// `SCAN`: the node's cursor becomes Keyway's own, or the next node is asked (contract: M5).
    Scan(Box<Scanning>),
    /// `RANDOMKEY`: each primary tells its size and draws a key, and one of the keys is taken
    /// (contract: M4).
    RandomKey(Protocol),
    /// `CLIENT TRACKING ON`: in effect when all servers have accepted it (contract: S6).
    Tracking(Box<Tracking>),
    /// `PING` of a client that tracks: this, once all its nodes have answered (contract: S6).
    Barrier(Vec<u8>),
    /// `COMMAND GETKEYS`, asked for the sake of a request whose keys only a node can tell.
    Keys {
        /// The request.
        request: Dispatched,
        /// As it goes over the wire.
        bytes: Vec<u8>,
    },
    /// `SCRIPT EXISTS`: true also where Keyway has the body (contract: T4).
    ScriptExists {
        /// How the primaries' answers are merged.
        plan: MergePlan,
        /// Which of the bodies Keyway has.
        kept: Vec<bool>,
    },
    /// `SCRIPT SHOW`, asked for the sake of a call whose node lacks the script.
    ScriptBody {
        /// The call.
        call: Dispatched,
        /// As it went over the wire.
        bytes: Vec<u8>,
        /// What the node said, for the client when nobody knows the body.
        error: Vec<u8>,
    },
    /// A read over several slots is computed (contract: M3).
    Across(Box<Computation>),
    /// `LMPOP` over several slots: the next one is asked when this one has nothing (contract: T7).
    Pass(Box<Pass>),
    /// `PUBLISH`: the node's count is put right (contract: S4).
    Published(census::Published),
    /// `PUBSUB`: the nodes' answers are merged and put right (contract: S4).
    Census(census::Asked),
    /// The last entries of the streams that a command which blocks asks about; its call follows.
    LastIds,
    /// A command that blocks, asked in a block of its own for a client that leaves: what is there, or no reply at all
    /// (contract: T5).
    AskedOnce,
    /// The blocks of an `EXEC` in steps (contract: T2).
    Blocks,
    /// The workers' answers about their clients (contract: C2).
    Workers(WorkersAnswer),
}

/// How the answers of the workers become one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkersAnswer {
    /// `CLIENT LIST`: the texts one after another.
    List(Protocol),
    /// `CLIENT KILL` with filters: how many were closed.
    Count,
    /// `CLIENT KILL addr:port`: `OK`, or an error when nobody has that address.
    Killed,
    /// `CLIENT PAUSE` and `UNPAUSE`: `OK`.
    Done,
    /// `MONITOR`: `OK`, and the client is shown what passes.
    Monitoring,
}

impl Finish {
    /// Merges the texts of `INFO`; Keyway's own section is there when all was asked for, or it.
    pub fn info(args: &Args<'_>, protocol: Protocol) -> Finish {
        const WITH_KEYWAY: [&[u8]; 4] = [b"keyway", b"all", b"everything", b"default"];
        let is_with = |arg: &[u8]| {
            WITH_KEYWAY
                .iter()
                .any(|name| arg.eq_ignore_ascii_case(name))
        };
        Finish::Merge(MergePlan {
            shows_keyway: args.len() == 1 || args.iter().skip(1).any(is_with),
            ..MergePlan::new(Merge::Info, protocol)
        })
    }

    /// Merges the answers to `SCRIPT EXISTS`.
    pub fn script_exists(kept: Vec<bool>, protocol: Protocol) -> Finish {
        Finish::ScriptExists {
            plan: MergePlan::new(Merge::LogicalAnd, protocol),
            kept,
        }
    }

    /// Merges the entries of logs: as many as `SLOWLOG GET n` and `COMMANDLOG GET n type` ask for.
    pub fn newest(args: &Args<'_>, protocol: Protocol) -> Finish {
        /// What the servers give to those who do not say.
        const COUNT_MAX: usize = 10;
        let count_max = match args.get(2).map(parse_integer) {
            // Below 0 all that there are. What makes no sense the nodes refuse.
            Some(None) => usize::MAX,
            Some(Some(count)) => usize::try_from(count).unwrap_or(usize::MAX),
            None => COUNT_MAX,
        };
        Finish::Merge(MergePlan {
            count_max,
            ..MergePlan::new(Merge::Newest, protocol)
        })
    }

    /// Merges figures of slots, as `CLUSTER SLOT-STATS` asks for them.
    pub fn slot_stats(args: &Args<'_>, protocol: Protocol) -> Finish {
        Finish::Merge(MergePlan {
            slots: Some(SlotOrder::of_request(args)),
            ..MergePlan::new(Merge::SlotStats, protocol)
        })
    }

    /// Merges the parts without an order of keys.
    pub fn merge(merge: Merge, protocol: Protocol) -> Finish {
        Finish::Merge(MergePlan::new(merge, protocol))
    }
}

impl WorkersAnswer {
    /// Writes the one reply.
    pub fn merge<'a>(self, answers: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
        match self {
            WorkersAnswer::List(protocol) => {
                write::verbatim(out, protocol, &answers.collect::<Vec<_>>().concat());
            }
            WorkersAnswer::Count => write::integer(out, answers.filter_map(reply::integer).sum()),
            WorkersAnswer::Killed => match answers.filter_map(reply::integer).sum::<i64>() {
                0 => write::error(out, NO_SUCH_CLIENT),
                _ => write::simple(out, "OK"),
            },
            WorkersAnswer::Done | WorkersAnswer::Monitoring => write::simple(out, "OK"),
        }
    }
}
