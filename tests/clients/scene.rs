//! A cluster that the tests share, and Keyways before it that can be restarted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::support::{Cluster, Flavor, Keyway};

/// What the protected Keyway wants from its clients.
pub const PASSWORD: &str = "correct horse";

/// The shared cluster of three primaries and three replicas: started by the first test that wants
/// it, ended with the last one that holds it. Tests keep to keys of their own.
pub fn cluster(flavor: Flavor) -> Arc<Cluster> {
    static REDIS: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    static VALKEY: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let shared = match flavor {
        Flavor::Redis => &REDIS,
        Flavor::Valkey => &VALKEY,
    };
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start(flavor));
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

/// A Keyway with two workers before the shared cluster.
pub struct Scene {
    first: Keyway,
    restarted: Mutex<Option<Keyway>>,
    seeds: Vec<SocketAddr>,
    _cluster: Arc<Cluster>,
}

impl Scene {
    pub fn start() -> Scene {
        Scene::before(Flavor::Redis)
    }

    pub fn before(flavor: Flavor) -> Scene {
        let cluster = cluster(flavor);
        let seeds = cluster.seeds();
        Scene {
            first: Keyway::before(&seeds).set("proxy.workers", "2").start(),
            restarted: Mutex::new(None),
            seeds,
            _cluster: cluster,
        }
    }

    /// A second Keyway before the same cluster, whose clients must give [`PASSWORD`]. It cuts
    /// transactions by slot.
    pub fn protected(&self) -> Keyway {
        Keyway::before(&self.seeds)
            .set("compatibility.cross_slot_transactions", "\"split\"")
            .env("KEYWAY_PASSWORD", PASSWORD)
            .start()
    }

    /// Where clients connect, also after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.first.addr()
    }

    /// The URL that a program with one server in mind has in its configuration.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Ends Keyway as an upgrade does (SIGTERM) and starts it again at the same address.
    pub fn restart(&self) {
        let mut restarted = self
            .restarted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        restarted.as_ref().unwrap_or(&self.first).terminate();
        // The first one still holds the lease of its port; the environment wins over the file.
        *restarted = Some(
            Keyway::before(&self.seeds)
                .env("KEYWAY_LISTEN", &self.addr().to_string())
                .start(),
        );
    }
}
