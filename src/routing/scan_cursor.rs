//! `SCAN` over all primaries with a cursor that carries everything (contract: M5).
//!
//! Keyway remembers nothing between two calls, so the walk survives a restart, another Keyway and a
//! failover. The idea:
//!
//! 1. The walk visits the shards in the order of the lowest slot each owns. A cursor says at which
//!    slot the walk is and how far the node that owns it came.
//! 2. What holds at slot `s`: whatever was in the slots covered so far has been returned. That stays
//!    true only while nothing moves into the slots already covered or out of the slots being
//!    covered, and the node's own cursor means something only to that node. So the cursor carries a
//!    tag: a few bits of a fingerprint of just that.
//! 3. When the tag no longer fits, the walk goes on from slot `s` in steps of contiguous runs of one
//!    owner, from the start of the node at `s`, because every slot below `s` is covered whatever
//!    moved. From then on the tag speaks of the owner and of the end of the run, and what the node has
//!    outside of it is left out. Elements may come twice, as `SCAN` allows; none is lost; positions
//!    never go back, so the walk ends once the slots rest.
//!
//! Limits: a tag that fits by chance (1 in 512; 1 in 32 for huge nodes) hides a change, and while a
//! slot is half migrated its keys are on two nodes, of which Keyway asks one.
//!
//! A cursor has one of two formats, from the high bits: `slot 14 | by runs 1 | tag 9 | node's
//! cursor 29`, which stays below 2^53 because clients written in JavaScript read cursors as doubles;
//! and when the node's cursor is larger `1 | slot 14 | by runs 1 | tag 5 | node's cursor 42`, below
//! 2^63 because others read them as signed numbers. 42 bits hold 2^28 keys in one slot where
//! servers put the slot into their cursor, and 2^42 keys where they do not.

use crate::cluster::{Slot, Topology};
use crate::resp::Args;

mod page;
mod pattern;

pub use page::{ScanPage, count, with_cursor};
pub use pattern::pinned_slot;

/// What a client sends as cursor, and gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanCursor(u64);

/// A call to one node: what to ask it, and what is needed to make the client's next cursor of its
/// reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanStep {
    /// The client's.
    cursor: ScanCursor,
    slot: Slot,
    node_cursor: u64,
    stride: Stride,
    /// Of what must not change while the node is walked.
    fingerprint: u64,
}

/// How the walk goes on when a node is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    /// To the next shard.
    Shards,
    /// To the next contiguous run of slots of one owner.
    Runs,
    /// Not at all: the pattern allows one slot only.
    Pinned,
}

/// A node's cursor needs more bits than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's SCAN cursor {0} does not fit into Keyway's, which has room for 42 bits of it")]
pub struct CursorTooLarge(u64);

/// How the bits of a cursor are used, from the low ones: node's cursor, tag, by runs, slot.
struct Format {
    node_bits: u32,
    tag_bits: u32,
    /// Set in every cursor of this format.
    marker: u64,
}

const SMALL: Format = Format {
    node_bits: 29,
    tag_bits: 9,
    marker: 0,
};
const LARGE: Format = Format {
    node_bits: 42,
    tag_bits: 5,
    marker: 1 << 62,
};

impl Format {
    const fn runs_bit(&self) -> u32 {
        self.node_bits + self.tag_bits
    }

    const fn slot_shift(&self) -> u32 {
        self.runs_bit() + 1
    }
}

/// Bits of a slot's number.
const SLOT_BITS: u32 = 14;
const _: () = assert!(SMALL.slot_shift() + SLOT_BITS == 53);
const _: () = assert!(1 << (LARGE.slot_shift() + SLOT_BITS) == LARGE.marker);

const fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}

impl ScanCursor {
    /// Starts a walk, and ends it.
    pub const START: ScanCursor = ScanCursor(0);

    /// Reads what a client sent; `None` is answered with `ERR invalid cursor`.
    pub fn parse(text: &[u8]) -> Option<ScanCursor> {
        if !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = std::str::from_utf8(text).ok()?.parse::<u64>().ok()?;
        let is_small = number < 1 << (SMALL.slot_shift() + SLOT_BITS);
        let is_large = number >> LARGE.marker.trailing_zeros() == 1;
        (is_small || is_large).then_some(ScanCursor(number))
    }

    /// The number that the client sees.
    pub fn number(self) -> u64 {
        self.0
    }

    fn encode(place: Place, node_cursor: u64) -> Result<ScanCursor, CursorTooLarge> {
        let format = [SMALL, LARGE]
            .into_iter()
            .find(|format| node_cursor >> format.node_bits == 0)
            .ok_or(CursorTooLarge(node_cursor))?;
        let tag = place.fingerprint & low_bits(format.tag_bits);
        let is_by_runs = place.stride != Stride::Shards;
        Ok(ScanCursor(
            format.marker
                | u64::from(place.slot.number()) << format.slot_shift()
                | u64::from(is_by_runs) << format.runs_bit()
                | tag << format.node_bits
                | node_cursor,
        ))
    }

