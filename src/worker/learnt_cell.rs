//! The commands learnt from the servers, where control puts them and every worker finds them; and how
//! workers ask for them to be learnt anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::command::LearntCommands;

/// Holds the current snapshot and tells of each new one. Only `control` publishes (invariant 8).
#[derive(Debug)]
pub struct LearntCell {
    current: ArcSwap<LearntCommands>,
    /// The version of the current snapshot; 0 before the first.
    version: watch::Sender<u64>,
    is_asked: AtomicBool,
    notify: Notify,
}

impl Default for LearntCell {
    fn default() -> Self {
        LearntCell {
            current: ArcSwap::default(),
            version: watch::channel(0).0,
            is_asked: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }
}

impl LearntCell {
    /// The current snapshot; empty before the first.
    pub fn load(&self) -> Arc<LearntCommands> {
        self.current.load_full()
    }

    /// Tells of each new snapshot by its version. Works across runtimes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Makes this the current snapshot.
    pub fn publish(&self, learnt: LearntCommands) {
        self.current.store(Arc::new(learnt));
        self.version.send_modify(|version| *version += 1);
    }

    /// A client named a command that nobody knows: perhaps the servers do by now. Costs one load when
    /// somebody asked already.
    pub fn request(&self) {
        if !self.is_asked.load(Ordering::Relaxed) && !self.is_asked.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) {
        self.notify.notified().await;
    }

    /// Called before servers are asked: who asks from now on is served by another time.
    pub fn take_request(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }
}
