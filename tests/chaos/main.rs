//! Chaos: a real cluster with everything done to it that happens to clusters, in an order that a seed
//! decides, under mixed load; and a reckoning of what clients were told against what the nodes did.
//!
//! `make chaos` runs it for `KEYWAY_CHAOS_SECONDS` (600), with `KEYWAY_CHAOS_SEED` and, for one of the two
//! alone, `KEYWAY_CHAOS_FLAVOR` (`redis`, `valkey`); the test run does a short one of each.
//!
//! - `schedule.rs` says what is done, `faults.rs` how.
//! - `crowd.rs` starts the clients of `load/`; `register.rs` knows what each key may hold.
//! - `audit.rs` reads the nodes' own logs: who executed what, and in which order.
//! - `queues_check.rs` says who has each element of the queues.

mod aof;
mod audit;
mod crowd;
mod faults;
mod line;
mod load;
mod marker;
mod pops;
mod queues_check;
mod register;
mod report;
mod run;
mod schedule;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tally;

use std::env;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use support::Flavor;
use support::servers::lock;

/// How long faults are done when nobody says otherwise.
const SHORT_SECONDS: u64 = 25;

/// contract: P9 R3 R4 R5 R8 R11 R13 T1 T3 T5 T6 S2 F1 F2 F3 F5 F8
#[test]
fn promises_are_kept_on_redis() {
    promises_are_kept(Flavor::Redis);
}

/// contract: P9 R3 R4 R5 R8 R11 R13 T1 T3 T5 T6 S2 F1 F2 F3 F5 F8
#[test]
fn promises_are_kept_on_valkey() {
    promises_are_kept(Flavor::Valkey);
}

fn promises_are_kept(flavor: Flavor) {
    // Redis 6.2 keeps no history of its append-only files.
    if !flavor.is_since(7, 0) {
        return;
    }
    // One after the other: two clusters under load are too much for a small machine.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = lock(&TURN);
    let wanted: Option<String> = setting("KEYWAY_CHAOS_FLAVOR");
    let name = format!("{flavor:?}").to_lowercase();
    if wanted.is_some_and(|wanted| !wanted.is_empty() && wanted != name) {
        println!("{name} is not wanted");
        return;
    }
    let seed = setting("KEYWAY_CHAOS_SEED").unwrap_or(1);
    let seconds = setting("KEYWAY_CHAOS_SECONDS").unwrap_or(SHORT_SECONDS);
    println!("KEYWAY_CHAOS_FLAVOR={name} KEYWAY_CHAOS_SEED={seed} KEYWAY_CHAOS_SECONDS={seconds}");
    let report = run::run(flavor, seed, Duration::from_secs(seconds));
    println!("{report}");
    report.assert_kept();
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    let value = text.parse();
    Some(value.unwrap_or_else(|_| panic!("{name}={text} cannot be read")))
}
