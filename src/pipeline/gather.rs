//! The parts of one request that went to several places.

use crate::cluster::Slot;

/// Partial replies, collected until the last one is there.
#[derive(Debug)]
pub struct Gather<M> {
    /// What is needed to merge the parts; not looked at here.
    pub plan: M,
    bytes: Vec<u8>,
    /// Place of each part's reply in `bytes`; `None` until it arrives.
    parts: Vec<Option<(usize, usize)>>,
    missing: usize,
    /// The lane of each part; empty when none has one.
    lanes: Vec<Slot>,
    /// More bytes are not to be held.
    bytes_max: usize,
    /// No part says anything of a key's value.
    tells_no_values: bool,
    planned_us: u64,
}

impl<M> Gather<M> {
    /// Waits for `parts` parts, at least one.
    pub fn new(plan: M, parts: usize) -> Self {
        Gather {
            plan,
            bytes: Vec::new(),
            parts: vec![None; parts],
            missing: parts,
            lanes: Vec::new(),
            bytes_max: usize::MAX,
            tells_no_values: false,
            planned_us: 0,
        }
    }

    /// Waits for one part in each of these lanes (see [`super::Replies::open`]).
    pub fn in_lanes(plan: M, lanes: Vec<Slot>) -> Self {
        let gather = Gather::new(plan, lanes.len());
        Gather { lanes, ..gather }
    }

    /// Limits the bytes it may hold; see [`Gather::is_too_large`].
    #[must_use]
    pub fn at_most(self, bytes_max: usize) -> Self {
        Gather { bytes_max, ..self }
    }

    /// Says that no part of the reply, nor the whole, is about the value of a key: it is that of a write.
    #[must_use]
    pub fn telling_no_values(self, tells_no_values: bool) -> Self {
        Gather {
            tells_no_values,
            ..self
        }
    }

    /// Notes when it was decided who is asked, which may be long after the request came.
    #[must_use]
    pub fn planned_at(self, planned_us: u64) -> Self {
        Gather { planned_us, ..self }
    }

    /// When it was decided who is asked; 0 where that was not noted.
    pub fn planned_us(&self) -> u64 {
        self.planned_us
    }

    /// Whether no message can be about it.
    pub fn tells_no_values(&self) -> bool {
        self.tells_no_values
    }

    /// Whether it holds more than it may. Found out when the part that is too much is there.
    pub fn is_too_large(&self) -> bool {
        self.bytes.len() > self.bytes_max
    }

    /// The lanes of the parts that are missing.
    pub fn missing_lanes(&self) -> impl Iterator<Item = Slot> {
        let parts = self.parts.iter().zip(&self.lanes);
        parts.filter_map(|(part, lane)| part.is_none().then_some(*lane))
    }

    /// Takes the reply of one part. A part that was answered before keeps its first reply.
    /// Returns whether all parts are there now.
    pub fn fill(&mut self, part: u32, reply: &[u8]) -> bool {
        if let Some(place @ None) = self.parts.get_mut(part as usize) {
            *place = Some((self.bytes.len(), reply.len()));
            self.bytes.extend_from_slice(reply);
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// Bytes held for parts that arrived.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The replies in the order of the parts. A part that is missing is an empty slice; once
    /// [`Gather::fill`] returned true there is none.
    pub fn replies(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.parts.iter().map(|part| match part {
            Some((start, len)) => &self.bytes[*start..start + len],
            None => &[],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_any_order_and_leave_in_theirs() {
        let mut gather = Gather::new((), 3);
        assert!(!gather.fill(2, b":3\r\n"));
        assert!(!gather.fill(0, b":1\r\n"));
        assert!(
            !gather.fill(0, b":9\r\n"),
            "a second reply to one part is ignored"
        );
        assert!(!gather.fill(7, b":9\r\n"), "an unknown part is ignored");
        assert!(gather.fill(1, b":2\r\n"));
        assert_eq!(
            gather.replies().collect::<Vec<_>>(),
            [b":1\r\n", b":2\r\n", b":3\r\n"]
        );
    }
}
