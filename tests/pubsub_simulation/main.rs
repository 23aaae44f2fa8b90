//! The worker's hub lives through random histories, one for each seed: clients subscribe and leave, nodes
//! die and come back, slots move, bytes arrive late and in pieces. What a client hears is compared with
//! what was published.
//!
//! - Always: a message comes only to who is subscribed, and confirmations come in order, with the right
//!   counts, and no others.
//! - In peace: every message published after the confirmation comes, once, and on one channel in the order
//!   of publishing.
//! - At the end of trouble: each channel is subscribed where it has to be, once, and nothing else is.
//!
//! `KEYWAY_SEED=17 cargo test --test pubsub_simulation` replays one, with a trace;
//! `KEYWAY_SEEDS=5000` lives through so many.

mod check;
mod client;
mod node;
mod trouble;
mod world;

use world::World;

/// So many seeds unless told otherwise.
const SEEDS: u64 = 60;

/// contract: S1 S2 S3 P6
#[test]
fn what_clients_hear_is_what_was_published() {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("a number"))
    };
    if let Some(seed) = number("KEYWAY_SEED") {
        World::new(seed, true).live();
        return;
    }
    let mut totals = world::Summary::default();
    for seed in 0..number("KEYWAY_SEEDS").unwrap_or(SEEDS) {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, false);
            world.live();
            world.summary
        });
        match outcome {
            Ok(summary) => totals.add(&summary),
            Err(panic) => {
                eprintln!("KEYWAY_SEED={seed} shows it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{totals:?}");
    assert!(totals.messages_heard > 0 && totals.nodes_lost > 0 && totals.slots_moved > 0);
}
