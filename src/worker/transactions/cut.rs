//! A stretch of a transaction's commands becomes one block for each slot, and the blocks' replies become
//! the replies of the commands, in their order (contract: T2).

use std::collections::HashMap;
use std::ops::Range;

use super::{Place, Queue};
use crate::cluster::Slot;
use crate::command::{self, Merge, block};
use crate::resp::{Args, Protocol, with_args};
use crate::routing::merge::{InfoFacts, MergePlan, elements, merge};
use crate::routing::split::Splitter;

/// Commands that stand together, cut by slot.
#[derive(Debug)]
pub(super) struct Stage {
    /// Which commands of the transaction.
    pub(super) commands: Range<usize>,
    /// One for each slot, in the order in which the slots were first used.
    pub(super) blocks: Vec<Block>,
    homes: Vec<Home>,
}

/// What goes to one slot.
#[derive(Debug)]
pub(super) struct Block {
    /// `None` when any primary will do.
    pub(super) slot: Option<Slot>,
    /// From `MULTI` to `EXEC`. Taken when it is sent.
    pub(super) bytes: Vec<u8>,
    pub(super) commands: u32,
    pub(super) is_repeatable: bool,
}

/// Which blocks a command is in.
#[derive(Debug)]
enum Home {
    None,
    One(usize),
    /// A part of it in each of these, in the order of the slots.
    Parts(Vec<usize>),
}

/// The replies to the commands of a stage.
#[derive(Debug, Default)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    /// Where each reply ends; a command that was not in a block has an empty one.
    ends: Vec<usize>,
}

impl Replies {
    /// The reply to the command with this place in its stage.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let end = self.ends.get(index).copied().unwrap_or(0);
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
            None => 0,
        };
        self.bytes.get(start..end).unwrap_or_default()
    }
}

impl Stage {
    /// Cuts; `first` is a slot that has a block in any case, before all others.
    pub(super) fn cut(
        queue: &Queue,
        commands: Range<usize>,
        first: Option<Slot>,
        splitter: &mut Splitter,
    ) -> Stage {
        let mut cutter = Cutter::default();
        if let Some(slot) = first {
            cutter.block(Some(slot));
        }
        let mut homes = Vec::with_capacity(commands.len());
        // What has no key goes with what stands before it, or else behind it.
        let used = queue.commands[commands.clone()].iter();
        let mut slots = used.filter_map(|queued| match &queued.place {
            Place::Slot(slot) => Some(*slot),
            _ => None,
        });
        let mut near = first.or_else(|| slots.next());
        for index in commands.clone() {
            let queued = &queue.commands[index];
            let frame = queue.frame(index);
            let is_repeatable = queued.command.is_repeatable();
            homes.push(match &queued.place {
                Place::Slot(slot) => {
                    near = Some(*slot);
                    Home::One(cutter.add(near, is_repeatable, |out| out.extend_from_slice(frame)))
                }
                Place::Anywhere | Place::OnlyPrimary => {
                    Home::One(cutter.add(near, is_repeatable, |out| out.extend_from_slice(frame)))
                }
                Place::Slots(_) => {
                    let parts = split(queued.command, frame, splitter, |args, splitter, step| {
                        let parts = splitter.parts().map(|part| {
                            near = Some(part.slot);
                            cutter.add(near, is_repeatable, |out| {
                                splitter.write_part(args, part, step, out);
                            })
                        });
                        parts.collect()
                    });
                    Home::Parts(parts.unwrap_or_default())
                }
                Place::Everywhere | Place::Here(_) | Place::Subscribes(_) | Place::Fails(_) => {
                    Home::None
                }
            });
        }
        Stage {
            commands,
            blocks: cutter.finish(),
            homes,
        }
    }

    /// Puts the replies to the blocks, each a whole array, back into the order of the commands. `None`
    /// when a block's reply does not have as many elements as the block has commands.
    pub(super) fn collect(
        &self,
        queue: &Queue,
        replies: &[&[u8]],
        protocol: Protocol,
        splitter: &mut Splitter,
    ) -> Option<Replies> {
        let mut blocks = Vec::with_capacity(replies.len());
        for (reply, block) in replies.iter().zip(&self.blocks) {
            let (count, elements) = elements(reply)?;
            if count != block.commands as usize {
                return None;
            }
            blocks.push(elements);
        }
        let mut collected = Replies::default();
        for (home, index) in self.homes.iter().zip(self.commands.clone()) {
            match home {
                Home::None => {}
                Home::One(block) => {
                    let reply = blocks.get_mut(*block)?.next()?;
                    collected.bytes.extend_from_slice(reply);
                }
                Home::Parts(parts) => {
                    let mut replies = Vec::with_capacity(parts.len());
                    for block in parts {
                        replies.push(blocks.get_mut(*block)?.next()?);
                    }
                    let queued = &queue.commands[index];
                    let Place::Slots(kind) = &queued.place else {
                        return None;
                    };
                    let order = match kind {
                        Merge::ByKey => {
                            let frame = queue.frame(index);
                            let order = |_: &Args<'_>, splitter: &Splitter, _| splitter.order();
                            split(queued.command, frame, splitter, order)?
                        }
                        _ => Vec::new(),
                    };
                    let plan = MergePlan {
                        order,
                        ..MergePlan::new(*kind, protocol)
                    };
                    let replies = replies.iter().copied();
                    merge(&plan, replies, &InfoFacts::default(), &mut collected.bytes);
                }
            }
            collected.ends.push(collected.bytes.len());
        }
        Some(collected)
    }
}

