//! A simulated client: writes pipelines cut anywhere, reads as it likes, judges every reply.

use std::collections::VecDeque;
use std::sync::Arc;

use fastrand::Rng;
use keyway::pipeline::ClientKey;
use keyway::resp::Protocol;
use keyway::resp::reply::ReplyScanner;

use super::request::{Op, Outcome, Request};
use super::tasks::Flag;
use super::transaction::{
    Closing, Expectation, Role, draw, judge_exec, judge_queued, judge_queued_or, slot_of_tag,
};
use super::wire::{Shared, Socket, Wire};
use super::world::Life;

/// How far a client's task in Keyway is.
#[derive(Debug)]
pub enum Task {
    /// Its socket is served.
    Serving(Socket),
    /// Its socket is gone; what it asked for is still being done.
    Settling,
    /// Over.
    Left,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    pub number: u64,
    pub key: ClientKey,
    pub wire: Shared,
    pub flag: Arc<Flag>,
    pub task: Task,
    /// Everything it ever asked.
    pub requests: Vec<Request>,
    /// How many of them Keyway took on.
    pub taken: usize,
    /// Whether it heard the end, or hung up.
    pub is_deaf: bool,
    /// When it was last seen to be behind with a reply that is passed on as it takes it; nothing it asked for
    /// counts as late before.
    pub took_us: u64,
    /// It asks nothing more.
    pub is_done: bool,
    has_ended_input: bool,
    outgoing: VecDeque<u8>,
    received: Vec<u8>,
    /// The next request whose reply it waits for.
    next: usize,
    protocol: Protocol,
    is_off: bool,
    skips_next: bool,
    /// Whether its transactions are cut by slot.
    splits: bool,
    life: Life,
    /// The tag of what it watches, and the requests that said so.
    watched: Option<(char, Vec<usize>)>,
}

impl Client {
    /// One that has just connected.
    pub fn new(rng: &mut Rng, number: u64, key: ClientKey, splits: bool, life: Life) -> Client {
        let wire = Wire::new(rng);
        Client {
            number,
            key,
            task: Task::Serving(Socket(wire.clone())),
            wire,
            flag: Flag::raised(),
            requests: Vec::new(),
            taken: 0,
            is_deaf: false,
            took_us: 0,
            is_done: false,
            has_ended_input: false,
            outgoing: VecDeque::new(),
            received: Vec::new(),
            next: 0,
            protocol: Protocol::Resp2,
            is_off: false,
            skips_next: false,
            splits,
            life,
            watched: None,
        }
    }

    /// Writes a pipeline of requests, to be sent piece by piece.
    pub fn ask(&mut self, rng: &mut Rng, count: usize, tags: &[char]) {
        for _ in 0..count {
            if !self.is_off && !self.skips_next && rng.u8(..12) == 0 {
                self.ask_transaction(rng, tags);
                continue;
            }
            let id = self.next_id();
            let request = match self.is_off && rng.u8(..4) == 0 {
                true => Request::of(rng, Op::ReplyOn, id, self.protocol, tags),
                false => Request::draw(rng, id, self.protocol, tags),
            };
            let may_follow = !self.is_off && !self.skips_next;
            let is_mode = matches!(request.op, Op::ReplyOff | Op::ReplySkip | Op::Reset);
            if may_follow || !is_mode {
                self.push(rng, request);
            }
        }
    }

    fn next_id(&self) -> u64 {
        self.number * 10_000 + self.requests.len() as u64
    }

