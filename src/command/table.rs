//! The command table: one row for each command and sub-command, in one file for each group.
//!
//! A row reads `"name" arity access keys handling`, and `across` how it is computed over several slots, if
//! Keyway can (contract: M3). Behind it stands what the servers' ACL asks: `uses R W`, what is done with the
//! first key and with the others (`Any`: neither read nor written, as by `EXISTS`), and the categories.
//! Keys are written as
//!
//! | written | meaning |
//! |---|---|
//! | `none` | no key |
//! | `[1]` | one key, at 1 |
//! | `[1 to -1]` | every argument from 1 to the last |
//! | `[1 to -1 step 2]` | every second one of them |
//! | `(counted 2)` | the argument at 2 counts the keys, which follow it; `step 2` as above |
//! | `(store 2)` | the same, and a destination key at 1 |
//! | `streams`, `sort`, `georadius`, `migrate` | found behind a word; see [`Keys`] |
//!
//! Names, arities, access and keys are what Redis 7.0 and Valkey 8.0 report themselves;
//! `tests/command_table` asks them. Where two versions differ in arity the row has the wider one,
//! and the server refuses what it does not take. Handling follows the servers' request and response
//! policies (contract: M4); `Access` of a command that neither reads nor writes is our judgement.
//!
//! Adding a command is one row, in the sorted place. The build fails when it is out of order or
//! there twice, or when a sub-command has no container.

use super::rights::{Categories, KeyUse, Rights};
use super::row::{
    Access, Across, Census, Command, Handling, Keys, Local, Merge, Script, Subscription,
    Transaction,
};

mod bits;
mod cluster;
mod connection;
mod geo;
mod hashes;
mod keys;
mod lists;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod vectors;

const GROUPS: [&[Command]; 15] = [
    keys::ROWS,
    strings::ROWS,
    bits::ROWS,
    hashes::ROWS,
    lists::ROWS,
    sets::ROWS,
    sorted_sets::ROWS,
    geo::ROWS,
    streams::ROWS,
    vectors::ROWS,
    scripting::ROWS,
    pubsub::ROWS,
    connection::ROWS,
    cluster::ROWS,
    server::ROWS,
];

const GROUPS_RIGHTS: [&[Rights]; GROUPS.len()] = [
    keys::RIGHTS,
    strings::RIGHTS,
    bits::RIGHTS,
    hashes::RIGHTS,
    lists::RIGHTS,
    sets::RIGHTS,
    sorted_sets::RIGHTS,
    geo::RIGHTS,
    streams::RIGHTS,
    vectors::RIGHTS,
    scripting::RIGHTS,
    pubsub::RIGHTS,
    connection::RIGHTS,
    cluster::RIGHTS,
    server::RIGHTS,
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Every row, group after group, sorted by name within a group.
pub(super) static ROWS: [Command; COUNT] = ROWS_AT_BUILD;

/// The same for constants, which may not read a static.
#[expect(
    clippy::large_const_arrays,
    reason = "read while building, and nowhere else"
)]
pub(super) const ROWS_AT_BUILD: [Command; COUNT] = {
    let mut rows = [GROUPS[0][0]; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            rows[at] = GROUPS[group][row];
            at += 1;
            row += 1;
        }
        group += 1;
    }
    rows
};

/// What the ACL asks about each row, in the order of the rows.
static RIGHTS: [Rights; COUNT] = {
    let mut rights = [Rights::UNKNOWN; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS_RIGHTS.len() {
        let mut row = 0;
        while row < GROUPS_RIGHTS[group].len() {
            rights[at] = GROUPS_RIGHTS[group][row];
            at += 1;
            row += 1;
        }
        group += 1;
    }
    assert!(at == COUNT);
    rights
};

impl Command {
    /// Its place among all rows of the table, below [`ROWS_COUNT`]; none for what is learnt.
    pub fn number(&self) -> Option<usize> {
        let at = std::ptr::from_ref(self).addr();
        let number = at.checked_sub(ROWS.as_ptr().addr())? / size_of::<Command>();
        (number < COUNT).then_some(number)
    }

    /// What the ACL asks about it; none for what is learnt.
    pub fn rights(&self) -> Option<Rights> {
        self.number().map(|number| RIGHTS[number])
    }
}

/// How many rows there are.
pub const ROWS_COUNT: usize = COUNT;

/// Every command and sub-command Keyway knows, group after group; for documents and tests.
pub fn supported() -> impl Iterator<Item = &'static Command> {
    ROWS.iter()
}

