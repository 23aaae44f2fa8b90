//! Whether the process starts, serves, drains or stops.

use std::time::Instant;

/// The state of the process, on one `tokio::sync::watch`: `control` writes it; the accept loop, the
/// workers and the admin pages follow it.
///
/// ```text
/// Starting --> Ready --> Draining --> Stopped
///     \___________\______________________/
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Bound and accepting, but no topology is known yet: requests wait (contract: F1). Goes to
    /// `Ready`, `Draining` or `Stopped`.
    Starting,
    /// Serving. Goes to `Draining` or `Stopped`.
    Ready,
    /// No new connections; each client is closed between replies, and at `until` those that are left
    /// are closed as well (contract: F7). Goes to `Stopped`.
    Draining {
        /// When waiting ends.
        until: Instant,
    },
    /// Everything closes at once.
    Stopped,
}

impl Lifecycle {
    /// Whether new connections are welcome.
    pub fn is_accepting(self) -> bool {
        match self {
            Lifecycle::Starting | Lifecycle::Ready => true,
            Lifecycle::Draining { .. } | Lifecycle::Stopped => false,
        }
    }
}