    fn format(self) -> Format {
        if self.0 & LARGE.marker == 0 {
            SMALL
        } else {
            LARGE
        }
    }

    /// Where it goes on.
    pub fn slot(self) -> Option<Slot> {
        let number = self.0 >> self.format().slot_shift() & low_bits(SLOT_BITS);
        Slot::new(number as u16)
    }

    fn is_by_runs(self) -> bool {
        self.0 >> self.format().runs_bit() & 1 == 1
    }

    fn fits(self, fingerprint: u64) -> bool {
        let format = self.format();
        (self.0 >> format.node_bits ^ fingerprint) & low_bits(format.tag_bits) == 0
    }

    fn node_cursor(self) -> u64 {
        self.0 & low_bits(self.format().node_bits)
    }
}

/// Where a walk is, apart from the node's own cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    slot: Slot,
    stride: Stride,
    fingerprint: u64,
}

/// The order in which the shards of one snapshot are visited. Making it looks at every slot, so a
/// worker keeps it until the snapshot changes.
#[derive(Clone, Debug)]
pub struct ScanOrder {
    /// By their lowest slots.
    shards: Vec<Place>,
    /// By their slots; what nobody owns is left out.
    runs: Vec<Run>,
}

/// Neighbouring slots of one owner.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Slot,
    /// The first slot number behind it.
    end: u16,
    /// Hash of the owner's id.
    node: u64,
}

impl ScanOrder {
    /// The order for a snapshot.
    pub fn of(topology: &Topology) -> Self {
        let nodes: Vec<u64> = topology.nodes.iter().map(|node| hash(&node.id)).collect();
        let node = |slot: Slot| {
            let owner = topology.owner(slot)?;
            Some((owner, *nodes.get(usize::from(owner.0))?))
        };
        let mut runs: Vec<Run> = Vec::new();
        // For each node a hash of the set of its slots.
        let mut slot_sets = vec![0u64; nodes.len()];
        for slot in (0..Slot::COUNT as u16).filter_map(Slot::new) {
            let Some((owner, node)) = node(slot) else {
                continue;
            };
            if let Some(set) = slot_sets.get_mut(usize::from(owner.0)) {
                *set = set.wrapping_add(mix(u64::from(slot.number()) + 1));
            }
            match runs.last_mut() {
                Some(run) if run.end == slot.number() && run.node == node => run.end += 1,
                _ => runs.push(Run {
                    start: slot,
                    end: slot.number() + 1,
                    node,
                }),
            }
        }
        let mut covered = 0u64;
        let mut shards = Vec::new();
        for (slot, owner) in topology.shards() {
            let own = slot_sets.get(usize::from(owner.0)).copied().unwrap_or(0);
            let node = nodes.get(usize::from(owner.0)).copied().unwrap_or(0);
            shards.push(Place {
                slot,
                stride: Stride::Shards,
                fingerprint: mix(covered ^ mix(own ^ mix(node))),
            });
            covered = covered.wrapping_add(own);
        }
        ScanOrder { shards, runs }
    }

    /// What to ask for a client's cursor. `pinned` is the only slot that can match the request's
    /// pattern, if there is but one ([`pinned_slot`]). `None` when no node owns what is left to
    /// visit: the client may try the same cursor again later (`CLUSTERDOWN`).
    pub fn step(&self, cursor: ScanCursor, pinned: Option<Slot>) -> Option<ScanStep> {
        let (expected, fresh) = match (pinned, cursor.slot()) {
            (Some(slot), at) => {
                let place = self.place(slot, Stride::Pinned);
                (place.filter(|_| at == Some(slot)), place)
            }
            (None, _) if cursor == ScanCursor::START => (None, self.shards.first().copied()),
            (None, None) => (None, None),
            (None, Some(slot)) if cursor.is_by_runs() => {
                (self.place(slot, Stride::Runs), self.by_runs_from(slot))
            }
            (None, Some(slot)) => (self.place(slot, Stride::Shards), self.by_runs_from(slot)),
        };
        let same = expected.filter(|place| cursor.fits(place.fingerprint));
        let node_cursor = same.map_or(0, |_| cursor.node_cursor());
        let place = same.or(fresh)?;
        Some(ScanStep {
            cursor,
            slot: place.slot,
            node_cursor,
            stride: place.stride,
            fingerprint: place.fingerprint,
        })
    }

