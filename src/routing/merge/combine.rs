//! The ways of merging that look at no more than integers and names.

use std::collections::{HashMap, HashSet};

use super::{Aggregate, Misfit, is_error};
use crate::resp::{reply, write};
use crate::routing::poll::is_nothing;

/// The first part stands for all; the caller has seen to errors.
pub(super) fn first<'a>(
    mut replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    match replies.next() {
        Some(reply) if !reply.is_empty() => {
            out.extend_from_slice(reply);
            Ok(())
        }
        Some(_) => Err(Misfit::Shape(0, "reply")),
        None => Err(Misfit::NoParts),
    }
}

/// The first success; without one, the first error that says more than that there was nothing to do.
pub(super) fn one_succeeded<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let is_idle = |reply: &[u8]| reply.starts_with(b"-NOTBUSY") || reply.starts_with(b"!NOTBUSY");
    let telling = replies
        .clone()
        .find(|reply| !reply.is_empty() && !is_error(reply))
        .or_else(|| replies.clone().find(|reply| !is_idle(reply)));
    first(telling.into_iter().chain(replies), out)
}

/// All parts are integers, folded with `fold`.
pub(super) fn integers<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    fold: fn(i64, i64) -> i64,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut total = None;
    for (part, reply) in replies.enumerate() {
        let number = reply::integer(reply).ok_or(Misfit::Shape(part, "integer"))?;
        total = Some(total.map_or(number, |total| fold(total, number)));
    }
    write::integer(out, total.ok_or(Misfit::NoParts)?);
    Ok(())
}

/// Integers or booleans, or arrays of integers of the same length; true where every part has something
/// but 0, or with `is_or` where one part has.
pub(super) fn logical<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    is_or: bool,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let one = replies.clone().next().ok_or(Misfit::NoParts)?;
    if one.first() == Some(&b'#') {
        let mut truths = replies.map(|reply| reply == b"#t\r\n");
        let truth = match is_or {
            true => truths.any(|truth| truth),
            false => truths.all(|truth| truth),
        };
        out.extend_from_slice(if truth { b"#t\r\n" } else { b"#f\r\n" });
        return Ok(());
    }
    let fold: fn(i64, i64) -> i64 = match is_or {
        true => |any, number| i64::from(any != 0 || number != 0),
        false => |all, number| i64::from(all != 0 && number != 0),
    };
    folded(replies, |number| i64::from(number != 0), fold, out)
}

/// Appends an array of 0 and 1 with 1 also where `kept` says so. Another reply, an error for instance,
/// stands as it is.
pub fn or_kept(merged: &[u8], kept: &[bool], out: &mut Vec<u8>) {
    let flags: Vec<Option<i64>> = match Aggregate::new(merged) {
        Some(elements) => elements.map(reply::integer).collect(),
        None => Vec::new(),
    };
    if flags.is_empty() || flags.len() != kept.len() {
        return out.extend_from_slice(merged);
    }
    write::array(out, flags.len());
    for (flag, kept) in flags.iter().zip(kept) {
        write::integer(out, i64::from(*kept || *flag == Some(1)));
    }
}

/// Integers, or arrays of integers of the same length; at each place the smallest.
pub(super) fn smallest<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    folded(replies, |number| number, i64::min, out)
}

/// Integers, or arrays of integers of the same length, each read with `read` and folded place by place.
fn folded<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    read: fn(i64) -> i64,
    fold: fn(i64, i64) -> i64,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let one = replies.clone().next().ok_or(Misfit::NoParts)?;
    if one.first() == Some(&b':') {
        let mut total = None;
        for (part, reply) in replies.enumerate() {
            let number = read(reply::integer(reply).ok_or(Misfit::Shape(part, "integer"))?);
            total = Some(total.map_or(number, |total| fold(total, number)));
        }
        write::integer(out, total.ok_or(Misfit::NoParts)?);
        return Ok(());
    }
    let mut all: Option<Vec<i64>> = None;
    for (part, reply) in replies.enumerate() {
        let elements = Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?;
        let count = elements.left;
        let mut numbers = Vec::new();
        for element in elements {
            let number = reply::integer(element);
            let number = number.ok_or(Misfit::Shape(part, "array of integers"))?;
            numbers.push(read(number));
        }
        if numbers.len() != count || all.as_ref().is_some_and(|all| all.len() != count) {
            return Err(Misfit::Count(part));
        }
        // The first is folded with itself: a part alone says what several would.
        let before = all.unwrap_or_else(|| numbers.clone());
        let pairs = before.iter().zip(numbers);
        all = Some(pairs.map(|(all, one)| fold(*all, one)).collect());
    }
    let all = all.unwrap_or_default();
    write::array(out, all.len());
    for number in all {
        write::integer(out, number);
    }
    Ok(())
}

