//! `CLUSTER SLOT-STATS`: each node tells of its own slots; of all of them those are told that one server would tell.

use std::cmp::Reverse;

use super::{Aggregate, Misfit};
use crate::resp::scan::parse_integer;
use crate::resp::{Args, reply, write};

/// In which order slots are told, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotOrder {
    /// The figure that decides; without one they are told by their numbers.
    metric: Option<Box<[u8]>>,
    is_ascending: bool,
    count_max: usize,
}

impl SlotOrder {
    /// That of `CLUSTER SLOT-STATS ORDERBY metric [LIMIT count] [ASC|DESC]`, and of `SLOTSRANGE`. What makes no sense the
    /// nodes refuse.
    pub fn of_request(args: &Args<'_>) -> SlotOrder {
        let is = |at: usize, word: &[u8]| {
            args.get(at)
                .is_some_and(|arg| arg.eq_ignore_ascii_case(word))
        };
        let options = 4..args.len();
        let limit = options.clone().find(|at| is(*at, b"LIMIT"));
        let limit = limit
            .and_then(|at| args.get(at + 1))
            .and_then(parse_integer);
        SlotOrder {
            metric: args.get(3).filter(|_| is(2, b"ORDERBY")).map(Box::from),
            is_ascending: options.clone().any(|at| is(at, b"ASC")),
            count_max: limit
                .and_then(|limit| usize::try_from(limit).ok())
                .unwrap_or(usize::MAX),
        }
    }
}

/// The slots of all nodes in this order; of equal ones the lower first, as each node tells its own.
pub(super) fn slot_stats<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    order: &SlotOrder,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut slots = Vec::new();
    for (part, reply) in replies.enumerate() {
        let misfit = Misfit::Shape(part, "list of slots");
        for entry in Aggregate::new(reply).ok_or(misfit)? {
            let mut fields = Aggregate::new(entry).ok_or(misfit)?;
            let slot = fields.next().and_then(reply::integer).ok_or(misfit)?;
            let figure = match &order.metric {
                None => 0,
                Some(metric) => figure(fields.next().unwrap_or_default(), metric).ok_or(misfit)?,
            };
            slots.push((figure, slot, entry));
        }
    }
    match order.is_ascending {
        true => slots.sort_by_key(|(figure, slot, _)| (*figure, *slot)),
        false => slots.sort_by_key(|(figure, slot, _)| (Reverse(*figure), *slot)),
    }
    slots.truncate(order.count_max);
    write::array(out, slots.len());
    for (_, _, entry) in slots {
        out.extend_from_slice(entry);
    }
    Ok(())
}

/// The figure of this name among names and figures.
fn figure(figures: &[u8], metric: &[u8]) -> Option<i64> {
    let mut figures = Aggregate::new(figures)?;
    while let (Some(name), Some(value)) = (figures.next(), figures.next()) {
        if reply::text(name).is_some_and(|name| name.eq_ignore_ascii_case(metric)) {
            return reply::integer(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Merge;
    use crate::resp::{Protocol, with_args};
    use crate::routing::merge::{InfoFacts, MergePlan, merge};

    /// One node's reply: pairs of slot and number of keys.
    fn told(slots: &[(u16, i64)], protocol: Protocol) -> String {
        let head = match protocol {
            Protocol::Resp2 => "*4",
            Protocol::Resp3 => "%2",
        };
        let entry = |(slot, keys): &(u16, i64)| {
            format!(
                "*2\r\n:{slot}\r\n{head}\r\n$9\r\nkey-count\r\n:{keys}\r\n$8\r\ncpu-usec\r\n:1\r\n"
            )
        };
        let entries: String = slots.iter().map(entry).collect();
        format!("*{}\r\n{entries}", slots.len())
    }

    fn check(line: &str, expected: &[(u16, i64)]) {
        let words: Vec<&str> = line.split(' ').collect();
        let mut request = Vec::new();
        write::command(&mut request, &words);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let parts = [
                told(&[(3, 9), (1, 2), (5, 0)], protocol),
                told(&[], protocol),
                told(&[(2, 9), (4, 1)], protocol),
            ];
            let plan = MergePlan {
                slots: with_args(&request, SlotOrder::of_request),
                ..MergePlan::new(Merge::SlotStats, protocol)
            };
            let mut out = Vec::new();
            merge(
                &plan,
                parts.iter().map(String::as_bytes),
                &InfoFacts::default(),
                &mut out,
            );
            assert_eq!(
                String::from_utf8_lossy(&out),
                told(expected, protocol),
                "{line}"
            );
        }
    }

    /// contract: M4
    #[test]
    fn slots_are_told_as_by_one_server() {
        check(
            "cluster slot-stats SLOTSRANGE 0 9",
            &[(1, 2), (2, 9), (3, 9), (4, 1), (5, 0)],
        );
        check(
            "cluster slot-stats orderby KEY-COUNT",
            &[(2, 9), (3, 9), (1, 2), (4, 1), (5, 0)],
        );
        check(
            "cluster slot-stats ORDERBY key-count LIMIT 3",
            &[(2, 9), (3, 9), (1, 2)],
        );
        check(
            "cluster slot-stats ORDERBY key-count limit 2 desc",
            &[(2, 9), (3, 9)],
        );
        check(
            "cluster slot-stats ORDERBY key-count ASC LIMIT 2",
            &[(5, 0), (4, 1)],
        );
        check(
            "cluster slot-stats ORDERBY cpu-usec LIMIT 2",
            &[(1, 2), (2, 9)],
        );
    }
}