    /// Writes a piece of, or a whole transaction.
    fn ask_transaction(&mut self, rng: &mut Rng, tags: &[char]) {
        let watched = self.watched.as_ref().map(|(tag, _)| *tag);
        let tag = watched.unwrap_or(tags[rng.usize(..tags.len())]);
        match rng.u8(..8) {
            // It watches, and other requests may come in between.
            0 | 1 => {
                let request = Request::of(rng, Op::Watch, self.next_id(), self.protocol, &[tag]);
                let watches = &mut self.watched.get_or_insert_with(|| (tag, Vec::new())).1;
                watches.push(self.requests.len());
                return self.push(rng, request);
            }
            2 => {
                self.watched = None;
                return self.push_op(rng, Op::Unwatch, Role::Plain);
            }
            _ => {}
        }
        // Whether a `WATCH` succeeded, and holds its slot, is not known yet.
        let is_held = watched.is_some() && !self.splits;
        let across = rng.u8(..4) == 0 && !is_held;
        let tags = if across { tags.to_vec() } else { vec![tag] };
        let mut expectation = Expectation {
            is_split: self.splits,
            is_aborted: false,
            slot: watched.map(slot_of_tag),
            may_be_aborted: false,
            is_slot_unsure: false,
        };
        self.push_op(rng, Op::Multi, Role::Plain);
        let mut members = Vec::new();
        for _ in 0..rng.usize(..6) {
            let op = draw(rng);
            let mut request = Request::of(rng, op, self.next_id(), self.protocol, &tags);
            request.role = expectation.of(&request);
            members.push(self.requests.len());
            self.push(rng, request);
        }
        let watches = self
            .watched
            .take()
            .map_or(Vec::new(), |(_, watches)| watches);
        if rng.u8(..8) == 0 {
            return self.push_op(rng, Op::Discard, Role::Discard(members));
        }
        let closing = Closing {
            members,
            is_aborted: expectation.is_aborted,
            watches,
            is_split: self.splits,
        };
        self.push_op(rng, Op::Exec, Role::Exec(closing));
    }

    fn push_op(&mut self, rng: &mut Rng, op: Op, role: Role) {
        let request = Request::of(rng, op, self.next_id(), self.protocol, &['a']);
        self.push(rng, Request { role, ..request });
    }

    fn push(&mut self, rng: &mut Rng, mut request: Request) {
        self.protocol = request.protocol;
        match request.op {
            Op::ReplyOff => self.is_off = true,
            Op::ReplyOn => self.is_off = false,
            Op::Reset => self.watched = None,
            _ => {}
        }
        if self.life == Life::InPieces && matches!(request.op, Op::Set | Op::Append) {
            let sizes = [0, 10, 100, 300];
            // Seldom, because each byte is looked at several times: more than is passed on at once.
            let size = match rng.u16(..400) {
                0 => 200_000,
                _ => sizes[rng.usize(..sizes.len())],
            };
            request.args[2].push_str(&format!("-{}", "x".repeat(rng.usize(..=size))));
        }
        let is_skip = request.op == Op::ReplySkip;
        request.is_muted = self.is_off || self.skips_next || is_skip;
        self.skips_next = is_skip;
        self.outgoing.extend(request.bytes(rng));
        self.requests.push(request);
    }

    /// Says goodbye in one of the ways there are.
    pub fn leave(&mut self, rng: &mut Rng, tags: &[char]) {
        self.is_done = true;
        let id = self.number * 10_000 + self.requests.len() as u64;
        match rng.u8(..4) {
            0 => self.hang_up(),
            1 if !self.is_off && !self.skips_next => {
                let op = [Op::Quit, Op::Garbage][rng.usize(..2)];
                let request = Request::of(rng, op, id, self.protocol, tags);
                self.push(rng, request);
                self.outgoing.extend(b"*2\r\n$3\r\nGET\r\n$3\r\n{a}\r\n");
            }
            _ => {}
        }
    }

    /// Its machine is gone: nobody reads or writes any more.
    pub fn hang_up(&mut self) {
        self.is_done = true;
        self.is_deaf = true;
        self.outgoing.clear();
        self.wire.borrow_mut().break_off();
    }

    /// Sends up to `count` bytes; half-closes after the last.
    pub fn send(&mut self, count: usize) {
        let count = count.min(self.outgoing.len());
        let bytes: Vec<u8> = self.outgoing.drain(..count).collect();
        let mut wire = self.wire.borrow_mut();
        wire.send(&bytes);
        if self.is_done && self.outgoing.is_empty() && !self.has_ended_input {
            self.has_ended_input = true;
            wire.end();
        }
    }

