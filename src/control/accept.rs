//! Accepting clients: one loop on the control thread, which hands each socket to the worker with the
//! fewest clients.
//!
//! `SO_REUSEPORT` would let every worker accept for itself, but it spreads by a hash of the address,
//! and a sidecar's few long-lived connections then lie unevenly.
//!
//! A listener's rules about networks, addresses and rates are asked here ([`Entrance`]); those about an
//! address that a PROXY header tells, by the worker that reads it.
//!
//! At `limits.max_clients` a connection gets Redis' own error and is closed. When the process runs
//! out of file descriptors or memory the loop pauses: the connection that could not be taken stays in
//! the kernel's queue, so trying again at once would spin (contract: F7).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::pace::Pace;
use super::workers::WorkerPort;
use crate::net::{Accepted, Door, Entrance, Exhausted, Lifecycle, Unwelcome};
use crate::telemetry::ControlTallies;

/// What Redis says at its own limit.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
/// What is said to an address that has as many clients as one may have.
const TOO_MANY_OF_ADDRESS: &[u8] = b"-ERR max number of clients of this address reached\r\n";
/// How long accepting rests when it cannot go on: long enough to cost nothing, short enough that a
/// client which waits hardly notices.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepting counts as well again after this long without a pause; until then nothing is logged, so
/// that a process at the edge of its limits does not fill the log.
const CALM: Duration = Duration::from_secs(1);

/// How accepting goes; logged when it changes.
///
/// ```text
/// Open <--> Full
///   ^        ^
///   +-> Paused
/// ```
#[derive(Clone, Copy, Debug)]
enum State {
    /// Connections are taken. Goes to `Full` or `Paused`.
    Open,
    /// The limit of clients was reached. Goes to `Open` when an eighth of it is free (one client that
    /// comes and goes at the limit is not news), or to `Paused`.
    Full,
    /// File descriptors or memory ran out. Goes to `Open` when it has been [`CALM`], or to `Full`.
    Paused {
        /// The last time they did.
        last: Instant,
    },
}

/// Accepts until the lifecycle says otherwise; then closes the doors and returns.
pub async fn run(
    doors: Vec<Door>,
    ports: Arc<[WorkerPort]>,
    entrances: Arc<[Entrance]>,
    max_clients: usize,
    tallies: Arc<ControlTallies>,
    lifecycle: watch::Receiver<Lifecycle>,
) {
    let accepting = Accepting {
        ports: &ports,
        entrances: &entrances,
        max_clients,
        tallies: &tallies,
        state: State::Open,
        told_unwelcome: None,
    };
    // The doors close in there: before the ports, so that whoever sees those gone finds no door open.
    accepting.until_closing(doors, lifecycle).await;
}

/// Waits until no more connections are welcome, or nobody is left to say so.
async fn closing(lifecycle: &mut watch::Receiver<Lifecycle>) {
    let _ = lifecycle.wait_for(|state| !state.is_accepting()).await;
}

struct Accepting<'a> {
    ports: &'a [WorkerPort],
    entrances: &'a [Entrance],
    max_clients: usize,
    tallies: &'a ControlTallies,
    state: State,
    /// When a connection that was not welcome was last told of.
    told_unwelcome: Option<Instant>,
}

