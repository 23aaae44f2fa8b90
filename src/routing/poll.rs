//! A blocking request over keys of several slots becomes requests that are asked in turn (contract: T7), and so does one
//! that looks at its keys once and does not block.
//!
//! Inside `MULTI` a blocking command does not block and answers as it would otherwise, in either version:
//! so each step of one that blocks is a block of `MULTI`, the command for the keys of one slot, and `EXEC`.

use crate::cluster::Slot;
use crate::command::{Command, Handling, Keys, key_positions};
use crate::resp::{Args, write};

/// The keys of one slot, in the order the client gave them, as a request of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it goes.
    pub slot: Slot,
    /// The command for these keys.
    pub request: Vec<u8>,
}

/// The steps of a request. `None` when it cannot be taken apart: what takes from one key and gives to another
/// needs both in one place.
pub fn steps(command: &Command, args: &Args<'_>) -> Option<Vec<Step>> {
    let write: fn(&Args<'_>, &[usize], usize) -> Vec<u8> = match (command.handling, command.keys) {
        (Handling::Blocking, Keys::Range { last: -2, .. }) => keys_then_time,
        (Handling::Blocking, Keys::Counted { count: 2, .. }) => {
            |args, keys, all| counted(2, args, keys, all)
        }
        (Handling::Blocking, Keys::Streams) => streams,
        _ if command.takes_from_first() => |args, keys, all| counted(1, args, keys, all),
        _ => return None,
    };
    let positions: Vec<usize> = key_positions(command, args).ok()?.iter().collect();
    let slot_of = |at: &usize| Slot::of_key(args.get(*at).unwrap_or_default());
    let runs = positions.chunk_by(|one, other| slot_of(one) == slot_of(other));
    Some(
        runs.map(|run| Step {
            slot: slot_of(&run[0]),
            request: write(args, run, positions.len()),
        })
        .collect(),
    )
}

/// `BLPOP key ... time`
fn keys_then_time(args: &Args<'_>, keys: &[usize], _: usize) -> Vec<u8> {
    let last = args.len().saturating_sub(1);
    write_arguments(args, [0].iter().chain(keys).chain(&[last]).copied())
}

/// `BLMPOP time count key ... LEFT`, `LMPOP count key ... LEFT`
fn counted(count_at: usize, args: &Args<'_>, keys: &[usize], all: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let rest = count_at + 1 + all..args.len();
    write::array(&mut out, count_at + 1 + keys.len() + rest.len());
    for at in 0..count_at {
        write::bulk(&mut out, args.get(at).unwrap_or_default());
    }
    write::bulk(&mut out, keys.len().to_string().as_bytes());
    for at in keys.iter().copied().chain(rest) {
        write::bulk(&mut out, args.get(at).unwrap_or_default());
    }
    out
}

/// `XREAD ... STREAMS key ... id ...`
fn streams(args: &Args<'_>, keys: &[usize], all: usize) -> Vec<u8> {
    let options = 0..args.len().saturating_sub(2 * all);
    let ids = keys.iter().map(|key| key + all);
    write_arguments(args, options.chain(keys.iter().copied()).chain(ids))
}

fn write_arguments(args: &Args<'_>, positions: impl Iterator<Item = usize> + Clone) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, positions.clone().count());
    for at in positions {
        write::bulk(&mut out, args.get(at).unwrap_or_default());
    }
    out
}

/// Whether a step found nothing.
pub fn is_nothing(reply: &[u8]) -> bool {
    matches!(reply, [b'_', ..] | [b'*' | b'$', b'-', b'1', ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::with_args;

    fn check(line: &str, expected: Option<&[&str]>) {
        let mut frame = Vec::new();
        write::command(&mut frame, &line.split(' ').collect::<Vec<_>>());
        let steps = with_args(&frame, |args| match lookup(args) {
            Lookup::Found(command) => steps(command, args),
            Lookup::Unknown | Lookup::UnknownSubcommand(_) => panic!("no row"),
        });
        let shown = steps.expect("a request").map(|steps| {
            let words = |step: Step| {
                with_args(&step.request, |args| {
                    let words = args
                        .iter()
                        .map(|word| String::from_utf8_lossy(word).into_owned());
                    words.collect::<Vec<_>>().join(" ")
                })
            };
            steps.into_iter().filter_map(words).collect::<Vec<_>>()
        });
        let expected = expected.map(|steps| steps.iter().map(ToString::to_string).collect());
        assert_eq!(shown, expected, "{line}");
    }

    /// contract: T7
    #[test]
    fn steps_follow_the_order_of_the_keys() {
        check(
            "BLPOP {a}1 {a}2 {b}1 {a}3 1.5",
            Some(&["BLPOP {a}1 {a}2 1.5", "BLPOP {b}1 1.5", "BLPOP {a}3 1.5"]),
        );
        check(
            "BZMPOP 0 3 {a}1 {b}1 {b}2 MIN COUNT 7",
            Some(&[
                "BZMPOP 0 1 {a}1 MIN COUNT 7",
                "BZMPOP 0 2 {b}1 {b}2 MIN COUNT 7",
            ]),
        );
        check(
            "XREADGROUP GROUP g c COUNT 2 BLOCK 9 STREAMS {a}1 {b}1 {b}2 > 0-1 >",
            Some(&[
                "XREADGROUP GROUP g c COUNT 2 BLOCK 9 STREAMS {a}1 >",
                "XREADGROUP GROUP g c COUNT 2 BLOCK 9 STREAMS {b}1 {b}2 0-1 >",
            ]),
        );
        check(
            "LMPOP 3 {a}1 {b}1 {b}2 LEFT COUNT 7",
            Some(&[
                "LMPOP 1 {a}1 LEFT COUNT 7",
                "LMPOP 2 {b}1 {b}2 LEFT COUNT 7",
            ]),
        );
        check(
            "ZMPOP 2 {a}1 {b}1 MAX",
            Some(&["ZMPOP 1 {a}1 MAX", "ZMPOP 1 {b}1 MAX"]),
        );
        check(
            "XREAD COUNT 2 STREAMS {a}1 {b}1 0 $",
            Some(&[
                "XREAD COUNT 2 STREAMS {a}1 0",
                "XREAD COUNT 2 STREAMS {b}1 $",
            ]),
        );
        check("MSETEX 2 {a}1 x {b}1 y", None);
        check("ZUNION 2 {a}1 {b}1", None);
        check("BLMOVE {a}1 {b}1 LEFT RIGHT 0", None);
        check("BRPOPLPUSH {a}1 {b}1 0", None);
    }
}
