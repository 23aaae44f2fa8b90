//! How workers ask for a new view of the cluster.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Why a view is asked for (contract: R8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshReason {
    /// A node said `MOVED`.
    Moved,
    /// A connection that was in use was lost.
    ConnectionLost,
    /// A node could not be connected to.
    ConnectRefused,
    /// A node did not answer in time.
    Timeout,
    /// A node that should be a primary is a replica.
    ReadOnly,
    /// A node sees no working cluster.
    ClusterDown,
    /// A slot has no owner.
    Unowned,
    /// A client that tracks keys has to know soon.
    Tracking,
}

impl RefreshReason {
    /// All of them.
    pub const ALL: [RefreshReason; 8] = [
        RefreshReason::Moved,
        RefreshReason::ConnectionLost,
        RefreshReason::ConnectRefused,
        RefreshReason::Timeout,
        RefreshReason::ReadOnly,
        RefreshReason::ClusterDown,
        RefreshReason::Unowned,
        RefreshReason::Tracking,
    ];

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Requests for a refresh, coalesced: however many workers ask however often, the one who refreshes
/// is told once.
#[derive(Debug, Default)]
pub struct RefreshRequests {
    reasons: AtomicU32,
    notify: Notify,
}

impl RefreshRequests {
    /// Asks for a refresh. Costs one load when somebody asked for the same reason already.
    pub fn request(&self, reason: RefreshReason) {
        if self.reasons.load(Ordering::Relaxed) & reason.bit() == 0 {
            self.reasons.fetch_or(reason.bit(), Ordering::Relaxed);
            self.notify.notify_one();
        }
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) {
        self.notify.notified().await;
    }

    /// Takes the reasons that were given since the last call. Called when a refresh begins: what is
    /// asked for from now on needs another one.
    pub fn take(&self) -> Vec<RefreshReason> {
        let bits = self.reasons.swap(0, Ordering::Relaxed);
        RefreshReason::ALL
            .into_iter()
            .filter(|reason| bits & reason.bit() != 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: R8
    #[test]
    fn requests_are_coalesced() {
        let requests = RefreshRequests::default();
        for _ in 0..1000 {
            requests.request(RefreshReason::Moved);
            requests.request(RefreshReason::Timeout);
        }
        assert_eq!(
            requests.take(),
            [RefreshReason::Moved, RefreshReason::Timeout]
        );
        assert_eq!(requests.take(), []);
    }
}
