//! One row of the table: its columns and what they can say.

use super::spec::KeySpecs;

/// What Keyway knows about one command or sub-command: one row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Lower-case name; a sub-command's row is named `container|sub`. A learnt command has the name
    /// that the servers say, of any case.
    pub name: &'static str,
    /// Redis' arity: `n` is exactly n arguments (the name, and the sub-command's, included),
    /// `-n` at least n.
    pub arity: i16,
    /// Whether it reads, writes or does neither.
    pub access: Access,
    /// Where its keys are.
    pub keys: Keys,
    /// What Keyway does with it.
    pub handling: Handling,
    /// How a read whose keys are in several slots is computed, for those that can be
    /// (contract: M3).
    pub across: Option<Across>,
    /// What the servers say of it besides, where Keyway has learnt it from them.
    pub flags: Flags,
}

/// A read over several slots that Keyway can compute from the parts (contract: M3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// `SUNION`
    Union,
    /// `SINTER`
    Intersection,
    /// `SDIFF`
    Difference,
    /// `SINTERCARD`
    IntersectionSize,
    /// `ZUNION`
    SortedUnion,
    /// `ZINTER`
    SortedIntersection,
    /// `ZDIFF`
    SortedDifference,
    /// `ZINTERCARD`
    SortedIntersectionSize,
    /// `PFCOUNT`
    DistinctCount,
}

/// Flags that servers give to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// None, or none that are known.
    pub const NONE: Flags = Flags(0);
    /// Not allowed inside `MULTI`.
    pub const NO_MULTI: Flags = Flags(1);
    /// Keyway has learnt it from the servers.
    pub const LEARNT: Flags = Flags(2);
    /// A block that is whole only where one primary is all there is.
    pub const ONLY_PRIMARY: Flags = Flags(4);
    /// A block that is asked now or not at all.
    pub const ASKED_ONCE: Flags = Flags(8);

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of these are among them.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a command does to the data; decides whether it may be sent again after its connection was
/// lost (contract: F2) and whether a replica may serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Redis flags it `readonly`: it may be repeated.
    Read,
    /// It may change data: it is never sent twice.
    Write,
    /// Neither flag, but repeating it does no harm (`TIME`, `COMMAND`).
    Harmless,
    /// Neither flag, and repeating it is not harmless (`PUBLISH`, `EVAL`).
    Effect,
}

/// Where a command's keys are. Positions count from the name at 0; a negative position counts from
/// the end, -1 being the last argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// Every `step`-th argument from `first` to `last`.
    Range {
        /// The first key.
        first: u8,
        /// The last key's position; negative counts from the end.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
    },
    /// The argument at `count` says how many keys start at `first` (`EVAL`, `ZUNION`).
    Counted {
        /// Position of the number of keys.
        count: u8,
        /// Position of the first key.
        first: u8,
        /// Distance from one key to the next (`MSETEX` has 2).
        step: u8,
    },
    /// As `Counted`, and a destination key at 1 (`ZUNIONSTORE`).
    StoreCounted {
        /// Position of the number of source keys.
        count: u8,
        /// Position of the first source key.
        first: u8,
    },
    /// After the word `STREAMS`, the first half of what follows (`XREAD`, `XREADGROUP`).
    Streams,
    /// One key at 1, and one after the word `STORE` (`SORT`).
    Sort,
    /// One key at 1, and one after `STORE` or `STOREDIST` (`GEORADIUS`).
    GeoRadius,
    /// One key at 3, or when that is empty those after the word `KEYS` (`MIGRATE`).
    Migrate,
    /// As the servers specify it (learnt commands).
    Specs(&'static KeySpecs),
    /// Only the servers can tell, for each request anew; these are the specifications that are known
    /// (learnt commands).
    Asked(&'static KeySpecs),
}

/// What Keyway does with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Goes to the node that owns its keys' slot; keys of several slots get `CROSSSLOT`; without a
    /// key (`EVAL` with numkeys 0) any primary will do.
    Keyed,
    /// Split by slot and merged (contract: M1).
    Split(Merge),
    /// Has no key, and any one primary answers as well as another.
    Anywhere,
    /// Goes to every primary; the replies are merged (contract: M4).
    Primaries(Merge),
    /// Goes to every node, replicas included; the replies are merged (contract: M4).
    Nodes(Merge),
    /// Goes to the owner of the slot whose number is the argument at this position.
    SlotArgument(u8),
    /// `PUBLISH` and `SPUBLISH`: always to the owner of the channel's slot, so that one publisher's
    /// messages on a channel keep their order.
    Publish,
    /// Who is subscribed to what: every node is asked, and this Keyway's own clients are counted
    /// (contract: S4).
    Census(Census),
    /// Has no key, but whoever names the same argument at this position means the same primary: learnt
    /// commands of which the servers do not say whose they are.
    HashArgument(u8),
    /// `SCAN`: walks the primaries with a stateless cursor (contract: M5).
    Scan,
    /// `RANDOMKEY`: one primary, chosen with the weight of its size (contract: M4).
    RandomKey,
    /// Answered by this Keyway.
    Local(Local),
    /// Needs `MULTI` state: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    Transaction(Transaction),
    /// Runs scripts or speaks of them (contract: T4).
    Script(Script),
    /// May block its client: a private connection (contract: T5).
    Blocking,
    /// Waits for the replicas of all primaries that the client wrote to (contract: T8).
    Wait,
    /// Changes or uses subscriptions (contract: S1).
    Subscription(Subscription),
    /// Streams what passes through this Keyway (contract: S7).
    Monitor,
    /// Refused by default (contract: C7).
    Refused,
    /// Only holds sub-commands (`CLIENT`). Its arity demands one, so a request that got this row and
    /// passed [`Command::accepts`] does not exist.
    Container,
}

