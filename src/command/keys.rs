//! Where the keys of a request are.
//!
//! The answer is at most two arithmetic runs of argument indices, so that nothing is allocated.
//! Where a request's options decide, they are walked as the command itself walks them when it runs.
//! A request whose keys cannot be told is one the server refuses: [`KeysError`] means "let any node
//! say what is wrong".

use super::row::{Command, Handling, Keys};
use super::spec;
use crate::resp::Args;

/// The argument indices of a request's keys, counted from the command's name at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyPositions {
    /// In the order the keys are reported; the second is empty when the first is.
    runs: [Run; 2],
}

/// `count` indices from `first`, `step` apart. 32 bits suffice: a request has at most 2^20 arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    first: u32,
    count: u32,
    step: u32,
}

/// Why the keys of a request cannot be told. Each but the last means that the request is wrong in a way
/// every node sees: the caller sends it to any of them and passes the error on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There are fewer arguments than key positions.
    #[error("too few arguments")]
    TooFew,
    /// The number of keys is no number, negative, or larger than the arguments that follow.
    #[error("wrong number of keys")]
    Count,
    /// Keys and values do not come in pairs (`MSET a 1 b`).
    #[error("a key has no value")]
    Pairs,
    /// An option nobody knows, no word `STREAMS`, or not one ID for each stream.
    #[error("wrong options or unbalanced streams")]
    Streams,
    /// A key and the word `KEYS` (`MIGRATE`).
    #[error("both a key and KEYS")]
    Migrate,
    /// The request need not be wrong: only a node can tell (`COMMAND GETKEYS`).
    #[error("only a node can tell")]
    Asked,
}

/// The positions of a request's keys. The arity must have been accepted; if not, the result may be
/// an error, never a position outside the request.
#[inline]
pub fn key_positions(command: &Command, args: &Args<'_>) -> Result<KeyPositions, KeysError> {
    if let Keys::Range {
        first: 1, last: 1, ..
    } = command.keys
    {
        // Most requests: one key right after the name.
        return if args.len() > 1 {
            Ok(KeyPositions::one(1))
        } else {
            Err(KeysError::TooFew)
        };
    }
    by_row(command, args)
}

impl KeyPositions {
    /// The indices, in the order the servers report keys.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let [one, two] = self.runs;
        one.indices().chain(two.indices())
    }

    /// How many keys there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.runs[0].count as usize + self.runs[1].count as usize
    }

    /// Whether there is no key.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.runs[0].count == 0
    }

    /// The index of the first key.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.runs[0].first as usize)
    }

    /// Adds a run; false when there is no room for it.
    pub(super) fn push(&mut self, run: Run) -> bool {
        let [one, two] = &mut self.runs;
        let last = if two.count > 0 { two } else { one };
        if run.count == 0 || last.join(run) {
            return true;
        }
        match &mut self.runs {
            [one, _] if one.count == 0 => *one = run,
            [_, two] if two.count == 0 => *two = run,
            _ => return false,
        }
        true
    }

    fn one(index: usize) -> Self {
        KeyPositions::run(index, 1, 1)
    }

    fn run(first: usize, count: usize, step: usize) -> Self {
        KeyPositions {
            runs: [Run::new(first, count, step), Run::default()],
        }
    }

    /// One key, then a run.
    fn one_and(index: usize, first: usize, count: usize) -> Self {
        KeyPositions {
            runs: [Run::new(index, 1, 1), Run::new(first, count, 1)],
        }
    }
}

impl Run {
    pub(super) fn new(first: usize, count: usize, step: usize) -> Self {
        debug_assert!(first + count * step <= u32::MAX as usize);
        Run {
            first: first as u32,
            count: count as u32,
            step: step as u32,
        }
    }

    /// Takes up what goes on where this ends.
    fn join(&mut self, next: Run) -> bool {
        let gap = next
            .first
            .wrapping_sub(self.first + (self.count.max(1) - 1) * self.step);
        let step = if self.count == 1 { gap } else { self.step };
        let goes_on = self.count > 0
            && next.first > self.first
            && gap == step
            && (next.count == 1 || next.step == step);
        if goes_on {
            self.step = step;
            self.count += next.count;
        }
        goes_on
    }

    #[inline]
    fn indices(self) -> impl Iterator<Item = usize> + Clone {
        (0..self.count).map(move |nth| (self.first + nth * self.step) as usize)
    }
}