    /// Whether everything it wrote was sent.
    pub fn has_sent_all(&self) -> bool {
        self.outgoing.is_empty() && (self.has_ended_input || !self.is_done)
    }

    /// Reads up to `count` bytes and judges the replies that are whole.
    pub fn read(&mut self, count: usize, now_us: u64, timeout_us: u64) -> Result<(), String> {
        let bytes = self.wire.borrow_mut().take(count);
        self.received.extend(bytes);
        while !self.received.is_empty() {
            let len = match ReplyScanner::default().scan(&self.received) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => return Err(format!("client {}: {error}", self.number)),
            };
            let reply: Vec<u8> = self.received.drain(..len).collect();
            while self
                .requests
                .get(self.next)
                .is_some_and(|next| next.is_muted)
            {
                self.next += 1;
            }
            let number = self.number;
            let complain = |what: String, request: Option<&Request>| {
                Err(format!(
                    "client {number}: reply {} to {:?}: {what}",
                    reply.escape_ascii(),
                    request.map(|request| (request.id, request.args.join(" "), request.protocol)),
                ))
            };
            let Some(request) = self.requests.get_mut(self.next) else {
                return complain("nothing was asked".to_owned(), None);
            };
            if request.taken_us.is_none() && request.op != Op::Garbage {
                return complain("it was not taken on".to_owned(), Some(request));
            }
            let age_us = now_us - request.taken_us.unwrap_or(now_us);
            let is_early = age_us < timeout_us && gives_up(&reply);
            let role = request.role.clone();
            let next = self.next;
            let judged = match &role {
                Role::Plain => request.judge(&reply).map(|outcome| vec![(next, outcome)]),
                Role::Queued(refused) => {
                    judge_queued(*refused, &reply).map(|outcome| vec![(next, outcome)])
                }
                Role::QueuedOr(refused) => {
                    judge_queued_or(refused, &reply).map(|outcome| vec![(next, outcome)])
                }
                Role::Exec(closing) => judge_exec(closing, &self.requests, &reply),
                Role::Discard(members) => request.judge(&reply).map(|_| {
                    let dropped = members.iter().map(|member| (*member, Outcome::NotExecuted));
                    dropped.collect()
                }),
            };
            match judged {
                Ok(_) if is_early => {
                    let request = self.requests.get(next);
                    return complain(format!("given up after {age_us} us"), request);
                }
                Ok(outcomes) => {
                    for (index, outcome) in outcomes {
                        self.requests[index].outcome = outcome;
                    }
                }
                Err(what) => return complain(what, self.requests.get(next)),
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Whether nothing waits to be read.
    pub fn is_read_up(&self) -> bool {
        self.wire.borrow().takeable() == 0
    }

    /// Requests that were sent or will be, and not answered.
    pub fn unanswered(&self) -> usize {
        let rest = &self.requests[self.next..];
        rest.iter().filter(|request| !request.is_muted).count()
    }
}

impl Client {
    /// Whether it waits for nothing, or for nothing it could hear.
    pub fn is_heard(&self) -> bool {
        matches!(self.task, Task::Left) || self.is_deaf || self.unanswered() == 0
    }

    /// What it waits for.
    pub fn describe(&self) -> String {
        let next = self.requests[self.next..]
            .iter()
            .find(|next| !next.is_muted);
        format!(
            "client {} ({:?}): {} of {} taken, waits for {:?}",
            self.number,
            self.key,
            self.taken,
            self.requests.len(),
            next.map(|next| (next.id, next.args.join(" "), next.taken_us))
        )
    }
}

/// Whether a reply says that there was no more time, and not that something came in between.
fn gives_up(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    let is_late = ["not executed", "was tried for", "did not answer"]
        .iter()
        .any(|words| text.contains(words));
    is_late
        && !text.contains("[of the parts")
        && !text.contains("was carried out first")
        && !text.contains("while the value was being sent")
        && !text.contains("came too slowly while others waited")
        && !text.contains("outcome unknown")
}
