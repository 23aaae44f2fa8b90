//! Remembering a request in four bytes.

use super::Sequence;

/// One request of a client, or none; asked later whether that request is still without its reply. Two
/// requests that are 2^32 apart are not told apart: the answer is then a yes too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u32);

impl Mark {
    /// Remembers this request.
    pub fn of(sequence: Sequence) -> Mark {
        Mark((sequence.0 as u32).wrapping_add(1))
    }

    /// The later of two requests that are not far apart.
    pub fn later(self, other: Mark) -> Mark {
        let is_later = self.0 != 0 && (self.0.wrapping_sub(other.0) as i32) > 0;
        if is_later || other.0 == 0 {
            self
        } else {
            other
        }
    }

    /// Whether it is among the `pending` requests from `head` on.
    pub fn is_among(self, head: Sequence, pending: usize) -> bool {
        self.0 != 0 && (self.0.wrapping_sub(1).wrapping_sub(head.0 as u32) as usize) < pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_forgotten_with_its_reply() {
        let check = |marked: u64, head: u64, pending: usize, expected: bool| {
            let mark = Mark::of(Sequence(marked));
            let is_among = mark.is_among(Sequence(head), pending);
            assert_eq!(is_among, expected, "{marked} {head} {pending}");
        };
        check(0, 0, 1, true);
        check(0, 0, 0, false);
        check(0, 1, 5, false);
        check(5, 3, 3, true);
        check(5, 3, 2, false);
        let far = u64::from(u32::MAX) + 7;
        check(far, far - 2, 3, true);
        check(far, far + 1, 3, false);
        let (one, other) = (Mark::of(Sequence(far)), Mark::of(Sequence(far + 1)));
        assert_eq!(one.later(other), other);
        assert_eq!(other.later(one), other);
        assert_eq!(one.later(Mark::default()), one);
        assert_eq!(Mark::default().later(one), one);
        assert!(!Mark::default().is_among(Sequence(0), 1000));
    }
}
