//! A cluster that the tests share, and a Keyway of its own for each application.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::support::{Cluster, Flavor, Keyway};

/// How an application names its keys, and so what its Keyway must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// In one hash tag: everything works with the defaults.
    Tagged,
    /// As far as the application lets one: the others are what Keyway serves in parts.
    PartlyTagged,
    /// As the application likes: over several slots.
    Plain,
}

/// The shared cluster of three primaries and three replicas: started by the first test that wants
/// it, ended with the last one that holds it.
fn cluster(flavor: Flavor) -> Arc<Cluster> {
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
    pub keyway: Keyway,
    _cluster: Arc<Cluster>,
}

impl Scene {
    pub fn before(flavor: Flavor, keys: Keys) -> Scene {
        let cluster = cluster(flavor);
        let mut options = Keyway::before(&cluster.seeds()).set("proxy.workers", "2");
        if keys != Keys::Tagged {
            options = options
                .set("compatibility.cross_slot_transactions", "\"split\"")
                .set("compatibility.cross_slot_blocking", "\"poll\"")
                .set("compatibility.cross_slot_reads", "\"emulate\"");
        }
        Scene {
            keyway: options.start(),
            _cluster: cluster,
        }
    }
}
