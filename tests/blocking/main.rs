//! Clients that block: queues, streams, `WAIT`, `CLIENT UNBLOCK`, and what happens to them when slots
//! move and nodes die.

mod crowd;
mod moves;
mod one_server;
mod poll;
mod wait;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Keyway, eventually};

/// How long something may take that takes milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// Waits until so many clients of Keyway are blocked.
#[track_caller]
fn wait_for_blocked(keyway: &Keyway, count: usize) {
    eventually("clients are blocked", SOON, || {
        keyway.metric("keyway_blocked_clients") as usize == count
    });
}