/// Groups the keys of a request by slot and lends the outcome, with the distance from key to key.
fn split<R>(
    command: &command::Command,
    frame: &[u8],
    splitter: &mut Splitter,
    then: impl FnOnce(&Args<'_>, &Splitter, usize) -> R,
) -> Option<R> {
    with_args(frame, |args| {
        let positions = command::key_positions(command, args).ok()?;
        splitter.group(args, positions.iter());
        Some(then(args, splitter, command.keys.step()))
    })
    .flatten()
}

#[derive(Default)]
struct Cutter {
    blocks: Vec<Block>,
    by_slot: HashMap<Option<Slot>, usize>,
}

impl Cutter {
    /// The block of a slot.
    fn block(&mut self, slot: Option<Slot>) -> usize {
        *self.by_slot.entry(slot).or_insert_with(|| {
            self.blocks.push(Block {
                slot,
                bytes: block::BEGIN.to_vec(),
                commands: 0,
                is_repeatable: true,
            });
            self.blocks.len() - 1
        })
    }

    fn add(
        &mut self,
        slot: Option<Slot>,
        is_repeatable: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let index = self.block(slot);
        let block = &mut self.blocks[index];
        write(&mut block.bytes);
        block.commands += 1;
        block.is_repeatable &= is_repeatable;
        index
    }

    fn finish(mut self) -> Vec<Block> {
        for block in &mut self.blocks {
            block.bytes.extend_from_slice(block::END);
        }
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Handling, Lookup, lookup};
    use crate::resp::write;

    /// A transaction of these commands, placed as if `cross_slot_transactions` were "split".
    fn queue(lines: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let mut frame = Vec::new();
            write::command(&mut frame, &words);
            let (command, place) = with_args(&frame, |args| {
                let Lookup::Found(command) = lookup(args) else {
                    panic!("{line}");
                };
                let keys = command::key_positions(command, args).expect("keys");
                let mut slots: Vec<Slot> = keys
                    .iter()
                    .map(|at| Slot::of_key(args.get(at).expect("a key")))
                    .collect();
                slots.dedup();
                let place = match (command.handling, &slots[..]) {
                    (Handling::Local(local), _) => Place::Here(local),
                    (_, []) => Place::Anywhere,
                    (_, [slot]) => Place::Slot(*slot),
                    (Handling::Split(merge), _) => Place::Slots(merge),
                    _ => panic!("{line}"),
                };
                (command, place)
            })
            .expect("a request");
            queue.push(command, place, &frame);
        }
        queue
    }

    fn shown(stage: &Stage) -> Vec<String> {
        let shown = |block: &Block| {
            let text = String::from_utf8_lossy(&block.bytes);
            let words = text.split("\r\n").filter(|word| {
                !word.is_empty() && !word.starts_with('*') && !word.starts_with('$')
            });
            words.collect::<Vec<_>>().join(" ")
        };
        stage.blocks.iter().map(shown).collect()
    }

    /// contract: T2
    #[test]
    fn one_block_for_each_slot_and_the_replies_in_order() {
        let queue = queue(&[
            "TIME",
            "SET a 1",
            "CLIENT ID",
            "GET b",
            "MGET b a b",
            "DEL a b",
            "PUBLISH c m",
        ]);
        let mut splitter = Splitter::default();
        let stage = Stage::cut(&queue, 0..7, None, &mut splitter);
        assert_eq!(
            shown(&stage),
            [
                "MULTI TIME SET a 1 MGET a DEL a PUBLISH c m EXEC",
                "MULTI GET b MGET b b DEL b EXEC"
            ]
        );
        let counts: Vec<u32> = stage.blocks.iter().map(|block| block.commands).collect();
        assert_eq!(counts, [5, 3]);
        assert!(!stage.blocks[1].is_repeatable, "DEL");
        let replies: [&[u8]; 2] = [
            b"*5\r\n:9\r\n+OK\r\n*1\r\n+A\r\n:1\r\n:0\r\n",
            b"*3\r\n+B\r\n*2\r\n+B1\r\n+B2\r\n:1\r\n",
        ];
        let collected = stage
            .collect(&queue, &replies, Protocol::Resp2, &mut splitter)
            .expect("they fit");
        let expected: [&[u8]; 7] = [
            b":9\r\n",
            b"+OK\r\n",
            b"",
            b"+B\r\n",
            b"*3\r\n+B1\r\n+A\r\n+B2\r\n",
            b":2\r\n",
            b":0\r\n",
        ];
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(collected.get(index), *expected, "{index}");
        }
    }

    /// contract: T3
    #[test]
    fn a_watched_slot_has_its_block_first() {
        let queue = queue(&["GET a", "PING"]);
        let mut splitter = Splitter::default();
        let watched = Slot::of_key(b"b");
        let stage = Stage::cut(&queue, 0..1, Some(watched), &mut splitter);
        assert_eq!(shown(&stage), ["MULTI EXEC", "MULTI GET a EXEC"]);
        assert!(stage.blocks[1].is_repeatable);
        let none = Stage::cut(&queue, 0..0, None, &mut splitter);
        assert!(none.blocks.is_empty());
    }

    /// contract: F8
    #[test]
    fn replies_that_do_not_fit() {
        let queue = queue(&["GET a", "GET b"]);
        let mut splitter = Splitter::default();
        let stage = Stage::cut(&queue, 0..2, None, &mut splitter);
        for replies in [
            [&b"*1\r\n+A\r\n"[..], b"*2\r\n+A\r\n+B\r\n"],
            [b"*1\r\n+A\r\n", b"*0\r\n"],
            [b"*1\r\n+A\r\n", b"*-1\r\n"],
            [b"+OK\r\n", b"*1\r\n+A\r\n"],
            [b"", b"*1\r\n+A\r\n"],
        ] {
            let collected = stage.collect(&queue, &replies, Protocol::Resp2, &mut splitter);
            assert!(collected.is_none(), "{replies:?}");
        }
    }
}
