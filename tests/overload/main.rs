//! Too much of everything: clients, connections, commands, unread replies, for less than enough file
//! descriptors and memory. The well-behaved clients beside it go on, memory keeps its bound, nothing ends.
//!
//! The test run does small ones. `make overload` (`KEYWAY_OVERLOAD=1`) does them at full size and prints the
//! figures of the README; how many clients one process may have is the hard limit of open files, and what it
//! allows is said.

mod accepting;
mod busy;
mod holder;
mod idle;
mod memory;
mod neighbors;
mod pipeline;
mod slow_readers;

#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::servers::lock;
use support::{Cluster, ClusterOptions, Flavor};

/// What any step may take on a machine with too much to do.
const SOON: Duration = Duration::from_secs(30);
/// File descriptors that are for others than the clients of the load.
const OTHER_FILES: u64 = 500;

/// Whether the full size is wanted.
fn is_full() -> bool {
    std::env::var("KEYWAY_OVERLOAD").is_ok_and(|value| value == "1")
}

/// One of two sizes.
fn sized<T>(full: T, small: T) -> T {
    if is_full() { full } else { small }
}

/// One after another: each wants the machine for itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    lock(&TURN)
}

/// Three primaries.
fn cluster() -> Cluster {
    Cluster::start_with(ClusterOptions {
        replicas: 0,
        // Busy is not dead.
        node_timeout_ms: 60_000,
        ..ClusterOptions::of(Flavor::Redis)
    })
}

/// So many files as the system lets one process have open, at most `wanted`.
fn files_for(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may reach the hard one");
    let allowed = limit
        .maximum
        .unwrap_or(u64::MAX)
        .saturating_sub(OTHER_FILES);
    if allowed < wanted {
        println!("{allowed} clients, not {wanted}: the hard limit of open files allows no more");
    }
    wanted.min(allowed)
}

/// Bytes, for people.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