/// The elements of all parts, one part after the other. The type is the first part's; if that is no
/// aggregate it stands for all (`ACL LOG RESET`).
pub(super) fn concat<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    if let Some(b'+' | b':' | b'$') = replies.clone().next().and_then(<[u8]>::first) {
        return first(replies, out);
    }
    let mut values = 0usize;
    for (part, reply) in replies.clone().enumerate() {
        let elements = Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?;
        values = values.saturating_add(elements.left);
    }
    let head = replies.clone().next().and_then(Aggregate::new);
    head.ok_or(Misfit::NoParts)?.head(values, out);
    for elements in replies.filter_map(Aggregate::new) {
        out.extend_from_slice(elements.rest);
    }
    Ok(())
}

/// The streams of the parts that have any, one part after the other; null when none has.
pub(super) fn streams<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let found = replies.clone().filter(|reply| !is_nothing(reply));
    match found.clone().next() {
        Some(_) => concat(found, out),
        None => first(replies, out),
    }
}

/// The elements of all parts without repetition; of a map, the entries, where the first part that
/// has a key gives its value.
pub(super) fn union<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let first = replies.clone().next().and_then(Aggregate::new);
    let first = first.ok_or(Misfit::NoParts)?;
    let is_map = first.kind == b'%';
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for (part, reply) in replies.enumerate() {
        let mut elements = Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?;
        if (elements.kind == b'%') != is_map {
            return Err(Misfit::Shape(part, "reply of the same type"));
        }
        while let Some(element) = elements.next() {
            let is_new = seen.insert(element);
            if is_new {
                kept.push(element);
            }
            if is_map {
                let value = elements.next().ok_or(Misfit::Count(part))?;
                if is_new {
                    kept.push(value);
                }
            }
        }
    }
    first.head(kept.len(), out);
    for element in kept {
        out.extend_from_slice(element);
    }
    Ok(())
}

/// Names and numbers in turn; the numbers of one name are added. The order, repeated names and the
/// type are the first part's: `PUBSUB NUMSUB a a` names `a` twice.
pub(super) fn sum_by_name<'a>(
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let first = replies.clone().next().and_then(Aggregate::new);
    let first = first.ok_or(Misfit::NoParts)?;
    let mut sums: Vec<(&[u8], i64)> = Vec::new();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for (part, reply) in replies.enumerate() {
        let mut elements = Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?;
        let mut position = 0;
        while let Some(name) = elements.next() {
            let number = elements.next().ok_or(Misfit::Count(part))?;
            let number = reply::integer(number).ok_or(Misfit::Shape(part, "list of numbers"))?;
            // The nodes were asked alike, so the same place has nearly always the same name.
            let same_place =
                part > 0 && sums.get(position).is_some_and(|(known, _)| *known == name);
            let place = if same_place {
                Some(position)
            } else if part > 0 {
                places.get(name).copied()
            } else {
                None
            };
            match place.and_then(|place| sums.get_mut(place)) {
                Some((_, sum)) => *sum = sum.saturating_add(number),
                None => {
                    places.entry(name).or_insert(sums.len());
                    sums.push((name, number));
                }
            }
            position += 1;
        }
    }
    first.head(sums.len() * 2, out);
    for (name, sum) in sums {
        out.extend_from_slice(name);
        write::integer(out, sum);
    }
    Ok(())
}
