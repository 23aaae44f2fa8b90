//! Clients that asked once and are silent.

use std::time::Duration;

use super::holder::Holder;
use super::neighbors::Neighbors;
use super::support::{Keyway, eventually};
use super::{SOON, cluster, files_for, mib, sized, turn};

/// So many clients for each process that holds them.
const EACH: u64 = 10_000;

/// contract: F6
#[test]
fn fifty_thousand_idle_clients() {
    let _turn = turn();
    let count = files_for(sized(50_000, 2_000));
    let cluster = cluster();
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.max_clients", &(count + 100).to_string())
        .set("listen.backlog", "4096")
        .start();
    let neighbors = Neighbors::start(keyway.addr());
    let time = sized(Duration::from_secs(5), Duration::from_secs(1));
    let alone = neighbors.figures(time);
    let before = keyway.resident_bytes();
    let holders: Vec<Holder> = (0..count.div_ceil(EACH))
        .map(|number| {
            let share = EACH.min(count - number * EACH);
            Holder::start(keyway.addr(), share, number as u8 + 1)
        })
        .collect();
    assert!(keyway.metric("keyway_clients") >= count as f64);
    let beside = neighbors.figures(time);
    let grown = keyway.resident_bytes().saturating_sub(before);
    println!(
        "{count} idle clients: {} more memory, {} bytes for each; neighbors alone: {alone}; beside them: {beside}",
        mib(grown),
        grown / count,
    );
    assert!(grown / count <= 4096, "{grown} bytes for {count} clients");
    neighbors.leave();
    drop(holders);
    eventually("all have left", SOON, || {
        keyway.metric("keyway_clients") < 1.0
    });
}
