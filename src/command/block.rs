//! A whole transaction on its way to a node: `MULTI`, the commands and `EXEC` in one piece.
//!
//! To the worker such a block is one request with one reply. Its row says, as any row does, whether it
//! may be repeated: a block that only reads may (contract: F2).

use super::keys::key_positions;
use super::lookup::{Lookup, lookup};
use super::row::{Access, Command, Flags, Handling, Keys, Transaction};
use crate::resp::with_args;

/// What a block begins with.
pub const BEGIN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
/// What it ends with.
pub const END: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

static READS: Command = row(Access::Read, Flags::NONE);
static WRITES: Command = row(Access::Effect, Flags::NONE);
static READS_ALL: Command = row(Access::Read, Flags::ONLY_PRIMARY);
static WRITES_ALL: Command = row(Access::Effect, Flags::ONLY_PRIMARY);
static ASKED_ONCE: Command = row(Access::Effect, Flags::ASKED_ONCE);

const fn row(access: Access, flags: Flags) -> Command {
    Command {
        name: "exec",
        arity: 1,
        access,
        keys: Keys::None,
        across: None,
        handling: Handling::Transaction(Transaction::Exec),
        flags,
    }
}

/// The row of a block; `is_repeatable` is whether all its commands are.
pub fn block_row(is_repeatable: bool) -> &'static Command {
    if is_repeatable { &READS } else { &WRITES }
}

/// The row of a block with commands that go to all primaries, while there is one.
pub fn block_of_only_primary(is_repeatable: bool) -> &'static Command {
    match is_repeatable {
        true => &READS_ALL,
        false => &WRITES_ALL,
    }
}

/// The row of the block of a command that blocks, asked in its client's place when that leaves: it is not asked
/// again later.
pub fn block_asked_once() -> &'static Command {
    &ASKED_ONCE
}

/// The commands of a block as frames, one after another.
pub fn block_commands(block: &[u8]) -> &[u8] {
    let inside = block.strip_prefix(BEGIN).unwrap_or_default();
    inside.strip_suffix(END).unwrap_or_default()
}

/// How many commands a block has.
pub fn block_len(block: &[u8]) -> u32 {
    let mut rest = block_commands(block);
    let mut count = 0;
    while let Some(len) = with_args(rest, |args| args.frame().len()) {
        count += 1;
        rest = &rest[len..];
    }
    count
}

/// The keys of all commands of a block; `None` when a command is among them whose keys its name does not
/// tell (it was learnt from the servers).
pub fn block_keys(block: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    let mut rest = block_commands(block);
    while let Some(len) = with_args(rest, |args| {
        let Lookup::Found(command) = lookup(args) else {
            return None;
        };
        if let Ok(positions) = key_positions(command, args) {
            let found = positions.iter().filter_map(|at| args.get(at));
            keys.extend(found.map(<[u8]>::to_vec));
        }
        Some(args.frame().len())
    }) {
        rest = rest.get(len?..)?;
    }
    Some(keys)
}

impl Command {
    /// Whether this is the row of a whole block.
    #[inline]
    pub fn is_block(&self) -> bool {
        self.handling == Handling::Transaction(Transaction::Exec)
    }

    /// Whether this is the row of a block that is asked now or not at all ([`block_asked_once`]).
    #[inline]
    pub fn is_asked_once(&self) -> bool {
        self.flags.has(Flags::ASKED_ONCE)
    }

    /// Whether this is the row of a block that is whole only where one primary is all there is.
    #[inline]
    pub fn needs_only_primary(&self) -> bool {
        self.flags.has(Flags::ONLY_PRIMARY)
    }

    /// Whether the servers do not let it into a transaction (their flag `no_multi`; Valkey's `MULTI`
    /// and `WATCH` are looked at elsewhere).
    pub fn is_kept_out_of_multi(&self) -> bool {
        matches!(self.name, "psync" | "save" | "shutdown" | "sync")
            || self.flags.has(Flags::NO_MULTI)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::write;

    fn block(commands: &[&[&str]]) -> Vec<u8> {
        let mut block = BEGIN.to_vec();
        for words in commands {
            write::command(&mut block, words);
        }
        block.extend_from_slice(END);
        block
    }

    #[test]
    fn what_is_inside() {
        let empty = block(&[]);
        assert_eq!((block_len(&empty), block_keys(&empty)), (0, Some(vec![])));
        let learnt = block(&[&["SET", "a", "1"], &["JSON.SET", "b", "$", "1"]]);
        assert_eq!(block_keys(&learnt), None);
        let block = block(&[&["SET", "a", "1"], &["PING"], &["MGET", "b", "c"]]);
        assert_eq!(block_len(&block), 3);
        let keys = block_keys(&block).unwrap_or_default();
        assert_eq!(keys, [b"a", b"b", b"c"]);
    }

    /// contract: F2
    #[test]
    fn a_block_that_only_reads_may_be_repeated() {
        assert!(block_row(true).is_repeatable());
        assert!(!block_row(false).is_repeatable());
        assert!(block_row(true).is_block() && block_row(false).is_block());
    }
}
