//! Partial replies become one reply.
//!
//! A request that went to several nodes comes back as several whole reply frames; [`merge`] writes
//! the one frame that a single server would have written. It works on the raw bytes: elements are
//! moved, not decoded, so that values of any type pass untouched (contract: P6). A part that failed
//! makes the whole reply that error (contract: M1). Every way of merging is linear in the bytes,
//! but for what is put into the order of time.

mod combine;
mod info;
mod past;
mod records;
mod slot_stats;

use crate::command::Merge;
use crate::resp::reply::ReplyScanner;
use crate::resp::scan::parse_integer;
use crate::resp::{Protocol, write};

pub use combine::or_kept;
pub use info::InfoFacts;
pub use slot_stats::SlotOrder;

/// What is needed to merge the parts of one request.
#[derive(Clone, Debug)]
pub struct MergePlan {
    /// How the parts become one.
    pub merge: Merge,
    /// The version the client, and so every part, speaks.
    pub protocol: Protocol,
    /// For [`Merge::ByKey`]: `order[i]` is the part that holds the element of key `i`; the elements
    /// of one part stand in the order of the original keys. Empty for every other way.
    pub order: Vec<u32>,
    /// For [`Merge::Info`]: whether the section `Keyway` was asked for.
    pub shows_keyway: bool,
    /// For [`Merge::Newest`]: how many entries were asked for.
    pub count_max: usize,
    /// For [`Merge::SlotStats`]: which slots are wanted, and in which order.
    pub slots: Option<SlotOrder>,
}

impl MergePlan {
    /// A plan for parts without an order of keys, all of which is wanted.
    pub fn new(merge: Merge, protocol: Protocol) -> MergePlan {
        MergePlan {
            merge,
            protocol,
            order: Vec::new(),
            shows_keyway: false,
            count_max: usize::MAX,
            slots: None,
        }
    }
}

/// Why the parts fit no reply. Our own fault or a server's that answers unlike the others; trying
/// again can help when one of them was restarting into another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Misfit {
    #[error("no node answered")]
    NoParts,
    #[error("part {0} of the reply is no {1}")]
    Shape(usize, &'static str),
    #[error("part {0} of the reply has another number of elements than it was asked for")]
    Count(usize),
}

impl Misfit {
    fn part(&self) -> Option<usize> {
        match *self {
            Misfit::NoParts => None,
            Misfit::Shape(part, _) | Misfit::Count(part) => Some(part),
        }
    }
}

/// So much of a part that does not fit is told.
const SHOWN_BYTES: usize = 40;

/// Appends to `out` the one reply that stands for `replies`, the whole raw replies of the parts in
/// the order of the parts.
///
/// The first part that is an error, top level, becomes the reply (contract: M1, R6); for
/// [`Merge::OneSucceeded`] only when no part succeeded. Parts of a shape that cannot be merged
/// become an `-ERR` that says which part. `facts` is looked at for [`Merge::Info`] alone.
pub fn merge<'a>(
    plan: &MergePlan,
    replies: impl Iterator<Item = &'a [u8]> + Clone,
    facts: &InfoFacts<'_>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if plan.merge != Merge::OneSucceeded
        && let Some(error) = replies.clone().find(|reply| is_error(reply))
    {
        out.extend_from_slice(error);
        return;
    }
    let mut parts = replies.clone();
    let merged = match plan.merge {
        Merge::ByKey => by_key(&plan.order, replies, out),
        Merge::Sum => combine::integers(replies, i64::saturating_add, out),
        Merge::Min => combine::smallest(replies, out),
        Merge::Max => combine::integers(replies, i64::max, out),
        Merge::AllSucceeded => combine::first(replies, out),
        Merge::OneSucceeded => combine::one_succeeded(replies, out),
        Merge::LogicalAnd => combine::logical(replies, false, out),
        Merge::LogicalOr => combine::logical(replies, true, out),
        Merge::Concat => combine::concat(replies, out),
        Merge::Union => combine::union(replies, out),
        Merge::SumByName => combine::sum_by_name(replies, out),
        Merge::Streams => combine::streams(replies, out),
        Merge::Newest => past::newest(replies, plan.count_max, out),
        Merge::ByTime => past::by_time(replies, out),
        Merge::LatestEvents => past::latest_events(replies, out),
        Merge::SlotStats => match &plan.slots {
            Some(order) => slot_stats::slot_stats(replies, order, out),
            None => combine::concat(replies, out),
        },
        Merge::Histograms => past::histograms(replies, out),
        Merge::Info => info::merge(plan.protocol, replies, facts, out),
    };
    if let Err(misfit) = merged {
        out.truncate(start);
        let said = misfit.part().and_then(|part| parts.nth(part));
        write::error(
            out,
            format!(
                "ERR Keyway cannot merge the nodes' replies: {misfit}{}",
                beginning(said)
            ),
        );
    }
}

