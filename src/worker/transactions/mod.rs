//! Transactions (contract: T1, T2).
//!
//! Between `MULTI` and `EXEC` nothing leaves Keyway: each command is looked at as a server would
//! (`queue`), answered `QUEUED` and kept. `EXEC` then sends all of it in one piece, a *block*, on the
//! shared connection of the slot's node, as one request with one reply (`exec`): no private
//! connection, no round trip more than the client makes, and whoever pipelines goes on pipelining. A
//! node executes a block whole or not at all, because `EXEC` stands at its end: a block of which a node
//! has seen only a piece, or refused a piece, had no effect and is sent again as a whole (`blocks`).
//!
//! What one block cannot do is done in steps, one after another, while the client waits (`steps`): commands
//! that this Keyway answers itself, keys that are watched, and, where the configuration allows it, keys of
//! several slots and commands for all primaries.

mod blocks;
mod cut;
mod exec;
mod only_primary;
mod progress;
mod queue;
mod steps;
mod verdicts;

use crate::cluster::Slot;
use crate::command::{Command, Local, Merge, Subscription, block};

pub use progress::Exec;

/// A client between `MULTI` and the reply to its `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    queue: Queue,
    /// A command was refused: `EXEC` will be (contract: T1).
    is_aborted: bool,
    /// `EXEC` is under way in steps; the client's further requests wait.
    exec: Option<Box<Exec>>,
}

/// What was queued.
#[derive(Debug)]
struct Queue {
    commands: Vec<Queued>,
    /// The block so far: `MULTI` and the commands, as they go over the wire.
    bytes: Vec<u8>,
    /// The slot of the first key.
    slot: Option<Slot>,
    /// One block is not enough.
    is_cut: bool,
    /// A command goes to all primaries, of which there was one when it was queued.
    needs_only_primary: bool,
    /// Every command may be repeated.
    is_repeatable: bool,
    /// The client may be a subscriber when it is carried out.
    is_subscribing: bool,
}

/// One command.
#[derive(Debug)]
struct Queued {
    command: &'static Command,
    /// Where its frame ends in the queue's bytes; it starts where the one before ends.
    end: usize,
    place: Place,
}

/// Where a queued command is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the block of the slot of its keys.
    Slot(Slot),
    /// In any block.
    Anywhere,
    /// Its keys are in several slots: a part of it in the block of each (contract: M1).
    Slots(Merge),
    /// At all primaries or nodes: by itself, between blocks.
    Everywhere,
    /// At all primaries, of which there is one: in any block.
    OnlyPrimary,
    /// At this Keyway.
    Here(Local),
    /// At this Keyway: its subscriptions change.
    Subscribes(Subscription),
    /// Nowhere; its reply is this error.
    Fails(Box<[u8]>),
}

impl Transaction {
    /// How many commands are queued (`CLIENT LIST`).
    pub fn queued(&self) -> usize {
        self.queue.commands.len()
    }

    /// What is queued: each command, and its frame.
    pub fn commands(&self) -> impl Iterator<Item = (&'static Command, &[u8])> {
        let commands = self.queue.commands.iter().enumerate();
        commands.map(|(index, queued)| (queued.command, self.queue.frame(index)))
    }

    /// Whether `EXEC` is under way, and the client's next requests have to wait for it.
    pub fn is_executing(&self) -> bool {
        self.exec.is_some()
    }

    /// What it holds, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.queue.bytes.len() + self.queue.commands.len() * size_of::<Queued>()
    }

    /// A command was refused: nothing of it will be executed, so nothing more is kept.
    pub(super) fn abort(&mut self) {
        self.is_aborted = true;
        let slot = self.queue.slot;
        self.queue = Queue {
            slot,
            ..Queue::default()
        };
    }
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            commands: Vec::new(),
            bytes: block::BEGIN.to_vec(),
            slot: None,
            is_cut: false,
            needs_only_primary: false,
            is_repeatable: true,
            is_subscribing: false,
        }
    }
}

impl Queue {
    fn push(&mut self, command: &'static Command, place: Place, frame: &[u8]) {
        self.is_repeatable &= command.is_repeatable();
        self.is_subscribing |= matches!(place, Place::Subscribes(_));
        self.needs_only_primary |= place == Place::OnlyPrimary;
        match place {
            Place::Slot(slot) => self.is_cut |= *self.slot.get_or_insert(slot) != slot,
            Place::Anywhere => {}
            // One block is enough for `OnlyPrimary`, but it has no lane: nothing may overtake it.
            Place::Slots(_)
            | Place::Everywhere
            | Place::OnlyPrimary
            | Place::Here(_)
            | Place::Subscribes(_)
            | Place::Fails(_) => self.is_cut = true,
        }
        self.bytes.extend_from_slice(frame);
        self.commands.push(Queued {
            command,
            end: self.bytes.len(),
            place,
        });
    }

    /// A command as it goes over the wire.
    fn frame(&self, index: usize) -> &[u8] {
        let start = match index.checked_sub(1) {
            Some(before) => self.commands[before].end,
            None => block::BEGIN.len(),
        };
        &self.bytes[start..self.commands[index].end]
    }

    /// The whole, as one block.
    fn into_block(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(block::END);
        self.bytes
    }
}
