//! Blocking over keys of several slots, `cross_slot_blocking = "poll"` (contract: T7).
//!
//! No node can wait for keys of another, and a client that waited at two nodes might be given two elements.
//! So the keys are asked in turn, in the order given, with a request that does not block; while nothing is
//! there the rounds become rarer. At any moment at most one request may take an element, so none is lost.

use super::blocking::Call;
use super::core::Core;
use super::dispatch::WrongKeys;
use super::nodes::ConnectionKey;
use crate::command::Command;
use crate::command::block::{BEGIN, END};
use crate::command::stream_ids;
use crate::config::CrossSlotBlocking;
use crate::pipeline::Ticket;
use crate::resp::{Args, reply, with_args};
use crate::routing::Target;
use crate::routing::poll::{Step, is_nothing, steps};

/// The pause after the first round that found nothing.
const PAUSE_FIRST_US: u64 = 2_000;
/// The longest pause between rounds: how late an element may be noticed.
const PAUSE_MAX_US: u64 = 50_000;

/// The steps of one request, asked in turn.
#[derive(Debug)]
pub(super) struct Poll {
    command: &'static Command,
    steps: Vec<Step>,
    at: usize,
    pause_us: u64,
}

impl Poll {
    /// Whether all its steps were asked once and none had anything.
    pub(super) fn has_looked(&self) -> bool {
        self.pause_us > PAUSE_FIRST_US
    }

    fn step(&self) -> (Target, Vec<u8>) {
        let Some(step) = self.steps.get(self.at) else {
            return (Target::Any, Vec::new());
        };
        let ask = |args: &Args<'_>| stream_ids::ask_last_ids(self.command, args);
        let block = match with_args(&step.request, ask).flatten() {
            Some(ask) => ask,
            None => [BEGIN, &step.request, END].concat(),
        };
        (Target::Slot(step.slot), block)
    }

    /// Takes what a step said. `None` when the next one follows.
    fn take<'a>(&mut self, answer: &'a [u8]) -> Option<&'a [u8]> {
        let command = self.command;
        let Some(step) = self.steps.get_mut(self.at) else {
            return Some(answer);
        };
        let asked = with_args(&step.request, |args| {
            stream_ids::ask_last_ids(command, args)?;
            let filled = stream_ids::fill_last_ids(command, args, answer);
            // What it does not say the node complains about when the step itself is asked.
            (filled != step.request).then_some(filled)
        });
        if let Some(filled) = asked.flatten() {
            step.request = filled;
            return None;
        }
        let mut elements = reply::elements(answer)?;
        elements.next().filter(|found| !is_nothing(found))
    }
}

impl Call {
    /// A call whose steps are asked in turn.
    pub(super) fn polling(poll: Poll) -> Call {
        let (target, block) = poll.step();
        let mut call = Call::new(target, block);
        call.poll = Some(Box::new(poll));
        call
    }
}

impl Core {
    /// The steps of a request over several slots, when such are polled.
    pub(super) fn poll_of(
        &self,
        command: &'static Command,
        args: &Args<'_>,
        wrong: WrongKeys,
    ) -> Option<Poll> {
        let is_wanted = self.local.cross_slot_blocking == CrossSlotBlocking::Poll;
        if wrong != WrongKeys::SeveralSlots || !is_wanted {
            return None;
        }
        Some(Poll {
            command,
            steps: steps(command, args)?,
            at: 0,
            pause_us: PAUSE_FIRST_US,
        })
    }

    /// A call has an answer: what the client gets, or `None` when it polls and the next step follows, if
    /// there is to be one.
    pub(super) fn poll_answered<'a>(
        &mut self,
        ticket: Ticket,
        from: ConnectionKey,
        answer: &'a [u8],
    ) -> Option<&'a [u8]> {
        let now_us = self.now_us;
        let Some(call) = self.call(ticket) else {
            return Some(answer);
        };
        let Some(poll) = call.poll.as_mut().filter(|_| answer.first() == Some(&b'*')) else {
            return Some(answer);
        };
        if let Some(found) = poll.take(answer) {
            return Some(found);
        }
        poll.at += 1;
        if poll.at == poll.steps.len() {
            poll.at = 0;
            call.not_before_us = now_us + poll.pause_us;
            poll.pause_us = (poll.pause_us * 2).min(PAUSE_MAX_US);
        }
        (call.target, call.bytes) = poll.step();
        call.connection = None;
        self.release_lease(from);
        None
    }
}
