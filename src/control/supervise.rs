//! From ready to stopped (contract: F7).
//!
//! 1. While no topology is known the process is `Starting`; the first one makes it `Ready`.
//! 2. SIGTERM or SIGINT, or a worker that ends unasked, makes it `Draining`: the accept loop closes
//!    its doors, the workers close each client between replies, and at the deadline those left.
//! 3. When every worker has ended, or the deadline and a moment have passed, or a second signal
//!    comes, it is `Stopped`: whatever still runs closes at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::signals::Stop;
use super::workers::WorkerPort;
use crate::net::Lifecycle;

/// After the deadline of draining, and again after `Stopped`, workers have this long to notice.
const GRACE: Duration = Duration::from_secs(1);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Asked to stop, and every worker ended in time.
    Drained,
    /// A second signal, or workers that did not end by the deadline.
    CutShort,
    /// A worker ended though nobody asked it to.
    WorkerLost,
}

/// Why draining begins.
enum Cause {
    Asked(Stop),
    WorkerLost(usize),
}

/// Moves the lifecycle on until everything has stopped.
pub async fn supervise(
    lifecycle: &watch::Sender<Lifecycle>,
    ports: &Arc<[WorkerPort]>,
    mut stops: mpsc::Receiver<Stop>,
    first_topology: impl Future<Output = ()>,
    drain: Duration,
) -> Ending {
    let mut running = JoinSet::new();
    for index in 0..ports.len() {
        let ports = Arc::clone(ports);
        running.spawn(async move {
            ports[index].ended().await;
            index
        });
    }
    let cause = serve(lifecycle, &mut running, &mut stops, first_topology).await;
    match cause {
        Cause::Asked(stop) => info!(signal = ?stop, clients = clients(ports), "draining"),
        Cause::WorkerLost(worker) => error!(worker, "a worker ended unasked; draining the others"),
    }
    let until = Instant::now() + drain;
    lifecycle.send_replace(Lifecycle::Draining { until });

    let is_drained = tokio::select! {
        () = all_ended(&mut running) => true,
        () = sleep_until((until + GRACE).into()) => {
            warn!(clients = clients(ports), "the deadline of draining has passed");
            false
        }
        Some(stop) = stops.recv() => {
            warn!(signal = ?stop, clients = clients(ports), "stopping at once");
            false
        }
    };
    lifecycle.send_replace(Lifecycle::Stopped);
    if !is_drained && timeout(GRACE, all_ended(&mut running)).await.is_err() {
        error!(
            workers = running.len(),
            "workers did not stop and are left behind"
        );
    }
    info!("stopped");
    match cause {
        Cause::WorkerLost(_) => Ending::WorkerLost,
        Cause::Asked(_) if is_drained => Ending::Drained,
        Cause::Asked(_) => Ending::CutShort,
    }
}

/// Until there is a reason to stop.
async fn serve(
    lifecycle: &watch::Sender<Lifecycle>,
    running: &mut JoinSet<usize>,
    stops: &mut mpsc::Receiver<Stop>,
    first_topology: impl Future<Output = ()>,
) -> Cause {
    let mut first_topology = std::pin::pin!(first_topology);
    let mut is_ready = false;
    loop {
        tokio::select! {
            // Stopping comes before becoming ready.
            biased;
            Some(stop) = stops.recv() => return Cause::Asked(stop),
            Some(Ok(worker)) = running.join_next() => return Cause::WorkerLost(worker),
            () = &mut first_topology, if !is_ready => {
                is_ready = true;
                lifecycle.send_replace(Lifecycle::Ready);
                info!("ready");
            }
            // Nobody can ask any more, nothing runs and all is said: only a test gets here.
            else => sleep(GRACE).await,
        }
    }
}

async fn all_ended(running: &mut JoinSet<usize>) {
    while running.join_next().await.is_some() {}
}

fn clients(ports: &[WorkerPort]) -> usize {
    ports.iter().map(WorkerPort::load).sum()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::super::workers::{WorkerSeat, seats};
    use super::*;

    /// Supervises two workers that behave as `worker` says, while `talk` sends signals and watches.
    fn check<W, T>(worker: fn(WorkerSeat) -> W, talk: fn(Scene) -> T, expected: Ending)
    where
        W: Future<Output = ()> + Send + 'static,
        T: Future<Output = ()>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (lifecycle, following) = watch::channel(Lifecycle::Starting);
            let (seats, ports) = seats(2, 1, &lifecycle);
            let ports: Arc<[WorkerPort]> = ports.into();
            for seat in seats {
                tokio::spawn(worker(seat));
            }
            let (signal, stops) = mpsc::channel(2);
            let (known, topology) = tokio::sync::oneshot::channel::<()>();
            let scene = Scene {
                signal,
                known,
                following,
            };
            let first_topology = async {
                if topology.await.is_err() {
                    pending().await
                }
            };
            let supervised = supervise(
                &lifecycle,
                &ports,
                stops,
                first_topology,
                Duration::from_secs(60),
            );
            let (ending, ()) = tokio::join!(supervised, talk(scene));
            assert_eq!(ending, expected);
            assert_eq!(*lifecycle.borrow(), Lifecycle::Stopped);
        });
    }

    struct Scene {
        signal: mpsc::Sender<Stop>,
        known: tokio::sync::oneshot::Sender<()>,
        following: watch::Receiver<Lifecycle>,
    }

    /// Ends when it is asked to drain.
    async fn obedient(mut seat: WorkerSeat) {
        let asked = |state: &Lifecycle| !state.is_accepting();
        let _ = seat.lifecycle.wait_for(asked).await;
    }

    /// Keeps its clients until it is stopped.
    async fn stubborn(mut seat: WorkerSeat) {
        let stopped = |state: &Lifecycle| *state == Lifecycle::Stopped;
        let _ = seat.lifecycle.wait_for(stopped).await;
    }

    #[test]
    fn ready_comes_with_the_first_topology_and_a_signal_drains() {
        check(
            obedient,
            |mut scene| async move {
                assert_eq!(*scene.following.borrow(), Lifecycle::Starting);
                scene.known.send(()).expect("it waits");
                let ready = |state: &Lifecycle| *state == Lifecycle::Ready;
                scene.following.wait_for(ready).await.expect("it comes");
                scene.signal.send(Stop::Terminate).await.expect("it hears");
                let stopped = |state: &Lifecycle| *state == Lifecycle::Stopped;
                scene.following.wait_for(stopped).await.expect("it comes");
            },
            Ending::Drained,
        );
    }

    #[test]
    fn a_second_signal_stops_at_once() {
        check(
            stubborn,
            |mut scene| async move {
                let _topology_never_known = scene.known;
                scene.signal.send(Stop::Interrupt).await.expect("it hears");
                let draining = |state: &Lifecycle| matches!(state, Lifecycle::Draining { .. });
                scene.following.wait_for(draining).await.expect("it comes");
                scene.signal.send(Stop::Interrupt).await.expect("it hears");
                let stopped = |state: &Lifecycle| *state == Lifecycle::Stopped;
                scene.following.wait_for(stopped).await.expect("it comes");
            },
            Ending::CutShort,
        );
    }

    #[test]
    fn a_lost_worker_drains_the_others() {
        check(
            |seat| async move {
                if seat.index == 0 {
                    obedient(seat).await;
                } else {
                    ready(()).await;
                }
            },
            |mut scene| async move {
                let _held = (scene.known, scene.signal);
                let stopped = |state: &Lifecycle| *state == Lifecycle::Stopped;
                scene.following.wait_for(stopped).await.expect("it comes");
            },
            Ending::WorkerLost,
        );
    }
}
