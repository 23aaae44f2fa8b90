//! `MONITOR`: clients that are shown the requests of all clients of this process (contract: S7).
//!
//! A request is shown when it is taken on, in the order of its worker. Lines for monitors of other
//! workers are collected during a turn and handed over together.
//!
//! 1. A client says `MONITOR`, once its earlier requests are answered. All workers are told how many
//!    monitors its worker has now; when all have answered, it hears `OK` and is a monitor.
//! 2. From then on each worker shows it what passes. It may still ask for what is no matter of keys, as
//!    on one server.
//! 3. `RESET`, `QUIT` or its end make its worker tell the others the new number.
//!
//! What waits to be shown is bounded: a monitor that does not read is closed at the limit for those
//! who are pushed to, and all monitors of a worker are when it does not take over what others hand
//! it. Nothing is left out silently.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::warn;

use super::clients::{Client, Phase};
use super::core::Core;
use super::finish::{Finish, WorkersAnswer};
use super::local::{Asked, Seat};
use super::requests::Taken;
use crate::client::monitor::{self, Monitoring};
use crate::client::{Question, ReplyMode};
use crate::command::{Access, Command, Handling};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::Args;
use crate::telemetry::worker_tallies::ErrorKind;

/// Bytes that one worker may still have to take over from others. So much passes only when it hangs.
const HANDOVER_BYTES_MAX: usize = 32 << 20;

/// What one server says to a monitor that asks for keys.
const NO_KEYS: &str = "ERR Replica can't interact with the keyspace";

/// The monitors a worker knows of.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    /// Its own.
    own: Vec<ClientKey>,
    /// How many of its clients are on the way to become one.
    starting: usize,
    /// How many others have; only those that have any.
    known: Vec<(Seat, usize)>,
    /// Those of them that are shown what passes here.
    elsewhere: Vec<Seat>,
    /// Lines that others' monitors have to be shown.
    lines: Vec<u8>,
    /// Something was too long to be shown; the others' monitors have to know.
    has_lost: bool,
    /// The others have to be told how many there are here.
    has_news: bool,
}

/// What workers tell each other about monitors.
#[derive(Clone, Debug)]
pub enum MonitorNote {
    /// Lines to be shown.
    Lines(Arc<[u8]>),
    /// Something is not shown: it is too long, or this worker did not take lines over in time.
    Lost,
}

impl Monitors {
    /// Whether anybody is to be shown anything.
    pub(super) fn has_any(&self) -> bool {
        !self.own.is_empty() || self.has_any_elsewhere()
    }

    fn has_any_elsewhere(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// How many clients of this worker the others have to know of.
    fn count(&self) -> usize {
        self.own.len() + self.starting
    }

    /// Whether other workers have to be told something.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.has_news || self.has_lost || !self.lines.is_empty()
    }
}

/// How many bytes each worker still has to take over; shared by all.
#[derive(Debug, Default)]
pub struct Handovers(Vec<AtomicUsize>);

