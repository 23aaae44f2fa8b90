//! One client's queue of replies.
//!
//! The idea: `slots[0]` is the oldest request without a reply. Its reply is appended to `out` and
//! the slot leaves; a reply for a later slot waits in `held` until all before it have left. In the
//! steady state of one node nothing is ever held, and a reply is copied once.

mod lengths;
mod messages;
mod passing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::lengths::Lengths;
use self::messages::Messages;
use self::passing::Passing;
use super::{Gather, Mark, Sequence};
use crate::cluster::Slot as Lane;

/// What became of a partial reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    /// Other parts are missing, or the place was filled before.
    Waiting,
    /// The place has its reply.
    Done,
    /// This was the last part: take the collected parts with [`Replies::take_gather`], merge them
    /// and fill the whole.
    Complete,
    /// The parts are more than may be held: take them away and fill the whole with an error.
    TooLarge,
}

#[derive(Debug)]
enum State<M> {
    /// The reply has not arrived.
    Waiting,
    /// The reply arrived before its turn and lies in `held`.
    Held { start: usize, len: usize },
    /// Parts are being collected.
    Gathering(Box<Gather<M>>),
    /// The reply comes in pieces.
    Passing(Box<Passing>),
}

#[derive(Debug)]
struct Slot<M> {
    state: State<M>,
    /// The client asked not to hear of this one (`CLIENT REPLY OFF`, contract: P7).
    is_muted: bool,
    /// A part of its reply has come that a message may be about.
    has_parts: bool,
    /// What it must not overtake, and what must not overtake it.
    lane: Option<Lane>,
}

/// The replies a client waits for, in order. `M` is what merging needs to know.
#[derive(Debug)]
pub struct Replies<M> {
    slots: VecDeque<Slot<M>>,
    /// The sequence of `slots[0]`.
    head: Sequence,
    /// Replies that came before their turn; emptied when none is left.
    held: Vec<u8>,
    /// How many those are, messages that wait behind replies and replies that come in pieces included.
    held_count: usize,
    /// Bytes that are held for replies that come in pieces.
    passing_bytes: usize,
    messages: Option<Box<Messages>>,
    /// A message that stands for all is in the output, and no value before the reply to this request is behind it.
    all_said: Option<Sequence>,
    /// Bytes in their final order, ready for the client.
    out: Vec<u8>,
    /// How much of `out` was written already.
    written: usize,
    /// Nobody reads any more.
    is_discarding: bool,
    /// How long this client's replies may be.
    lengths: Lengths,
}

impl<M> Default for Replies<M> {
    fn default() -> Self {
        Replies {
            slots: VecDeque::new(),
            head: Sequence(0),
            held: Vec::new(),
            held_count: 0,
            passing_bytes: 0,
            messages: None,
            all_said: None,
            out: Vec::new(),
            written: 0,
            is_discarding: false,
            lengths: Lengths::default(),
        }
    }
}

impl<M> Replies<M> {
    /// Opens the next place, for one reply. Requests of one lane, which is the slot of their keys,
    /// take effect in their order (contract: R13); nothing is done about it here, but the lane is
    /// remembered for [`Replies::waiting_lanes`].
    #[inline]
    pub fn open(&mut self, is_muted: bool, lane: Option<Lane>) -> Sequence {
        self.push(State::Waiting, is_muted, lane)
    }

    #[inline]
    fn push(&mut self, state: State<M>, is_muted: bool, lane: Option<Lane>) -> Sequence {
        let sequence = Sequence(self.head.0 + self.slots.len() as u64);
        self.slots.push_back(Slot {
            state,
            is_muted,
            has_parts: false,
            lane,
        });
        sequence
    }

    /// The lane of every request, or part of one, that is not answered.
    pub fn waiting_lanes(&self) -> impl Iterator<Item = Lane> {
        self.slots.iter().flat_map(|slot| {
            let (whole, parts) = match &slot.state {
                State::Waiting => (slot.lane, None),
                State::Gathering(gather) => (None, Some(gather.missing_lanes())),
                State::Held { .. } | State::Passing(_) => (None, None),
            };
            whole.into_iter().chain(parts.into_iter().flatten())
        })
    }

    /// Answers the next request at once: `write` appends its reply.
    pub fn answer(&mut self, is_muted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.slots.is_empty() {
            self.head.0 += 1;
            if !(is_muted || self.is_discarding) {
                write(&mut self.out);
            }
            return;
        }
        let start = self.held.len();
        if !is_muted {
            write(&mut self.held);
        }
        self.held_count += 1;
        self.push(
            State::Held {
                start,
                len: self.held.len() - start,
            },
            is_muted,
            None,
        );
    }

