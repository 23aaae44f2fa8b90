//! The one place where tests wait.

use std::time::{Duration, Instant};

/// How often a condition is asked again.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Asks `condition` until it holds; panics with `what` when it does not within `deadline`.
/// Returns how long it took.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    eventually_some(what, deadline, || condition().then_some(()));
    started.elapsed()
}

/// As [`eventually`], for a condition that tells what it still lacks; the last of it is in the panic.
#[track_caller]
pub fn eventually_none(
    what: &str,
    deadline: Duration,
    mut lacking: impl FnMut() -> Option<String>,
) -> Duration {
    let started = Instant::now();
    eventually(what, deadline, || match lacking() {
        Some(lack) if started.elapsed() >= deadline => {
            panic!("not within {deadline:?}: {what}: {lack}")
        }
        lack => lack.is_none(),
    })
}

/// As [`eventually`], for a condition that brings something: its first `Some`.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where tests wait")]
pub fn eventually_some<T>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        std::thread::sleep(POLL_INTERVAL);
    }
}
