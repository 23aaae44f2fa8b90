//! Messages that must not overtake replies they speak of: invalidations (contract: S6).
//!
//! A message says that something in replies before it is not true any more. Those replies may be held
//! back here, because an earlier request is not answered yet. So a message is said twice then: at once,
//! for what the client was told before, and again behind every reply that had come before it. To hear
//! it twice does no harm; to hear it too early only, or too late, would.
//!
//! A message that stands for all (everything is invalid) is not said once more while no value has come to the output
//! behind it. What is held may have values in it, so behind that it is said all the same.

use std::collections::VecDeque;

use super::{Replies, Sequence, State};

/// Messages that wait behind replies.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Each with the place that it follows, in the order of places.
    waiting: VecDeque<(Sequence, Vec<u8>)>,
    bytes: usize,
}

/// When messages hold more than this, one that stands for all of them takes their place.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

impl<M> Replies<M> {
    /// Says something about replies of which any may have come before. `instead` is a message that says
    /// as much as any number of them.
    pub fn say(&mut self, message: &[u8], instead: &[u8]) {
        let last = self
            .slots
            .iter()
            .rposition(|slot| slot.has_parts || matches!(slot.state, State::Held { .. }));
        self.say_behind(last, message, instead);
    }

    /// Says something about all that was asked before, answered or not.
    pub fn say_after_all(&mut self, message: &[u8]) {
        self.say_behind(self.slots.len().checked_sub(1), message, message);
    }

    /// Says something about one reply, once, right behind it.
    pub fn say_after(&mut self, sequence: Sequence, message: &[u8], instead: &[u8]) {
        match self.offset(sequence) {
            Some(offset) if offset < self.slots.len() => {
                self.let_wait(offset, message, instead);
            }
            _ => self.say_now(message, instead),
        }
    }

    /// What is said next is about values that may have come elsewhere as well: it is said however often it was said
    /// before.
    pub fn values_come_elsewhere(&mut self) {
        self.all_said = None;
    }

    fn say_behind(&mut self, place: Option<usize>, message: &[u8], instead: &[u8]) {
        self.say_now(message, instead);
        if let Some(place) = place {
            self.let_wait(place, message, instead);
        }
    }

    fn say_now(&mut self, message: &[u8], instead: &[u8]) {
        if self.is_discarding || (message == instead && self.is_all_said()) {
            return;
        }
        self.push_message(|out| out.extend_from_slice(message));
    }

    /// Whether a message that stands for all would say nothing new: the client was told so, and no value has come to
    /// the output since then. So one flush of several nodes is told once. Otherwise notes that it is said now.
    fn is_all_said(&mut self) -> bool {
        if self.message_after_pieces().is_some() {
            // It is said behind a value of which a part is in the output.
            return false;
        }
        let is_said = self.all_said == Some(self.head);
        self.all_said = Some(self.head);
        is_said
    }

    fn let_wait(&mut self, offset: usize, message: &[u8], instead: &[u8]) {
        if self.is_discarding {
            return;
        }
        let mut behind = Sequence(self.head.0 + offset as u64);
        let messages = self.messages.get_or_insert_default();
        let mut message = message;
        if messages.bytes + message.len() > MESSAGE_BYTES_MAX {
            if let Some((last, _)) = messages.waiting.back() {
                behind = behind.max(*last);
            }
            self.held_count -= messages.waiting.len();
            messages.waiting.clear();
            messages.bytes = 0;
            message = instead;
        }
        let place = messages
            .waiting
            .partition_point(|(other, _)| *other <= behind);
        let before = place.checked_sub(1).and_then(|at| messages.waiting.get(at));
        if before.is_some_and(|(other, said)| *other == behind && said == message) {
            return;
        }
        messages.bytes += message.len();
        messages.waiting.insert(place, (behind, message.to_vec()));
        // Counted with the replies that are held, so that nothing is looked at while there are none.
        self.held_count += 1;
    }