impl Handovers {
    /// For so many workers.
    pub fn new(workers: usize) -> Handovers {
        Handovers((0..workers).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Adds to what a worker has to take over, unless that would be too much.
    fn add(&self, worker: usize, bytes: usize) -> bool {
        let Some(waiting) = self.0.get(worker) else {
            return true;
        };
        if waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= HANDOVER_BYTES_MAX {
            return true;
        }
        waiting.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    pub(super) fn taken(&self, worker: usize, bytes: usize) {
        if let Some(waiting) = self.0.get(worker) {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Client {
    /// Whether it is shown what passes.
    pub fn is_monitor(&self) -> bool {
        self.monitoring == Monitoring::On
    }
}

impl Core {
    /// `MONITOR`.
    pub(super) fn plan_monitor(&mut self, key: ClientKey) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        // What it is shown must not come before the replies to what it asked earlier.
        if !client.is_settled() {
            return Taken::NotYet;
        }
        client.monitoring = Monitoring::Starting;
        let is_muted = client.session.next_is_muted();
        let sequence = client.replies.open(is_muted, None);
        let finish = Finish::Workers(WorkersAnswer::Monitoring);
        let workers = self.local.workers.len().max(1);
        client
            .replies
            .gather_at(sequence, Gather::new(finish, workers));
        self.scrutiny.monitors.starting += 1;
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        let question = Question::Monitors {
            count: self.scrutiny.monitors.count(),
        };
        self.questions.push(Asked {
            asker: self.seat(),
            // All have to know, because cores of its identity may be made anywhere.
            scope: None,
            ticket,
            question,
        });
        Taken::Yes
    }

    /// All workers know of a new monitor, and it has heard so.
    pub(super) fn monitor_begins(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key)
            && client.monitoring == Monitoring::Starting
        {
            client.monitoring = Monitoring::On;
            client.wake();
            self.scrutiny.monitors.starting -= 1;
            self.scrutiny.monitors.own.push(key);
            self.scrutiny.settle();
            self.tallies.monitors.add(1);
        }
    }

    /// A client is no monitor any more, if it was one.
    pub(super) fn monitor_ends(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        match std::mem::take(&mut client.monitoring) {
            Monitoring::No => return,
            Monitoring::Starting => self.scrutiny.monitors.starting -= 1,
            Monitoring::On => {
                self.scrutiny.monitors.own.retain(|own| *own != key);
                self.tallies.monitors.subtract(1);
            }
        }
        self.scrutiny.monitors.has_news = true;
        self.scrutiny.settle();
    }

    /// Decides about a request of a monitor; `None` when it is planned as any other.
    pub(super) fn decide_monitor(
        &mut self,
        key: ClientKey,
        command: &Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        if !self.clients.get(key)?.is_monitor() {
            return None;
        }
        if command.handling == Handling::Monitor {
            // Once is enough: one server does not even answer.
            let _ = self.clients.get(key)?.session.next_is_muted();
            return Some(Taken::Yes);
        }
        let is_about_keys = command.access == Access::Read || command.may_replicate();
        is_about_keys
            .then(|| self.refuse_request(key, args, ErrorKind::Refused, |_| NO_KEYS.into()))
    }

    /// Shows a request that was taken on.
    pub(super) fn show_to_monitors(&mut self, key: ClientKey, command: &Command, args: &Args<'_>) {
        if command.is_admin() {
            return;
        }
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if args.frame().len() > self.limits.subscriber_output_hard_bytes {
            // No monitor could take it; so that none misses it unawares, and nothing of the size is built.
            self.scrutiny.monitors.has_lost = true;
            return self.close_monitors();
        }
        let mut line = Vec::new();
        let wall_us = self.local.started_us + self.now_us;
        // As on one server: a `SELECT` is shown with the database that it leads to.
        let whence = (client.session.database(), &*client.session.address);
        monitor::show(command, args, whence, wall_us, &mut line);
        self.show_lines(&line);
        if self.scrutiny.monitors.has_any_elsewhere() {
            self.scrutiny.monitors.lines.extend_from_slice(&line);
        }
    }

    /// Shows whole lines to the monitors of this worker.
    fn show_lines(&mut self, lines: &[u8]) {
        let limit = self.limits.subscriber_output_hard_bytes;
        for index in (0..self.scrutiny.monitors.own.len()).rev() {
            let key = self.scrutiny.monitors.own[index];
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            if !matches!(client.phase, Phase::Open) || client.session.reply_mode() == ReplyMode::Off
            {
                continue;
            }
            client
                .replies
                .push_message(|out| out.extend_from_slice(lines));
            client.wake();
            if client.replies.buffered_bytes() > limit {
                warn!(
                    client = %client.session.address,
                    unread_bytes = client.replies.buffered_bytes(),
                    "closed a client in MONITOR that does not read what it is shown \
                     (limits.subscriber_output_hard_bytes)"
                );
                self.cut_off(key);
            }
        }
    }

    /// What is for others' monitors, each with whose they are.
    pub(super) fn take_monitor_notes(&mut self) -> Vec<(Seat, MonitorNote)> {
        let mut notes = Vec::new();
        let monitors = &mut self.scrutiny.monitors;
        let lines: Arc<[u8]> = std::mem::take(&mut monitors.lines).into();
        let is_lost = std::mem::take(&mut monitors.has_lost);
        for seat in &monitors.elsewhere {
            if is_lost || !self.local.handovers.add(seat.worker, lines.len()) {
                notes.push((*seat, MonitorNote::Lost));
            } else if !lines.is_empty() {
                notes.push((*seat, MonitorNote::Lines(Arc::clone(&lines))));
            }
        }
        notes
    }

    /// How many there are here, if the others have to be told.
    pub(super) fn take_monitor_count(&mut self) -> Option<usize> {
        let monitors = &mut self.scrutiny.monitors;
        std::mem::take(&mut monitors.has_news).then(|| monitors.count())
    }

    /// Another worker tells something about monitors.
    pub fn take_monitor_note(&mut self, note: MonitorNote) {
        match note {
            MonitorNote::Lines(lines) => {
                self.local.handovers.taken(self.index, lines.len());
                self.show_lines(&lines);
            }
            MonitorNote::Lost => self.close_monitors(),
        }
    }

    /// Everybody who has monitors, as far as it is known here.
    pub(super) fn monitors_known(&self) -> Vec<(Seat, usize)> {
        let monitors = &self.scrutiny.monitors;
        let mut known = monitors.known.clone();
        known.push((self.seat(), monitors.count()));
        known
    }

    /// What another core of the thread knows; this one has only been made.
    pub(super) fn learn_of_monitors(&mut self, known: &[(Seat, usize)]) {
        for (seat, count) in known {
            self.monitors_elsewhere(*seat, *count);
        }
    }

    /// Closes those of this worker, because they would miss something.
    fn close_monitors(&mut self) {
        let own = self.scrutiny.monitors.own.clone();
        if !own.is_empty() {
            warn!(
                worker = self.index,
                monitors = own.len(),
                "closed the clients in MONITOR: a request was too long to be shown, or this worker \
                 did not keep up with what others show them"
            );
        }
        for key in own {
            self.cut_off(key);
        }
    }

    /// Somebody has so many monitors. Those of other identities are shown nothing from here where the nodes
    /// know the users.
    pub(super) fn monitors_elsewhere(&mut self, seat: Seat, count: usize) {
        if seat == self.seat() {
            return;
        }
        let scope = self.scope();
        let monitors = &mut self.scrutiny.monitors;
        monitors.known.retain(|(other, _)| *other != seat);
        if count > 0 {
            monitors.known.push((seat, count));
        }
        let seats = monitors.known.iter().map(|(seat, _)| *seat);
        monitors.elsewhere = seats
            .filter(|seat| scope.is_none_or(|own| own == seat.home.identity))
            .collect();
        self.scrutiny.settle();
    }
}

#[cfg(test)]
#[path = "monitors_tests.rs"]
mod tests;
