//! Nodes that disagree about the cluster, and odd ways of telling it.

use std::time::{Duration, Instant};

use super::place::{before, key_of, slot};
use super::support::{Action, FakeCluster, Keyway, eventually};

/// A node that lags never takes back what a higher epoch said, however often it is asked.
///
/// contract: R9
#[test]
fn a_lagging_node_does_not_roll_back() {
    let fake = FakeCluster::start(3);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"200ms\"")
        .start();
    let key = key_of(0, 3);
    let at = slot(&key);
    // Nodes 1 and 2 live in the past; nobody asks node 0 any more.
    fake.node(1).sees(|_| ());
    fake.node(2).sees(|_| ());
    fake.change(|layout| layout.assign(at, at, 1));
    fake.node(0)
        .always(&format!("GET {key}"), Action::moved(at, fake.node(1)));
    let mut client = keyway.client();
    client.expect(&format!("GET {key}"), "'node-1'");
    let asked = fake.node(0).received(&format!("GET {key}")).len();
    eventually(
        "the new owner is in the map",
        Duration::from_secs(5),
        || keyway.metric("keyway_topology_version") >= 2.0,
    );
    let refreshes = || keyway.metric("keyway_topology_refreshes_total");
    let start = refreshes();
    eventually(
        "it is asked again and again",
        Duration::from_secs(10),
        || {
            client.expect(&format!("GET {key}"), "'node-1'");
            refreshes() > start + 8.0
        },
    );
    let asked = fake.node(0).received(&format!("GET {key}")).len() - asked;
    assert!(
        asked <= 1,
        "the map went back: the old owner was asked {asked} times more"
    );
}

/// The side of a partition that lost: it still claims everything, with low epochs and a bad state.
///
/// contract: R9
#[test]
fn a_minority_is_not_believed() {
    let fake = FakeCluster::start_with_replicas(3, 1);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"200ms\"")
        .start();
    let key = key_of(0, 3);
    fake.node(0).sees(|layout| {
        layout.is_ok = false;
        for facts in &mut layout.nodes[1..] {
            facts.health = "fail".to_owned();
        }
    });
    fake.node(0)
        .always("GET", Action::line("-CLUSTERDOWN The cluster is down"));
    fake.change(|layout| {
        layout.promote(3);
        layout.nodes[0].health = "fail".to_owned();
    });
    let mut client = keyway.client();
    client.expect(&format!("GET {key}"), "'node-3'");
    let start = keyway.metric("keyway_topology_refreshes_total");
    eventually("more refreshes", Duration::from_secs(10), || {
        let began = Instant::now();
        client.expect(&format!("GET {key}"), "'node-3'");
        client.expect(&format!("GET {}", key_of(1, 3)), "'node-1'");
        assert!(began.elapsed() < Duration::from_millis(500));
        keyway.metric("keyway_topology_refreshes_total") > start + 6.0
    });
}

/// Two primaries claim a slot: the higher epoch has it.
///
/// contract: R9
#[test]
fn the_higher_epoch_owns_the_slot() {
    let fake = FakeCluster::start(2);
    let key = key_of(0, 2);
    let at = slot(&key);
    fake.node(1).sees(|layout| layout.assign(at, at, 1));
    let keyway = before(&fake, "5s");
    fake.node(0)
        .always(&format!("GET {key}"), Action::moved(at, fake.node(1)));
    keyway.client().expect(&format!("GET {key}"), "'node-1'");
}

/// Slots nobody owns: an error at the deadline that names the slot; served once somebody does.
///
/// contract: F1, R11
#[test]
fn a_slot_without_an_owner_waits_for_one() {
    let fake = FakeCluster::start(2);
    let key = key_of(0, 2);
    let at = slot(&key);
    fake.change(|layout| {
        layout.nodes[0].slots = vec![(0, at - 1), (at + 1, 8191)];
        layout.nodes[0].epoch += 10;
    });
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"1s\"")
        .start_unready();
    let mut client = keyway.client();
    // The other slots are served.
    client.expect(&format!("GET {}", key_of(1, 2)), "'node-1'");
    let began = Instant::now();
    let reply = client.call(&format!("GET {key}")).to_string();
    let took = began.elapsed().as_secs_f64();
    assert!(
        reply.starts_with("-CLUSTERDOWN") && reply.contains(&at.to_string()),
        "{reply}"
    );
    assert!((0.9..2.0).contains(&took), "after {took} s");
    client.send(&format!("SET {key} v"));
    fake.change(|layout| layout.assign(at, at, 1));
    client.expect_next("+OK");
    assert_eq!(fake.node(1).received("SET").len(), 1);
}

