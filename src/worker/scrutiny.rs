//! What makes a worker look at every client's requests: a pause (`CLIENT PAUSE`, contract: C2), and
//! clients in `MONITOR` (`monitors.rs`, contract: S7). While there is none of it, it costs one branch
//! for each request.
//!
//! A pause is the whole process'. Its truth stands in [`SharedPause`]; each worker has a copy, looks at
//! the truth again when it is told to, and has answered by the time `CLIENT PAUSE` is. Requests that
//! wait have not been taken on: their bytes stay where they are, and their time has not begun.

use std::sync::{Mutex, PoisonError};

use super::clients::Phase;
use super::core::Core;
use super::monitors::Monitors;
use super::requests::Taken;
use super::transactions::Transaction;
use crate::client::Question;
use crate::client::pause::Pause;
use crate::command::Command;
use crate::pipeline::ClientKey;
use crate::resp::{Args, with_args};
use crate::telemetry::worker_tallies::ErrorKind;

/// What a worker looks at for each request.
#[derive(Debug, Default)]
pub struct Scrutiny {
    is_on: bool,
    pause: Option<Pause>,
    /// Clients whose next request is held back.
    held_back: Vec<ClientKey>,
    /// Who is shown what passes.
    pub(super) monitors: Monitors,
}

impl Scrutiny {
    /// Whether there is anything to look at.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// When the pause ends, if there is one, in microseconds on the process' clock.
    pub fn paused_until_us(&self) -> Option<u64> {
        self.pause.map(|pause| pause.until_us)
    }

    /// To be called when a part of it changed.
    pub(super) fn settle(&mut self) {
        self.is_on = self.pause.is_some() || self.monitors.has_any();
    }
}

/// The pause of all workers.
#[derive(Debug, Default)]
pub struct SharedPause(Mutex<Option<Pause>>);

impl SharedPause {
    /// Adds a pause to the one there is.
    pub fn add(&self, pause: Pause, now_us: u64) {
        self.change(|before| match before {
            Some(before) if before.until_us > now_us => Some(before.and(pause)),
            _ => Some(pause),
        });
    }

    /// Ends it.
    pub fn end(&self) {
        self.change(|_| None);
    }

    /// The one there is; it may be over.
    pub fn get(&self) -> Option<Pause> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(Option<Pause>) -> Option<Pause>) {
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = change(*pause);
    }
}

impl Core {
    /// Decides about a request while there is something to look at.
    #[cold]
    pub(super) fn decide_under_scrutiny(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        is_in_mode: bool,
    ) -> Taken {
        if self.is_to_be_held_back(key, command, args) {
            return self.hold_back(key);
        }
        if !self.scrutiny.monitors.has_any() {
            return self.decide_as_usual(key, command, args, is_in_mode);
        }
        let refused_before = self.refusals();
        let queued = self.take_frames(key, command);
        let was_queueing = self.is_queueing(key);
        let taken = self.decide_as_usual(key, command, args, is_in_mode);
        // What was refused is not carried out, and what was queued is so only by `EXEC`.
        let is_shown = taken == Taken::Yes
            && self.refusals() == refused_before
            && !(was_queueing && self.is_queueing(key));
        if is_shown {
            // As on one server: what `EXEC` carries out, and then `EXEC`.
            for (command, frame) in &queued {
                with_args(frame, |args| self.show_to_monitors(key, command, args));
            }
            self.show_to_monitors(key, command, args);
        }
        taken
    }

    /// Errors of commands that were not carried out. `EXEC` is, also when it answers an error.
    fn refusals(&self) -> u64 {
        let errors = &self.tallies.errors;
        errors.total() - errors.value(ErrorKind::Transaction as usize)
    }

    /// Whether its next command would be queued.
    fn is_queueing(&mut self, key: ClientKey) -> bool {
        self.clients.get(key).is_some_and(|client| {
            let transaction = client.transaction.as_ref();
            client.phase != Phase::Leaving
                && transaction.is_some_and(|transaction| !transaction.is_executing())
        })
    }

