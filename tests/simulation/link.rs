//! A connection from Keyway to a simulated node: what is on its way, and how it ends.

use std::sync::Arc;

use fastrand::Rng;
use keyway::resp::Protocol;
use keyway::upstream::Role;
use keyway::worker::nodes::ConnectionKey;

use super::node::{Done, Node, Session};
use super::received::next_request;
use super::request::token;
use super::tasks::Flag;
use super::wire::{Shared, Socket, Wire};

/// How far Keyway's task for it is.
#[derive(Debug)]
pub enum Task {
    /// Being dialled, since this time in microseconds.
    Dialling(u64),
    /// In use.
    Serving(Socket),
    /// Keyway gave it up; the node may still find requests in it.
    Orphan,
    /// Nobody has it.
    Over,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    pub key: ConnectionKey,
    pub node: usize,
    pub wire: Shared,
    pub flag: Arc<Flag>,
    pub task: Task,
    session: Session,
    /// The node has closed its end.
    is_cut: bool,
    /// What Keyway wrote, up to the last whole request.
    tracked: Vec<u8>,
    /// The numbers in a block that is not whole yet.
    tracked_block: Option<Vec<u64>>,
}

impl Link {
    /// One that is being dialled.
    pub fn new(
        rng: &mut Rng,
        key: ConnectionKey,
        node: usize,
        protocol: Protocol,
        role: Role,
        now_us: u64,
    ) -> Link {
        let session = Session {
            protocol,
            is_read_only: role == Role::Read,
            ..Session::default()
        };
        Link {
            key,
            node,
            wire: Wire::new(rng),
            flag: Flag::raised(),
            task: Task::Dialling(now_us),
            session,
            is_cut: false,
            tracked: Vec::new(),
            tracked_block: None,
        }
    }

    /// The numbers of the requests that Keyway finished writing.
    pub fn track(&mut self) -> Vec<u64> {
        self.tracked.extend(self.wire.borrow_mut().take_written());
        let mut ids = Vec::new();
        while !self.tracked.is_empty() {
            let Some(args) = next_request(&mut self.tracked) else {
                break;
            };
            let id = args[1..].iter().find_map(|arg| token(arg));
            // Without its `EXEC` a block has no effect.
            match (&*args[0], &mut self.tracked_block) {
                (b"MULTI", block) => *block = Some(Vec::new()),
                (b"EXEC", block) => ids.extend(block.take().unwrap_or_default()),
                (_, Some(block)) => block.extend(id),
                (_, None) => ids.extend(id),
            }
        }
        ids
    }

    /// Whether the node has something to do here.
    pub fn has_work(&self) -> bool {
        let is_open = !matches!(self.task, Task::Dialling(_) | Task::Over);
        is_open
            && !self.is_cut
            && (self.wire.borrow().takeable() > 0
                || !self.session.input.is_empty()
                || !self.session.output.is_empty())
    }

    /// The node reads some bytes, carries out some requests, sends some bytes.
    pub fn work(
        &mut self,
        rng: &mut Rng,
        node: &mut Node,
        serial: &mut u64,
        most: usize,
    ) -> Vec<Done> {
        if self.is_cut {
            return Vec::new();
        }
        let bytes = self.wire.borrow_mut().take(rng.usize(0..=most));
        self.session.input.extend(bytes);
        let mut all = Vec::new();
        for _ in 0..rng.usize(0..=most) {
            if self.session.input.is_empty() {
                break;
            }
            let Some(args) = self.session.next_request() else {
                break;
            };
            all.push(node.execute(rng, &mut self.session, &args, serial));
        }
        self.flush(rng.usize(0..=most));
        let is_left = matches!(self.task, Task::Orphan) && self.wire.borrow().takeable() == 0;
        if is_left && !self.session.has_request() {
            self.is_cut = true;
        }
        all
    }

    fn flush(&mut self, count: usize) {
        let count = count.min(self.session.output.len());
        let bytes: Vec<u8> = self.session.output.drain(..count).collect();
        self.wire.borrow_mut().send(&bytes);
    }

    /// The connection ends now: at once, or in good order after what the node has sent.
    pub fn end(&mut self, rng: &mut Rng) {
        if rng.bool() {
            let count = rng.usize(0..=self.session.output.len());
            self.flush(count);
            self.wire.borrow_mut().end();
        } else {
            self.wire.borrow_mut().break_off();
        }
        // What is still in the wire is read by nobody.
        self.is_cut = true;
    }
}
