//! When the topology is asked for, how often, and what it leaves alone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::place::{before, key_of, keys_of, scene, slot};
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

/// Notes when any node is asked for the topology.
fn clock_of_questions(fake: &FakeCluster) -> Arc<Mutex<Vec<Instant>>> {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    for node in fake.nodes() {
        let times = Arc::clone(&times);
        node.on("CLUSTER", move |_| {
            times.lock().expect("no holder panics").push(Instant::now());
            Action::Default
        });
    }
    times
}

/// While a node is down, the topology is asked at least every 100 ms; the new owner serves within the
/// next question.
///
/// contract: R8
#[test]
fn a_dead_primary_is_asked_about_every_100_ms() {
    let fake = FakeCluster::start_with_replicas(3, 1);
    let keyway = before(&fake, "20s");
    let key = key_of(0, 3);
    let mut client = keyway.client();
    client.expect(&format!("GET {key}"), "'node-0'");
    let times = clock_of_questions(&fake);
    fake.node(0).go_down();
    client.send(&format!("GET {key}"));
    let down_at = Instant::now();
    eventually("a second passes", Duration::from_secs(3), || {
        down_at.elapsed() > Duration::from_millis(1_200)
    });
    fake.change(|layout| layout.promote(3));
    let changed_at = Instant::now();
    client.expect_next("'node-3'");
    let took = changed_at.elapsed();
    let mut times: Vec<Duration> = times
        .lock()
        .expect("no holder panics")
        .iter()
        .map(|at| at.saturating_duration_since(down_at))
        .collect();
    times.retain(|at| *at < Duration::from_millis(1_200));
    times.sort();
    println!(
        "{} questions in 1.2 s, served {took:?} after the change",
        times.len()
    );
    assert!(
        took < Duration::from_millis(500),
        "{took:?} after the change"
    );
    let mut gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort();
    // A busy machine may miss a beat; not most of them.
    assert!(times.len() >= 9, "only {} questions", times.len());
    assert!(
        gaps[gaps.len() * 9 / 10] < Duration::from_millis(250),
        "{gaps:?}"
    );
    assert!(times.len() < 12 * 6 * 6, "{} questions", times.len());
}

/// Without a client's request as well: nobody has to run into it first.
///
/// contract: R8
#[test]
fn a_lost_connection_is_reason_enough() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let keyway = before(&fake, "20s");
    let key = key_of(0, 2);
    keyway.client().expect(&format!("GET {key}"), "'node-0'");
    let version = keyway.metric("keyway_topology_version");
    fake.change(|layout| layout.promote(2));
    fake.node(0).go_down();
    eventually("the new primary is known", Duration::from_secs(2), || {
        keyway.metric("keyway_topology_version") > version
    });
    keyway.client().expect(&format!("GET {key}"), "'node-2'");
}

/// Nothing happens, and the change is found all the same.
///
/// contract: R8
#[test]
fn the_timer_finds_what_gives_no_sign() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"300ms\"")
        .start();
    let times = clock_of_questions(&fake);
    let key = key_of(0, 2);
    fake.change(|layout| layout.assign(slot(&key), slot(&key), 1));
    let began = Instant::now();
    eventually("the move is found", Duration::from_secs(3), || {
        keyway.client().call(&format!("GET {key}")).text() == "node-1"
    });
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let count = || times.lock().expect("no holder panics").len();
    let start = count();
    let began = Instant::now();
    eventually("two seconds pass", Duration::from_secs(5), || {
        began.elapsed() > Duration::from_secs(2)
    });
    let asked = count() - start;
    assert!((2..80).contains(&asked), "{asked} questions in 2 s");
}

