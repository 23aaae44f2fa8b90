//! How far an `EXEC` in steps is, and what nodes' replies to its blocks mean for it.

use super::Queue;
use super::cut::{Replies, Stage};
use super::verdicts::{Outcome, Outcomes, explain, outcome_of};
use crate::cluster::Slot;
use crate::pipeline::Sequence;
use crate::resp::{Protocol, write};
use crate::routing::split::Splitter;

/// How far an `EXEC` is.
#[derive(Debug)]
pub struct Exec {
    pub(super) sequence: Sequence,
    /// Its own reply is withheld (`CLIENT REPLY`).
    pub(super) is_muted: bool,
    pub(super) protocol: Protocol,
    pub(super) received_us: u64,
    /// The slot whose keys are watched, until its block goes out.
    pub(super) watched: Option<Slot>,
    /// The first command without a reply.
    pub(super) next: usize,
    /// The replies so far.
    pub(super) replies: Vec<u8>,
    pub(super) outcomes: Outcomes,
    pub(super) state: State,
    pub(super) is_running: bool,
}

/// ```text
/// Ready --> Watched --> Sending --> Blocks --> Merging <--> Asking
///  | | \___________________^                    |
///  | \--> Alone                                 |
///  |        |   (back to Ready) <---------------/
///  v        v
/// Over
/// ```
/// Any of them may go to `Over` when a block fails.
#[derive(Debug)]
pub(super) enum State {
    /// The next command is to be looked at.
    Ready,
    /// The block of the watched slot is on its way.
    Watched(Stage),
    /// Blocks are to be sent; the reply to the watched one, if there is one, has come.
    Sending(Stage, Option<Vec<u8>>),
    /// They are on their way.
    Blocks(Stage, Option<Vec<u8>>),
    /// They were executed: their replies are put in order.
    Merging(Stage, Replies),
    /// As that, and a command that asks all workers, or waits for a subscription, is on its way.
    Asking(Stage, Replies),
    /// A command for all primaries is on its way.
    Alone,
    /// Everything is done, or this is the reply to the whole.
    Over(Option<Vec<u8>>),
}

impl Exec {
    /// Notes what nodes replied to the blocks that were sent, and what comes next.
    pub(super) fn note_blocks(
        &mut self,
        queue: &Queue,
        replies: &[&[u8]],
        splitter: &mut Splitter,
    ) {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Watched(stage) => {
                let reply = replies.first().copied().unwrap_or_default();
                self.state = match outcome_of(reply) {
                    _ if is_null(reply) => State::Over(Some(null_array(self.protocol))),
                    Outcome::Executed => State::Sending(stage, Some(reply.to_vec())),
                    Outcome::NotExecuted | Outcome::Unknown => {
                        self.failed(queue, &stage, &[reply], reply)
                    }
                };
            }
            State::Blocks(stage, watched) => {
                let watched = watched.as_deref().into_iter();
                let all: Vec<&[u8]> = watched.chain(replies.iter().copied()).collect();
                let is_failure = |reply: &&&[u8]| outcome_of(reply) != Outcome::Executed;
                self.state = match all.iter().find(is_failure) {
                    Some(error) => self.failed(queue, &stage, &all, error),
                    None => match stage.collect(queue, &all, self.protocol, splitter) {
                        Some(replies) => {
                            let slots = stage.blocks.iter().map(|block| block.slot);
                            self.outcomes
                                .extend(slots.map(|slot| (slot, Outcome::Executed)));
                            State::Merging(stage, replies)
                        }
                        None => self.failed(queue, &stage, &all, UNFIT),
                    },
                };
            }
            other => self.state = other,
        }
    }

    /// The whole fails with the error of one block.
    fn failed(&mut self, queue: &Queue, stage: &Stage, replies: &[&[u8]], error: &[u8]) -> State {
        for (index, block) in stage.blocks.iter().enumerate() {
            let outcome = replies.get(index).map(|reply| outcome_of(reply));
            self.outcomes
                .push((block.slot, outcome.unwrap_or(Outcome::NotExecuted)));
        }
        let left = queue.commands.len().saturating_sub(stage.commands.end);
        let mut reply = Vec::new();
        write::error(&mut reply, explain(error, &self.outcomes, left));
        State::Over(Some(reply))
    }
}

const UNFIT: &[u8] =
    b"-ERR outcome unknown: a node answered EXEC with another number of replies than \
there were commands";

fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"*-1") || reply.starts_with(b"_")
}

pub(super) fn null_array(protocol: Protocol) -> Vec<u8> {
    let mut reply = Vec::new();
    write::null_array(&mut reply, protocol);
    reply
}
