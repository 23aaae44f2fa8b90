//! The command table against real servers: what they report in `COMMAND`, which keys they find, and
//! the errors they give before running a command.
//!
//! Needs `redis-server` 7.0 and `valkey-server` 8.0 in the path; a missing one is a failure.

use keyway::resp::{Args, Span};

mod errors;
#[path = "../support/eventually.rs"]
#[expect(dead_code, reason = "only one of its ways to wait is needed here")]
mod eventually;
mod keys;
mod learnt;
mod report;
mod request;
mod rights;
mod rows;
mod server;

const REDIS: &str = "redis-server";
const VALKEY: &str = "valkey-server";

/// Lends a request of these words.
fn with_args<T>(words: &[&[u8]], then: impl FnOnce(&Args<'_>) -> T) -> T {
    let frame = words.concat();
    let mut start = 0;
    let spans: Vec<Span> = words
        .iter()
        .map(|word| {
            let len = word.len() as u32;
            start += len;
            Span {
                start: start - len,
                len,
            }
        })
        .collect();
    then(&Args::new(&frame, &spans))
}
