//! `CLIENT PAUSE`: what waits, and until when (contract: C2).

use std::sync::Arc;

use crate::command::Command;
use crate::resp::Args;

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Those whose effect may reach replicas.
    Write,
    /// All.
    All,
}

/// A pause of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What waits.
    pub mode: PauseMode,
    /// When it is over, in microseconds on the process' clock.
    pub until_us: u64,
}

impl Pause {
    /// Both at once: the stricter mode until the later end, as one server has it.
    #[must_use]
    pub fn and(self, other: Pause) -> Pause {
        Pause {
            mode: self.mode.max(other.mode),
            until_us: self.until_us.max(other.until_us),
        }
    }

    /// Whether a request waits. `EXEC` is as what it would execute, which the caller knows. `body` finds the script
    /// that a hash names.
    pub fn holds(
        self,
        command: &Command,
        args: &Args<'_>,
        body: impl FnOnce(&[u8]) -> Option<Arc<[u8]>>,
    ) -> bool {
        match self.mode {
            PauseMode::All => true,
            PauseMode::Write => {
                command.may_replicate() && !is_promised_not_to_write(command, args, body)
            }
        }
    }
}

/// A call of a script that promises not to write. What a function promises, or a script that never passed through
/// here, nobody here knows.
fn is_promised_not_to_write(
    command: &Command,
    args: &Args<'_>,
    body: impl FnOnce(&[u8]) -> Option<Arc<[u8]>>,
) -> bool {
    let named = args.get(1).unwrap_or_default();
    match command.name {
        "eval" => promises_not_to_write(named),
        "evalsha" => body(named).is_some_and(|script| promises_not_to_write(&script)),
        _ => false,
    }
}

/// A script that begins with `#!lua flags=no-writes`.
fn promises_not_to_write(script: &[u8]) -> bool {
    let line = script
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    words.next().is_some_and(|word| word.starts_with(b"#!"))
        && words
            .filter_map(|word| word.strip_prefix(b"flags="))
            .flat_map(|flags| flags.split(|byte| *byte == b','))
            .any(|flag| flag == b"no-writes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::local::tests::with_args;
    use crate::command::{Lookup, lookup};

    fn waits(mode: PauseMode, words: &[&str]) -> bool {
        with_args(words, |args| match lookup(args) {
            Lookup::Found(row) => Pause { mode, until_us: 1 }.holds(row, args, kept),
            _ => panic!("no row for {words:?}"),
        })
    }

    /// The scripts that passed through: one that promises not to write, and one that does not.
    fn kept(sha: &[u8]) -> Option<Arc<[u8]>> {
        match sha {
            b"reads" => Some((*b"#!lua flags=no-writes\nreturn 1").into()),
            b"writes" => Some((*b"#!lua\nreturn 1").into()),
            _ => None,
        }
    }

    /// As servers were seen to do. contract: C2
    #[test]
    fn which_commands_wait() {
        for (words, expected) in [
            (&["GET", "k"][..], false),
            (&["SET", "k", "v"], true),
            (&["PFCOUNT", "k"], true),
            (&["PUBLISH", "c", "m"], true),
            (&["SPUBLISH", "c", "m"], true),
            (&["EVAL", "return 1", "0"], true),
            (&["EVAL", "#!lua\nreturn 1", "0"], true),
            (&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"], false),
            (
                &["EVAL", "#!lua flags=allow-stale,no-writes\nreturn 1", "0"],
                false,
            ),
            (&["EVAL", "-- flags=no-writes\nreturn 1", "0"], true),
            (&["EVAL_RO", "return 1", "0"], false),
            (&["EVALSHA", "x", "0"], true),
            (&["EVALSHA", "writes", "0"], true),
            (&["EVALSHA", "reads", "0"], false),
            (&["EVALSHA_RO", "x", "0"], false),
            (&["FCALL", "f", "0"], true),
            (&["FCALL_RO", "f", "0"], false),
            (&["SCRIPT", "LOAD", "return 1"], false),
            (&["FUNCTION", "FLUSH"], true),
            (&["FUNCTION", "LIST"], false),
            (&["BLPOP", "k", "0"], true),
            (&["FLUSHALL"], true),
            (&["SORT", "k"], true),
            (&["BITFIELD_RO", "k", "GET", "u8", "0"], false),
            (&["SUBSCRIBE", "c"], false),
            (&["PING"], false),
            (&["CLIENT", "UNPAUSE"], false),
        ] {
            assert_eq!(waits(PauseMode::Write, words), expected, "{words:?}");
            assert!(waits(PauseMode::All, words), "{words:?}");
        }
    }

    #[test]
    fn the_stricter_mode_until_the_later_end() {
        let pause = |mode, until_us| Pause { mode, until_us };
        let (write, all) = (PauseMode::Write, PauseMode::All);
        assert_eq!(pause(write, 5).and(pause(all, 3)), pause(all, 5));
        assert_eq!(pause(all, 3).and(pause(write, 5)), pause(all, 5));
    }
}
