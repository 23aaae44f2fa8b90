//! What a request says behind its keys, read as the servers read it.

use super::numbers::parse_double;
use crate::command::Across;
use crate::resp::Args;
use crate::resp::scan::parse_integer;

const SYNTAX_ERROR: &str = "ERR syntax error";

/// What a request asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// For each key, in their order; empty when none were given, and all are 1.
    pub(super) weights: Vec<f64>,
    pub(super) aggregate: Aggregate,
    pub(super) with_scores: bool,
    /// Counting stops there; 0 for never.
    limit: i64,
}

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Options {
    /// The weight of the key with this number.
    pub(super) fn weight(&self, key: usize) -> f64 {
        self.weights.get(key).copied().unwrap_or(1.0)
    }

    /// A number of elements as far as it was to be counted.
    pub(super) fn limited(&self, count: usize) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        match self.limit {
            0 => count,
            limit => count.min(limit),
        }
    }
}

impl Aggregate {
    /// One more score of a member. Not a number counts as nothing, as on the servers.
    pub(super) fn add(self, target: &mut f64, score: f64) {
        *target = match self {
            Aggregate::Sum => {
                let sum = *target + score;
                if sum.is_nan() { 0.0 } else { sum }
            }
            Aggregate::Min if score < *target => score,
            Aggregate::Max if score > *target => score,
            Aggregate::Min | Aggregate::Max => *target,
        };
    }
}

/// Reads what stands behind the last key.
///
/// # Errors
/// The server's text.
pub(super) fn read(
    across: Across,
    args: &Args<'_>,
    positions: &[usize],
) -> Result<Options, &'static str> {
    let mut options = Options {
        weights: Vec::new(),
        aggregate: Aggregate::Sum,
        with_scores: false,
        limit: 0,
    };
    let is_sorted = matches!(
        across,
        Across::SortedUnion | Across::SortedIntersection | Across::SortedDifference
    );
    let combines_scores = is_sorted && across != Across::SortedDifference;
    let is_size = matches!(
        across,
        Across::IntersectionSize | Across::SortedIntersectionSize
    );
    let mut at = positions.last().map_or(args.len(), |last| last + 1);
    while let Some(word) = args.get(at) {
        let values = args.len() - at - 1;
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if combines_scores && values >= positions.len() && is("WEIGHTS") {
            options.weights.clear();
            for index in at + 1..=at + positions.len() {
                let weight = parse_double(args.get(index).unwrap_or_default());
                options
                    .weights
                    .push(weight.ok_or("ERR weight value is not a float")?);
            }
            at += positions.len();
        } else if combines_scores && values >= 1 && is("AGGREGATE") {
            options.aggregate = match &*args.get(at + 1).unwrap_or_default().to_ascii_lowercase() {
                b"sum" => Aggregate::Sum,
                b"min" => Aggregate::Min,
                b"max" => Aggregate::Max,
                _ => return Err(SYNTAX_ERROR),
            };
            at += 1;
        } else if is_sorted && is("WITHSCORES") {
            options.with_scores = true;
        } else if is_size && values >= 1 && is("LIMIT") {
            options.limit = match args.get(at + 1).and_then(parse_integer) {
                Some(limit @ 0..) => limit,
                _ => return Err("ERR LIMIT can't be negative"),
            };
            at += 1;
        } else {
            return Err(SYNTAX_ERROR);
        }
        at += 1;
    }
    Ok(options)
}
