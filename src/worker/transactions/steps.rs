//! An `EXEC` that one block cannot do, in steps, while its client waits.
//!
//! 1. A client that watches keys: the block of their slot goes out first and alone, on the connection that
//!    watches. If it answers nil, that is the answer, and nothing else is done (contract: T3).
//! 2. Commands up to the next one that goes to all primaries: one block for each slot, at the same time
//!    (contract: T2). If one fails, its error is the answer, with a word on the others.
//! 3. Their replies are put in order; where a command stands that this Keyway answers itself, it takes
//!    effect now (contract: C1).
//! 4. A command for all primaries, by itself; then again from 2.
//!
//! [`Core::run_exec`] is the loop. Whatever answers a step notes in [`State`] what comes next and calls it;
//! an answer that comes while it runs is found by it, so that a thousand commands are no depth of calls.

use super::cut::{Block, Replies, Stage};
use super::progress::{Exec, State, null_array};
use super::{Place, Queue, Queued};
use crate::client::{Effect, ReplyMode};
use crate::command::{Command, Local, block_of_only_primary, block_row};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::{with_args, write};
use crate::routing::Target;
use crate::upstream::{Caching, Dispatched};
use crate::worker::blocking::{BlockedBy, Call};
use crate::worker::core::Core;
use crate::worker::finish::Finish;
use crate::worker::requests::Taken;

/// The row of a block that is sent in a step.
fn row_of(block: &Block, needs_only_primary: bool) -> &'static Command {
    match needs_only_primary {
        true => block_of_only_primary(block.is_repeatable),
        false => block_row(block.is_repeatable),
    }
}

impl Core {
    /// Whether those take more requests who get a block.
    fn has_room_for_blocks(&mut self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        let Some(transaction) = client.and_then(|client| client.transaction.as_ref()) else {
            return true;
        };
        let mut is_everywhere = false;
        let mut slots = Vec::new();
        for queued in &transaction.queue.commands {
            match &queued.place {
                Place::Slot(slot) => slots.push(*slot),
                Place::Slots(_) | Place::Everywhere | Place::OnlyPrimary => is_everywhere = true,
                Place::Anywhere | Place::Here(_) | Place::Subscribes(_) | Place::Fails(_) => {}
            }
        }
        match is_everywhere {
            true => self.has_room_everywhere(key, false),
            false => self.has_room_at(key, slots),
        }
    }

    /// `EXEC` in steps, once what the client sent before is answered.
    pub(super) fn exec_in_steps(&mut self, key: ClientKey) -> Taken {
        if !self.is_settled(key) || !self.may_route(key) || !self.has_room_for_blocks(key) {
            return Taken::NotYet;
        }
        let is_lost = self.watching_connection(key).is_none();
        let received_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let watched = client.watch.as_ref().map(|watch| watch.slot);
        let protocol = client.session.protocol;
        let state = match watched {
            // Contract T3: nobody knows whether a key was touched.
            Some(_) if is_lost => State::Over(Some(null_array(protocol))),
            _ => State::Ready,
        };
        let exec = Exec {
            // What is withheld is withheld reply by reply.
            sequence: client.replies.open(false, None),
            is_muted: client.session.next_is_muted(),
            protocol,
            received_us,
            watched,
            next: 0,
            replies: Vec::new(),
            outcomes: Vec::new(),
            state,
            is_running: false,
        };
        if let Some(transaction) = &mut client.transaction {
            transaction.exec = Some(Box::new(exec));
        }
        self.run_exec(key);
        Taken::Yes
    }

    fn exec(&mut self, key: ClientKey) -> Option<(&Queue, &mut Exec)> {
        let transaction = self.clients.get(key)?.transaction.as_deref_mut()?;
        Some((&transaction.queue, transaction.exec.as_deref_mut()?))
    }

    /// Goes on until something has to be waited for.
    fn run_exec(&mut self, key: ClientKey) {
        match self.exec(key) {
            Some((_, exec)) if !exec.is_running => exec.is_running = true,
            _ => return,
        }
        while let Some((_, exec)) = self.exec(key) {
            match std::mem::replace(&mut exec.state, State::Ready) {
                State::Ready => self.begin_step(key),
                State::Sending(stage, watched) => self.send_blocks(key, stage, watched),
                State::Merging(stage, replies) => self.merge_stage(key, stage, replies),
                State::Over(reply) => self.end_exec(key, reply),
                waiting @ (State::Watched(_)
                | State::Blocks(..)
                | State::Asking(..)
                | State::Alone) => {
                    exec.state = waiting;
                    exec.is_running = false;
                    return;
                }
            }
        }
    }

