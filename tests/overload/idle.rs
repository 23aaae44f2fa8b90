//! Clients that asked once and are silent.

use std::time::Duration;

use super::holder::Holder;
use super::neighbors::Neighbors;
use super::support::{Keyway, eventually};
use super::{SOON, cluster, files_for, mib, sized, turn};

/// So many clients for each process that holds them.
const EACH: u64 = 10_000;

/// As many Keyways as one process' limit of open files makes necessary.
///
/// contract: F6
#[test]
fn fifty_thousand_idle_clients() {
    let _turn = turn();
    let wanted: u64 = sized(50_000, 2_000);
    let share = wanted.div_ceil(wanted.div_ceil(files_for(wanted)));
    let cluster = cluster();
    let keyways: Vec<Keyway> = (0..wanted.div_ceil(share))
        .map(|_| {
            Keyway::before(&cluster.seeds())
                .set("limits.max_clients", &(share + 100).to_string())
                .set("listen.backlog", "4096")
                .start()
        })
        .collect();
    let neighbors = Neighbors::start(keyways[0].addr());
    let time = sized(Duration::from_secs(5), Duration::from_secs(1));
    let alone = neighbors.figures(time);
    let memory = || keyways.iter().map(Keyway::resident_bytes).sum::<u64>();
    let before = memory();
    let shares = share.div_ceil(EACH);
    let holders: Vec<Holder> = keyways
        .iter()
        .flat_map(|keyway| (0..shares).map(move |number| (keyway, number)))
        .zip(1..)
        .map(|((keyway, number), place)| {
            let count = EACH.min(share - number * EACH);
            Holder::start(keyway.addr(), count, place)
        })
        .collect();
    let count = share * keyways.len() as u64;
    for keyway in &keyways {
        assert!(keyway.metric("keyway_clients") >= share as f64);
    }
    let beside = neighbors.figures(time);
    let grown = memory().saturating_sub(before);
    println!(
        "{count} idle clients of {} Keyways: {} more memory, {} bytes for each; neighbors alone: {alone}; beside \
         them: {beside}",
        keyways.len(),
        mib(grown),
        grown / count,
    );
    assert!(grown / count <= 4096, "{grown} bytes for {count} clients");
    neighbors.leave();
    drop(holders);
    eventually("all have left", SOON, || {
        keyways
            .iter()
            .all(|keyway| keyway.metric("keyway_clients") < 1.0)
    });
}
