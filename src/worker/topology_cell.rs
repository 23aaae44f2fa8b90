//! The current snapshot, where control puts it and every worker finds it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::cluster::Topology;

/// Holds the current snapshot and tells of each new one. Only `control` publishes (invariant 8);
/// workers and the admin page read.
#[derive(Debug)]
pub struct TopologyCell {
    current: ArcSwapOption<Topology>,
    /// The version of the current snapshot; 0 while there is none.
    version: watch::Sender<u64>,
}

impl Default for TopologyCell {
    fn default() -> Self {
        TopologyCell {
            current: ArcSwapOption::empty(),
            version: watch::channel(0).0,
        }
    }
}

impl TopologyCell {
    /// The current snapshot; `None` until the first one.
    pub fn load(&self) -> Option<Arc<Topology>> {
        self.current.load_full()
    }

    /// Tells of each new snapshot by its version. Works across runtimes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Makes `topology` the current snapshot and gives it the next version.
    pub fn publish(&self, mut topology: Topology) {
        self.version.send_modify(|version| {
            *version += 1;
            topology.version = *version;
            self.current.store(Some(Arc::new(topology)));
        });
    }
}
