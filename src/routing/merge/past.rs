//! What each node keeps of its own past becomes the past of one server: slow logs, latency events and
//! histograms.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Aggregate, Misfit};
use crate::resp::{reply, write};

/// Where an entry of a log has its time: behind its number.
const TIME_OF_LOG_ENTRY: usize = 1;
/// Where a sample has its time: before its value.
const TIME_OF_SAMPLE: usize = 0;

/// The newest `count_max` entries of all logs, the newest first. Each node says its own in that order, and it stays
/// for those of one second.
pub(super) fn newest<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    count_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut entries = timed(replies, TIME_OF_LOG_ENTRY)?;
    entries.sort_by_key(|(time, _)| Reverse(*time));
    entries.truncate(count_max);
    write_entries(&entries, out);
    Ok(())
}

/// The samples of all nodes, the oldest first, as each node says its own.
pub(super) fn by_time<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut samples = timed(replies, TIME_OF_SAMPLE)?;
    samples.sort_by_key(|(time, _)| *time);
    write_entries(&samples, out);
    Ok(())
}

fn write_entries(entries: &[(i64, &[u8])], out: &mut Vec<u8>) {
    write::array(out, entries.len());
    for (_, entry) in entries {
        out.extend_from_slice(entry);
    }
}

/// The entries of all parts, each with the time that it has at `time_at`.
fn timed<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    time_at: usize,
) -> Result<Vec<(i64, &'a [u8])>, Misfit> {
    let mut all = Vec::new();
    let mut parts = 0;
    for (part, reply) in replies.enumerate() {
        parts += 1;
        let entries = Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?;
        for entry in entries {
            let time = Aggregate::new(entry).and_then(|mut fields| fields.nth(time_at));
            let time = time.and_then(reply::integer);
            all.push((time.ok_or(Misfit::Shape(part, "list of times"))?, entry));
        }
    }
    match parts {
        0 => Err(Misfit::NoParts),
        _ => Ok(all),
    }
}

/// `LATENCY LATEST`: one entry for each event.
pub(super) fn latest_events<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut events: ByName<'a, Event> = ByName::default();
    let mut parts = 0;
    for (part, reply) in replies.enumerate() {
        parts += 1;
        let misfit = Misfit::Shape(part, "list of events");
        for entry in Aggregate::new(reply).ok_or(misfit)? {
            let mut fields = Aggregate::new(entry).ok_or(misfit)?;
            let name = fields.next().ok_or(misfit)?;
            let mut number = || fields.next().and_then(reply::integer).ok_or(misfit);
            let (latest, longest) = ((number()?, number()?), number()?);
            let mut further = Vec::new();
            for field in fields {
                further.push(reply::integer(field).ok_or(misfit)?);
            }
            let event = Event {
                latest,
                longest,
                further,
            };
            events.fold(name, event, Event::join);
        }
    }
    if parts == 0 {
        return Err(Misfit::NoParts);
    }
    write::array(out, events.values.len());
    for (name, event) in &events.values {
        write::array(out, 4 + event.further.len());
        out.extend_from_slice(name);
        let (time, value) = event.latest;
        let numbers = [time, value, event.longest];
        for number in numbers.iter().chain(&event.further) {
            write::integer(out, *number);
        }
    }
    Ok(())
}

struct Event {
    /// When it happened last, and how long it took; of two in one second the longer.
    latest: (i64, i64),
    longest: i64,
    /// What newer servers say besides: the sum of all and how many there were.
    further: Vec<i64>,
}

impl Event {
    fn join(&mut self, other: Event) {
        self.latest = self.latest.max(other.latest);
        self.longest = self.longest.max(other.longest);
        add_in_places(&mut self.further, &other.further);
    }
}

fn add_in_places(sums: &mut Vec<i64>, numbers: &[i64]) {
    sums.resize(sums.len().max(numbers.len()), 0);
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum = sum.saturating_add(*number);
    }
}