    fn begin_step(&mut self, key: ClientKey) {
        let mut splitter = std::mem::take(&mut self.splitter);
        let Some((queue, exec)) = self.exec(key) else {
            return;
        };
        let rest = queue.commands.get(exec.next..).unwrap_or_default();
        let is_alone = |queued: &&Queued| queued.place == Place::Everywhere;
        let count = rest.iter().take_while(|queued| !is_alone(queued)).count();
        let watched = exec.watched.take();
        exec.state = match (watched, count) {
            (None, 0) if rest.is_empty() => State::Over(None),
            (None, 0) => State::Alone,
            (watched, count) => {
                let commands = exec.next..exec.next + count;
                let stage = Stage::cut(queue, commands, watched, &mut splitter);
                match watched {
                    Some(_) => State::Watched(stage),
                    None => State::Sending(stage, None),
                }
            }
        };
        let (is_watched, is_alone) = (
            matches!(exec.state, State::Watched(_)),
            matches!(exec.state, State::Alone),
        );
        self.splitter = splitter;
        if is_watched {
            self.send_watched(key);
        } else if is_alone {
            self.send_alone(key);
        }
    }

    /// Sends the first block of a stage on the connection that watches.
    fn send_watched(&mut self, key: ClientKey) {
        let Some((queue, exec)) = self.exec(key) else {
            return;
        };
        let needs_only_primary = queue.needs_only_primary;
        let (sequence, protocol) = (exec.sequence, exec.protocol);
        let State::Watched(stage) = &mut exec.state else {
            return;
        };
        let Some(block) = stage.blocks.first_mut() else {
            return;
        };
        let (slot, row) = (block.slot, row_of(block, needs_only_primary));
        let bytes = std::mem::take(&mut block.bytes);
        let call = Call::new(self.block_target(key, slot), bytes);
        self.watch_in(key, protocol);
        self.gather_at(key, sequence, Gather::new(Finish::Blocks, 1));
        self.block_at(key, sequence, BlockedBy::Exec, row, None, vec![call]);
    }

    /// Sends the blocks of a stage; the first one went out before when its reply is there.
    fn send_blocks(&mut self, key: ClientKey, mut stage: Stage, watched: Option<Vec<u8>>) {
        let Some((queue, exec)) = self.exec(key) else {
            return;
        };
        let is_sent = usize::from(watched.is_some());
        let mut blocks = Vec::new();
        for block in stage.blocks.iter_mut().skip(is_sent) {
            let bytes = std::mem::take(&mut block.bytes);
            let row = row_of(block, queue.needs_only_primary);
            blocks.push((block.slot, row, bytes, block.commands));
        }
        let (sequence, protocol, received_us) = (exec.sequence, exec.protocol, exec.received_us);
        exec.state = State::Blocks(stage, watched);
        if blocks.is_empty() {
            return self.note_blocks(key, &[]);
        }
        self.gather_at(key, sequence, Gather::new(Finish::Blocks, blocks.len()));
        for (part, (slot, command, bytes, commands)) in blocks.into_iter().enumerate() {
            let ticket = Ticket {
                client: key,
                sequence,
                part: part as u32,
            };
            let dispatched = Dispatched {
                ticket,
                command,
                target: self.block_target(key, slot),
                // The client has nothing else on its way that could overtake.
                lane: None,
                protocol,
                received_us,
                attempts: 0,
                is_noted: false,
                may_be_done: false,
                caching: self.caching_of(key),
            };
            self.send_or_park_block(dispatched, bytes, commands);
        }
    }

    /// Sends a command that goes to all primaries.
    fn send_alone(&mut self, key: ClientKey) {
        let Some((queue, exec)) = self.exec(key) else {
            return;
        };
        let Some(queued) = queue.commands.get(exec.next) else {
            return;
        };
        let frame = queue.frame(exec.next).to_vec();
        let ticket = Ticket {
            client: key,
            sequence: exec.sequence,
            part: 0,
        };
        let dispatched = Dispatched {
            ticket,
            command: queued.command,
            target: Target::Any,
            lane: None,
            protocol: exec.protocol,
            received_us: exec.received_us,
            attempts: 0,
            is_noted: false,
            may_be_done: false,
            // Nothing that goes to all primaries reads keys by name.
            caching: Caching::Unsaid,
        };
        with_args(&frame, |args| self.spread(dispatched, args));
    }

    /// All blocks that were sent have their reply.
    pub(in crate::worker) fn blocks_answered(&mut self, key: ClientKey, replies: &[&[u8]]) {
        self.note_blocks(key, replies);
        self.run_exec(key);
    }

    fn note_blocks(&mut self, key: ClientKey, replies: &[&[u8]]) {
        let mut splitter = std::mem::take(&mut self.splitter);
        if let Some((queue, exec)) = self.exec(key) {
            exec.note_blocks(queue, replies, &mut splitter);
        }
        self.splitter = splitter;
    }