    /// The client's next cursor, when the node of `step` answered with `node_cursor`. The order is
    /// that of the snapshot in use now: if the slots moved meanwhile, the node is walked again.
    ///
    /// # Errors
    /// The node's cursor is too large.
    pub fn next(&self, step: &ScanStep, node_cursor: u64) -> Result<ScanCursor, CursorTooLarge> {
        let here = self.place(step.slot, step.stride);
        let Some(here) = here.filter(|here| here.fingerprint == step.fingerprint) else {
            let again = match step.stride {
                Stride::Pinned => here,
                Stride::Shards | Stride::Runs => self.by_runs_from(step.slot),
            };
            // When nobody owns the rest now, the place is kept until somebody does.
            let place = again.unwrap_or(Place {
                slot: step.slot,
                stride: Stride::Runs,
                fingerprint: 0,
            });
            return ScanCursor::encode(place, 0);
        };
        if node_cursor != 0 {
            return ScanCursor::encode(here, node_cursor);
        }
        let next = match step.stride {
            Stride::Pinned => None,
            Stride::Shards => {
                let behind = self.shards.partition_point(|place| place.slot <= step.slot);
                self.shards.get(behind).copied()
            }
            Stride::Runs => self
                .run_at(step.slot)
                .and_then(|run| Slot::new(run.end))
                .and_then(|slot| self.by_runs_from(slot)),
        };
        match next {
            Some(place) => ScanCursor::encode(place, 0),
            None => Ok(ScanCursor::START),
        }
    }

    /// The place at a slot, unless nobody owns it or, for whole shards, no shard begins there.
    fn place(&self, slot: Slot, stride: Stride) -> Option<Place> {
        let fingerprint = match stride {
            Stride::Shards => {
                let index = self.shards.binary_search_by_key(&slot, |place| place.slot);
                self.shards.get(index.ok()?)?.fingerprint
            }
            Stride::Runs => {
                let run = self.run_at(slot)?;
                mix(run.node ^ u64::from(run.end))
            }
            Stride::Pinned => mix(!self.run_at(slot)?.node),
        };
        Some(Place {
            slot,
            stride,
            fingerprint,
        })
    }

    /// The place of the first owned slot from `slot` on.
    fn by_runs_from(&self, slot: Slot) -> Option<Place> {
        let index = self.runs.partition_point(|run| run.end <= slot.number());
        let start = self.runs.get(index)?.start.max(slot);
        self.place(start, Stride::Runs)
    }

    /// The run that a step walks, if it walks one and nothing has changed since.
    fn run_of(&self, step: &ScanStep) -> Option<Run> {
        let here = self.place(step.slot, Stride::Runs)?;
        let is_same = step.stride == Stride::Runs && here.fingerprint == step.fingerprint;
        let run = self.run_at(step.slot)?;
        is_same.then_some(Run {
            start: step.slot,
            ..run
        })
    }

    fn run_at(&self, slot: Slot) -> Option<Run> {
        let index = self.runs.partition_point(|run| run.end <= slot.number());
        self.runs
            .get(index)
            .copied()
            .filter(|run| run.start <= slot)
    }
}

impl ScanStep {
    /// The client's cursor that leads to it.
    pub fn cursor(&self) -> ScanCursor {
        self.cursor
    }

    /// The owner of this slot is asked.
    pub fn slot(&self) -> Slot {
        self.slot
    }
}

/// Why a `SCAN` cannot be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The client's fault.
    #[error("invalid cursor")]
    InvalidCursor,
    /// No node owns what is left to visit; the same cursor may be tried again later.
    #[error("no node owns the slots left to scan")]
    NoOwner,
}

/// Plans one `SCAN`.
///
/// # Errors
/// See [`ScanError`].
pub fn plan(order: &ScanOrder, args: &Args<'_>) -> Result<ScanStep, ScanError> {
    let cursor = args.get(1).and_then(ScanCursor::parse);
    let cursor = cursor.ok_or(ScanError::InvalidCursor)?;
    let step = order.step(cursor, pinned_slot(args));
    step.ok_or(ScanError::NoOwner)
}

/// The order for the newest snapshot, kept until there is another.
#[derive(Debug, Default)]
pub struct CurrentOrder(Option<(u64, ScanOrder)>);

impl CurrentOrder {
    /// The order for this snapshot, known by its version.
    pub fn of(&mut self, topology: &Topology) -> &ScanOrder {
        let kept = self.0.take().filter(|kept| kept.0 == topology.version);
        let kept = kept.unwrap_or_else(|| (topology.version, ScanOrder::of(topology)));
        &self.0.insert(kept).1
    }
}

/// Spreads a number over all bits; the same in every build, because cursors outlive processes.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| mix(hash ^ u64::from(byte));
    text.bytes().fold(text.len() as u64, fold)
}

#[cfg(test)]
mod tests;
