//! The same sequences of commands go to one plain server and through Keyway to a cluster of the
//! same program, and every reply is compared byte for byte.
//!
//! A sequence is made from its seed alone: commands of all types on few keys, right and wrong, from
//! several clients in RESP2 and RESP3, in pipelines of any depth. When replies differ, the shortest
//! sequence that shows it is printed, with both replies.
//!
//! - `cargo test --test differential`: the short form of every test run.
//! - `KEYWAY_TEST_COMMANDS=1000000 cargo test --release --test differential`: so many for each program.
//! - `KEYWAY_TEST_SEED=17 cargo test --test differential redis`: one sequence again.
//! - `KEYWAY_TEST_FIRST_SEED=5000`: other sequences.
//! - `KEYWAY_TEST_SURVEY=1`: goes on after a difference and prints each kind once.

#[path = "../support/mod.rs"]
mod support;

mod catalogue;
mod command;
mod compare;
mod differences;
mod peer;
mod plan;
mod player;
#[path = "../support/readme.rs"]
mod readme;
mod scripts;
mod shrink;
mod stage;
mod state;
mod story;
mod template;
mod words;

use std::collections::BTreeSet;
use std::time::Instant;

use catalogue::Kind;
use player::Player;
use shrink::shrink;
use stage::Stage;
use story::Author;
use support::{Flavor, each_flavor};

/// Commands for each program in an ordinary test run.
const COMMANDS: usize = 10_000;

/// Commands of one sequence.
const SEQUENCE: usize = 1_000;

/// What is served.
const KINDS: &[Kind] = &[
    Kind::Data,
    Kind::Global,
    Kind::Scripts,
    Kind::Connection,
    Kind::Blocking,
    Kind::Digests,
    Kind::Transactions,
    Kind::Subscriptions,
    Kind::Publish,
];

each_flavor! { every_reply_is_one_servers }

#[test]
fn the_readme_lists_the_differences() {
    readme::check_tables(&[("differences", differences::markdown())]);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// contract: P1 P2 P3 P7, R1 R2, M1, T1 to T5, S1 S4, C1 C3 C5 C6
fn every_reply_is_one_servers(flavor: Flavor) {
    // Redis 6.2 has other words, and lacks half of the catalogue.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::new(flavor);
    let only = variable("KEYWAY_TEST_SEED");
    let first = only.or(variable("KEYWAY_TEST_FIRST_SEED")).unwrap_or(0);
    let wanted = variable("KEYWAY_TEST_COMMANDS").map_or(COMMANDS, |count| count as usize);
    let (mut played, mut seed, started) = (0, first, Instant::now());
    let mut survey = variable("KEYWAY_TEST_SURVEY").map(|_| BTreeSet::new());
    let mut tries = 0;
    println!("{}: from seed {first} on", flavor.program());
    while played < wanted {
        let turns = Author::new(seed, flavor, KINDS, &stage.payloads).write(SEQUENCE);
        if std::env::var_os("KEYWAY_TEST_TELL").is_some() {
            turns.iter().for_each(|turn| eprint!("{turn}"));
        }
        let mut player = Player::new(&stage);
        player.forgiven = survey.clone().unwrap_or_default();
        if let Err(found) = player.play(&turns) {
            if let Some(kinds) = &mut survey {
                if kinds.insert(found.kind()) {
                    eprintln!("seed {seed}, {found}");
                }
                // Once the two have parted, all that follows differs.
                tries += 1;
                if tries == 4 {
                    (seed, tries) = (seed + 1, 0);
                }
                continue;
            }
            // A shorter one may come to differ for another reason.
            eprintln!("seed {seed}, to be made shorter: {found}");
            let (turns, found) = shrink(&stage, &turns, found);
            let story: String = turns.iter().map(|turn| turn.to_string()).collect();
            panic!(
                "seed {seed}: a difference\n{story}\n  {found}\n\
                 again: KEYWAY_TEST_SEED={seed} cargo test --test differential {}\n",
                flavor.program().trim_end_matches("-server"),
            );
        }
        played += player.commands;
        seed += 1;
        if only.is_some() {
            break;
        }
    }
    println!(
        "{}: {played} commands in {:?}, no difference",
        flavor.program(),
        started.elapsed()
    );
}
