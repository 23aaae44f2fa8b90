//! What the nodes are asked.

use crate::cluster::Slot;
use crate::command::{Across, Command, Lookup, lookup};
use crate::resp::scan::{Limits, RequestScanner, Scanned};
use crate::resp::{Args, write};

/// One request to the owner of one slot.
#[derive(Debug)]
pub struct Part {
    /// The slot of its keys.
    pub slot: Slot,
    /// The row of the command it uses.
    pub command: &'static Command,
    /// The request as it goes over the wire.
    pub bytes: Vec<u8>,
}

/// The requests that together bring all that is needed.
pub(super) fn parts(across: Across, args: &Args<'_>, positions: &[usize]) -> Vec<Part> {
    let keys = positions
        .iter()
        .map(|position| args.get(*position).unwrap_or_default());
    match across {
        Across::SortedUnion | Across::SortedIntersection => keys
            .filter_map(|key| part(key, &[&b"ZUNION"[..], b"1", key, b"WITHSCORES"]))
            .collect(),
        Across::DistinctCount => keys
            .filter_map(|key| part(key, &[&b"GET"[..], key]))
            .collect(),
        _ => {
            let mut groups = by_slot(keys);
            // What is taken away from the first key's set is a union wherever it lies.
            let mut is_first = true;
            groups
                .drain(..)
                .filter_map(|keys| {
                    let request = for_slot(across, &keys, std::mem::take(&mut is_first));
                    part(keys.first()?, &request)
                })
                .collect()
        }
    }
}

/// The keys of each slot in their order; the slot of the first key is the first.
fn by_slot<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<&'a [u8]>> {
    let mut numbered: Vec<(Slot, usize, &[u8])> = keys
        .enumerate()
        .map(|(number, key)| (Slot::of_key(key), number, key))
        .collect();
    numbered.sort_by_key(|(slot, number, _)| (slot.number(), *number));
    let mut groups: Vec<(usize, Vec<&[u8]>)> = numbered
        .chunk_by(|one, other| one.0 == other.0)
        .map(|group| {
            let first = group.first().map_or(0, |(_, number, _)| *number);
            (first, group.iter().map(|(_, _, key)| *key).collect())
        })
        .collect();
    groups.sort_by_key(|(first, _)| *first);
    groups.into_iter().map(|(_, keys)| keys).collect()
}

fn for_slot(across: Across, keys: &[&[u8]], is_first: bool) -> Vec<Vec<u8>> {
    let count = keys.len().to_string();
    let (name, is_counted, with_scores): (&str, bool, bool) = match across {
        Across::Union => ("SUNION", false, false),
        Across::Intersection | Across::IntersectionSize => ("SINTER", false, false),
        Across::Difference if is_first => ("SDIFF", false, false),
        Across::Difference => ("SUNION", false, false),
        Across::SortedDifference if is_first => ("ZDIFF", true, true),
        Across::SortedDifference => ("ZUNION", true, false),
        Across::SortedIntersectionSize => ("ZINTER", true, false),
        // Asked for each key by itself.
        Across::SortedUnion | Across::SortedIntersection => ("ZUNION", true, true),
        Across::DistinctCount => ("GET", false, false),
    };
    let mut words = vec![name.as_bytes().to_vec()];
    words.extend(is_counted.then(|| count.into_bytes()));
    words.extend(keys.iter().map(|key| key.to_vec()));
    words.extend(with_scores.then(|| b"WITHSCORES".to_vec()));
    words
}

/// A request for the slot of `key`.
fn part<W: AsRef<[u8]>>(key: &[u8], words: &[W]) -> Option<Part> {
    let mut bytes = Vec::new();
    write::command(&mut bytes, words);
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: i64::MAX,
        request_bytes_max: usize::MAX,
        is_authenticated: true,
    };
    let Ok(Scanned::Request { .. }) = scanner.scan(&bytes, &limits) else {
        return None;
    };
    match lookup(&Args::new(&bytes, scanner.spans())) {
        Lookup::Found(command) => Some(Part {
            slot: Slot::of_key(key),
            command,
            bytes,
        }),
        Lookup::Unknown | Lookup::UnknownSubcommand(_) => None,
    }
}