/// What a node said, as far as it fits into an error.
fn beginning(said: Option<&[u8]>) -> String {
    let Some(said) = said else {
        return String::new();
    };
    let start = said[..said.len().min(SHOWN_BYTES)].escape_ascii();
    format!("; the node said '{start}'")
}

/// Whether a reply is an error, of either version.
fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// The elements of an array reply, and how many there are; `None` for a reply of another kind, and for
/// the null array.
pub fn elements(reply: &[u8]) -> Option<(usize, impl Iterator<Item = &[u8]>)> {
    if !reply.starts_with(b"*") || reply.starts_with(b"*-") {
        return None;
    }
    let elements = Aggregate::new(reply)?;
    Some((elements.left, elements))
}

/// An aggregate reply, read from its front.
#[derive(Clone, Copy, Debug)]
struct Aggregate<'a> {
    kind: u8,
    /// Values that are left; a map counts keys and values.
    left: usize,
    rest: &'a [u8],
}

impl<'a> Aggregate<'a> {
    fn new(reply: &'a [u8]) -> Option<Self> {
        if let [b'*', digit @ b'0'..=b'9', b'\r', b'\n', rest @ ..] = reply {
            // Nearly every part of a split request.
            return Some(Aggregate {
                kind: b'*',
                left: usize::from(digit - b'0'),
                rest,
            });
        }
        let kind = *reply.first()?;
        let end = memchr::memchr(b'\r', reply)?;
        let count = usize::try_from(parse_integer(reply.get(1..end)?)?.max(0)).ok()?;
        let left = match kind {
            b'*' | b'~' | b'>' => count,
            b'%' => count.checked_mul(2)?,
            _ => return None,
        };
        let rest = reply.get(end + 2..)?;
        Some(Aggregate { kind, left, rest })
    }

    /// Appends the head of an aggregate of the same kind with `values` values.
    fn head(&self, values: usize, out: &mut Vec<u8>) {
        let len = if self.kind == b'%' {
            values / 2
        } else {
            values
        };
        out.push(self.kind);
        write::decimal(out, len as i64);
        out.extend_from_slice(b"\r\n");
    }
}

impl<'a> Iterator for Aggregate<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 {
            // The frame is whole, so the last element is all that is left of it.
            let last = std::mem::take(&mut self.rest);
            return (!last.is_empty()).then_some(last);
        }
        let len = ReplyScanner::default().scan(self.rest).ok()??;
        let (element, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(element)
    }
}

/// One element for each key, taken from its part.
fn by_key<'a>(
    order: &[u32],
    replies: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let mut parts = Vec::with_capacity(replies.size_hint().0);
    for (part, reply) in replies.enumerate() {
        parts.push(Aggregate::new(reply).ok_or(Misfit::Shape(part, "array"))?);
    }
    write::array(out, order.len());
    for &part in order {
        let part = part as usize;
        let element = parts.get_mut(part).and_then(Iterator::next);
        out.extend_from_slice(element.ok_or(Misfit::Count(part))?);
    }
    match parts.iter().position(|part| part.left > 0) {
        Some(part) => Err(Misfit::Count(part)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
