//! Users and rules, where control puts them and every worker finds them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::acl::Doors;

/// Holds the current snapshot and tells of each new one. Only `control` publishes (invariant 8).
#[derive(Debug)]
pub struct DoorsCell {
    current: ArcSwap<Doors>,
    version: watch::Sender<u64>,
}

impl DoorsCell {
    /// Begins with this snapshot.
    pub fn new(doors: Doors) -> DoorsCell {
        DoorsCell {
            current: ArcSwap::from_pointee(doors),
            version: watch::channel(0).0,
        }
    }

    /// The current snapshot.
    pub fn load(&self) -> Arc<Doors> {
        self.current.load_full()
    }

    /// Tells of each new snapshot by its version. Works across runtimes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Makes this the current snapshot.
    pub fn publish(&self, doors: Doors) {
        self.current.store(Arc::new(doors));
        self.version.send_modify(|version| *version += 1);
    }
}