/// Declares the rows of one group, and refuses to build when they are not sorted by name.
macro_rules! commands {
    ($(
        $name:literal $arity:literal $access:ident $keys:tt $handling:ident $(($of:tt))?
            $(across $across:ident)? $(uses $first:ident $($other:ident)?)? $(@$category:ident)+,
    )+) => {
        pub(super) const ROWS: &[super::Command] = &[$(super::Command {
            name: $name,
            arity: $arity,
            access: super::Access::$access,
            keys: super::keys_column!($keys),
            handling: super::handling_column!($handling $($of)?),
            flags: $crate::command::Flags::NONE,
            across: super::across_column!($($across)?),
        }),+];
        pub(super) const RIGHTS: &[super::Rights] = &[$({
            let keys = super::uses_column!($($first $($other)?)?);
            super::Rights {
                categories: super::Categories::NONE
                    $(.and(super::Categories::of_row(stringify!($category))))+,
                first_key: keys.0,
                other_keys: keys.1,
            }
        }),+];
        const _: () = super::assert_sorted(ROWS);
    };
}
use commands;

/// The `across` column of one row: how it is computed over several slots, if it can be.
macro_rules! across_column {
    () => {
        None
    };
    ($across:ident) => {
        Some(super::Across::$across)
    };
}
use across_column;

/// The `uses` column of one row: what it does with its first key, and with the others.
macro_rules! uses_column {
    () => {
        super::uses_column!(Any)
    };
    ($first:ident) => {
        super::uses_column!($first $first)
    };
    ($first:ident $other:ident) => {
        (
            super::key_use(stringify!($first)),
            super::key_use(stringify!($other)),
        )
    };
}
use uses_column;

/// What `R`, `W`, `RW` and `Any` stand for.
const fn key_use(written: &str) -> KeyUse {
    match written.as_bytes() {
        b"R" => KeyUse {
            reads: true,
            writes: false,
        },
        b"W" => KeyUse {
            reads: false,
            writes: true,
        },
        b"RW" => KeyUse::BOTH,
        b"Any" => KeyUse {
            reads: false,
            writes: false,
        },
        _ => panic!("keys are used as R, W, RW or Any"),
    }
}

/// The `keys` column of one row.
macro_rules! keys_column {
    (none) => { $crate::command::Keys::None };
    (streams) => { $crate::command::Keys::Streams };
    (sort) => { $crate::command::Keys::Sort };
    (georadius) => { $crate::command::Keys::GeoRadius };
    (migrate) => { $crate::command::Keys::Migrate };
    ([$first:literal]) => { super::keys_column!([$first to $first step 1]) };
    ([$first:literal to $last:literal]) => { super::keys_column!([$first to $last step 1]) };
    ([$first:literal to $last:literal step $step:literal]) => {
        super::Keys::Range { first: $first, last: $last, step: $step }
    };
    ((counted $count:literal)) => { super::keys_column!((counted $count step 1)) };
    ((counted $count:literal step $step:literal)) => {
        super::Keys::Counted { count: $count, first: $count + 1, step: $step }
    };
    ((store $count:literal)) => {
        super::Keys::StoreCounted { count: $count, first: $count + 1 }
    };
}
use keys_column;

/// The `handling` column of one row.
macro_rules! handling_column {
    (Split $of:ident) => {
        super::Handling::Split(super::Merge::$of)
    };
    (Primaries $of:ident) => {
        super::Handling::Primaries(super::Merge::$of)
    };
    (Nodes $of:ident) => {
        super::Handling::Nodes(super::Merge::$of)
    };
    (Local $of:ident) => {
        super::Handling::Local(super::Local::$of)
    };
    (Transaction $of:ident) => {
        super::Handling::Transaction(super::Transaction::$of)
    };
    (Subscription $of:ident) => {
        super::Handling::Subscription(super::Subscription::$of)
    };
    (Script $of:ident) => {
        super::Handling::Script(super::Script::$of)
    };
    (Census $of:ident) => {
        super::Handling::Census(super::Census::$of)
    };
    (SlotArgument $of:literal) => {
        super::Handling::SlotArgument($of)
    };
    ($plain:ident) => {
        super::Handling::$plain
    };
}
use handling_column;

const fn assert_sorted(rows: &[Command]) {
    let mut row = 1;
    while row < rows.len() {
        assert!(
            is_before(rows[row - 1].name.as_bytes(), rows[row].name.as_bytes()),
            "rows are not sorted by name, or one is there twice"
        );
        row += 1;
    }
}

const fn is_before(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at += 1;
    }
    left.len() < right.len()
}