/// How partial replies become one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// One array element per key, put back in the order of the keys (`MGET`).
    ByKey,
    /// Integers are added (`DEL`).
    Sum,
    /// The smallest integer (`WAIT`, `LASTSAVE`), in arrays at each place (`WAITAOF`).
    Min,
    /// The largest integer.
    Max,
    /// All must succeed; the first reply stands for all (`MSET`, `FLUSHALL`).
    AllSucceeded,
    /// One success is enough; an error only when all failed (`SCRIPT KILL`).
    OneSucceeded,
    /// Arrays of 0/1 combined with a logical and (`SCRIPT EXISTS`); also plain integers.
    LogicalAnd,
    /// The same with a logical or.
    LogicalOr,
    /// Arrays are concatenated (`KEYS`); replies of another kind stand as in `AllSucceeded`
    /// (`ACL LOG RESET`).
    Concat,
    /// Array elements or map entries joined with duplicates removed (`PUBSUB CHANNELS`).
    Union,
    /// Pairs of name and number added up by name (`PUBSUB NUMSUB`).
    SumByName,
    /// Streams in the order of the parts; null when no part has any (`XREAD`).
    Streams,
    /// Entries of logs, the newest first and no more than were asked for (`SLOWLOG GET`).
    Newest,
    /// Samples in the order of their times (`LATENCY HISTORY`).
    ByTime,
    /// One entry for each event, of the last time and the longest (`LATENCY LATEST`).
    LatestEvents,
    /// Slots with their figures, in the order asked for and no more than that (`CLUSTER SLOT-STATS`).
    SlotStats,
    /// Counts of calls by their durations, added up for each command (`LATENCY HISTOGRAM`).
    Histograms,
    /// The text of `INFO`: numbers that add up are added, identity is Keyway's own.
    Info,
}

/// Commands that this Keyway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the command it is named after
pub enum Local {
    Ping,
    Echo,
    Hello,
    Auth,
    Quit,
    Reset,
    Select,
    Asking,
    ReadOnly,
    ReadWrite,
    ClientId,
    ClientInfo,
    ClientList,
    ClientGetName,
    ClientSetName,
    ClientSetInfo,
    ClientKill,
    ClientPause,
    ClientUnpause,
    ClientReply,
    ClientNoEvict,
    ClientNoTouch,
    ClientUnblock,
    ClientCaching,
    ClientTracking,
    ClientTrackingInfo,
    ClientGetRedir,
    ClientHelp,
    ClientCapa,
    ClusterSlots,
    ClusterShards,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterMyShardId,
    ClusterKeySlot,
    ClusterReplicas,
    ClusterLinks,
    ClusterHelp,
    AclWhoAmI,
    AclHelp,
    AclList,
    AclUsers,
    AclGetUser,
    AclDryRun,
    AclLog,
    AclConfigured,
    Role,
}

/// Questions about subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the sub-command of `PUBSUB` it is named after
pub enum Census {
    Channels,
    NumSub,
    NumPat,
    ShardChannels,
    ShardNumSub,
}

/// Commands about transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the command it is named after
pub enum Transaction {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// Commands that run scripts or speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// `EVAL`: goes where its keys are; the body is kept for later.
    Eval,
    /// `EVALSHA`: goes where its keys are; a node that lacks the script is given the body.
    EvalSha,
    /// `SCRIPT LOAD`: goes to every primary; the body is kept for later.
    Load,
    /// `SCRIPT EXISTS`: true where all primaries have it, or Keyway has the body.
    Exists,
    /// `SCRIPT FLUSH`: goes to every primary; no body is kept any more.
    Flush,
    /// `SCRIPT KILL`, `FUNCTION KILL`: one primary must succeed; not behind the script on its own
    /// connection.
    Kill,
}