    /// Puts replies in order, as far as they are there.
    fn merge_stage(&mut self, key: ClientKey, stage: Stage, replies: Replies) {
        while let Some((queue, exec)) = self.exec(key) {
            let index = exec.next;
            if index >= stage.commands.end {
                exec.state = State::Ready;
                return;
            }
            let mut own = Vec::new();
            let reply = match &queue.commands[index].place {
                Place::Here(local) => {
                    let (local, frame) = (*local, queue.frame(index).to_vec());
                    match self.answer_step(key, local, &frame, &mut own) {
                        Some(()) => &own,
                        None => {
                            if let Some((_, exec)) = self.exec(key) {
                                exec.state = State::Asking(stage, replies);
                            }
                            return;
                        }
                    }
                }
                Place::Subscribes(subscription) => {
                    let (subscription, frame) = (*subscription, queue.frame(index).to_vec());
                    let sequence = exec.sequence;
                    exec.state = State::Asking(stage, replies);
                    let reply = with_args(&frame, |args| {
                        self.subscribe_in_exec(key, sequence, subscription, args)
                    });
                    if let Some(reply) = reply.flatten() {
                        self.step_answered(key, &reply);
                    }
                    return;
                }
                Place::Fails(text) => {
                    write::error(&mut own, text);
                    &own
                }
                _ => replies.get(index - stage.commands.start),
            };
            self.take_reply(key, reply);
        }
    }

    /// Answers a command here; `None` when other workers have to be asked first.
    fn answer_step(
        &mut self,
        key: ClientKey,
        local: Local,
        frame: &[u8],
        reply: &mut Vec<u8>,
    ) -> Option<()> {
        match with_args(frame, |args| self.answer_here(key, local, args, reply))? {
            Effect::Ask(question) => {
                let (_, exec) = self.exec(key)?;
                let sequence = exec.sequence;
                self.ask_workers(key, sequence, question);
                None
            }
            effect => {
                self.take_effect(key, &effect);
                Some(())
            }
        }
    }

    /// The next command has its reply.
    fn take_reply(&mut self, key: ClientKey, reply: &[u8]) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        // Contract P7: as on a server, what `CLIENT REPLY` withholds is missing inside `EXEC`'s array.
        let is_withheld = client.session.reply_mode() == ReplyMode::Off;
        if let Some((queue, exec)) = self.exec(key) {
            let command = queue.commands.get(exec.next);
            exec.next += 1;
            // Confirmations of subscriptions are pushes, which nothing withholds.
            let is_push = command
                .is_some_and(|command| matches!(command.place, Place::Subscribes(_)))
                && !reply.starts_with(b"-");
            if is_push || !is_withheld {
                exec.replies.extend_from_slice(reply);
            }
        }
    }

    /// Whether a reply with this ticket is that of one command of an `EXEC` in steps.
    pub(in crate::worker) fn is_step(&mut self, ticket: Ticket) -> bool {
        let Some((_, exec)) = self.exec(ticket.client) else {
            return false;
        };
        exec.sequence == ticket.sequence
            && matches!(exec.state, State::Asking(..) | State::Alone)
            && self
                .clients
                .get(ticket.client)
                .is_some_and(|client| !client.replies.is_gathering(ticket.sequence))
    }

    /// A command that went to all primaries or workers has its reply.
    pub(super) fn step_answered(&mut self, key: ClientKey, reply: &[u8]) {
        self.take_reply(key, reply);
        if let Some((_, exec)) = self.exec(key) {
            exec.state = match std::mem::replace(&mut exec.state, State::Ready) {
                State::Asking(stage, replies) => State::Merging(stage, replies),
                _ => State::Ready,
            };
        }
        self.run_exec(key);
    }

    /// Answers `EXEC`; the client's next requests are looked at again.
    fn end_exec(&mut self, key: ClientKey, reply: Option<Vec<u8>>) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(transaction) = client.transaction.take() else {
            return;
        };
        self.forget_caching(key);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let count = transaction.queue.commands.len();
        let Some(exec) = transaction.exec else {
            return;
        };
        if client.session.reply_mode() == ReplyMode::SkipTwo {
            // A `SKIP` inside withholds the reply to the next request.
            client.session.next_is_muted();
        }
        let mut out = Vec::new();
        match reply {
            Some(reply) if !exec.is_muted => out = reply,
            Some(_) => {}
            None => {
                if !exec.is_muted {
                    write::array(&mut out, count);
                }
                out.extend_from_slice(&exec.replies);
            }
        }
        let ticket = Ticket {
            client: key,
            sequence: exec.sequence,
            part: 0,
        };
        let took_us = self.now_us.saturating_sub(exec.received_us);
        self.tallies.latency.record(took_us);
        self.end_watch(key);
        self.reply(ticket, &out);
    }
}
