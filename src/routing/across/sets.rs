//! Sets. Elements stay the bytes they came as, so that any value passes untouched.

use std::collections::HashSet;

use super::Misfit;
use crate::resp::reply::elements;

/// The elements of each part.
fn read<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Result<Vec<&'a [u8]>, Misfit>> {
    replies.enumerate().map(|(part, reply)| {
        let found = elements(reply).ok_or(Misfit(part))?;
        Ok(found.collect())
    })
}

/// Every element of any part, once.
pub(super) fn union<'a>(replies: impl Iterator<Item = &'a [u8]>) -> Result<Vec<&'a [u8]>, Misfit> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for part in read(replies) {
        all.extend(part?.into_iter().filter(|element| seen.insert(*element)));
    }
    Ok(all)
}

/// The elements that are in every part.
pub(super) fn intersection<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<&'a [u8]>, Misfit> {
    let mut parts: Vec<_> = read(replies).collect::<Result<_, _>>()?;
    parts.sort_by_key(Vec::len);
    let mut parts = parts.into_iter();
    let mut common = parts.next().unwrap_or_default();
    for part in parts {
        if common.is_empty() {
            break;
        }
        let part: HashSet<&[u8]> = part.into_iter().collect();
        common.retain(|element| part.contains(element));
    }
    Ok(common)
}

/// The elements of the first part that are in no other.
pub(super) fn difference<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<&'a [u8]>, Misfit> {
    let mut parts = read(replies);
    let mut left = match parts.next() {
        Some(first) => first?,
        None => Vec::new(),
    };
    let taken = parts.try_fold(HashSet::new(), |mut taken, part| {
        taken.extend(part?);
        Ok(taken)
    })?;
    left.retain(|element| !taken.contains(element));
    Ok(left)
}