/// Hosts that are empty, `?`, names, IPv6; SLOTS instead of SHARDS; ids alone.
///
/// contract: R3, R11
#[test]
fn odd_views_are_read() {
    type Odd = fn(&FakeCluster);
    let cases: [(&str, Odd); 7] = [
        ("no CLUSTER SHARDS", |fake| {
            for node in fake.nodes() {
                node.always(
                    "CLUSTER SHARDS",
                    Action::line("-ERR unknown subcommand 'SHARDS'. Try CLUSTER HELP."),
                );
            }
        }),
        ("empty hosts", |fake| {
            // Each knows its own address only by being asked at it.
            for index in 0..2 {
                fake.node(index)
                    .sees(|layout| layout.nodes[index].host = String::new());
            }
        }),
        ("host names", |fake| {
            fake.change(|layout| {
                for facts in &mut layout.nodes {
                    facts.host = "localhost".to_owned();
                    facts.hostname = Some("localhost".to_owned());
                }
            });
        }),
        (
            "a replica that is loading, one that failed, both unreachable",
            |fake| {
                fake.change(|layout| {
                    for (number, health) in ["loading", "fail"].into_iter().enumerate() {
                        let mut replica = layout.nodes[0].clone();
                        replica.id = format!("{:040x}", 0xbad + number);
                        replica.port = 1;
                        replica.primary = Some(number);
                        replica.health = health.to_owned();
                        replica.slots = Vec::new();
                        layout.nodes.push(replica);
                    }
                });
            },
        ),
        ("a primary without slots", |fake| {
            fake.change(|layout| {
                let mut empty = layout.nodes[0].clone();
                empty.id = format!("{:040x}", 0xe);
                empty.port = 1;
                empty.slots = Vec::new();
                layout.nodes.push(empty);
            });
        }),
        ("no INFO", |fake| {
            for node in fake.nodes() {
                node.always(
                    "INFO",
                    Action::line("-NOPERM this user has no permissions to run the 'info' command"),
                );
            }
        }),
        ("slots in many pieces", |fake| {
            fake.change(|layout| {
                layout.nodes[0].slots = (0..8192).step_by(2).map(|slot| (slot, slot)).collect();
                let odd = (1..8192).step_by(2).map(|slot| (slot, slot));
                layout.nodes[1].slots = odd.chain([(8192, 16383)]).collect();
            });
        }),
    ];
    for (what, change) in cases {
        println!("{what}");
        let fake = FakeCluster::start(2);
        change(&fake);
        let keyway = before(&fake, "5s");
        let mut client = keyway.client();
        for number in 0..50 {
            let key = format!("odd-{number}");
            let in_pieces = what.contains("pieces") && slot(&key) < 8192 && slot(&key) % 2 == 1;
            let node = usize::from(slot(&key) >= 8192 || in_pieces);
            client.expect(&format!("GET {key}"), &format!("'node-{node}'"));
        }
    }
}

/// A replica that still synchronises may be a primary before long.
///
/// contract: M4
#[test]
fn every_node_is_asked_also_those_that_load() {
    let fake = FakeCluster::start_with_replicas(1, 2);
    fake.change(|layout| {
        layout.nodes[1].health = "loading".to_owned();
        layout.nodes[2].health = "fail".to_owned();
    });
    for node in 0..3 {
        fake.node(node).always("CONFIG", Action::line("+OK"));
    }
    let keyway = before(&fake, "10s");
    let mut client = keyway.client();
    client.expect("CONFIG SET notify-keyspace-events KEA", "+OK");
    let asked = [0, 1, 2].map(|node| fake.node(node).received("CONFIG").len());
    assert_eq!(asked, [1, 1, 0]);
}