/// `LATENCY HISTOGRAM`: one histogram for each command, in the form of the first part.
pub(super) fn histograms<'a>(
    replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut first = None;
    let mut commands: ByName<'a, Vec<Histogram>> = ByName::default();
    for (part, reply) in replies.enumerate() {
        let misfit = Misfit::Shape(part, "list of histograms");
        let mut entries = Aggregate::new(reply).ok_or(misfit)?;
        first.get_or_insert(entries);
        while let Some(name) = entries.next() {
            let histogram = entries.next().and_then(Histogram::read).ok_or(misfit)?;
            commands.fold(name, vec![histogram], |all, more| all.extend(more));
        }
    }
    let first = first.ok_or(Misfit::NoParts)?;
    first.head(commands.values.len() * 2, out);
    for (name, nodes) in &commands.values {
        out.extend_from_slice(name);
        Histogram::write_merged(nodes, &first, out);
    }
    Ok(())
}

/// One node's histogram of one command.
struct Histogram {
    calls: i64,
    /// Bounds in microseconds, and how many calls took at most that long; only bounds where there were some.
    counts: Vec<(i64, i64)>,
}

impl Histogram {
    fn read(entry: &[u8]) -> Option<Histogram> {
        let mut fields = Aggregate::new(entry)?;
        let (mut calls, mut counts) = (None, None);
        while let Some(name) = fields.next() {
            let value = fields.next()?;
            match reply::text(name)? {
                b"calls" => calls = reply::integer(value),
                b"histogram_usec" => {
                    let numbers: Option<Vec<i64>> =
                        Aggregate::new(value)?.map(reply::integer).collect();
                    let pairs = numbers?;
                    counts = Some(
                        pairs
                            .chunks_exact(2)
                            .map(|pair| (pair[0], pair[1]))
                            .collect(),
                    );
                }
                // Nobody knows how to merge it.
                _ => {}
            }
        }
        Some(Histogram {
            calls: calls?,
            counts: counts?,
        })
    }

    /// The rises of all nodes in the order of the bounds, added up from the first on: at each bound that
    /// is the sum of what every node counted up to there.
    fn write_merged(nodes: &[Histogram], form: &Aggregate<'_>, out: &mut Vec<u8>) {
        let rises_of = |node: &Histogram| {
            let mut before = 0;
            let rise = |(bound, count): &(i64, i64)| {
                let rise = count.saturating_sub(before);
                before = *count;
                (*bound, rise)
            };
            node.counts.iter().map(rise).collect::<Vec<_>>()
        };
        let mut rises: Vec<(i64, i64)> = nodes.iter().flat_map(rises_of).collect();
        rises.sort_by_key(|(bound, _)| *bound);
        let mut total = 0i64;
        let mut counts: Vec<(i64, i64)> = Vec::new();
        for (bound, rise) in rises {
            total = total.saturating_add(rise);
            match counts.last_mut().filter(|(last, _)| *last == bound) {
                Some((_, count)) => *count = total,
                None => counts.push((bound, total)),
            }
        }
        let calls = nodes
            .iter()
            .fold(0i64, |sum, node| sum.saturating_add(node.calls));
        form.head(4, out);
        write::bulk(out, b"calls");
        write::integer(out, calls);
        write::bulk(out, b"histogram_usec");
        form.head(counts.len() * 2, out);
        for (bound, count) in counts {
            write::integer(out, bound);
            write::integer(out, count);
        }
    }
}

/// One value for each name, in the order in which the names came.
struct ByName<'a, T> {
    values: Vec<(&'a [u8], T)>,
    places: HashMap<&'a [u8], usize>,
}

impl<T> Default for ByName<'_, T> {
    fn default() -> Self {
        ByName {
            values: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<'a, T> ByName<'a, T> {
    fn fold(&mut self, name: &'a [u8], value: T, join: fn(&mut T, T)) {
        let known = self.places.get(name).copied();
        match known.and_then(|place| self.values.get_mut(place)) {
            Some((_, before)) => join(before, value),
            None => {
                self.places.insert(name, self.values.len());
                self.values.push((name, value));
            }
        }
    }
}
