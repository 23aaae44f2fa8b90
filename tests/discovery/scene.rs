//! The refresher alone, as control runs it, before scripted nodes.

use std::sync::Arc;
use std::time::Duration;

use keyway::cluster::{AddressMap, Database, Endpoint, Slot, Topology};
use keyway::control::refresh::{RefreshParts, RefreshSettings, run};
use keyway::net::Lifecycle;
use keyway::telemetry::{ControlTallies, clock};
use keyway::upstream::handshake;
use keyway::worker::{RefreshReason, RefreshRequests, TopologyCell};
use tokio::sync::watch;

use crate::support::{FakeCluster, FakeNode, eventually};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// A refresher on a thread of its own, as control runs it.
pub struct Discovery {
    pub cell: Arc<TopologyCell>,
    pub requests: Arc<RefreshRequests>,
    pub tallies: Arc<ControlTallies>,
    lifecycle: watch::Sender<Lifecycle>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// As it is used by default, but with an interval that never ends within a test: what happens,
/// happens for another reason.
pub fn settings(seeds: &[String]) -> RefreshSettings {
    let endpoint = |seed: &String| seed.parse::<Endpoint>().expect("an endpoint");
    RefreshSettings {
        seeds: seeds.iter().map(endpoint).collect(),
        address_map: Arc::new(AddressMap::default()),
        upstream: handshake::Settings {
            timeout: Duration::from_secs(1),
            liveness: keyway::net::Liveness::default(),
            tls: None,
            credentials: handshake::SharedCredentials::default(),
            database: Database::FIRST,
        },
        interval: Duration::from_secs(3600),
        response_timeout: Duration::from_secs(1),
    }
}

pub fn seeds(nodes: &[&FakeNode]) -> Vec<String> {
    nodes.iter().map(|node| node.addr().to_string()).collect()
}

impl Discovery {
    pub fn of(nodes: &[&FakeNode]) -> Discovery {
        Discovery::start(settings(&seeds(nodes)))
    }

    pub fn start(settings: RefreshSettings) -> Discovery {
        let cell = Arc::new(TopologyCell::default());
        let requests = Arc::new(RefreshRequests::default());
        let tallies = Arc::new(ControlTallies::default());
        let (lifecycle, receiver) = watch::channel(Lifecycle::Starting);
        let parts = RefreshParts {
            cell: Arc::clone(&cell),
            requests: Arc::clone(&requests),
            tallies: Arc::clone(&tallies),
            now_us: clock::now_us,
        };
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(run(settings, parts, receiver));
        });
        Discovery {
            cell,
            requests,
            tallies,
            lifecycle,
            thread: Some(thread),
        }
    }

    /// Waits for a snapshot of which this holds.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Topology) -> bool) -> Arc<Topology> {
        let mut found = None;
        eventually(what, DEADLINE, || {
            found = self.cell.load().filter(|topology| holds(topology));
            found.is_some()
        });
        found.expect("just seen")
    }

    /// Asks for a refresh in calm times, and waits for its end.
    #[track_caller]
    pub fn refreshed(&self, reason: RefreshReason) -> Arc<Topology> {
        let until = self.tallies.refreshes.value() + 1;
        self.requests.request(reason);
        eventually("a refresh ends", DEADLINE, || {
            self.tallies.refreshes.value() >= until
        });
        self.cell.load().expect("a refresh ended well")
    }

    /// Waits until that many more refreshes have ended, however they ended.
    #[track_caller]
    pub fn refreshes(&self, more: u64) {
        let count = || self.tallies.refreshes.value() + self.tallies.refresh_failures.value();
        let until = count() + more;
        eventually("refreshes end", DEADLINE, || count() >= until);
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.lifecycle.send_replace(Lifecycle::Stopped);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the refresher panicked");
        }
    }
}

/// The port of the owner of a slot; 0 for nobody.
pub fn owner(topology: &Topology, slot: u16) -> u16 {
    let slot = Slot::new(slot).expect("a slot");
    let owner = topology.owner(slot).and_then(|owner| topology.node(owner));
    owner.map_or(0, |node| node.endpoint.port)
}

/// Three primaries and their replicas. 0, 1, 2 own a third each; 3, 4, 5 follow them.
pub fn six() -> FakeCluster {
    FakeCluster::start_with_replicas(3, 1)
}
