//! What one `SCAN` returns: the elements of one shard or, where shards are finished before there are as many as
//! `COUNT` asks for, of several (contract: M5).
//!
//! `COUNT` says how much work one call may be, and clients take it for the size of a page: with few keys one call
//! returns all of them. So a request goes on with the next shard, or run, while its page is short, but not for ever:
//! nobody tells how much work an almost empty shard was.

use super::{Run, ScanCursor, ScanOrder, ScanStep};
use crate::cluster::Slot;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, reply, write};

/// The servers' own count for those who say none.
const COUNT_DEFAULT: usize = 10;
/// So many shards or runs are asked for one page, one after another.
pub(super) const STEPS_MAX: usize = 16;

/// What is gathered so far for one request.
#[derive(Debug, Default)]
pub struct ScanPage {
    /// Whole replies, one after another.
    elements: Vec<u8>,
    len: usize,
    /// How many nodes have answered.
    steps: usize,
}

impl ScanPage {
    /// Whether a node has answered: an error that comes now is told when the client asks again.
    pub fn has_begun(&self) -> bool {
        self.steps > 0
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes what a node said. Returns where the same request goes on when there are fewer than `wanted` elements and
    /// there is more to walk; else the client's reply is appended to `out`. The order is that of the snapshot in use
    /// now.
    ///
    /// An error passes untouched when it is all there is; behind a page it is left for the client's next call, so that
    /// nothing that was found is lost.
    pub fn take(
        &mut self,
        step: &ScanStep,
        order: &ScanOrder,
        reply: &[u8],
        wanted: usize,
        out: &mut Vec<u8>,
    ) -> Option<ScanCursor> {
        let error = match self.add(step, order, reply) {
            Ok((cursor, is_finished)) => {
                let is_short = self.len < wanted && self.steps < STEPS_MAX;
                if is_short && is_finished && cursor.slot() > Some(step.slot) {
                    return Some(cursor);
                }
                self.write(cursor, out);
                return None;
            }
            Err(error) => error,
        };
        match self.has_begun() {
            true => self.write(step.cursor, out),
            false => out.extend_from_slice(&error),
        }
        None
    }

    /// The client's next cursor, and whether the node of the step is finished; or the error for the client.
    fn add(
        &mut self,
        step: &ScanStep,
        order: &ScanOrder,
        reply: &[u8],
    ) -> Result<(ScanCursor, bool), Vec<u8>> {
        if matches!(reply.first(), Some(b'-' | b'!')) {
            return Err(reply.to_vec());
        }
        let written = |text: &str| {
            let mut error = Vec::new();
            write::error(&mut error, text);
            error
        };
        let Some((node_cursor, found)) = parts(reply) else {
            return Err(written(
                "ERR the node's reply to SCAN is no cursor with elements",
            ));
        };
        let cursor = order.next(step, node_cursor);
        let cursor = cursor.map_err(|error| written(&format!("ERR {error}")))?;
        let run = order.run_of(step);
        for element in found.filter(|element| run.is_none_or(|run| run.has(element))) {
            self.elements.extend_from_slice(element);
            self.len += 1;
        }
        self.steps += 1;
        Ok((cursor, node_cursor == 0))
    }

    /// Appends the client's reply.
    pub fn write(&self, cursor: ScanCursor, out: &mut Vec<u8>) {
        write::array(out, 2);
        write::bulk(out, cursor.number().to_string().as_bytes());
        write::array(out, self.len);
        out.extend_from_slice(&self.elements);
    }
}

/// A node's cursor and the elements that it found.
fn parts(reply: &[u8]) -> Option<(u64, reply::Elements<'_>)> {
    let mut parts = reply::elements(reply).filter(|parts| parts.left() == 2)?;
    let cursor = std::str::from_utf8(reply::text(parts.next()?)?).ok()?;
    Some((cursor.parse().ok()?, reply::elements(parts.next()?)?))
}

impl Run {
    /// Whether an element's key is in it; the node's others are returned when their own runs are walked.
    fn has(&self, element: &[u8]) -> bool {
        let slots = self.start.number()..self.end;
        reply::text(element).is_none_or(|key| slots.contains(&Slot::of_key(key).number()))
    }
}

impl ScanStep {
    /// What its node is asked: the client's request with the node's own cursor, and for what is still missing in the
    /// client's page.
    pub fn request(&self, args: &Args<'_>, page: &ScanPage) -> Vec<u8> {
        let left = page
            .has_begun()
            .then(|| count(args).saturating_sub(page.len()).max(1));
        rewrite(args, self.node_cursor, left)
    }
}

/// The client's request as if it had come with this cursor.
pub fn with_cursor(args: &Args<'_>, cursor: ScanCursor) -> Vec<u8> {
    rewrite(args, cursor.number(), None)
}

/// How many elements a request asks for. What no server takes is refused by the first node.
pub fn count(args: &Args<'_>) -> usize {
    let count = count_at(args).and_then(|at| args.get(at));
    let count = count.and_then(parse_integer);
    count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(COUNT_DEFAULT)
}

/// Where the count stands that counts, which is the last.
fn count_at(args: &Args<'_>) -> Option<usize> {
    let is_count = |at: &usize| {
        args.get(*at)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"COUNT"))
    };
    let at = (2..args.len()).step_by(2).rfind(is_count)?;
    (at + 1 < args.len()).then_some(at + 1)
}

fn rewrite(args: &Args<'_>, cursor: u64, count: Option<usize>) -> Vec<u8> {
    let count_at = count_at(args);
    let added = match (count, count_at) {
        (Some(count), None) => Some(count),
        _ => None,
    };
    let mut out = Vec::with_capacity(args.frame().len() + 40);
    write::array(&mut out, args.len() + if added.is_some() { 2 } else { 0 });
    for (at, arg) in args.iter().enumerate() {
        match count {
            _ if at == 1 => write::bulk(&mut out, cursor.to_string().as_bytes()),
            Some(count) if Some(at) == count_at => {
                write::bulk(&mut out, count.to_string().as_bytes());
            }
            _ => write::bulk(&mut out, arg),
        }
    }
    if let Some(count) = added {
        write::bulk(&mut out, b"COUNT");
        write::bulk(&mut out, count.to_string().as_bytes());
    }
    out
}
