//! What all clients of the load share: where Keyway is, how far the load has come, and when it ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::support::eventually;
use super::support::servers::lock;

/// How long a request may take by Keyway's configuration.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that waits longer than this calls it a hang: the deadline, a pause of all clients, and
/// what a machine with too much to do may need.
pub const PATIENCE: Duration = Duration::from_secs(25);
/// How long no load may make progress before the run is given up.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(60);

/// The kinds of load, for their progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Pipelined,
    Transactions,
    Watchers,
    Queues,
    Channels,
    Large,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Plain,
        Kind::Pipelined,
        Kind::Transactions,
        Kind::Watchers,
        Kind::Queues,
        Kind::Channels,
        Kind::Large,
    ];
}

/// Shared by all clients.
pub struct Stage {
    /// Keyway.
    pub addr: SocketAddr,
    /// What this run's choices come from.
    pub seed: u64,
    is_over: Mutex<bool>,
    ended: Condvar,
    keys: AtomicU32,
    done: [AtomicU64; Kind::ALL.len()],
}

impl Stage {
    pub fn new(addr: SocketAddr, seed: u64) -> Stage {
        Stage {
            addr,
            seed,
            is_over: Mutex::new(false),
            ended: Condvar::new(),
            keys: AtomicU32::new(1),
            done: Default::default(),
        }
    }

    /// A number for one more key; its name holds it too.
    pub fn new_key(&self) -> u32 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a right reply.
    pub fn progress(&self, kind: Kind) {
        self.done[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until each kind of load has had some more right replies.
    #[track_caller]
    pub fn wait_for_progress(&self, more: u64) {
        let done = |kind: Kind| self.done[kind as usize].load(Ordering::Relaxed);
        for (kind, before) in Kind::ALL.map(|kind| (kind, done(kind))) {
            let what = format!("the load goes on: {kind:?}");
            eventually(&what, PROGRESS_DEADLINE, || done(kind) >= before + more);
        }
    }

    /// Whether the load is to end.
    pub fn is_over(&self) -> bool {
        *lock(&self.is_over)
    }

    /// Ends the load.
    pub fn end(&self) {
        *lock(&self.is_over) = true;
        self.ended.notify_all();
    }

    /// A client's pace: nothing for this long, unless the load ends.
    pub fn pause(&self, time: Duration) {
        let guard = lock(&self.is_over);
        // Poisoned or not, over or not: the caller looks itself.
        drop(
            self.ended
                .wait_timeout_while(guard, time, |is_over| !*is_over),
        );
    }
}
