//! Numbers that one thread writes and any thread reads.
//!
//! `AtomicU64::fetch_add` is a locked instruction of some twenty cycles even when nobody else
//! touches the line. A worker's counters have one writer, its own thread, so a relaxed load and a
//! relaxed store do the same work as a plain increment, and a reader on another thread still never
//! sees a torn value. Were two threads to write one tally, counts would be lost (never memory
//! safety): give each thread its own and add them up when read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `amount`; only the owning thread may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(amount), Ordering::Relaxed);
    }

    /// Adds one; only the owning thread may call this.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// The count, from any thread. It may lag the writer by a moment.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that goes up and down and is never below zero. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Raises the level; only the owning thread may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.set(self.value().wrapping_add(amount));
    }

    /// Lowers the level; only the owning thread may call this. Stops at zero: taking out more than
    /// was put in is a mistake of ours, which tests should hunt and production should survive.
    #[inline]
    pub fn subtract(&self, amount: u64) {
        let before = self.value();
        debug_assert!(
            before >= amount,
            "gauge at {before} cannot be lowered by {amount}"
        );
        self.set(before.saturating_sub(amount));
    }

    /// Sets the level; only the owning thread may call this.
    #[inline]
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// The level, from any thread.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up() {
        let tally = Tally::default();
        tally.increment();
        tally.add(41);
        assert_eq!(tally.value(), 42);
    }

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Gauge::default();
        gauge.add(3);
        gauge.subtract(2);
        assert_eq!(gauge.value(), 1);
        gauge.set(7);
        assert_eq!(gauge.value(), 7);
    }

    #[test]
    fn another_thread_reads_while_one_writes() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10_000).for_each(|_| tally.increment()));
            scope.spawn(|| {
                let mut last = 0;
                for _ in 0..10_000 {
                    let now = tally.value();
                    assert!(now >= last, "a count went from {last} down to {now}");
                    last = now;
                }
            });
        });
        assert_eq!(tally.value(), 10_000);
    }
}
