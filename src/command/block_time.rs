//! How long a blocking request says it will wait, and the same request with another time.
//!
//! A blocked client that has to be sent to another node is sent there with the time that is left
//! (contract: T6), so its request is written anew with that one argument changed.

use super::keys::block_option;
use super::row::{Command, Handling, Keys};
use crate::resp::{Args, write};

/// Where a request says how long it may block, and how long that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTime {
    /// Index of the argument.
    at: usize,
    unit: Unit,
    /// In microseconds; 0 is for ever.
    pub us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// With a fraction (`BLPOP`).
    Seconds,
    /// Whole (`XREAD BLOCK`, `WAIT`).
    Milliseconds,
}

/// The servers keep milliseconds in 64 bits; whatever does not fit they refuse.
const SECONDS_MAX: f64 = (i64::MAX / 1_000_000) as f64;

/// The time of a request that may block. `None` when it names none, or none that a server takes: the
/// node that gets it says what is wrong.
pub fn block_time(command: &Command, args: &Args<'_>) -> Option<BlockTime> {
    let (at, unit) = match (command.handling, command.keys) {
        (Handling::Wait, _) => (args.len().checked_sub(1)?, Unit::Milliseconds),
        (Handling::Blocking, Keys::Streams) => (block_option(args)?, Unit::Milliseconds),
        (Handling::Blocking, Keys::Counted { count: 2, .. }) => (1, Unit::Seconds),
        (Handling::Blocking, Keys::Range { .. }) => (args.len().checked_sub(1)?, Unit::Seconds),
        _ => return None,
    };
    let text = std::str::from_utf8(args.get(at)?).ok()?;
    let us = match unit {
        Unit::Milliseconds => text.parse::<u64>().ok()?.checked_mul(1_000)?,
        Unit::Seconds => {
            let seconds = text.parse::<f64>().ok()?;
            if !(0.0..=SECONDS_MAX).contains(&seconds) {
                return None;
            }
            // The servers round up to milliseconds: a time that is not 0 stays not 0.
            ((seconds * 1_000.0).ceil() as u64).checked_mul(1_000)?
        }
    };
    Some(BlockTime { at, unit, us })
}

impl BlockTime {
    /// The request with `left_us` in place of its time, at least a millisecond: 0 would be for ever.
    pub fn rewrite(&self, args: &Args<'_>, left_us: u64) -> Vec<u8> {
        let left_ms = left_us.div_ceil(1_000).max(1);
        let time = match self.unit {
            Unit::Milliseconds => left_ms.to_string(),
            Unit::Seconds => format!("{}.{:03}", left_ms / 1_000, left_ms % 1_000),
        };
        let mut out = Vec::with_capacity(args.frame().len() + time.len());
        write::array(&mut out, args.len());
        for (index, argument) in args.iter().enumerate() {
            let argument = if index == self.at {
                time.as_bytes()
            } else {
                argument
            };
            write::bulk(&mut out, argument);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;
    use crate::command::{Lookup, lookup};

    /// The time in microseconds, and the request with 1.5 seconds left. contract: T6
    fn check(words: &str, expected: Option<(u64, &str)>) {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let found = with_args(&words, |args| {
            let Lookup::Found(command) = lookup(args) else {
                panic!("no row for {words:?}")
            };
            let time = block_time(command, args)?;
            let text = String::from_utf8(time.rewrite(args, 1_499_001)).expect("text");
            let lines = text.split("\r\n").filter(|line| !line.is_empty());
            let rewritten: Vec<_> = lines.filter(|line| !line.starts_with(['*', '$'])).collect();
            Some((time.us, rewritten.join(" ")))
        });
        let expected = expected.map(|(us, text)| (us, text.to_owned()));
        assert_eq!(found, expected, "{words:?}");
    }

    #[test]
    fn times_of_all_kinds() {
        check("BLPOP a b 0", Some((0, "BLPOP a b 1.500")));
        check("blpop a 2.5", Some((2_500_000, "blpop a 1.500")));
        check("BLPOP a 0.0001", Some((1_000, "BLPOP a 1.500")));
        check(
            "BRPOPLPUSH a b 3",
            Some((3_000_000, "BRPOPLPUSH a b 1.500")),
        );
        check(
            "BLMOVE a b LEFT RIGHT 1e1",
            Some((10_000_000, "BLMOVE a b LEFT RIGHT 1.500")),
        );
        check(
            "BLMPOP 7 2 a b LEFT COUNT 9",
            Some((7_000_000, "BLMPOP 1.500 2 a b LEFT COUNT 9")),
        );
        check("BZMPOP 0 1 a MIN", Some((0, "BZMPOP 1.500 1 a MIN")));
        check(
            "XREAD COUNT 2 BLOCK 250 STREAMS block 0",
            Some((250_000, "XREAD COUNT 2 BLOCK 1500 STREAMS block 0")),
        );
        check(
            "XREADGROUP GROUP block g BLOCK 0 STREAMS s >",
            Some((0, "XREADGROUP GROUP block g BLOCK 1500 STREAMS s >")),
        );
        check("WAIT 1 100", Some((100_000, "WAIT 1 1500")));
        check("WAITAOF 1 1 0", Some((0, "WAITAOF 1 1 1500")));
    }

    #[test]
    fn times_no_server_takes() {
        for words in [
            "BLPOP a -1",
            "BLPOP a x",
            "BLPOP a nan",
            "BLPOP a inf",
            "BLPOP a 1e300",
            "BLMPOP x 1 a LEFT",
            "XREAD BLOCK 1.5 STREAMS a 0",
            "XREAD BLOCK -1 STREAMS a 0",
            "XREAD STREAMS a 0",
            "WAIT 1 x",
            "GET a",
        ] {
            check(words, None);
        }
    }
}
