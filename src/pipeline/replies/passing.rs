//! Replies that come in pieces (contract: P8).
//!
//! The pieces of the oldest request's reply go straight to the output; those of a later one are held
//! until its turn. Whoever hands them in looks at [`Replies::buffered_bytes`] and stops in time. A
//! message never lands between two pieces: it waits for the end of the reply (contract: P6).

use super::{Replies, Sequence, State};

/// A longer reply counts as one of this length where its client's next replies are guessed.
const LEN_MAX: usize = 64 * 1024 * 1024;

/// A reply of which pieces have come.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// Pieces that wait for their turn; none once it has come.
    held: Vec<u8>,
    /// Messages that came meanwhile, for the end of it.
    after: Vec<u8>,
    is_over: bool,
    /// A piece of it went to the output.
    has_begun: bool,
}

impl<M> Replies<M> {
    /// From now on the reply of a place that waits for a whole one comes in pieces, of about `len` bytes
    /// in all. Returns false for any other place.
    pub fn begin_passing(&mut self, sequence: Sequence, len: usize) -> bool {
        let slot = self
            .offset(sequence)
            .and_then(|offset| self.slots.get_mut(offset));
        let Some(slot) = slot.filter(|slot| matches!(slot.state, State::Waiting)) else {
            return false;
        };
        slot.state = State::Passing(Box::default());
        slot.has_parts = true;
        self.held_count += 1;
        // As `fill`: a client whose replies are large is not asked for many at once.
        self.lengths.note(len.min(LEN_MAX));
        true
    }

    /// Takes the next piece.
    pub fn pass(&mut self, sequence: Sequence, piece: &[u8]) {
        let Some(offset) = self.offset(sequence) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(offset) else {
            return;
        };
        let State::Passing(passing) = &mut slot.state else {
            return;
        };
        if slot.is_muted || self.is_discarding {
            passing.has_begun |= offset == 0;
        } else if offset == 0 {
            passing.has_begun = true;
            self.out.extend_from_slice(piece);
        } else {
            passing.held.extend_from_slice(piece);
            self.passing_bytes += piece.len();
        }
    }

    /// That was the last piece.
    pub fn end_passing(&mut self, sequence: Sequence) {
        if let Some(passing) = self.passing(sequence) {
            passing.is_over = true;
        }
        self.release();
    }

    /// The rest of a reply will not come. Returns whether its place waits for a whole one again: none of it
    /// went to the output.
    pub fn take_back_pieces(&mut self, sequence: Sequence) -> bool {
        let Some(offset) = self.offset(sequence) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(offset) else {
            return false;
        };
        match &slot.state {
            State::Passing(passing) if !passing.has_begun && passing.after.is_empty() => {
                self.passing_bytes -= passing.held.len();
                self.held_count -= 1;
                slot.state = State::Waiting;
                slot.has_parts = false;
                true
            }
            _ => false,
        }
    }

    /// Whether a request is the oldest without its reply.
    pub fn is_next(&self, sequence: Sequence) -> bool {
        self.head == sequence && !self.slots.is_empty()
    }

    /// Whether a reply that comes in pieces may bring more, when about `window` bytes may wait. Those behind
    /// the oldest request's reply do not count for it: they wait for it. Any other one is never told to wait,
    /// because what has to come first may stand behind it.
    pub fn wants_more(&self, sequence: Sequence, window: usize) -> bool {
        !self.is_next(sequence) || self.output().len() < window
    }