/// Kept out of line, so that the straight way stays short where it is inlined.
#[inline(never)]
fn by_row(command: &Command, args: &Args<'_>) -> Result<KeyPositions, KeysError> {
    match command.keys {
        Keys::None => Ok(KeyPositions::default()),
        Keys::Range { first, last, step } => range(args.len(), first, last, step),
        Keys::Counted { count, first, step } => {
            let keys = counted(args, count, first, step)?;
            Ok(KeyPositions::run(first.into(), keys, step.into()))
        }
        Keys::StoreCounted { count, first } => match counted(args, count, first, 1)? {
            0 => Err(KeysError::Count),
            keys => Ok(KeyPositions::one_and(1, first.into(), keys)),
        },
        Keys::Streams => streams(args),
        Keys::Sort => with_store(args, sort_store(args)),
        Keys::GeoRadius => with_store(args, georadius_store(args)),
        Keys::Migrate => migrate(args),
        Keys::Specs(specs) => spec::positions(&specs.0, args),
        Keys::Asked(_) => Err(KeysError::Asked),
    }
}

fn range(argc: usize, first: u8, last: i8, step: u8) -> Result<KeyPositions, KeysError> {
    let (first, step) = (usize::from(first), usize::from(step.max(1)));
    let end = match usize::try_from(last) {
        Ok(last) if last < argc => last + 1,
        Ok(_) => return Err(KeysError::TooFew),
        Err(_) => (argc + 1).saturating_sub(usize::from(last.unsigned_abs())),
    };
    let arguments = end.saturating_sub(first);
    if !arguments.is_multiple_of(step) {
        return Err(KeysError::Pairs);
    }
    Ok(KeyPositions::run(first, arguments / step, step))
}

/// The number of keys the argument at `count` names, if as many follow from `first`.
fn counted(args: &Args<'_>, count: u8, first: u8, step: u8) -> Result<usize, KeysError> {
    let number = args.get(count.into()).ok_or(KeysError::TooFew)?;
    let keys = parse_count(number).ok_or(KeysError::Count)?;
    let arguments = args.len().saturating_sub(first.into());
    if keys > arguments / usize::from(step.max(1)) {
        return Err(KeysError::Count);
    }
    Ok(keys)
}

/// A number as the servers read it: decimal digits, no sign, no leading zero. Eighteen digits are
/// more than any request has arguments.
pub(super) fn parse_count(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0usize, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The options of `XREAD` and `XREADGROUP` up to the word `STREAMS`.
struct StreamOptions {
    /// Where the word is.
    streams: usize,
    /// Where the time of `BLOCK` is, if that is among them.
    block: Option<usize>,
}

/// Walks options one by one, so that a group, a consumer or a key called `STREAMS` or `BLOCK` is not
/// taken for the word.
fn stream_options(args: &Args<'_>) -> Option<StreamOptions> {
    let mut block = None;
    let mut at = 1;
    loop {
        let word = args.get(at)?;
        at += match word {
            _ if word.eq_ignore_ascii_case(b"streams") => {
                return Some(StreamOptions { streams: at, block });
            }
            _ if word.eq_ignore_ascii_case(b"block") => {
                block = Some(at + 1);
                2
            }
            _ if word.eq_ignore_ascii_case(b"count") => 2,
            _ if word.eq_ignore_ascii_case(b"claim") => 2,
            _ if word.eq_ignore_ascii_case(b"group") => 3,
            _ if word.eq_ignore_ascii_case(b"noack") => 1,
            _ => return None,
        };
    }
}

/// Where `XREAD` or `XREADGROUP` says how long it may block.
pub(super) fn block_option(args: &Args<'_>) -> Option<usize> {
    stream_options(args)?.block
}

fn streams(args: &Args<'_>) -> Result<KeyPositions, KeysError> {
    let options = stream_options(args).ok_or(KeysError::Streams)?;
    let first = options.streams + 1;
    let arguments = args.len() - first;
    if arguments == 0 || !arguments.is_multiple_of(2) {
        return Err(KeysError::Streams);
    }
    Ok(KeyPositions::run(first, arguments / 2, 1))
}

/// A key at 1 and perhaps one behind a word.
fn with_store(args: &Args<'_>, store: Option<usize>) -> Result<KeyPositions, KeysError> {
    match store {
        _ if args.len() < 2 => Err(KeysError::TooFew),
        None => Ok(KeyPositions::one(1)),
        Some(store) => Ok(KeyPositions::one_and(1, store, 1)),
    }
}

/// The last `STORE` counts; patterns and numbers that belong to other options are not looked at.
fn sort_store(args: &Args<'_>) -> Option<usize> {
    let mut store = None;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        at += match word {
            _ if word.eq_ignore_ascii_case(b"limit") => 3,
            _ if word.eq_ignore_ascii_case(b"by") || word.eq_ignore_ascii_case(b"get") => 2,
            _ if word.eq_ignore_ascii_case(b"store") && at + 1 < args.len() => {
                store = Some(at + 1);
                2
            }
            _ => 1,
        };
    }
    store
}

