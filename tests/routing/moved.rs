//! MOVED, in every form.

use std::time::{Duration, Instant};

use super::place::{before, forward_v6, key_of, keys_of, scene, slot, tells_its_keys};
use super::support::{Action, FakeCluster, eventually};

/// contract: R3
#[test]
fn moved_is_followed_and_remembered() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    fake.node(0)
        .always("GET", Action::moved(slot(&key), fake.node(1)));
    fake.change(|layout| layout.assign(slot(&key), slot(&key), 1));
    let mut client = keyway.client();
    for _ in 0..5 {
        client.expect(&format!("GET {key}"), "'node-1'");
    }
    assert_eq!(fake.node(0).received("GET").len(), 1, "asked in vain again");
    // The other slots of the old owner stay with it.
    fake.node(0).forget_rules();
    for other in &keys_of(0, 2, 5)[1..] {
        client.expect(&format!("GET {other}"), "'node-0'");
    }
}

/// contract: R3, R8
#[test]
fn moved_triggers_a_refresh() {
    let (fake, keyway) = scene(2, "10s");
    let keys = keys_of(0, 2, 2);
    // Everything has moved; one MOVED tells of one slot, the refresh of the others.
    fake.node(0)
        .always("GET", Action::moved(slot(&keys[0]), fake.node(1)));
    fake.change(|layout| layout.assign(0, 8191, 1));
    let mut client = keyway.client();
    client.expect(&format!("GET {}", keys[0]), "'node-1'");
    eventually("the topology is refreshed", Duration::from_secs(2), || {
        let (_, page) = keyway.admin("/topology");
        let compact: String = page.split_whitespace().collect();
        compact.contains("[0,16383]") || compact.contains("\"0-16383\"")
    });
    client.expect(&format!("GET {}", keys[1]), "'node-1'");
    assert_eq!(fake.node(0).received("GET").len(), 1);
}

/// The node named was not in any view so far.
///
/// contract: R3
#[test]
fn moved_may_name_a_node_never_seen() {
    let fake = FakeCluster::start(3);
    // It can describe itself; the others do not know it yet.
    fake.node(2).sees(|_| ());
    fake.change(|layout| {
        layout.assign(0, 16383, 0);
        layout.nodes.truncate(2);
    });
    let keyway = super::support::Keyway::start(&fake.seeds()[..2]);
    let key = key_of(2, 3);
    fake.node(0)
        .always("GET", Action::moved(slot(&key), fake.node(2)));
    let mut client = keyway.client();
    client.expect(&format!("GET {key}"), "'node-2'");
    assert_eq!(fake.node(2).received("GET").len(), 1);
}

/// contract: R3
#[test]
fn moved_may_name_the_node_in_odd_ways() {
    for form in ["", "localhost", "127.0.0.1", "::1", "[::1]", "?"] {
        let (fake, keyway) = scene(2, "10s");
        let key = key_of(0, 2);
        let port = match form.contains("::1") {
            true => forward_v6(fake.node(1).addr()),
            false => fake.node(1).port(),
        };
        let moved = format!("-MOVED {} {form}:{port}", slot(&key));
        fake.node(0).always("GET", Action::line(&moved));
        fake.change(|layout| layout.assign(slot(&key), slot(&key), 1));
        let mut client = keyway.client();
        let began = Instant::now();
        client.expect(&format!("GET {key}"), "'node-1'");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{moved}: took {took:?}");
    }
}

/// A redirect nobody could follow is the client's to see, at once.
///
/// contract: R3, F5
#[test]
fn a_malformed_redirect_is_passed_on() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    for text in [
        "MOVED",
        "MOVED 1",
        "MOVED x 127.0.0.1:1",
        "MOVED 16384 127.0.0.1:7000",
        "MOVED 1 127.0.0.1",
        "MOVED 1 127.0.0.1:0",
        "MOVED 1 127.0.0.1:99999",
        "ASK",
        "ASK 1 nowhere",
        "MOVEDX 1 127.0.0.1:7000",
    ] {
        fake.node(0).once("GET", Action::line(&format!("-{text}")));
        client.expect("GET a", &format!("-{text}"));
    }
    client.expect("GET a", "'node-0'");
}

