//! SCAN while things change: a key that is there the whole time is returned.

use std::collections::BTreeSet;

use super::fill;
use super::scan::step;
use super::support::{Client, Cluster, Flavor, Keyway, Takeover};

const KEYS: usize = 3_000;

/// A walk of which each step may use another Keyway, with something happening on the way.
fn walk_through(keyways: &[&Keyway], mut at_step: impl FnMut(usize)) -> BTreeSet<String> {
    let mut clients: Vec<Client> = keyways.iter().map(|keyway| keyway.client()).collect();
    let mut names = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for number in 0..100_000 {
        at_step(number);
        let turn = number % clients.len();
        let (next, found) = step(&mut clients[turn], &cursor, "COUNT 20");
        names.extend(found);
        if next == "0" {
            return names;
        }
        cursor = next;
    }
    panic!("the walk does not end");
}

fn assert_all(names: &BTreeSet<String>, what: &str) {
    let missing: Vec<String> = (0..KEYS)
        .map(|number| format!("still:{number}"))
        .filter(|name| !names.contains(name))
        .collect();
    let count = missing.len();
    assert!(
        missing.is_empty(),
        "{what}: {count} of {KEYS} missed, as {:?}",
        &missing[..count.min(5)]
    );
}

/// One cluster of its own, for what changes it.
///
/// contract: M5
#[test]
fn a_walk_survives_restarts_other_keyways_and_failovers() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let one = Keyway::start(&cluster.seeds());
        fill(
            &mut one.client(),
            (0..KEYS).map(|number| format!("still:{number}")),
        );

        let other = Keyway::start(&cluster.seeds());
        let names = walk_through(&[&one, &other], |_| {});
        assert_all(&names, "two Keyways in turn");

        // The first half with one Keyway, the second with one that started later.
        let mut cursor = "0".to_owned();
        let mut names = BTreeSet::new();
        let mut client = one.client();
        for _ in 0..KEYS / 40 {
            let (next, found) = step(&mut client, &cursor, "COUNT 20");
            names.extend(found);
            cursor = next;
        }
        assert_ne!(cursor, "0", "half a walk is not a whole one");
        drop((client, one));
        let later = Keyway::start(&cluster.seeds());
        let mut client = later.client();
        while cursor != "0" {
            let (next, found) = step(&mut client, &cursor, "COUNT 20");
            names.extend(found);
            cursor = next;
        }
        assert_all(&names, "a restart half-way");

        // Keys come and go, tables grow and shrink.
        let mut churn = later.client();
        let names = walk_through(&[&later], |number| {
            if number % 10 == 0 {
                fill(&mut churn, (0..500).map(|n| format!("coming:{number}:{n}")));
            } else if number % 10 == 5 {
                let keys = (0..500).map(|n| format!("coming:{}:{n}", number - 5));
                let words: Vec<String> = std::iter::once("DEL".to_owned()).chain(keys).collect();
                churn.call_args(&words);
            }
        });
        assert_all(&names, "keys come and go");

        // Every shard fails over in the middle: its new primary knows nothing of the old one's cursors.
        let names = walk_through(&[&later, &other], |number| {
            if matches!(number, 10 | 60 | 110) {
                let primaries = cluster.primaries();
                let primary = primaries[number / 50 % primaries.len()];
                cluster.failover(cluster.replicas_of(primary)[0], Takeover::Planned);
            }
        });
        assert_all(&names, "failovers");

        // Slots move in the middle, also between shards that one page is made of.
        let mut slots: Vec<u16> = (0..KEYS as u16).step_by(50).collect();
        let names = walk_through(&[&later, &other], |number| {
            if number % 25 == 5 && !slots.is_empty() {
                let moving = slots.split_off(slots.len().saturating_sub(10));
                let to = cluster.primaries()[number / 25 % 3];
                cluster
                    .move_slots(&moving, to)
                    .expect("nothing disturbs it");
            }
        });
        assert_all(&names, "moved slots");
    }
}
