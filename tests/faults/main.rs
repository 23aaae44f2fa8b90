//! Nodes that do not answer, answer late, or are cut off; clients that are cut off or end halfway. Each
//! request ends by its deadline with its reply or an error that says why, the other shards' requests do not
//! feel it, and a late reply never answers another request.
//!
//! More of it, with scripted nodes: `tests/routing` (`hanging.rs`, `lost.rs`).

mod cable;
mod half_closed;
mod late;
mod reset;
mod sockets;
mod stopped;
mod watcher;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::Cluster;

/// What any step may take on a machine with too much to do.
const SOON: Duration = Duration::from_secs(20);
/// How much later than its deadline an error may come there.
const GRACE: Duration = Duration::from_secs(2);
/// How long a request of an undisturbed shard may take there; less than it would wait for the shard that is
/// disturbed.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Names of keys of one's own, by the node that owns them.
fn keys_of(cluster: &Cluster, node: usize, count: usize, prefix: &str) -> Vec<String> {
    let shards = cluster.shard_map();
    let names = (0..).map(|salt| format!("{prefix}:{salt}"));
    let slot = |name: &str| keyway::cluster::Slot::of_key(name.as_bytes()).index();
    names
        .filter(|name| shards[slot(name)] == node)
        .take(count)
        .collect()
}