    /// Whether any reply comes in pieces at the moment.
    pub fn is_passing(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| matches!(slot.state, State::Passing(_)))
    }

    /// Whether the oldest request's reply comes in pieces at the moment.
    pub fn is_first_passing(&self) -> bool {
        let first = self.slots.front();
        first.is_some_and(|slot| matches!(slot.state, State::Passing(_)))
    }

    fn passing(&mut self, sequence: Sequence) -> Option<&mut Passing> {
        let offset = self.offset(sequence)?;
        match &mut self.slots.get_mut(offset)?.state {
            State::Passing(passing) => Some(passing),
            State::Waiting | State::Held { .. } | State::Gathering(_) => None,
        }
    }

    /// Where a message goes while the oldest request's reply is in the output in part.
    pub(super) fn message_after_pieces(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.slots.front_mut()?.state {
            State::Passing(passing) if passing.has_begun => Some(&mut passing.after),
            _ => None,
        }
    }

    /// The oldest request's reply comes in pieces: those that waited for their turn go to the output, and
    /// its place leaves when it is over.
    pub(super) fn release_pieces(&mut self) {
        while let Some(slot) = self.slots.front_mut() {
            let State::Passing(passing) = &mut slot.state else {
                return;
            };
            let held = std::mem::take(&mut passing.held);
            self.passing_bytes -= held.len();
            passing.has_begun |= !held.is_empty();
            if !(slot.is_muted || self.is_discarding) {
                self.out.extend_from_slice(&held);
            }
            if !passing.is_over {
                return;
            }
            let after = std::mem::take(&mut passing.after);
            self.passing_bytes -= after.len();
            if !self.is_discarding {
                self.out.extend_from_slice(&after);
            }
            self.slots.pop_front();
            self.head.0 += 1;
            self.held_count -= 1;
            self.release_messages();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(replies: &Replies<()>) -> String {
        String::from_utf8_lossy(replies.output()).into_owned()
    }

    /// contract: P2, P8
    #[test]
    fn pieces_wait_for_their_turn() {
        let mut replies = Replies::<()>::default();
        let (first, second, third) = (
            replies.open(false, None),
            replies.open(false, None),
            replies.open(false, None),
        );
        assert!(replies.begin_passing(second, 6));
        replies.pass(second, b"2a");
        replies.fill(third, b"3");
        assert_eq!(
            (output(&replies).as_str(), replies.buffered_bytes()),
            ("", 3)
        );
        replies.fill(first, b"1");
        assert_eq!(output(&replies), "12a");
        replies.pass(second, b"2b");
        replies.fill(second, b"nothing else fills its place");
        assert_eq!(output(&replies), "12a2b");
        replies.end_passing(second);
        assert_eq!(output(&replies), "12a2b3");
        assert_eq!(replies.buffered_bytes(), 6);
        assert!(replies.is_settled());
    }

    /// contract: P6
    #[test]
    fn a_message_does_not_land_between_two_pieces() {
        let mut replies = Replies::<()>::default();
        let (first, second) = (replies.open(false, None), replies.open(false, None));
        replies.begin_passing(first, 4);
        replies.push_message(|out| out.push(b'!'));
        replies.pass(first, b"1a");
        replies.push_message(|out| out.push(b'?'));
        replies.say(b"#", b"");
        replies.pass(first, b"1b");
        replies.fill(second, b"2");
        assert_eq!(output(&replies), "!1a1b");
        replies.end_passing(first);
        assert_eq!(output(&replies), "!1a1b?##2");
        assert_eq!(replies.buffered_bytes(), 9);
    }

    #[test]
    fn what_was_not_shown_can_be_taken_back() {
        let mut replies = Replies::<()>::default();
        let (first, second) = (replies.open(false, None), replies.open(false, None));
        assert!(replies.begin_passing(second, 2));
        replies.pass(second, b"2a");
        assert!(replies.take_back_pieces(second));
        assert_eq!(replies.buffered_bytes(), 0);
        assert!(replies.begin_passing(first, 2));
        replies.pass(first, b"1");
        assert!(
            !replies.take_back_pieces(first),
            "the client saw some of it"
        );
        replies.end_passing(first);
        replies.fill(second, b"2");
        assert_eq!(output(&replies), "12");
    }

    /// contract: P7
    #[test]
    fn muted_pieces_say_nothing() {
        let mut replies = Replies::<()>::default();
        let (first, second) = (replies.open(false, None), replies.open(true, None));
        replies.begin_passing(second, 2);
        replies.pass(second, b"2a");
        replies.fill(first, b"1");
        replies.pass(second, b"2b");
        replies.end_passing(second);
        assert_eq!(output(&replies), "1");
        assert!(replies.is_settled());
    }
}
