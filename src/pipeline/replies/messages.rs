//! Messages that must not overtake replies they speak of: invalidations (contract: S6).
//!
//! A message says that something in replies before it is not true any more. Those replies may be held
//! back here, because an earlier request is not answered yet. So a message is said twice then: at once,
//! for what the client was told before, and again behind every reply that had come before it. To hear
//! it twice does no harm; to hear it too early only, or too late, would.

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
            _ => self.say_now(message),
        }
    }

    fn say_behind(&mut self, place: Option<usize>, message: &[u8], instead: &[u8]) {
        self.say_now(message);
        if let Some(place) = place {
            self.let_wait(place, message, instead);
        }
    }

    fn say_now(&mut self, message: &[u8]) {
        if !self.is_discarding {
            self.push_message(|out| out.extend_from_slice(message));
        }
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
        assert_eq!(output(&replies), "!!");
        replies.fill(first, b"1");
        assert_eq!(output(&replies), "!!1!1");
        replies.fill(second, b"muted");
        assert_eq!(output(&replies), "!!1!1!");
        replies.say_after(second, b"!2", b"!");
        assert_eq!(output(&replies), "!!1!1!!2");
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
