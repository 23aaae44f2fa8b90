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
    /// Its clients to be. Not bounded by itself: what waits here counts against
    /// `limits.max_clients`, see [`WorkerPort::load`]. Dropped last of all.
    pub accepted: mpsc::UnboundedReceiver<Accepted>,
    /// Serve, drain or stop.
    pub lifecycle: watch::Receiver<Lifecycle>,
    /// Its counters.
    pub tallies: Arc<WorkerTallies>,
}

/// Control's end of a worker.
pub struct WorkerPort {
    sender: mpsc::UnboundedSender<Accepted>,
    tallies: Arc<WorkerTallies>,
    /// Connections sent so far; written by the accept loop only.
    handed: Tally,
}

/// Seats and ports for `count` workers.
pub fn seats(
    count: usize,
    lifecycle: &watch::Sender<Lifecycle>,
) -> (Vec<WorkerSeat>, Vec<WorkerPort>) {
    (0..count)
        .map(|index| {
            #[expect(
                clippy::disallowed_methods,
                reason = "bounded by limits.max_clients, see WorkerPort::load"
            )]
            let (sender, accepted) = mpsc::unbounded_channel();
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
    /// Clients it has and those on their way to it. May be off by one for the moment in which the
    /// worker takes a client over.
    pub fn load(&self) -> usize {
        let taken = self.tallies.clients_total.value();
        let waiting = self.handed.value().saturating_sub(taken);
        usize::try_from(waiting + self.tallies.clients.value()).unwrap_or(usize::MAX)
    }

    /// Whether its worker still takes clients.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Hands it a connection.
    ///
    /// # Errors
    /// Gives it back when the worker has ended.
    pub fn hand_over(&self, accepted: Accepted) -> Result<(), Accepted> {
        self.sender.send(accepted).map_err(|error| error.0)?;
        self.handed.increment();
        Ok(())
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
