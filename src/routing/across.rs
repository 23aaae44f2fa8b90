//! A read whose keys are in several slots, computed from what each slot holds (contract: M3).
//!
//! [`Computation::plan`] says what the nodes are asked: for sets the same operation over the keys of
//! each slot, as far as it can be put together again; for sorted sets and HyperLogLogs each key by
//! itself, because one server adds scores in an order of its own. [`Computation::finish`] makes the
//! one reply of the parts. Nothing is written to the cluster.
//!
//! The reply is what one server would have given for the same contents, with two reservations: the
//! contents are read one after another, and the order of a set's elements is no promise of any
//! server.

pub mod double;
mod grisu;
mod hyperloglog;
mod numbers;
mod options;
mod part;
mod sets;
mod sorted_sets;

use crate::command::Across;
use crate::resp::{Args, Protocol, write};

use double::DoubleFormat;
use options::Options;
pub use part::Part;

/// What is computed once all parts are there.
#[derive(Debug)]
pub struct Computation {
    across: Across,
    protocol: Protocol,
    format: DoubleFormat,
    /// What the request says behind its keys; a server looks at most of it only once it has seen the
    /// keys' types, so a mistake there is told last.
    options: Result<Options, &'static str>,
}

/// The parts do not have the shape that was asked for. A server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("part {0} of the reply is not what was asked for")]
struct Misfit(usize);

/// What went wrong while computing.
#[derive(Debug)]
enum Failure {
    /// The text one server has for it.
    Refused(&'static str),
    Misfit(Misfit),
}

impl From<Misfit> for Failure {
    fn from(misfit: Misfit) -> Self {
        Failure::Misfit(misfit)
    }
}

impl Computation {
    /// Plans a request whose keys, at these positions, are in several slots.
    ///
    /// # Errors
    /// The server's text for a request that it refuses before it looks at any key.
    pub fn plan(
        across: Across,
        args: &Args<'_>,
        positions: &[usize],
        protocol: Protocol,
        format: DoubleFormat,
    ) -> Result<(Computation, Vec<Part>), &'static str> {
        let options = options::read(across, args, positions);
        if across == Across::IntersectionSize
            && let Err(text) = options
        {
            return Err(text);
        }
        let computation = Computation {
            across,
            protocol,
            format,
            options,
        };
        Ok((computation, part::parts(across, args, positions)))
    }

    /// Appends the reply that the parts make, each the whole raw reply to one of [`Part`], in their
    /// order. The first part that is an error becomes the reply (contract: M1, R6).
    pub fn finish<'a>(
        &self,
        replies: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) {
        let is_error = |reply: &&[u8]| matches!(reply.first(), Some(b'-' | b'!'));
        // A HyperLogLog that is none is as early an error as a key of another type.
        if self.across != Across::DistinctCount
            && let Some(error) = replies.clone().find(is_error)
        {
            out.extend_from_slice(error);
            return;
        }
        let start = out.len();
        match self.compute(replies, out) {
            Ok(()) => {}
            Err(Failure::Refused(text)) => {
                out.truncate(start);
                write::error(out, text);
            }
            Err(Failure::Misfit(misfit)) => {
                out.truncate(start);
                let text = format!("ERR Keyway cannot compute the reply from its parts: {misfit}");
                write::error(out, text);
            }
        }
    }

    fn compute<'a>(
        &self,
        replies: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.across == Across::DistinctCount {
            return hyperloglog::count_distinct(replies, out);
        }
        let options = self
            .options
            .as_ref()
            .map_err(|text| Failure::Refused(text))?;
        let elements = match self.across {
            Across::Union => sets::union(replies)?,
            Across::Intersection => sets::intersection(replies)?,
            Across::Difference => sets::difference(replies)?,
            Across::IntersectionSize | Across::SortedIntersectionSize => {
                let count = sets::intersection(replies)?.len();
                write::integer(out, options.limited(count));
                return Ok(());
            }
            Across::SortedUnion | Across::SortedIntersection | Across::SortedDifference => {
                let sorted = match self.across {
                    Across::SortedUnion => sorted_sets::union(replies, options)?,
                    Across::SortedIntersection => sorted_sets::intersection(replies, options)?,
                    _ => sorted_sets::difference(replies)?,
                };
                let format = options.with_scores.then_some(self.format);
                sorted_sets::write(&sorted, self.protocol, format, out);
                return Ok(());
            }
            Across::DistinctCount => Vec::new(),
        };
        write::set(out, self.protocol, elements.len());
        for element in elements {
            out.extend_from_slice(element);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
