//! A batch as it is sent, and how it is known that all its replies have come.

use super::command::Command;
use super::compare::{Rule, is_message};
use super::peer::{Peer, Reply, Silence};
use super::state::{Replies, State};
use super::support::Value;

/// A batch as it is sent.
pub struct Plan {
    pub bytes: Vec<u8>,
    ending: Ending,
    /// For each reply that is expected: which command's, and how it is compared.
    pub owners: Vec<(usize, Rule)>,
    /// In RESP2 messages look like any array.
    has_messages: bool,
    /// From this reply on it is not known what is whose.
    unsure_from: Option<usize>,
}

/// How it is known that all replies have come.
enum Ending {
    /// The other side closes.
    Closed,
    /// `PING` with this argument was sent, and after it so many commands that are answered.
    Mark(Vec<u8>, usize),
    /// In a transaction each command is answered once.
    Count(usize),
}

impl Plan {
    /// These commands, and what it takes to see their end.
    pub fn new(state: &mut State, commands: &[Command], number: usize) -> Plan {
        let mark = format!("mark {number}").into_bytes();
        let ping = Command::exact(&[b"PING", &mark[..]]).wire();
        let mut plan = Plan {
            bytes: Vec::new(),
            ending: Ending::Closed,
            owners: Vec::new(),
            has_messages: state.is_subscribed(),
            unsure_from: None,
        };
        // Where the transaction that is open now began, in bytes and in replies.
        let mut opened = None;
        for (index, command) in commands.iter().enumerate() {
            let (at, before, was_open) =
                (plan.bytes.len(), plan.owners.len(), state.queue.is_some());
            plan.has_messages |= command.name().contains("SUBSCRIBE");
            plan.add(state, index, command);
            match (was_open, state.queue.is_some()) {
                (false, true) => opened = Some((at, before)),
                (_, false) => opened = None,
                (true, true) => {}
            }
            if state.is_unsure && state.queue.is_none() {
                plan.unsure_from.get_or_insert(before);
            }
        }
        let last = commands.len();
        if state.is_closed {
            return plan;
        }
        if state.must_reset() {
            plan.unsure_from = plan
                .unsure_from
                .or(state.is_unsure.then_some(plan.owners.len()));
            plan.add(state, last, &Command::exact(&["RESET"]));
        } else if state.queue.is_some() {
            // A mark inside would be queued: it stands before the MULTI.
            plan.ending = match opened {
                Some((at, before)) => {
                    plan.bytes.splice(at..at, ping);
                    Ending::Mark(mark, plan.owners.len() - before)
                }
                None => Ending::Count(plan.owners.len()),
            };
            return plan;
        } else if state.replies == Replies::Off {
            plan.add(state, last, &Command::exact(&["CLIENT", "REPLY", "ON"]));
        } else if state.replies == Replies::SkipNext {
            plan.add(state, last, &Command::exact(&["PING"]));
        }
        plan.bytes.extend(ping);
        plan.ending = Ending::Mark(mark, 0);
        plan
    }

    fn add(&mut self, state: &mut State, index: usize, command: &Command) {
        let mut rules = Vec::new();
        state.send(command, &mut rules);
        self.owners
            .extend(rules.into_iter().map(|rule| (index, rule)));
        self.bytes.extend(command.wire());
    }

    /// Whether the other side closes.
    pub fn closes(&self) -> bool {
        matches!(self.ending, Ending::Closed)
    }

    /// Which command's a reply is, if that is known, and how it is compared; so many came.
    pub fn owner(&self, index: usize, came: usize) -> (Option<usize>, &Rule) {
        let is_known = came == self.owners.len()
            || self.closes() && came < self.owners.len()
            || self.unsure_from.is_some_and(|from| index < from);
        match self.owners.get(index) {
            Some((command, rule)) if is_known => (Some(*command), rule),
            _ => (None, &Rule::Unsure),
        }
    }

    /// Whether another number came than was expected, though nothing unusual was asked for.
    pub fn is_miscounted(&self, came: usize) -> bool {
        self.unsure_from.is_none() && !self.closes() && came != self.owners.len()
    }
}

/// Reads until all replies are there.
pub fn collect(
    peer: &mut Peer,
    plan: &Plan,
    replies: &mut Vec<Reply>,
    messages: &mut Vec<Value>,
) -> Result<(), Silence> {
    let (mut mark, mut left) = match &plan.ending {
        Ending::Closed => (None, usize::MAX),
        Ending::Mark(mark, after) => (Some(&mark[..]), *after),
        Ending::Count(count) => (None, *count),
    };
    while mark.is_some() || left > 0 {
        let reply = peer.next()?;
        let is_push = matches!(reply.value, Value::Push(_));
        if is_message(&reply.value) && (is_push || plan.has_messages) {
            messages.push(reply.value);
        } else if mark.is_some_and(|mark| is_mark(&reply.value, mark)) {
            mark = None;
        } else {
            if mark.is_none() {
                left -= 1;
            }
            replies.push(reply);
        }
    }
    Ok(())
}

/// The answer to `PING mark`, in either form.
fn is_mark(value: &Value, mark: &[u8]) -> bool {
    match value {
        Value::Bulk(bytes) => bytes == mark,
        Value::Array(items) => items.len() == 2 && items[1].bytes() == Some(mark),
        _ => false,
    }
}