    /// Says what waited behind replies that have left.
    pub(super) fn release_messages(&mut self) {
        let Some(messages) = &mut self.messages else {
            return;
        };
        while let Some((behind, message)) = messages.waiting.front()
            && *behind < self.head
        {
            if !self.is_discarding {
                self.out.extend_from_slice(message);
            }
            messages.bytes -= message.len();
            messages.waiting.pop_front();
            self.held_count -= 1;
        }
        if messages.waiting.is_empty() {
            self.messages = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Gather;

    fn output(replies: &Replies<()>) -> String {
        String::from_utf8_lossy(replies.output()).into_owned()
    }

    /// contract: S6
    #[test]
    fn a_message_is_behind_the_replies_that_came_before_it() {
        let mut replies = Replies::<()>::default();
        replies.say(b"!a", b"!");
        assert_eq!(output(&replies), "!a");
        let (first, second, third) = (
            replies.open(false, None),
            replies.open(false, None),
            replies.open(false, None),
        );
        replies.fill(second, b"2");
        replies.say(b"!b", b"!");
        assert_eq!(output(&replies), "!a!b");
        replies.fill(third, b"3");
        replies.fill(first, b"1");
        assert_eq!(output(&replies), "!a!b12!b3");
        assert!(replies.is_settled());
        replies.answer(false, |out| out.push(b'4'));
        assert_eq!(output(&replies), "!a!b12!b34");
    }

    /// contract: S6
    #[test]
    fn a_part_that_came_is_before_it_as_well() {
        let mut replies = Replies::<()>::default();
        let parts = replies.open(false, None);
        let next = replies.open(false, None);
        replies.gather_at(parts, Gather::new((), 2));
        replies.say(b"!a", b"!");
        replies.fill_part(parts, 0, b"x");
        replies.say(b"!b", b"!");
        replies.say(b"!b", b"!");
        replies.fill_part(parts, 1, b"y");
        // Taken out to be merged, it waits as if nothing had come.
        replies.take_gather(parts);
        replies.say(b"!c", b"!");
        replies.fill(parts, b"xy");
        replies.fill(next, b"n");
        assert_eq!(output(&replies), "!a!b!b!cxy!b!cn");
    }

    /// contract: S6
    #[test]
    fn behind_everything_and_behind_one() {
        let mut replies = Replies::<()>::default();
        replies.say_after_all(b"!");
        let (first, second) = (replies.open(false, None), replies.open(true, None));
        replies.say_after(first, b"!1", b"!");
        replies.say_after_all(b"!");
        assert_eq!(output(&replies), "!", "said already");
        replies.fill(first, b"1");
        assert_eq!(output(&replies), "!1!1");
        replies.fill(second, b"muted");
        assert_eq!(output(&replies), "!1!1!");
        replies.say_after(second, b"!2", b"!");
        assert_eq!(output(&replies), "!1!1!!2");
    }

    /// A flush of three nodes is told once; what a node read before its own is told of. contract: S6
    #[test]
    fn all_is_said_once_while_no_value_is_behind_it() {
        let mut replies = Replies::<()>::default();
        replies.say(b"!", b"!");
        replies.say(b"!k", b"!");
        replies.say(b"!", b"!");
        assert_eq!(output(&replies), "!!k");

        // The client's own flush: neither its parts nor its reply are values.
        let (flush, read) = (replies.open(false, None), replies.open(false, None));
        replies.gather_at(flush, Gather::new((), 2).telling_no_values(true));
        replies.fill_part(flush, 0, b"+");
        replies.say(b"!", b"!");
        replies.fill_part(flush, 1, b"+");
        replies.take_gather(flush);
        replies.fill(flush, b"+");
        replies.say(b"!", b"!");
        assert_eq!(output(&replies), "!!k+");

        // A value is behind it.
        replies.fill(read, b"1");
        replies.say(b"!", b"!");
        replies.say(b"!", b"!");
        assert_eq!(output(&replies), "!!k+1!");
        replies.answer(false, |out| out.push(b'2'));
        replies.say_after_all(b"!");
        assert_eq!(output(&replies), "!!k+1!2!");
        replies.values_come_elsewhere();
        replies.say(b"!", b"!");
        assert_eq!(output(&replies), "!!k+1!2!!");
    }

    /// contract: S6
    #[test]
    fn all_is_said_again_behind_values_that_are_held_or_come_in_pieces() {
        let mut replies = Replies::<()>::default();
        let (first, second) = (replies.open(false, None), replies.open(false, None));
        replies.say(b"!", b"!");
        replies.fill(second, b"2");
        replies.say(b"!", b"!");
        replies.say(b"!", b"!");
        replies.begin_passing(first, 2);
        replies.pass(first, b"1a");
        replies.say(b"!", b"!");
        replies.pass(first, b"1b");
        replies.end_passing(first);
        assert_eq!(output(&replies), "!1a1b!2!");

        // Values in the parts, also when they are taken out to be merged.
        let mut replies = Replies::<()>::default();
        let parts = replies.open(false, None);
        replies.gather_at(parts, Gather::new((), 2));
        replies.say(b"!", b"!");
        replies.fill_part(parts, 0, b"x");
        replies.say(b"!", b"!");
        replies.fill_part(parts, 1, b"y");
        replies.take_gather(parts);
        replies.say(b"!", b"!");
        replies.fill(parts, b"xy");
        assert_eq!(output(&replies), "!xy!");
        replies.say(b"!", b"!");
        assert_eq!(output(&replies), "!xy!!");
    }

    /// contract: S6, F6
    #[test]
    fn many_messages_become_one() {
        let mut replies = Replies::<()>::default();
        let (first, second) = (replies.open(false, None), replies.open(false, None));
        replies.fill(second, b"2");
        for number in 0..100_000 {
            replies.say(format!("!{number};").as_bytes(), b"!all");
        }
        let now = replies.output().len();
        replies.written(now);
        let bytes = replies
            .messages
            .as_ref()
            .map_or(0, |messages| messages.bytes);
        assert!(bytes <= MESSAGE_BYTES_MAX, "{bytes}");
        replies.fill(first, b"1");
        let rest = output(&replies);
        assert!(rest.starts_with("12!all!"), "{}", &rest[..40]);
        assert!(rest.ends_with("!99999;"), "{}", rest.len());
    }

    #[test]
    fn nobody_listens_any_more() {
        let mut replies = Replies::<()>::default();
        let first = replies.open(false, None);
        replies.say_after_all(b"!");
        replies.discard_output();
        replies.say_after_all(b"!");
        replies.fill(first, b"1");
        assert_eq!(output(&replies), "");
    }
}
