//! What is remembered of a client that reads from replicas, so that its reads and writes keep their
//! order (contract: R13).
//!
//! A replica and its primary are asked over two connections, so nothing keeps what goes to one behind
//! what went to the other. Therefore, for one client and one slot:
//!
//! 1. While a write is unanswered, reads go to the primary, behind it on the same connection.
//! 2. While a read from a replica is unanswered, a write waits: the read must not see it.
//!
//! So a read from a replica is never in flight together with a write of its slot, and needs no place in
//! its lane. Slots are told apart only modulo [`LANES`]: a client may be careful once too often.

use std::time::Duration;

use crate::cluster::Slot;
use crate::config::ReadPolicy;
use crate::pipeline::{Mark, Replies, Sequence};

/// Slots that are told apart. There may be ten thousand such clients: it is kept small.
const LANES: usize = 16;

/// One client's state; those whose policy is the primary have none.
#[derive(Debug)]
pub struct ClientReads {
    /// Which nodes serve its reads.
    pub policy: ReadPolicy,
    read_your_writes_ms: u32,
    /// The last read from a replica, and the last write, of each lane.
    reads: [Mark; LANES],
    writes: [Mark; LANES],
    /// When a write of each lane was last answered, in milliseconds; 0 for never.
    answered_ms: [u32; LANES],
    /// The last read from a replica.
    read: Mark,
    /// The last request that may write anywhere: `EXEC`, `FLUSHALL`, a script without keys.
    barrier: Mark,
    /// Whether the reply to it has been noted.
    is_barrier_noted: bool,
}

fn lane_of(slot: Slot) -> usize {
    slot.index() % LANES
}

/// Never 0, which means never.
fn milliseconds(now_us: u64) -> u32 {
    ((now_us / 1000) as u32).max(1)
}

impl ClientReads {
    /// For a client that has asked for nothing yet.
    pub fn new(policy: ReadPolicy, read_your_writes: Duration) -> ClientReads {
        ClientReads {
            policy,
            // At most an hour (`config`).
            read_your_writes_ms: read_your_writes.as_millis() as u32,
            reads: [Mark::default(); LANES],
            writes: [Mark::default(); LANES],
            answered_ms: [0; LANES],
            read: Mark::default(),
            barrier: Mark::default(),
            is_barrier_noted: true,
        }
    }

    /// Whether the times of replies to writes have to be noted.
    pub fn wants_notes(&self) -> bool {
        self.read_your_writes_ms > 0
    }

    /// A read of this slot leaves for a replica.
    pub fn read_leaves(&mut self, slot: Slot, sequence: Sequence) {
        let mark = Mark::of(sequence);
        // One that is sent again may be older than the last.
        self.read = self.read.later(mark);
        let of_lane = &mut self.reads[lane_of(slot)];
        *of_lane = of_lane.later(mark);
    }

    /// A write to this slot leaves.
    pub fn write_leaves(&mut self, slot: Slot, sequence: Sequence) {
        self.writes[lane_of(slot)] = Mark::of(sequence);
    }

    /// A request that may write anywhere leaves.
    pub fn barrier_leaves(&mut self, sequence: Sequence) {
        self.barrier = Mark::of(sequence);
        self.is_barrier_noted = false;
    }

    /// A write was answered; `None` for one that may have written anywhere.
    pub fn write_answered(&mut self, slot: Option<Slot>, now_us: u64) {
        match slot {
            Some(slot) => self.answered_ms[lane_of(slot)] = milliseconds(now_us),
            None => self.answered_ms = [milliseconds(now_us); LANES],
        }
    }

    /// Whether a write to this slot has to wait for a read from a replica.
    pub fn holds_back_write<M>(&self, slot: Slot, replies: &Replies<M>) -> bool {
        replies.is_outstanding(self.reads[lane_of(slot)])
    }

    /// Whether a request that may write anywhere has to wait for a read from a replica.
    pub fn holds_back_barrier<M>(&self, replies: &Replies<M>) -> bool {
        replies.is_outstanding(self.read)
    }