/// Commands about subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the command it is named after
pub enum Subscription {
    Subscribe,
    Unsubscribe,
    PSubscribe,
    PUnsubscribe,
    SSubscribe,
    SUnsubscribe,
}

impl Keys {
    /// The distance from one key to the next in a request that is split by slot.
    pub fn step(self) -> usize {
        match self {
            Keys::Range { step, .. } => usize::from(step),
            _ => 1,
        }
    }
}

impl Command {
    /// Whether `argc` arguments are allowed.
    pub fn accepts(&self, argc: usize) -> bool {
        let arity = i64::from(self.arity);
        if arity >= 0 {
            argc as i64 == arity
        } else {
            argc as i64 >= -arity
        }
    }

    /// The command that does the same with a script's body in place of its name.
    pub fn with_body(&self) -> Option<&'static Command> {
        match (self.handling, self.access) {
            (Handling::Script(Script::EvalSha), Access::Read) => super::row_named("eval_ro"),
            (Handling::Script(Script::EvalSha), _) => super::row_named("eval"),
            _ => None,
        }
    }

    /// Whether it takes from the first of its keys that has something, and does not wait for it.
    pub fn takes_from_first(&self) -> bool {
        matches!(self.name, "lmpop" | "zmpop")
    }

    /// Whether it empties something everywhere: done twice it leaves the same behind.
    pub fn is_flush(&self) -> bool {
        matches!(self.name, "flushall" | "flushdb" | "script|flush")
    }

    /// Whether it may be sent again after it may have been executed (contract: F2).
    pub fn is_repeatable(&self) -> bool {
        matches!(self.access, Access::Read | Access::Harmless)
    }
}

impl Handling {
    /// A short phrase for the list of commands in the documents, such as `split by slot, sum`.
    pub fn describe(self) -> String {
        let (what, merge) = match self {
            Handling::Keyed => ("by key", None),
            Handling::Split(merge) => ("split by slot", Some(merge)),
            Handling::Anywhere => ("any primary", None),
            Handling::Primaries(merge) => ("every primary", Some(merge)),
            Handling::Nodes(merge) => ("every node", Some(merge)),
            Handling::SlotArgument(_) => ("by the slot named", None),
            Handling::Publish => ("by channel", None),
            Handling::Census(_) => ("every node and this Keyway's clients", None),
            Handling::HashArgument(_) => ("a primary, the same for each argument", None),
            Handling::Scan => ("primary after primary", None),
            Handling::RandomKey => ("a primary, weighted by its keys", None),
            Handling::Local(_) => ("answered by Keyway", None),
            Handling::Transaction(_) => ("transaction", None),
            Handling::Script(Script::Eval | Script::EvalSha) => {
                ("by key, missing scripts are sent along", None)
            }
            Handling::Script(Script::Load | Script::Flush) => {
                ("every primary", Some(Merge::AllSucceeded))
            }
            Handling::Script(Script::Exists) => (
                "every primary, true where all have it or Keyway can send it along",
                None,
            ),
            Handling::Script(Script::Kill) => (
                "every primary, over a connection of its own",
                Some(Merge::OneSucceeded),
            ),
            Handling::Wait => ("every primary the client wrote to, smallest", None),
            Handling::Blocking => ("by key, private connection while it blocks", None),
            Handling::Subscription(_) => ("subscription", None),
            Handling::Monitor => ("streamed by Keyway", None),
            Handling::Refused => ("refused", None),
            Handling::Container => ("has sub-commands", None),
        };
        match merge {
            Some(merge) => format!("{what}, {}", merge.describe()),
            None => what.to_string(),
        }
    }
}

impl Merge {
    fn describe(self) -> &'static str {
        match self {
            Merge::ByKey => "in the order of the keys",
            Merge::Sum => "sum",
            Merge::Min => "smallest",
            Merge::Max => "largest",
            Merge::AllSucceeded => "all must succeed",
            Merge::OneSucceeded => "one must succeed",
            Merge::LogicalAnd => "true where all are",
            Merge::LogicalOr => "true where one is",
            Merge::Concat => "concatenated",
            Merge::Union => "joined without duplicates",
            Merge::SumByName => "sum for each name",
            Merge::Streams => "in the order of the keys",
            Merge::Newest => "newest first",
            Merge::ByTime => "in the order of time",
            Merge::LatestEvents => "latest and longest of each event",
            Merge::SlotStats => "in the order asked for",
            Merge::Histograms => "histograms added up",
            Merge::Info => "added up",
        }
    }
}

/// Rows are looked at for every request: a few of them share a cache line.
const _: () = assert!(size_of::<Command>() <= 40);
