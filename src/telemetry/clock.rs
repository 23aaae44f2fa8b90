//! The process' own clock.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

/// Where the clock starts: the first time anybody asked.
static START: LazyLock<(Instant, SystemTime)> =
    LazyLock::new(|| (Instant::now(), SystemTime::now()));

/// Microseconds since the process (more exactly: the first call) began. Monotonic; it never jumps
/// with the wall clock. Read it once a batch, not once a request: the inner modules are told the
/// time, they do not ask.
#[inline]
pub fn now_us() -> u64 {
    // 64 bits of microseconds last 584,000 years.
    START.0.elapsed().as_micros() as u64
}

/// The wall clock's time at the process clock's zero.
pub fn started_at() -> SystemTime {
    START.1
}

#[cfg(test)]
mod tests {
    use super::now_us;

    #[test]
    fn time_does_not_run_backwards() {
        let first = now_us();
        assert!(now_us() >= first);
    }
}
