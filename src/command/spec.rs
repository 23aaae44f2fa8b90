//! Where the keys of a learnt command are: the servers' key specifications.
//!
//! A specification says where to begin (at an index, or after a word) and how to go on (a range, or as
//! many as a number says). It is walked as the servers' documentation has it, which is what the
//! command itself does when it runs.

use super::keys::{KeyPositions, KeysError, Run, parse_count};
use crate::resp::Args;

/// All specifications of one command. A row has one word for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpecs(pub Box<[KeySpec]>);

/// One specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the search begins.
    pub begin: Begin,
    /// Which arguments from there on are keys.
    pub find: Find,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(u32),
    /// Behind this word, looked for from an argument on, or from one counted from the end backwards.
    /// Without the word there are no keys.
    Keyword {
        /// The word, in any case.
        word: &'static str,
        /// Where looking for it starts; negative from the end.
        from: i32,
    },
}

/// Which arguments are keys, seen from where the search began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last`, every `step`-th.
    Range {
        /// Distance to the last key; negative: its position counted from the end of the request.
        last: i32,
        /// Distance from one key to the next, at least 1.
        step: u32,
        /// With `last` -1: only this fraction of what is left, 2 for one half; 0 and 1 for all.
        limit: u32,
    },
    /// As many as an argument says.
    Counted {
        /// Distance to the argument with the number.
        count: u32,
        /// Distance to the first key.
        first: u32,
        /// Distance from one key to the next, at least 1.
        step: u32,
    },
}

/// The positions that all specifications give together.
///
/// # Errors
/// The request is wrong, or its keys do not lie in two runs (then a node has to be asked).
pub fn positions(specs: &[KeySpec], args: &Args<'_>) -> Result<KeyPositions, KeysError> {
    let mut positions = KeyPositions::default();
    for spec in specs {
        let Some(begin) = spec.begin.find(args) else {
            continue;
        };
        let run = spec.find.run(begin, args)?;
        if !positions.push(run) {
            return Err(KeysError::Asked);
        }
    }
    Ok(positions)
}

impl Begin {
    fn find(self, args: &Args<'_>) -> Option<usize> {
        let (word, from) = match self {
            Begin::Index(index) => return Some(index as usize),
            Begin::Keyword { word, from } => (word, from),
        };
        let is_word = |at: &usize| {
            args.get(*at)
                .is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
        };
        let at = match usize::try_from(from) {
            Ok(from) => (from.max(1)..args.len()).find(is_word),
            Err(_) => {
                let end = (args.len() + 1).saturating_sub(from.unsigned_abs() as usize);
                (1..end).rev().find(is_word)
            }
        }?;
        Some(at + 1)
    }
}