/// The last of `STORE` and `STOREDIST` counts. Options begin at 6, in `GEORADIUSBYMEMBER` at 5; what
/// stands at 5 in the former is a unit.
fn georadius_store(args: &Args<'_>) -> Option<usize> {
    let mut store = None;
    let mut at = 5;
    while let Some(word) = args.get(at) {
        let stores = word.eq_ignore_ascii_case(b"store") || word.eq_ignore_ascii_case(b"storedist");
        if stores && at + 1 < args.len() {
            store = Some(at + 1);
            at += 1;
        }
        at += 1;
    }
    store
}

fn migrate(args: &Args<'_>) -> Result<KeyPositions, KeysError> {
    let key = args.get(3).ok_or(KeysError::TooFew)?;
    let mut at = 6;
    while let Some(word) = args.get(at) {
        at += match word {
            _ if word.eq_ignore_ascii_case(b"keys") => {
                if !key.is_empty() {
                    return Err(KeysError::Migrate);
                }
                return Ok(KeyPositions::run(at + 1, args.len() - at - 1, 1));
            }
            _ if word.eq_ignore_ascii_case(b"auth") => 2,
            _ if word.eq_ignore_ascii_case(b"auth2") => 3,
            _ => 1,
        };
    }
    Ok(KeyPositions::one(3))
}