/// contract: R10
#[test]
fn a_refresh_drops_neither_requests_nor_connections() {
    let (fake, keyway) = scene(3, "10s");
    let mut client = keyway.client();
    for node in 0..3 {
        client.expect(
            &format!("GET {}", key_of(node, 3)),
            &format!("'node-{node}'"),
        );
    }
    let key = key_of(1, 3);
    let gate = Gate::new();
    fake.node(1).once(
        "INCR",
        Action::After(gate.clone(), Box::new(Action::line(":77"))),
    );
    let mut held = keyway.client();
    held.send(&format!("INCR {key}"));
    fake.node(1).wait_for(1, "INCR");
    // Everything else changes hands, twice.
    for (round, to) in [(0, 2), (1, 0)] {
        let version = keyway.metric("keyway_topology_version");
        let moving = keys_of(0, 3, 20).remove(10 + round);
        let at = slot(&moving);
        let from = if to == 2 { 0 } else { 2 };
        fake.change(|layout| layout.assign(0, 5460, to));
        fake.node(from)
            .always(&format!("GET {moving}"), Action::moved(at, fake.node(to)));
        client.expect(&format!("GET {moving}"), &format!("'node-{to}'"));
        eventually("the change is seen", Duration::from_secs(5), || {
            keyway.metric("keyway_topology_version") > version
        });
        fake.node(from).forget_rules();
    }
    held.expect_silence(Duration::from_millis(10));
    gate.open();
    held.expect_next(":77");
    assert_eq!(fake.node(1).received("INCR").len(), 1);
    client.expect(&format!("GET {key}"), "'node-1'");
    assert_eq!(keyway.metric("keyway_upstream_failures_total"), 0.0);
}

/// What is under way at a node that leaves is still answered, then its connections are closed.
///
/// contract: R10
#[test]
fn nodes_that_left_are_let_go() {
    let fake = FakeCluster::start(3);
    fake.node(2).sees(|_| ());
    let keyway = Keyway::before(&fake.seeds()[..2])
        .set("cluster.refresh_interval", "\"300ms\"")
        .start();
    let mut client = keyway.client();
    for node in 0..3 {
        let get = format!("GET {}", key_of(node, 3));
        client.expect(&get, &format!("'node-{node}'"));
    }
    let gate = Gate::new();
    let held_back = Action::After(gate.clone(), Box::new(Action::line(":77")));
    fake.node(2).once("INCR", held_back);
    let mut held = keyway.client();
    held.send(&format!("INCR {}", key_of(2, 3)));
    fake.node(2).wait_for(1, "INCR");
    let before = keyway.metric("keyway_upstream_connections");
    // A node that was reset knows of nobody.
    let nothing = Action::line("-CLUSTERDOWN The cluster is down");
    fake.node(2).always("CLUSTER", nothing);
    fake.change(|layout| {
        layout.assign(0, 16383, 1);
        layout.nodes.truncate(2);
    });
    eventually("the change is seen", Duration::from_secs(5), || {
        keyway.metric("keyway_topology_nodes") == 2.0
    });
    let get = format!("GET {}", key_of(2, 3));
    client.expect(&get, "'node-1'");
    held.expect_silence(Duration::from_millis(10));
    gate.open();
    held.expect_next(":77");
    eventually("its connection is closed", Duration::from_secs(5), || {
        keyway.metric("keyway_upstream_connections") < before
    });
    held.expect(&get, "'node-1'");
}

/// Every node goes, and comes back: no state is terminal.
///
/// contract: R11
#[test]
fn with_every_node_gone_it_keeps_trying() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&[])
        .set(
            "cluster.seeds",
            &format!("[\"localhost:{}\"]", fake.node(0).port()),
        )
        .set("timeouts.request", "\"1s\"")
        .start();
    for round in 0..2 {
        let mut client = keyway.client();
        client.expect(&format!("GET {}", key_of(1, 2)), "'node-1'");
        for node in fake.nodes() {
            node.go_down();
        }
        let reply = client.call(&format!("GET {}", key_of(0, 2)));
        assert!(reply.is_error(), "{reply}");
        client.expect("PING", "+PONG");
        for node in fake.nodes() {
            node.come_back();
        }
        let began = Instant::now();
        eventually("it recovers", Duration::from_secs(10), || {
            client.call(&format!("GET {}", key_of(0, 2))).to_string() == "'node-0'"
        });
        println!("round {round}: back after {:?}", began.elapsed());
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    }
}

/// The only seed dies for good; the nodes learnt from it go on telling.
///
/// contract: R11, R8
#[test]
fn nodes_learnt_later_stand_in_for_the_seed() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let keyway = Keyway::start(&fake.seeds()[..1]);
    let mut client = keyway.client();
    client.expect(&format!("GET {}", key_of(0, 2)), "'node-0'");
    fake.node(0).go_down();
    fake.change(|layout| layout.promote(2));
    client.expect(&format!("GET {}", key_of(0, 2)), "'node-2'");
    client.expect(&format!("GET {}", key_of(1, 2)), "'node-1'");
}
