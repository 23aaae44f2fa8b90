//! Nodes that take connections and never answer.

use std::time::{Duration, Instant};

use super::place::{before, key_of, keys_of, scene};
use super::support::{Action, FakeCluster, eventually};

/// A node that hangs from the start: not even its handshake is answered.
///
/// contract: F4, F5, R11
#[test]
fn a_node_that_never_speaks_costs_only_its_own_shard() {
    let fake = FakeCluster::start(3);
    fake.node(0).always("", Action::Silence);
    let keyway = before(&fake, "1s");
    let mut stuck = keyway.client();
    let mut others: Vec<_> = (0..10).map(|_| keyway.client()).collect();
    for _ in 0..2 {
        let began = Instant::now();
        stuck.send(&format!("GET {}", key_of(0, 3)));
        for client in &mut others {
            for key in keys_of(1, 3, 3).iter().chain(&keys_of(2, 3, 3)) {
                let one = Instant::now();
                assert!(
                    client
                        .call(&format!("GET {key}"))
                        .text()
                        .starts_with("node-")
                );
                let took = one.elapsed();
                assert!(took < Duration::from_millis(500), "others wait {took:?}");
            }
        }
        let reply = stuck.read().to_string();
        let took = began.elapsed().as_secs_f64();
        assert!(
            reply.starts_with('-') && (0.9..2.5).contains(&took),
            "after {took} s: {reply}"
        );
    }
    // It wakes up.
    fake.node(0).forget_rules();
    eventually("the shard is back", Duration::from_secs(10), || {
        stuck.call(&format!("GET {}", key_of(0, 3))).to_string() == "'node-0'"
    });
}

/// It hung up in the middle of its life: requests that were written are answered by their deadline,
/// those that come later wait no longer than theirs.
///
/// contract: F2, F4, F5
#[test]
fn a_node_that_falls_silent_is_told_by_the_deadline() {
    let (fake, keyway) = scene(2, "1s");
    let (stuck_key, free_key) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    client.expect(&format!("GET {stuck_key}"), "'node-0'");
    fake.node(0).always("", Action::Silence);
    let mut free = keyway.client();
    let mut waiting: Vec<_> = (0..20).map(|_| keyway.client()).collect();
    let began = Instant::now();
    for (number, client) in waiting.iter_mut().enumerate() {
        let word = if number % 2 == 0 { "GET" } else { "INCR" };
        client.send(&format!("{word} {stuck_key}"));
    }
    for _ in 0..100 {
        let one = Instant::now();
        free.expect(&format!("GET {free_key}"), "'node-1'");
        assert!(
            one.elapsed() < Duration::from_millis(500),
            "{:?}",
            one.elapsed()
        );
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        let reply = client.read().to_string();
        let took = began.elapsed().as_secs_f64();
        assert!(
            reply.starts_with('-') && (0.9..2.5).contains(&took),
            "after {took} s: {reply}"
        );
        let is_unknown = reply.contains("outcome unknown");
        assert!(
            number % 2 == 0 || is_unknown,
            "an INCR was written: {reply}"
        );
        assert!(
            number % 2 == 1 || !is_unknown,
            "a GET has no outcome: {reply}"
        );
    }
    fake.node(0).forget_rules();
    eventually("the shard is back", Duration::from_secs(10), || {
        client.call(&format!("GET {stuck_key}")).to_string() == "'node-0'"
    });
    assert_eq!(
        fake.node(0).received("INCR").len(),
        10,
        "no INCR was sent twice"
    );
}

/// A forwarded port of a node that is down takes connections and closes them at once. What was never
/// taken up was not executed.
///
/// contract: F1, F2, F4
#[test]
fn a_node_that_accepts_and_closes_has_executed_nothing() {
    let (fake, keyway) = scene(2, "1s");
    let (dead, alive) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    client.expect(&format!("GET {dead}"), "'node-0'");
    fake.node(0).always("", Action::close());
    fake.node(0).cut_connections();
    let mut other = keyway.client();
    eventually("the loss is noticed", Duration::from_secs(5), || {
        keyway.metric("keyway_upstream_failures_total") > 0.0
    });
    for command in ["SET", "APPEND"] {
        let began = Instant::now();
        client.send(&format!("{command} {dead} v"));
        for _ in 0..20 {
            let one = Instant::now();
            other.expect(&format!("SET {alive} v"), "+OK");
            assert!(one.elapsed() < Duration::from_millis(500));
        }
        let reply = client.read().to_string();
        let took = began.elapsed().as_secs_f64();
        assert!(
            reply.starts_with('-') && (0.9..2.0).contains(&took),
            "after {took} s: {reply}"
        );
        assert!(!reply.contains("outcome unknown"), "{reply}");
    }
    assert_eq!(fake.node(0).received("SET").len(), 0);
    // It comes up while a request waits.
    client.send(&format!("SET {dead} v"));
    fake.node(0).forget_rules();
    client.expect_next("+OK");
    assert_eq!(fake.node(0).received("SET").len(), 1);
}

/// All nodes hang, then wake: nothing is left over.
///
/// contract: F5, R11
#[test]
fn all_nodes_hang_and_wake() {
    let (fake, keyway) = scene(2, "1s");
    for node in fake.nodes() {
        node.always("", Action::Silence);
    }
    let keys: Vec<_> = (0..2).flat_map(|node| keys_of(node, 2, 10)).collect();
    let mut client = keyway.client();
    let commands: Vec<_> = keys.iter().map(|key| format!("GET {key}")).collect();
    let began = Instant::now();
    for reply in client.pipeline(&commands) {
        assert!(reply.is_error(), "{reply}");
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "one deadline for all of a pipeline: {took:?}"
    );
    // What Keyway answers itself does not need them.
    client.expect("PING", "+PONG");
    for node in fake.nodes() {
        node.forget_rules();
    }
    eventually("all is back", Duration::from_secs(10), || {
        client.call(&commands[0]).to_string() == "'node-0'"
    });
    for (at, reply) in client.pipeline(&commands).iter().enumerate() {
        assert_eq!(reply.to_string(), format!("'node-{}'", at / 10));
    }
    eventually("nothing is in flight", Duration::from_secs(5), || {
        keyway.metric("keyway_requests_in_flight") == 0.0
            && keyway.metric("keyway_requests_parked") == 0.0
    });
}

/// The topology's own questions hang at one node: the others are heard.
///
/// contract: R8, R9
#[test]
fn a_node_that_does_not_tell_the_topology_is_done_without() {
    let fake = FakeCluster::start(3);
    fake.node(0).always("CLUSTER", Action::Silence);
    fake.node(0).always("INFO", Action::Silence);
    let keyway = before(&fake, "5s");
    let mut client = keyway.client();
    for node in 0..3 {
        client.expect(
            &format!("GET {}", key_of(node, 3)),
            &format!("'node-{node}'"),
        );
    }
    let key = key_of(1, 3);
    let at = super::place::slot(&key);
    let version = keyway.metric("keyway_topology_version");
    fake.change(|layout| layout.assign(at, at, 2));
    fake.node(1)
        .always(&format!("GET {key}"), Action::moved(at, fake.node(2)));
    client.expect(&format!("GET {key}"), "'node-2'");
    eventually("the change is seen", Duration::from_secs(5), || {
        keyway.metric("keyway_topology_version") > version
    });
}
