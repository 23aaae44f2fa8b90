//! The process' own clock.

use std::sync::LazyLock;
use std::time::Instant;

/// Where the clock starts: the first time anybody asked.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the process (more exactly: the first call) began. Monotonic; it never jumps
/// with the wall clock. Read it once a batch, not once a request: the inner modules are told the
/// time, they do not ask.
#[inline]
pub fn now_us() -> u64 {
    // 64 bits of microseconds last 584,000 years.
    START.elapsed().as_micros() as u64
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