    /// Whether a write to this slot is unanswered.
    pub fn has_unanswered_write<M>(&self, slot: Slot, replies: &Replies<M>) -> bool {
        replies.is_outstanding(self.writes[lane_of(slot)]) || replies.is_outstanding(self.barrier)
    }

    /// Whether a write to this slot was answered so short a time ago that the client wants to read it.
    /// The reply to a request that may write anywhere is not seen when it comes: it counts as of the
    /// first read after it.
    pub fn has_recent_write<M>(&mut self, slot: Slot, replies: &Replies<M>, now_us: u64) -> bool {
        if self.read_your_writes_ms == 0 {
            return false;
        }
        if !self.is_barrier_noted && !replies.is_outstanding(self.barrier) {
            self.is_barrier_noted = true;
            self.write_answered(None, now_us);
        }
        let answered_ms = self.answered_ms[lane_of(slot)];
        let age_ms = milliseconds(now_us).wrapping_sub(answered_ms);
        answered_ms != 0 && age_ms < self.read_your_writes_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("the tests use real slots")
    }

    fn client(read_your_writes_ms: u64) -> (ClientReads, Replies<()>) {
        let time = Duration::from_millis(read_your_writes_ms);
        let reads = ClientReads::new(ReadPolicy::Any, time);
        (reads, Replies::default())
    }

    #[test]
    fn it_is_small() {
        assert!(
            size_of::<ClientReads>() <= 256,
            "{}",
            size_of::<ClientReads>()
        );
    }

    /// contract: R13
    #[test]
    fn reads_and_writes_of_a_slot_are_not_in_flight_together() {
        let (mut reads, mut replies) = client(0);
        let first = replies.open(false, None);
        reads.read_leaves(slot(1), first);
        assert!(reads.holds_back_write(slot(1), &replies));
        assert!(!reads.holds_back_write(slot(2), &replies));
        assert!(reads.holds_back_barrier(&replies));
        replies.fill(first, b"+x\r\n");
        assert!(!reads.holds_back_write(slot(1), &replies));
        assert!(!reads.holds_back_barrier(&replies));

        let write = replies.open(false, Some(slot(1)));
        reads.write_leaves(slot(1), write);
        assert!(reads.has_unanswered_write(slot(1), &replies));
        assert!(!reads.has_unanswered_write(slot(2), &replies));
        replies.fill(write, b"+OK\r\n");
        assert!(!reads.has_unanswered_write(slot(1), &replies));

        let exec = replies.open(false, None);
        reads.barrier_leaves(exec);
        assert!(reads.has_unanswered_write(slot(9), &replies));
        replies.fill(exec, b"*0\r\n");
        assert!(!reads.has_unanswered_write(slot(9), &replies));
    }

    #[test]
    fn what_was_written_is_read_for_a_while() {
        let (mut reads, mut replies) = client(1000);
        let write = replies.open(false, Some(slot(1)));
        reads.write_leaves(slot(1), write);
        replies.fill(write, b"+OK\r\n");
        reads.write_answered(Some(slot(1)), 5_000_000);
        assert!(reads.has_recent_write(slot(1), &replies, 5_999_000));
        assert!(!reads.has_recent_write(slot(2), &replies, 5_999_000));
        assert!(!reads.has_recent_write(slot(1), &replies, 6_000_000));

        let exec = replies.open(false, None);
        reads.barrier_leaves(exec);
        replies.fill(exec, b"*0\r\n");
        assert!(reads.has_recent_write(slot(7), &replies, 9_000_000));
        assert!(reads.has_recent_write(slot(8), &replies, 9_999_000));
        assert!(!reads.has_recent_write(slot(7), &replies, 10_000_000));

        let (mut without, _) = client(0);
        without.write_answered(None, 5_000_000);
        assert!(!without.has_recent_write(slot(1), &replies, 5_000_001));
    }
}