    /// Copies of the commands that this `EXEC` is about; nothing for another command.
    fn take_frames(
        &mut self,
        key: ClientKey,
        command: &Command,
    ) -> Vec<(&'static Command, Vec<u8>)> {
        if !command.is_block() {
            return Vec::new();
        }
        let transaction = self
            .clients
            .get(key)
            .and_then(|client| client.transaction.as_ref());
        transaction.map_or_else(Vec::new, |transaction| {
            let commands = transaction.commands();
            commands
                .map(|(command, frame)| (command, frame.to_vec()))
                .collect()
        })
    }

    fn is_to_be_held_back(&mut self, key: ClientKey, command: &Command, args: &Args<'_>) -> bool {
        self.end_pause_in_time();
        let Some(pause) = self.scrutiny.pause else {
            return false;
        };
        let scripts = &self.scripts;
        let holds = |command: &Command, args: &Args<'_>| {
            pause.holds(command, args, |sha| scripts.body(sha))
        };
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        // As on one server, those who monitor are not paused.
        if client.is_monitor() {
            return false;
        }
        // `EXEC` waits if anything waits that it would carry out.
        let holds_queued = |transaction: &Transaction| {
            transaction.commands().any(|(command, frame)| {
                with_args(frame, |args| holds(command, args)).unwrap_or(false)
            })
        };
        holds(command, args)
            || (command.is_block() && client.transaction.as_deref().is_some_and(holds_queued))
    }

    pub(super) fn hold_back(&mut self, key: ClientKey) -> Taken {
        if let Some(client) = self.clients.get(key)
            && !client.is_held_back
        {
            client.is_held_back = true;
            self.tallies.held_back_clients.add(1);
            self.scrutiny.held_back.push(key);
        }
        Taken::NotYet
    }

    /// Begins or ends the pause, if that is what is asked: for the process, and here at once, because
    /// the next request of the client may stand right behind.
    pub(super) fn change_pause(&mut self, question: &Question) {
        match question {
            Question::Pause(pause) => self.local.pause.add(*pause, self.now_us),
            Question::Unpause => self.local.pause.end(),
            _ => return,
        }
        self.take_over_pause();
    }

    /// Takes over the pause of the process.
    pub(super) fn take_over_pause(&mut self) {
        self.scrutiny.pause = self.local.pause.get();
        self.scrutiny.settle();
        self.end_pause_in_time();
        if self.scrutiny.pause.is_none() {
            self.release_held_back();
        }
        if let Some(waker) = &self.tick_waker {
            waker.wake_by_ref();
        }
    }

    /// Lets the clients go on when the time of the pause is over.
    pub(super) fn end_pause_in_time(&mut self) {
        if self
            .scrutiny
            .pause
            .is_some_and(|pause| pause.until_us <= self.now_us)
        {
            self.scrutiny.pause = None;
            self.scrutiny.settle();
            self.release_held_back();
        }
    }

    /// Lets all try again, in the order in which they came to wait.
    fn release_held_back(&mut self) {
        for key in std::mem::take(&mut self.scrutiny.held_back) {
            self.no_longer_held_back(key);
            if let Some(client) = self.clients.get(key) {
                client.wake();
            }
        }
    }

    /// The client sent no more while its request was held back, so it is not there any more to be told:
    /// as on one server the request is dropped.
    pub(super) fn held_back_input_ended(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && client.is_held_back
        {
            client.is_stalled = false;
            client.input = Vec::new();
            client.input_start = 0;
        }
        self.no_longer_held_back(key);
    }

    /// A client leaves: nothing of it is held back, and it is shown nothing.
    pub(super) fn end_scrutiny(&mut self, key: ClientKey) {
        self.no_longer_held_back(key);
        self.monitor_ends(key);
    }

    /// Notes that a client goes on, or leaves.
    pub(super) fn no_longer_held_back(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && std::mem::take(&mut client.is_held_back)
        {
            self.tallies.held_back_clients.subtract(1);
        }
    }
}