    /// Takes the reply of a place that waits. A place that is not waiting any more is left alone:
    /// whoever gave the request up has answered it (contract: F3).
    #[inline]
    pub fn fill(&mut self, sequence: Sequence, reply: &[u8]) {
        let Some(offset) = self.offset(sequence) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(offset) else {
            return;
        };
        if matches!(slot.state, State::Held { .. } | State::Passing(_)) {
            return;
        }
        self.lengths.see(reply.len());
        if offset == 0 {
            if !(slot.is_muted || self.is_discarding) {
                self.out.extend_from_slice(reply);
            }
            self.slots.pop_front();
            self.head.0 += 1;
            if self.held_count > 0 {
                self.release();
            } else if self.slots.is_empty() {
                self.shrink();
            }
        } else {
            slot.state = State::Held {
                start: self.held.len(),
                len: reply.len(),
            };
            self.held.extend_from_slice(reply);
            self.held_count += 1;
        }
    }

    /// What its replies are taken to be long before the first one came.
    pub fn guess_len(&mut self, len: usize) {
        self.lengths.guess(len);
    }

    /// How long its next replies may be.
    #[inline]
    pub fn usual_len(&self) -> usize {
        self.lengths.usual()
    }

    /// Takes the reply to a request, or to one part of it.
    #[inline]
    pub fn deliver(&mut self, sequence: Sequence, part: u32, reply: &[u8]) -> Filled {
        let slot = self
            .offset(sequence)
            .and_then(|offset| self.slots.get(offset));
        match slot.map(|slot| &slot.state) {
            Some(State::Waiting) => {
                self.fill(sequence, reply);
                Filled::Done
            }
            Some(State::Gathering(_)) => self.fill_part(sequence, part, reply),
            Some(State::Held { .. } | State::Passing(_)) | None => Filled::Waiting,
        }
    }

    /// Makes a place that waits for one reply one that collects parts.
    pub fn gather_at(&mut self, sequence: Sequence, gather: Gather<M>) {
        let slot = self
            .offset(sequence)
            .and_then(|offset| self.slots.get_mut(offset));
        if let Some(slot) = slot
            && matches!(slot.state, State::Waiting)
        {
            slot.state = State::Gathering(Box::new(gather));
        }
    }

    /// Takes the reply of one part.
    pub fn fill_part(&mut self, sequence: Sequence, part: u32, reply: &[u8]) -> Filled {
        let Some((gather, has_parts)) = self.gather(sequence) else {
            return Filled::Waiting;
        };
        // An empty part tells nothing that a message could be about.
        *has_parts |= !(reply.is_empty() || gather.tells_no_values());
        let is_complete = gather.fill(part, reply);
        if gather.is_too_large() {
            Filled::TooLarge
        } else if is_complete {
            Filled::Complete
        } else {
            Filled::Waiting
        }
    }

    fn gather(&mut self, sequence: Sequence) -> Option<(&mut Gather<M>, &mut bool)> {
        let offset = self.offset(sequence)?;
        let slot = self.slots.get_mut(offset)?;
        match &mut slot.state {
            State::Gathering(gather) => Some((gather, &mut slot.has_parts)),
            State::Waiting | State::Held { .. } | State::Passing(_) => None,
        }
    }