impl Find {
    fn run(self, begin: usize, args: &Args<'_>) -> Result<Run, KeysError> {
        let argc = args.len();
        let (first, step, count) = match self {
            Find::Range { last, step, limit } => {
                let step = step.max(1) as usize;
                // One behind the last argument that may be a key.
                let end = match usize::try_from(last) {
                    Ok(distance) => begin + distance + 1,
                    Err(_) if limit > 1 => begin + argc.saturating_sub(begin) / limit as usize,
                    Err(_) => (argc + 1).saturating_sub(last.unsigned_abs() as usize),
                };
                if end > argc || end <= begin {
                    return Err(KeysError::TooFew);
                }
                (begin, step, (end - begin).div_ceil(step))
            }
            Find::Counted { count, first, step } => {
                let number = args.get(begin + count as usize).ok_or(KeysError::TooFew)?;
                let keys = parse_count(number).ok_or(KeysError::Count)?;
                let (first, step) = (begin + first as usize, step.max(1) as usize);
                if keys > argc.saturating_sub(first).div_ceil(step) {
                    return Err(KeysError::Count);
                }
                (first, step, keys)
            }
        };
        Ok(Run::new(first, count, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;

    fn check(specs: &[KeySpec], line: &str, expected: Result<&[usize], KeysError>) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let found = with_args(&words, |args| {
            positions(specs, args).map(|positions| positions.iter().collect::<Vec<_>>())
        });
        assert_eq!(found, expected.map(<[usize]>::to_vec), "{line}");
    }

    fn range(begin: Begin, last: i32, step: u32, limit: u32) -> KeySpec {
        let find = Find::Range { last, step, limit };
        KeySpec { begin, find }
    }

    fn after(word: &'static str, from: i32) -> Begin {
        Begin::Keyword { word, from }
    }

    /// contract: R2
    #[test]
    fn ranges() {
        let all = range(Begin::Index(1), -1, 1, 0);
        check(&[all], "C a b c", Ok(&[1, 2, 3]));
        check(&[all], "C", Err(KeysError::TooFew));
        let but_last = range(Begin::Index(1), -2, 1, 0);
        check(&[but_last], "C a b $", Ok(&[1, 2]));
        check(&[but_last], "C a", Err(KeysError::TooFew));
        let triples = range(Begin::Index(1), -1, 3, 0);
        check(&[triples], "C a p v b p v", Ok(&[1, 4]));
        // One too few: the command itself says so.
        check(&[triples], "C a p v b p", Ok(&[1, 4]));
        check(&[range(Begin::Index(2), 1, 1, 0)], "C x a b y", Ok(&[2, 3]));
        check(
            &[range(Begin::Index(2), 1, 1, 0)],
            "C x a",
            Err(KeysError::TooFew),
        );
    }

    /// contract: R2
    #[test]
    fn words() {
        let half = range(after("STREAMS", 1), -1, 1, 2);
        check(&[half], "XREAD COUNT 2 streams a b 1 2", Ok(&[4, 5]));
        check(&[half], "XREAD COUNT 2 streams", Err(KeysError::TooFew));
        check(&[half], "XREAD COUNT 2", Ok(&[]));
        let keys = range(after("KEYS", -2), -1, 1, 0);
        check(&[keys], "MIGRATE h p k 0 5 KEYS a b", Ok(&[7, 8]));
        check(&[keys], "MIGRATE h p KEYS", Ok(&[]));
        let store = [
            range(Begin::Index(1), 0, 1, 0),
            range(after("STORE", 2), 0, 1, 0),
        ];
        check(&store, "C a BY 3 STORE d", Ok(&[1, 5]));
        check(&store, "C STORE x", Ok(&[1]));
    }

    /// contract: R2, T4
    #[test]
    fn counts() {
        let find = Find::Counted {
            count: 0,
            first: 1,
            step: 1,
        };
        let begin = Begin::Index(2);
        let counted = [KeySpec { begin, find }];
        check(&counted, "C body 2 a b x", Ok(&[3, 4]));
        check(&counted, "C body 0 x", Ok(&[]));
        check(&counted, "C body", Err(KeysError::TooFew));
        for wrong in ["3", "-1", "x", "01", "99999999999999999999"] {
            check(
                &counted,
                &format!("C body {wrong} a b"),
                Err(KeysError::Count),
            );
        }
        let begin = after("FROM", 1);
        check(&[KeySpec { begin, find }], "C x FROM 1 a", Ok(&[4]));
    }

    #[test]
    fn runs_are_joined_where_they_meet() {
        let one = |at| range(Begin::Index(at), 0, 1, 0);
        check(&[one(1), one(2), one(3)], "C a b c", Ok(&[1, 2, 3]));
        check(&[one(1), one(3), one(5)], "C a x b x c", Ok(&[1, 3, 5]));
        check(&[one(1), one(4)], "C a x x b", Ok(&[1, 4]));
        check(&[one(1), one(2), one(5)], "C a b x x c", Ok(&[1, 2, 5]));
        let apart = [one(1), one(2), one(5), one(6), one(10)];
        check(&apart, "C a b x x c d x x x e", Err(KeysError::Asked));
    }
}