/// contract: R3, P2
#[test]
fn a_pipeline_through_moved_keeps_its_replies_in_order() {
    let (fake, keyway) = scene(2, "10s");
    let (near, far) = (keys_of(0, 2, 20), keys_of(1, 2, 20));
    let moved = near[..10].to_vec();
    let target = fake.node(1).addr();
    let gone = moved.clone();
    fake.node(0).on("GET", move |request| {
        let key = request.text(1);
        match gone.contains(&key) {
            true => Action::line(&format!("-MOVED {} {target}", slot(&key))),
            false => Action::bulk(&format!("{key}@0")),
        }
    });
    tells_its_keys(fake.node(1), "1");
    for key in &moved {
        fake.change(|layout| layout.assign(slot(key), slot(key), 1));
    }
    let mut client = keyway.client();
    let keys: Vec<&String> = near.iter().chain(&far).cycle().take(400).collect();
    let commands: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    for (key, reply) in keys.iter().zip(client.pipeline(&commands)) {
        let node = if near[10..].contains(key) { 0 } else { 1 };
        assert_eq!(reply.text(), format!("{key}@{node}"));
    }
}

/// Two nodes that name each other for ever: the request ends at its deadline, and until then they are
/// not asked without a pause.
///
/// contract: R7, F5
#[test]
fn ping_pong_backs_off_and_ends() {
    let (fake, keyway) = scene(2, "1s");
    let key = key_of(0, 2);
    fake.node(0)
        .always("GET", Action::moved(slot(&key), fake.node(1)));
    fake.node(1)
        .always("GET", Action::moved(slot(&key), fake.node(0)));
    let mut client = keyway.client();
    let began = Instant::now();
    let reply = client.call(&format!("GET {key}"));
    let took = began.elapsed();
    assert!(reply.is_error(), "{reply}");
    assert!(
        (0.9..2.0).contains(&took.as_secs_f64()),
        "{took:?}: {reply}"
    );
    let asked = fake.node(0).received("GET").len() + fake.node(1).received("GET").len();
    assert!((4..300).contains(&asked), "asked {asked} times in {took:?}");
    let refreshes = fake.node(0).received("CLUSTER").len();
    // At most one refresh every 20 ms, of a few questions each.
    assert!(refreshes < 200, "asked for the topology {refreshes} times");
    // Once they agree, all is well.
    fake.node(0).forget_rules();
    fake.node(1).forget_rules();
    let reply = client.call(&format!("GET {key}")).text();
    assert!(reply.starts_with("node-"), "{reply}");
}

/// Ping-pong that ends in time is not seen by the client.
///
/// contract: R7
#[test]
fn a_short_ping_pong_is_sat_out() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    fake.node(0)
        .times(15, "SET", Action::moved(slot(&key), fake.node(1)));
    fake.node(1)
        .times(15, "SET", Action::moved(slot(&key), fake.node(0)));
    keyway.client().expect(&format!("SET {key} v"), "+OK");
}

/// Many clients, one slot, one MOVED each: refreshes are coalesced.
///
/// contract: R8
#[test]
fn a_storm_of_moved_is_a_few_refreshes() {
    let fake = FakeCluster::start(2);
    let keyway = before(&fake, "10s");
    let keys = keys_of(0, 2, 1_000);
    let target = fake.node(1).addr();
    fake.node(0).on("GET", move |request| {
        Action::line(&format!("-MOVED {} {target}", slot(&request.text(1))))
    });
    let asked = || fake.node(0).received("CLUSTER").len() + fake.node(1).received("CLUSTER").len();
    let before = asked();
    let commands: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    // The nodes' views lag behind what they do.
    let began = Instant::now();
    let mut client = keyway.client();
    for reply in client.pipeline(&commands) {
        assert_eq!(reply.text(), "node-1");
    }
    let (asked, took) = (asked() - before, began.elapsed());
    // At most one refresh every 20 ms, of two questions to each of two nodes.
    let allowed = 20 + took.as_millis() as usize / 5;
    println!("{asked} questions about the topology in {took:?}");
    assert!(asked <= allowed, "{asked} questions in {took:?}");
}
