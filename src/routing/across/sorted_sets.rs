//! Sorted sets. A plain set counts as one whose scores are all 1; the servers say so themselves.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::Misfit;
use super::double::DoubleFormat;
use super::options::Options;
use crate::resp::reply::{elements, text};
use crate::resp::{Protocol, write};

/// A member, as the bytes of its reply, and its score.
type Scored<'a> = (&'a [u8], f64);

/// The members of one part with their scores: pairs of a flat array in RESP2, arrays of two in RESP3.
fn read(part: usize, reply: &[u8]) -> Result<Vec<Scored<'_>>, Misfit> {
    let misfit = Misfit(part);
    let mut found = elements(reply).ok_or(misfit)?;
    let mut scored = Vec::new();
    while let Some(member) = found.next() {
        let (member, score) = match member.first() {
            Some(b'*') => {
                let mut pair = elements(member).ok_or(misfit)?;
                (pair.next().ok_or(misfit)?, pair.next().ok_or(misfit)?)
            }
            _ => (member, found.next().ok_or(misfit)?),
        };
        scored.push((member, read_score(score).ok_or(misfit)?));
    }
    Ok(scored)
}

fn read_score(reply: &[u8]) -> Option<f64> {
    let text = match reply {
        [b',', text @ .., b'\r', b'\n'] => text,
        _ => text(reply)?,
    };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// All parts, with the number of the key of each, the smallest first: scores are added in that order,
/// and the last digit of a sum depends on it. Parts of one size keep their order.
fn read_all<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<(usize, Vec<Scored<'a>>)>, Misfit> {
    let mut parts = replies
        .enumerate()
        .map(|(part, reply)| Ok((part, read(part, reply)?)))
        .collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|(_, scored)| scored.len());
    Ok(parts)
}

/// A product that is not a number, which is 0 times infinity, counts as 0.
fn weighted(weight: f64, score: f64) -> f64 {
    let product = weight * score;
    if product.is_nan() { 0.0 } else { product }
}

/// `ZUNION`
pub(super) fn union<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    options: &Options,
) -> Result<Vec<Scored<'a>>, Misfit> {
    let mut scores: HashMap<&[u8], f64> = HashMap::new();
    for (key, part) in read_all(replies)? {
        for (member, score) in part {
            let score = weighted(options.weight(key), score);
            scores
                .entry(member)
                .and_modify(|target| options.aggregate.add(target, score))
                .or_insert(score);
        }
    }
    Ok(sorted(scores.into_iter().collect()))
}

/// `ZINTER`
pub(super) fn intersection<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    options: &Options,
) -> Result<Vec<Scored<'a>>, Misfit> {
    let mut parts = read_all(replies)?.into_iter();
    let mut common = match parts.next() {
        Some((key, smallest)) => smallest
            .into_iter()
            .map(|(member, score)| (member, weighted(options.weight(key), score)))
            .collect(),
        None => Vec::new(),
    };
    for (key, part) in parts {
        let part: HashMap<&[u8], f64> = part.into_iter().collect();
        let weight = options.weight(key);
        common.retain_mut(|(member, target)| {
            let score = part.get(member);
            if let Some(score) = score {
                // As on the servers, here a product that is not a number goes into the aggregate.
                options.aggregate.add(target, weight * score);
            }
            score.is_some()
        });
    }
    Ok(sorted(common))
}

/// `ZDIFF`: the first part has scores, the others have only members.
pub(super) fn difference<'a>(
    mut replies: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Scored<'a>>, Misfit> {
    let mut left = match replies.next() {
        Some(first) => read(0, first)?,
        None => Vec::new(),
    };
    let mut taken = HashSet::new();
    for (index, reply) in replies.enumerate() {
        taken.extend(elements(reply).ok_or(Misfit(index + 1))?);
    }
    left.retain(|(member, _)| !taken.contains(member));
    Ok(sorted(left))
}

/// By score, then by the members' bytes.
fn sorted(mut scored: Vec<Scored<'_>>) -> Vec<Scored<'_>> {
    scored.sort_by(|(member, score), (other_member, other_score)| {
        score
            .partial_cmp(other_score)
            .unwrap_or(Ordering::Equal)
            .then_with(|| text(member).cmp(&text(other_member)))
    });
    scored
}

/// Appends the reply; with a format for scores also these.
pub(super) fn write(
    scored: &[Scored<'_>],
    protocol: Protocol,
    scores: Option<DoubleFormat>,
    out: &mut Vec<u8>,
) {
    let values = match (scores, protocol) {
        (Some(_), Protocol::Resp2) => scored.len() * 2,
        _ => scored.len(),
    };
    write::array(out, values);
    for (member, score) in scored {
        if scores.is_some() && protocol == Protocol::Resp3 {
            write::array(out, 2);
        }
        out.extend_from_slice(member);
        if let Some(format) = scores {
            format.write(*score, protocol, out);
        }
    }
}