impl Accepting<'_> {
    async fn until_closing(mut self, doors: Vec<Door>, mut lifecycle: watch::Receiver<Lifecycle>) {
        let mut first = 0;
        let mut paces: Vec<Pace> = doors.iter().map(|door| self.pace_of(door)).collect();
        loop {
            let next = poll_fn(|context| {
                // The doors take turns in being asked first, so that a flood at one starves none.
                first = (first + 1) % doors.len().max(1);
                for index in (first..doors.len()).chain(0..first) {
                    // Whoever comes too fast waits in the kernel's queue.
                    if paces[index].poll_free(context).is_pending() {
                        continue;
                    }
                    if let Poll::Ready(outcome) = doors[index].poll_accept(context) {
                        paces[index].note();
                        return Poll::Ready(outcome);
                    }
                }
                Poll::Pending
            });
            let outcome = tokio::select! {
                // Closing the doors comes before one more client.
                biased;
                () = closing(&mut lifecycle) => return,
                outcome = next => outcome,
            };
            match outcome {
                Ok(accepted) => self.welcome(accepted),
                Err(exhausted) => {
                    self.pause(&exhausted);
                    tokio::select! {
                        () = closing(&mut lifecycle) => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    fn pace_of(&self, door: &Door) -> Pace {
        let entrance = self.entrances.get(usize::from(door.listener()));
        Pace::new(entrance.map_or(0, |entrance| entrance.connections_per_second))
    }

    /// Asks the listener's rules, as far as they can be asked now.
    fn welcome(&mut self, accepted: Accepted) {
        let entrance = self.entrances.get(usize::from(accepted.listener()));
        let (Some(entrance), Some(address)) = (entrance, accepted.ip()) else {
            return self.admit(accepted);
        };
        let outcome = match entrance.balancers.is_empty() {
            true => entrance.admit(address),
            false => entrance.admit_balancer(address).map(|()| None),
        };
        let why = match outcome {
            Ok(visit) => return self.admit(accepted.with_visit(visit)),
            Err(why) => why,
        };
        if self.told_unwelcome.is_none_or(|told| told.elapsed() > CALM) {
            self.told_unwelcome = Some(Instant::now());
            let listeners = &self.tallies.listeners;
            let listener = listeners.get(usize::from(accepted.listener()));
            let listener = listener.map(|(name, _)| name.as_str());
            match why {
                Unwelcome::Network => {
                    warn!(%address, listener, "refused a connection from a network that is not allowed")
                }
                Unwelcome::Crowded => {
                    warn!(%address, listener, "refused a connection of an address that has its share of clients")
                }
            }
        }
        if why == Unwelcome::Crowded && entrance.is_immediate() {
            accepted.refuse(TOO_MANY_OF_ADDRESS);
        }
    }

    /// Hands a connection over or refuses it.
    fn admit(&mut self, accepted: Accepted) {
        let loads = self
            .ports
            .iter()
            .map(|port| port.is_open().then(|| port.load()));
        match choose(loads, self.max_clients) {
            Choice::Worker { index, total } => {
                self.calm_down(total);
                let listener = usize::from(accepted.listener());
                // False only when it ended this moment; then the process is about to stop.
                if self.ports[index].hand_over(accepted) {
                    self.tallies.accepted.increment();
                    if let Some((_, accepted)) = self.tallies.listeners.get(listener) {
                        accepted.increment();
                    }
                }
            }
            Choice::Full => {
                if !matches!(self.state, State::Full) {
                    warn!(
                        max_clients = self.max_clients,
                        "the limit of clients is reached"
                    );
                    self.state = State::Full;
                }
                self.tallies.refused_clients.increment();
                let entrance = self.entrances.get(usize::from(accepted.listener()));
                // To whom speaks TLS a line of text is garbage.
                if accepted.ip().is_none() || entrance.is_none_or(Entrance::is_immediate) {
                    accepted.refuse(TOO_MANY);
                }
            }
        }
    }

    /// Notes that descriptors or memory ran out; the caller waits.
    fn pause(&mut self, exhausted: &Exhausted) {
        if !matches!(self.state, State::Paused { .. }) {
            warn!(reason = %exhausted.0, "accepting pauses until file descriptors or memory are free");
        }
        self.state = State::Paused {
            last: Instant::now(),
        };
        self.tallies.accept_pauses.increment();
    }

    /// Notes that a connection was taken while `total` others are there.
    fn calm_down(&mut self, total: usize) {
        match self.state {
            State::Open => {}
            State::Full => {
                if total < self.max_clients - self.max_clients / 8 {
                    let refused = self.tallies.refused_clients.value();
                    info!(clients = total, refused, "below the limit of clients again");
                    self.state = State::Open;
                }
            }
            State::Paused { last } => {
                if last.elapsed() > CALM {
                    info!(clients = total, "accepting goes on");
                    self.state = State::Open;
                }
            }
        }
    }
}

/// Where a new client goes.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// To this worker; so many clients are there over all workers.
    Worker { index: usize, total: usize },
    /// Nowhere: as many as allowed are there, or no worker is left.
    Full,
}

/// The worker with the fewest clients, the first of several. A worker that has ended has no load.
fn choose(loads: impl Iterator<Item = Option<usize>>, max_clients: usize) -> Choice {
    let mut total: usize = 0;
    let mut fewest: Option<(usize, usize)> = None;
    for (index, load) in loads.enumerate() {
        let Some(load) = load else { continue };
        total = total.saturating_add(load);
        if fewest.is_none_or(|(least, _)| load < least) {
            fewest = Some((load, index));
        }
    }
    match fewest {
        Some((_, index)) if total < max_clients => Choice::Worker { index, total },
        _ => Choice::Full,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpStream};

    use super::super::workers::{WorkerSeat, seats};
    use super::*;
    use crate::net::{Listener, Liveness};

    #[test]
    fn the_worker_with_the_fewest_clients_is_chosen() {
        let worker = |index, total| Choice::Worker { index, total };
        for (loads, max_clients, expected) in [
            (&[Some(3), Some(1), Some(2)][..], 10, worker(1, 6)),
            (&[Some(0), Some(0)], 10, worker(0, 0)),
            (&[Some(5), Some(5)], 10, Choice::Full),
            (&[Some(5), Some(4)], 10, worker(1, 9)),
            (&[None, Some(4)], 10, worker(1, 4)),
            (&[None, None], 10, Choice::Full),
            (&[], 10, Choice::Full),
        ] {
            assert_eq!(
                choose(loads.iter().copied(), max_clients),
                expected,
                "{loads:?}"
            );
        }
    }

    /// Runs the accept loop over two workers' seats while `talk` is a client.
    fn with_accept_loop(
        max_clients: usize,
        talk: impl FnOnce(SocketAddr, &mut [WorkerSeat], &watch::Sender<Lifecycle>) + Send,
    ) {
        let (lifecycle, following) = watch::channel(Lifecycle::Ready);
        let (mut seats, ports) = seats(2, max_clients, &lifecycle);
        let listener = Listener::bind_tcp(
            "127.0.0.1:0".parse().expect("an address"),
            16,
            Liveness::default(),
        )
        .expect("a free port");
        let address = listener.tcp_address().expect("it is TCP");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    let door = listener.open().expect("watched");
                    let tallies = Arc::new(ControlTallies::default());
                    let entrances = Arc::from(vec![Entrance::default()]);
                    let ports = ports.into();
                    run(
                        vec![door],
                        ports,
                        entrances,
                        max_clients,
                        tallies,
                        following,
                    )
                    .await;
                });
            });
            talk(address, &mut seats, &lifecycle);
            lifecycle.send_replace(Lifecycle::Stopped);
        });
    }

    #[test]
    fn clients_are_spread_evenly_while_nobody_has_taken_them_yet() {
        with_accept_loop(10, |address, seats, _| {
            let _clients: Vec<_> = (0..4)
                .map(|_| TcpStream::connect(address).expect("accepting"))
                .collect();
            for seat in seats {
                for _ in 0..2 {
                    assert!(seat.accepted.blocking_recv().is_some());
                }
            }
        });
    }

    // contract: F6
    #[test]
    fn at_the_limit_a_client_reads_redis_own_error() {
        with_accept_loop(1, |address, seats, _| {
            let _first = TcpStream::connect(address).expect("accepting");
            let mut second = TcpStream::connect(address).expect("the kernel accepts");
            let mut said = String::new();
            second
                .read_to_string(&mut said)
                .expect("a line and the end");
            assert_eq!(said, "-ERR max number of clients reached\r\n");
            assert!(seats[0].accepted.blocking_recv().is_some());
            assert!(seats[1].accepted.try_recv().is_err());
        });
    }

    // contract: F7
    #[test]
    fn draining_closes_the_door() {
        with_accept_loop(10, |address, seats, lifecycle| {
            let _client = TcpStream::connect(address).expect("accepting");
            assert!(seats[0].accepted.blocking_recv().is_some());
            lifecycle.send_replace(Lifecycle::Draining {
                until: std::time::Instant::now(),
            });
            // The loop drops its ports when it returns.
            assert!(seats[0].accepted.blocking_recv().is_none());
            assert!(TcpStream::connect(address).is_err());
        });
    }
}
