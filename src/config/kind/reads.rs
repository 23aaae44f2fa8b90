//! Where reads may go.

use super::Kind;
use super::text::{OneOf, Word};
use crate::config::key::Shape;

/// Which nodes of a shard serve reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPolicy {
    /// The primary alone.
    #[default]
    Primary,
    /// A replica; the primary when none can serve.
    PreferReplica,
    /// The primary and the replicas alike.
    Any,
    /// The node that answers fastest.
    LowestLatency,
    /// A replica in this Keyway's zone, then the primary if it is there, then any replica, then the
    /// primary.
    SameZone,
}

impl Word for ReadPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("primary", ReadPolicy::Primary),
        ("prefer-replica", ReadPolicy::PreferReplica),
        ("any", ReadPolicy::Any),
        ("lowest-latency", ReadPolicy::LowestLatency),
        ("same-zone", ReadPolicy::SameZone),
    ];
}

impl ReadPolicy {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words
            .find(|(_, policy)| *policy == self)
            .map_or("", |(word, _)| word)
    }
}

/// Patterns of client names (`*` stands for any text), each with its policy, in the order given.
pub struct PolicyByName;

impl Kind for PolicyByName {
    type Value = Vec<(String, ReadPolicy)>;
    const SHAPE: Shape = Shape::Map;

    fn allowed() -> String {
        format!(
            "a table of \"client name, * for any text\" = policy (in the environment \
             name=policy,name=policy), the policy {}",
            OneOf::<ReadPolicy>::allowed()
        )
    }

    fn read(text: &str) -> Option<Self::Value> {
        let pairs = super::Pairs::read(text)?.into_iter();
        pairs
            .map(|(name, policy)| Some((name, OneOf::<ReadPolicy>::read(&policy)?)))
            .collect()
    }
}

/// Whether a client's name fits a pattern, in which `*` stands for any text.
pub fn fits_pattern(pattern: &str, name: &[u8]) -> bool {
    let mut pieces = pattern.as_bytes().split(|byte| *byte == b'*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<&[u8]> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        // The leftmost place is as good as any: what comes later only gets more room.
        let Some(at) = find(rest, piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    if piece.is_empty() {
        return Some(0);
    }
    text.windows(piece.len()).position(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn policies_have_names() {
        check::<OneOf<ReadPolicy>>(&[
            ("primary", Some(ReadPolicy::Primary)),
            ("prefer-replica", Some(ReadPolicy::PreferReplica)),
            ("any", Some(ReadPolicy::Any)),
            ("lowest-latency", Some(ReadPolicy::LowestLatency)),
            ("same-zone", Some(ReadPolicy::SameZone)),
            ("replica", None),
        ]);
        assert_eq!(ReadPolicy::SameZone.name(), "same-zone");
        check::<PolicyByName>(&[
            ("", Some(vec![])),
            (
                "report-*=any, x=primary",
                Some(vec![
                    ("report-*".to_owned(), ReadPolicy::Any),
                    ("x".to_owned(), ReadPolicy::Primary),
                ]),
            ),
            ("report-*=replica", None),
            ("report-*", None),
        ]);
    }

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("report", "report", true),
            ("report", "reports", false),
            ("report-*", "report-", true),
            ("report-*", "report-7", true),
            ("report-*", "a-report-7", false),
            ("*", "", true),
            ("*-job", "nightly-job", true),
            ("*-job", "nightly-jobs", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("**", "x", true),
        ] {
            assert_eq!(
                fits_pattern(pattern, name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