impl Command {
    /// Whether this request may block its client: [`Handling::Wait`], [`Handling::Blocking`], and for `XREAD` and
    /// `XREADGROUP` only with the option `BLOCK`; without it they are handled as
    /// [`Handling::Keyed`].
    pub fn blocks(&self, args: &Args<'_>) -> bool {
        match (self.handling, self.keys) {
            (Handling::Blocking, Keys::Streams) => block_option(args).is_some(),
            (Handling::Blocking | Handling::Wait, _) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::Span;

    /// Lends a request of these words.
    pub(in crate::command) fn with_args<T>(
        words: &[&[u8]],
        then: impl FnOnce(&Args<'_>) -> T,
    ) -> T {
        let frame = words.concat();
        let mut start = 0;
        let spans: Vec<Span> = words
            .iter()
            .map(|word| {
                let len = word.len() as u32;
                start += len;
                Span {
                    start: start - len,
                    len,
                }
            })
            .collect();
        then(&Args::new(&frame, &spans))
    }

    fn of_line<T>(line: &str, then: impl FnOnce(&'static Command, &Args<'_>) -> T) -> T {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        with_args(&words, |args| match lookup(args) {
            Lookup::Found(command) => then(command, args),
            other => panic!("{line}: {other:?}"),
        })
    }

    fn check(line: &str, expected: Result<&[usize], KeysError>) {
        let positions = of_line(line, key_positions);
        let indices = positions.map(|positions| positions.iter().collect::<Vec<_>>());
        assert_eq!(indices, expected.map(<[usize]>::to_vec), "{line}");
        if let (Ok(positions), Ok(indices)) = (positions, indices) {
            assert_eq!(positions.len(), indices.len(), "{line}");
            assert_eq!(positions.first(), indices.first().copied(), "{line}");
            assert_eq!(positions.is_empty(), indices.is_empty(), "{line}");
        }
    }

    // contract: R2
    #[test]
    fn keys_are_where_the_commands_look() {
        use KeysError::{Count, Migrate, Pairs, Streams, TooFew};
        for (line, expected) in [
            ("get k", Ok(&[1][..])),
            ("get", Err(TooFew)),
            ("ping", Ok(&[])),
            ("mget a b c", Ok(&[1, 2, 3])),
            ("mget", Ok(&[])),
            ("mset a 1 b 2", Ok(&[1, 3])),
            ("mset a 1 b", Err(Pairs)),
            ("rename a b", Ok(&[1, 2])),
            ("rename a", Err(TooFew)),
            ("bitop and d a b", Ok(&[2, 3, 4])),
            ("blpop a b 0", Ok(&[1, 2])),
            ("blpop a", Ok(&[])),
            ("blpop", Ok(&[])),
            ("object encoding k", Ok(&[2])),
            ("xinfo stream k full", Ok(&[2])),
            ("sunsubscribe", Ok(&[])),
            ("eval s 0", Ok(&[])),
            ("eval s 0 a", Ok(&[])),
            ("eval s 2 a b c", Ok(&[3, 4])),
            ("eval s 2 a", Err(Count)),
            ("eval s -1 a", Err(Count)),
            ("eval s 01 a", Err(Count)),
            ("eval s 1x a", Err(Count)),
            ("eval s 99999999999999999999 a", Err(Count)),
            ("eval s", Err(TooFew)),
            ("zunion 2 a b weights 1 2", Ok(&[2, 3])),
            ("zunionstore d 2 a b", Ok(&[1, 3, 4])),
            ("zunionstore d 0 a b", Err(Count)),
            ("zunionstore d 3 a b", Err(Count)),
            ("blmpop 0 2 a b left", Ok(&[3, 4])),
            ("msetex 2 a 1 b 2 ex 5", Ok(&[2, 4])),
            ("msetex 3 a 1 b 2", Err(Count)),
            ("xread count 5 streams a b 0 0", Ok(&[4, 5])),
            ("xread STREAMS a 0", Ok(&[2])),
            ("xread streams streams 0", Ok(&[2])),
            ("xread streams a b 0", Err(Streams)),
            ("xread streams", Err(Streams)),
            ("xread nope streams a 0", Err(Streams)),
            ("xread count", Err(Streams)),
            ("xreadgroup group streams block noack streams a >", Ok(&[6])),
            ("xreadgroup count 1 group streams c streams a >", Ok(&[7])),
            ("sort k", Ok(&[1])),
            ("sort k by store get store store d alpha", Ok(&[1, 7])),
            ("sort k store a store b", Ok(&[1, 5])),
            ("sort k store", Ok(&[1])),
            ("sort k limit store 5 asc", Ok(&[1])),
            ("sort_ro k store d", Ok(&[1])),
            ("georadius k 1 2 3 m", Ok(&[1])),
            ("georadius k 1 2 3 m store d", Ok(&[1, 7])),
            ("georadius k 1 2 3 m STORE d storedist e", Ok(&[1, 9])),
            ("georadius k 1 2 3 m store", Ok(&[1])),
            ("georadius k 1 2 3 m store storedist", Ok(&[1, 7])),
            ("georadiusbymember k store 3 m storedist d", Ok(&[1, 6])),
            ("migrate h 1 k 0 9 copy", Ok(&[3])),
            ("migrate h 1  0 9 auth keys keys a b", Ok(&[9, 10])),
            ("migrate h 1 k 0 9 keys a b", Err(Migrate)),
        ] {
            check(line, expected);
        }
    }

    // contract: T5
    #[test]
    fn only_requests_that_may_wait_block() {
        for (line, blocks) in [
            ("blpop a 0", true),
            ("wait 1 0", true),
            ("xread streams a 0", false),
            ("xread BLOCK 0 streams a 0", true),
            ("xread count 2 block 5 streams a 0", true),
            ("xread streams block 0", false),
            ("xreadgroup group block block streams a >", false),
            ("xreadgroup group g c block 0 streams a >", true),
            ("get block", false),
        ] {
            let found = of_line(line, |command, args| command.blocks(args));
            assert_eq!(found, blocks, "{line}");
        }
    }

    /// Whatever the arguments, positions lie inside the request. contract: F8
    #[test]
    fn positions_lie_inside_the_request() {
        let words: [&[u8]; 9] = [
            b"", b"2", b"0", b"-1", b"store", b"STREAMS", b"keys", b"\xff\0", b"group",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for command in crate::command::supported() {
            for argc in 0..14 {
                let request: Vec<&[u8]> = (0..argc).map(|_| words[random.usize(..9)]).collect();
                with_args(&request, |args| {
                    let _ = command.blocks(args);
                    if let Ok(positions) = key_positions(command, args) {
                        assert!(positions.iter().all(|index| (1..argc).contains(&index)));
                    }
                });
            }
        }
    }
}
