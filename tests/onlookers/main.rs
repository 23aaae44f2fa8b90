//! What touches all clients of a Keyway: `CLIENT PAUSE`, and `MONITOR`.

mod bounds;
mod held_back;
mod monitor;
mod pause;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Client, Flavor, Keyway, Scene};

/// How long something may take that takes milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// A Keyway of the test's own: what is tested is about all its clients.
fn keyway(flavor: Flavor, workers: usize) -> Keyway {
    Keyway::before(&Scene::shared(flavor).cluster.seeds())
        .set("proxy.workers", &workers.to_string())
        .start()
}

/// So many clients, which stand on all workers in turn.
fn clients<const COUNT: usize>(keyway: &Keyway) -> [Client; COUNT] {
    std::array::from_fn(|_| keyway.client())
}
