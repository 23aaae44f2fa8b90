//! What threads of a test look at to end.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises a flag when it is dropped, also by a panic: a scope waits for its threads, and those for the flag.
pub struct RaiseAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
