//! Connections that are no clients yet: whose balancer first says whom it brings, or that shake hands for
//! TLS.
//!
//! They have a deadline, and each worker has a limited number of them. At the limit the oldest gives way to
//! the newest: somebody who opens connections and says nothing pushes out his own, while a client that
//! answers needs a round trip or two.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tracing::warn;

use super::client_task;
use super::thread::Worker;
use crate::net::proxy_protocol::{Brought, read_header};
use crate::net::tls::explain;
use crate::net::{Accepted, Entrance, Peer, Stream, Unwelcome, Visit, canonical};
use crate::telemetry::worker_tallies::LostArrival;
use crate::telemetry::{Seldom, WorkerTallies};

/// What workers need to know of connections that arrive.
#[derive(Clone, Debug)]
pub struct ArrivalSettings {
    /// The rules of each listener, in the order of their numbers.
    pub entrances: Arc<[Entrance]>,
    /// How long an arrival may take.
    pub timeout: Duration,
    /// How many there may be at the same time.
    pub max: usize,
}

/// The arrivals of one worker.
pub(super) struct Arrivals {
    settings: ArrivalSettings,
    tallies: Arc<WorkerTallies>,
    /// The oldest has the lowest number.
    pending: RefCell<BTreeMap<u64, AbortHandle>>,
    next: Cell<u64>,
    told: RefCell<Seldom>,
}

impl Arrivals {
    pub(super) fn new(settings: ArrivalSettings, tallies: Arc<WorkerTallies>) -> Arrivals {
        Arrivals {
            settings,
            tallies,
            pending: RefCell::default(),
            next: Cell::new(0),
            told: RefCell::default(),
        }
    }

    /// The rules of the listener that a connection came through.
    pub(super) fn entrance(&self, accepted: &Accepted) -> Option<&Entrance> {
        self.settings
            .entrances
            .get(usize::from(accepted.listener()))
    }

    /// Counts a connection that never became a client, and tells of it now and then.
    fn lost(&self, who: &str, why: LostArrival, reason: &str, now_us: u64) {
        self.tallies.lost_arrivals.count(why as usize);
        let Some(others) = self.told.borrow_mut().tell(now_us) else {
            return;
        };
        warn!(
            client = who,
            kind = why.label(),
            reason,
            others_since_then = others,
            "a connection did not become a client"
        );
    }
}

/// An arrival that is under way; counted as long as this exists.
struct Pending {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let arrivals = &self.worker.arrivals;
        arrivals.pending.borrow_mut().remove(&self.number);
        arrivals.tallies.arriving.subtract(1);
    }
}

/// Lets a connection arrive, and serves it when it has.
pub(super) fn begin(worker: &Rc<Worker>, accepted: Accepted) {
    let arrivals = &worker.arrivals;
    arrivals.tallies.arriving.add(1);
    let number = arrivals.next.get();
    arrivals.next.set(number + 1);
    let pending = Pending {
        worker: Rc::clone(worker),
        number,
    };
    let task = tokio::task::spawn_local(arrive(pending, accepted));
    let mut all = arrivals.pending.borrow_mut();
    all.insert(number, task.abort_handle());
    if all.len() > arrivals.settings.max
        && let Some((_, oldest)) = all.pop_first()
    {
        oldest.abort();
        drop(all);
        let now_us = worker.turn(|core| core.now_us);
        let reason = "too many connections arrive at the same time (limits.tls_handshakes)";
        arrivals.lost("the oldest", LostArrival::GaveWay, reason, now_us);
    }
}

async fn arrive(pending: Pending, accepted: Accepted) {
    let worker = Rc::clone(&pending.worker);
    let arrivals = &worker.arrivals;
    let mut who = accepted.peer().to_string();
    let listener = accepted.listener();
    let limit = arrivals.settings.timeout;
    let outcome = match tokio::time::timeout(limit, come_in(&worker, accepted, &mut who)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Lost {
            why: LostArrival::TimedOut,
            reason: format!("it took longer than {limit:?} (timeouts.client_handshake)"),
        }),
    };
    match outcome {
        Ok(None) => {}
        Ok(Some(arrived)) => {
            let Arrived {
                stream,
                visit,
                local,
                certificate,
            } = arrived;
            let key = worker.turn(|core| {
                let id = core.local.next_client();
                let key = core.client_joins_at(listener, id, &who, local);
                core.client_shows(key, matches!(stream, Stream::Tls(_)), certificate);
                key
            });
            // A task of its own: this one is as large as a handshake.
            let served = client_task::run(Rc::clone(&worker), key, stream, visit);
            tokio::task::spawn_local(served);
        }
        Err(lost) => {
            let now_us = worker.turn(|core| core.now_us);
            arrivals.lost(&who, lost.why, &lost.reason, now_us);
        }
    }
}

/// A connection that is ready to be a client's.
struct Arrived {
    stream: Stream,
    visit: Option<Visit>,
    /// What it connected to.
    local: Option<SocketAddr>,
    /// The name in its certificate.
    certificate: Option<String>,
}

struct Lost {
    why: LostArrival,
    reason: String,
}

impl Lost {
    fn by(why: LostArrival) -> impl FnOnce(io::Error) -> Lost {
        move |error| Lost {
            why,
            reason: explain(&error),
        }
    }
}

/// Nothing when it was a balancer's own connection that has left already: a health check.
async fn come_in(
    worker: &Rc<Worker>,
    mut accepted: Accepted,
    who: &mut String,
) -> Result<Option<Arrived>, Lost> {
    let Some(entrance) = worker.arrivals.entrance(&accepted) else {
        return Ok(None);
    };
    let mut visit = accepted.take_visit();
    let balancer = accepted.ip();
    let stream = accepted.into_tcp();
    let mut stream = stream.map_err(Lost::by(LostArrival::Closed))?;
    let mut local = stream.local_addr().ok().map(canonical);
    if !entrance.balancers.is_empty() {
        let brought = read_header(&mut stream).await;
        match brought.map_err(Lost::by(LostArrival::ProxyHeader))? {
            // The connection is then the balancer's own, or of somebody it cannot tell: it counts for what it is.
            Brought::Nobody => {
                let admitted = balancer.map_or(Ok(None), |balancer| entrance.admit(balancer));
                // Only that the port answers is asked for; nothing is wrong.
                let is_trouble = admitted.is_err() || entrance.tls.is_some();
                if is_trouble && has_left(&stream).await {
                    return Ok(None);
                }
                visit = admitted.map_err(unwelcome)?;
            }
            Brought::Client { from, to } => {
                *who = Peer::Tcp(canonical(from)).to_string();
                local = Some(to);
                visit = entrance.admit(from.ip()).map_err(unwelcome)?;
            }
        }
    }
    let (stream, certificate) = match &entrance.tls {
        None => (Stream::Tcp(stream), None),
        Some(tls) => {
            let shaken = tls.accept(stream).await;
            let shaken = shaken.map_err(Lost::by(LostArrival::Tls))?;
            worker.arrivals.tallies.tls_handshakes.increment();
            shaken
        }
    };
    Ok(Some(Arrived {
        stream,
        visit,
        local,
        certificate,
    }))
}

fn unwelcome(why: Unwelcome) -> Lost {
    let reason = match why {
        Unwelcome::Network => "its network is not in clients_from",
        Unwelcome::Crowded => "its address has as many clients as one may have",
    };
    Lost {
        why: LostArrival::Unwelcome,
        reason: reason.to_owned(),
    }
}

/// Waits for the other side's next byte, which is left where it is, or its end.
async fn has_left(stream: &TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]).await, Ok(1..))
}