    /// Takes the collected parts; the place waits for the whole reply from now on.
    pub fn take_gather(&mut self, sequence: Sequence) -> Option<Box<Gather<M>>> {
        let offset = self.offset(sequence)?;
        let state = &mut self.slots.get_mut(offset)?.state;
        match std::mem::replace(state, State::Waiting) {
            State::Gathering(gather) => {
                if gather.tells_no_values() && self.all_said == Some(sequence) {
                    self.all_said = Some(Sequence(sequence.0 + 1));
                }
                Some(gather)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Whether a place still waits for its reply or for parts of it.
    pub fn is_waiting(&self, sequence: Sequence) -> bool {
        self.offset(sequence)
            .and_then(|offset| self.slots.get(offset))
            .is_some_and(|slot| !matches!(slot.state, State::Held { .. }))
    }

    /// What is needed to merge the parts that a place collects.
    pub fn gathering(&self, sequence: Sequence) -> Option<&M> {
        match &self.slots.get(self.offset(sequence)?)?.state {
            State::Gathering(gather) => Some(&gather.plan),
            State::Waiting | State::Held { .. } | State::Passing(_) => None,
        }
    }

    /// When it was decided who is asked for the parts that a place collects; 0 where that was not noted.
    pub fn planned_us(&mut self, sequence: Sequence) -> u64 {
        let gather = self.gather(sequence);
        gather.map_or(0, |(gather, _)| gather.planned_us())
    }

    /// Whether a place collects parts.
    pub fn is_gathering(&self, sequence: Sequence) -> bool {
        self.offset(sequence)
            .and_then(|offset| self.slots.get(offset))
            .is_some_and(|slot| matches!(slot.state, State::Gathering(_)))
    }

    /// Whether a place collects more than one part.
    pub fn gathers_several(&mut self, sequence: Sequence) -> bool {
        let gather = self.gather(sequence);
        gather.is_some_and(|(gather, _)| gather.replies().len() > 1)
    }

    fn offset(&self, sequence: Sequence) -> Option<usize> {
        sequence
            .0
            .checked_sub(self.head.0)
            .map(|offset| offset as usize)
    }

    /// Moves held replies whose turn has come to the output.
    fn release(&mut self) {
        loop {
            self.release_messages();
            self.release_pieces();
            let Some(Slot {
                state: State::Held { start, len },
                is_muted,
                ..
            }) = self.slots.front()
            else {
                break;
            };
            if !(*is_muted || self.is_discarding) {
                self.out.extend_from_slice(&self.held[*start..start + len]);
            }
            self.slots.pop_front();
            self.head.0 += 1;
            self.held_count -= 1;
        }
        if self.held_count == 0 {
            self.held.clear();
            if self.held.capacity() > KEPT_BYTES {
                self.held = Vec::new();
            }
        }
        if self.slots.is_empty() {
            self.shrink();
        }
    }

    /// Gives back the queue's memory after a long pipeline.
    #[inline]
    fn shrink(&mut self) {
        if self.slots.capacity() > KEPT_SLOTS {
            self.slots = VecDeque::new();
        }
    }

    /// Appends bytes that belong to no request and speak of none (pushes). Only between replies, which is wherever
    /// `out` ends, unless a reply is being passed on in pieces (contract: P6).
    pub fn push_message(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.message_after_pieces() {
            Some(after) => {
                let before = after.len();
                write(after);
                self.passing_bytes += after.len() - before;
            }
            None => write(&mut self.out),
        }
    }

    /// Whether a request is without its reply in the output.
    pub fn is_outstanding(&self, mark: Mark) -> bool {
        mark.is_among(self.head, self.slots.len())
    }

    /// The sequence that the next request will have.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.head.0 + self.slots.len() as u64)
    }

    /// Requests without a reply in the output.
    #[inline]
    pub fn pending(&self) -> usize {
        self.slots.len()
    }

    /// Whether every request has its reply in the output.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that are buffered, and those to be expected of the requests without reply.
    #[inline]
    pub fn expected_bytes(&self) -> usize {
        self.buffered_bytes() + self.slots.len() * self.lengths.usual()
    }

    /// Bytes that wait to be written, and those that wait for their turn.
    pub fn buffered_bytes(&self) -> usize {
        self.out.len() - self.written + self.held.len() + self.passing_bytes
    }

    /// What is to be written next.
    #[inline]
    pub fn output(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Notes that `count` bytes of [`Replies::output`] were written. Returns the buffer when it is
    /// empty and large, so that its owner can use it for someone else.
    #[inline]
    pub fn written(&mut self, count: usize) -> Option<Vec<u8>> {
        self.written += count;
        debug_assert!(self.written <= self.out.len());
        if self.written < self.out.len() {
            return None;
        }
        self.written = 0;
        self.out.clear();
        (self.out.capacity() > KEPT_BYTES).then(|| std::mem::take(&mut self.out))
    }

    /// Lends a buffer to a queue that has none of its own.
    #[inline]
    pub fn lend(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        if self.out.capacity() == 0 {
            self.out = buffer();
        }
    }

    /// Drops output nobody will read, now and from now on.
    pub fn discard_output(&mut self) {
        self.out = Vec::new();
        self.written = 0;
        self.is_discarding = true;
    }
}

/// A buffer up to this size stays with an idle client; small enough for ten thousand of them.
const KEPT_BYTES: usize = 256;
/// So many places stay with an idle client.
const KEPT_SLOTS: usize = 16;
