//! Who has each element: its consumer, the queue, nobody because the cluster lost it, or a consumer whose
//! reply was lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::line::Fate;
use super::load::queues::Taken;
use super::marker::Marker;
use super::pops::Pops;

/// Where the elements are.
#[derive(Debug, Default)]
pub struct Elements {
    /// Pushed, and acknowledged.
    pub pushed: u64,
    /// Given to a consumer.
    pub delivered: u64,
    /// Still there at the end.
    pub left: u64,
    /// Taken by a request whose reply was lost, or whose client had left.
    pub taken_unheard: u64,
    /// Acknowledged, executed by a node, and gone with it.
    pub lost: u64,
    /// Given twice, because a node that took over did not know that they were taken.
    pub given_again: u64,
    /// What must not be.
    pub faults: Vec<String>,
}

/// What else is known of the run.
pub struct Known<'a> {
    /// What was told of each push.
    pub writes: &'a HashMap<Marker, Fate>,
    /// What is in the queues at the end.
    pub left: &'a [Marker],
    /// What some node took out of a queue.
    pub pops: &'a Pops,
    /// When nodes died, were stopped or replaced: the cluster may have forgotten what it did just before, and
    /// a reply may have been on its way.
    pub lossy: &'a [(Instant, Instant)],
    /// How often all connections to a node were cut.
    pub cuts: u64,
}

/// Judges what became of all elements.
pub fn judge(taken: &[Taken], known: &Known<'_>) -> Elements {
    let Known {
        writes,
        left,
        pops,
        lossy,
        cuts,
    } = *known;
    let mut elements = Elements {
        left: left.len() as u64,
        ..Elements::default()
    };
    let mut given: BTreeMap<Marker, Vec<Instant>> = BTreeMap::new();
    let mut unknown: BTreeMap<u32, u64> = BTreeMap::new();
    for one in taken {
        for (marker, when) in &one.elements {
            given.entry(*marker).or_default().push(*when);
        }
        for (queue, count) in &one.unknown {
            *unknown.entry(*queue).or_default() += count;
        }
    }
    elements.delivered = given.len() as u64;
    let fault = |elements: &mut Elements, text: String| elements.faults.push(text);
    for (marker, times) in &mut given {
        if !writes.contains_key(marker) {
            fault(
                &mut elements,
                format!("{marker:?} was given and never pushed"),
            );
        }
        times.sort_unstable();
        let (first, last) = (times[0], times[times.len() - 1]);
        if times.len() > 1 {
            elements.given_again += 1;
            let is_explained = lossy.iter().any(|&(from, to)| from <= last && first <= to);
            if !is_explained {
                fault(&mut elements, format!("{marker:?} was given twice"));
            }
        }
    }
    let left: HashSet<Marker> = left.iter().copied().collect();
    let mut unheard: BTreeMap<u32, u64> = BTreeMap::new();
    for (marker, fate) in writes {
        elements.pushed += u64::from(*fate == Fate::Done);
        if given.contains_key(marker) || left.contains(marker) {
            continue;
        }
        if pops.contains(marker) {
            *unheard.entry(marker.key).or_default() += 1;
        } else if *fate == Fate::Done {
            elements.lost += 1;
        }
    }
    // A blocked request whose connection is cut is made again (contract: T6); what the node took for it in
    // the same moment went down with the connection, at most one for each consumer.
    let cut = (lossy.len() as u64 + cuts) * taken.len() as u64;
    let told: u64 = unknown.values().sum();
    elements.taken_unheard = unheard.values().sum();
    if elements.taken_unheard > told + cut {
        let text = format!("{unheard:?} taken for nobody; told as unknown: {unknown:?}");
        fault(&mut elements, text);
    }
    elements
}
