//! The boundary between the control thread and the workers: channels, and nothing else.
//!
//! A worker gets a [`WorkerSeat`]; control keeps the matching [`WorkerPort`]. The worker follows the
//! lifecycle by itself and drops its seat's receiver last of all: that is how control learns that a
//! worker has ended, in peace or not.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::net::{Accepted, Lifecycle};
use crate::telemetry::{Tally, WorkerTallies};

/// What a worker is given.
pub struct WorkerSeat {
    /// Its number, from 0.
    pub index: usize,
    /// Its clients to be. Dropped last of all.
    pub accepted: mpsc::Receiver<Accepted>,
    /// Serve, drain or stop.
    pub lifecycle: watch::Receiver<Lifecycle>,
    /// Its counters.
    pub tallies: Arc<WorkerTallies>,
}

/// Control's end of a worker.
pub struct WorkerPort {
    sender: mpsc::Sender<Accepted>,
    tallies: Arc<WorkerTallies>,
    /// Connections sent so far; written by the accept loop only.
    handed: Tally,
}

/// Seats and ports for `count` workers. A port never has to wait: as many clients as are allowed fit
/// between it and its seat, and those on their way count (see [`WorkerPort::load`]).
pub fn seats(
    count: usize,
    max_clients: usize,
    lifecycle: &watch::Sender<Lifecycle>,
) -> (Vec<WorkerSeat>, Vec<WorkerPort>) {
    (0..count)
        .map(|index| {
            let (sender, accepted) = mpsc::channel(max_clients);
            let tallies = Arc::new(WorkerTallies::default());
            let seat = WorkerSeat {
                index,
                accepted,
                lifecycle: lifecycle.subscribe(),
                tallies: Arc::clone(&tallies),
            };
            let port = WorkerPort {
                sender,
                tallies,
                handed: Tally::default(),
            };
            (seat, port)
        })
        .unzip()
}

impl WorkerPort {
    /// Clients it has, connections that are about to be clients, and those on their way to it. May be off by one for the moment in which the
    /// worker takes a client over.
    pub fn load(&self) -> usize {
        let taken = self.tallies.clients_total.value();
        let waiting = self.handed.value().saturating_sub(taken);
        let there = self.tallies.clients.value() + self.tallies.arriving.value();
        usize::try_from(waiting + there).unwrap_or(usize::MAX)
    }

    /// Whether its worker still takes clients.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Hands it a connection. False when its worker has ended; the connection is closed then.
    pub fn hand_over(&self, accepted: Accepted) -> bool {
        // Nor can it be full while fewer clients than allowed are there.
        let is_handed = self.sender.try_send(accepted).is_ok();
        if is_handed {
            self.handed.increment();
        }
        is_handed
    }

    /// Waits until its worker has ended.
    pub async fn ended(&self) {
        self.sender.closed().await;
    }

    /// Its counters.
    pub fn tallies(&self) -> &Arc<WorkerTallies> {
        &self.tallies
    }
}
