//! Errors that say "not executed, not now": the request is sent again until its deadline.

use std::time::{Duration, Instant};

use super::place::{before, key_of, scene};
use super::support::{Action, FakeCluster, eventually};

const COME_AGAIN: &[&str] = &[
    "-TRYAGAIN Multiple keys request during rehashing of slot",
    "-CLUSTERDOWN The cluster is down",
    "-CLUSTERDOWN Hash slot not served",
    "-CLUSTERDOWN The cluster is down and only accepts read commands",
    "-LOADING Redis is loading the dataset in memory",
    "-LOADING Valkey is loading the dataset in memory",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-READONLY You can't write against a read only replica.",
];

/// Reads and writes alike: none of them was executed.
///
/// contract: R5
#[test]
fn they_are_sat_out() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    for error in COME_AGAIN {
        for (command, reply) in [("SET k v", "+OK"), ("GET k", "'node-0'"), ("INCR k", ":1")] {
            let name = command.split(' ').next().unwrap_or_default();
            let before = fake.node(0).received(name).len();
            fake.node(0).times(4, name, Action::line(error));
            let began = Instant::now();
            client.expect(command, reply);
            let took = began.elapsed();
            assert_eq!(fake.node(0).received(name).len() - before, 5, "{error}");
            assert!(took < Duration::from_secs(3), "{error}: {took:?}");
        }
    }
}

/// contract: R5, F1, F5
#[test]
fn they_end_at_the_deadline_in_words() {
    let (fake, keyway) = scene(1, "1s");
    let mut client = keyway.client();
    for error in COME_AGAIN {
        fake.node(0).always("SET", Action::line(error));
        // What the node was just asked again when the time was over may have been executed.
        let mut reply = String::new();
        eventually("not in flight at the end", Duration::from_secs(60), || {
            let (began, before) = (Instant::now(), fake.node(0).received("SET").len());
            reply = client.call("SET k v").to_string();
            let took = began.elapsed().as_secs_f64();
            let sent = fake.node(0).received("SET").len() - before;
            assert!((3..200).contains(&sent), "sent {sent} times");
            assert!((0.9..1.8).contains(&took), "{error}: after {took} s");
            !reply.contains("outcome unknown")
        });
        assert!(reply.starts_with('-'), "{reply}");
        let names_cause = reply.contains(&error[1..]) || reply.starts_with("-CLUSTERDOWN");
        assert!(names_cause, "{error} became: {reply}");
        assert!(
            reply.contains("1.") && reply.contains(" s"),
            "for how long? {reply}"
        );
        fake.node(0).forget_rules();
        client.expect("SET k v", "+OK");
    }
}

/// A replica took over: the old primary says so, the refresh tells who.
///
/// contract: R5, R8
#[test]
fn readonly_leads_to_the_new_primary() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let keyway = before(&fake, "10s");
    let key = key_of(0, 2);
    let mut client = keyway.client();
    let mut other = keyway.client();
    let readonly = "-READONLY You can't write against a read only replica.";
    fake.node(0).always("SET", Action::line(readonly));
    client.send(&format!("SET {key} v"));
    fake.node(0).wait_for(1, "SET");
    // The rest of the cluster does not wait for it.
    let began = Instant::now();
    other.expect(&format!("SET {} v", key_of(1, 2)), "+OK");
    assert!(began.elapsed() < Duration::from_millis(500));
    fake.change(|layout| layout.promote(2));
    let began = Instant::now();
    client.expect_next("+OK");
    let took = began.elapsed();
    assert!(
        took < Duration::from_millis(500),
        "{took:?} after the change"
    );
    assert_eq!(fake.node(2).received("SET"), [format!("SET {key} v")]);
    let before = fake.node(0).received("SET").len();
    client.expect(&format!("SET {key} v"), "+OK");
    assert_eq!(fake.node(0).received("SET").len(), before);
}

/// A waiting request holds up the later ones of its own client on the same slot, and nobody else's.
///
/// contract: R5, R13, F4
#[test]
fn who_waits_waits_alone() {
    let (fake, keyway) = scene(2, "10s");
    let (stuck, free) = (key_of(0, 2), key_of(1, 2));
    fake.node(0).always("SET", Action::line(COME_AGAIN[0]));
    let mut waiting = keyway.client();
    waiting.send(&format!("SET {stuck} v"));
    fake.node(0).wait_for(2, "SET");
    let mut others: Vec<_> = (0..20).map(|_| keyway.client()).collect();
    let began = Instant::now();
    for client in &mut others {
        client.expect(&format!("SET {free} v"), "+OK");
        client.expect(&format!("GET {stuck}"), "'node-0'");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    fake.node(0).forget_rules();
    waiting.expect_next("+OK");
}

/// A client that leaves while its request waits takes it along, or has it done once; it is never done
/// twice.
///
/// contract: R5, F5
#[test]
fn a_client_that_leaves_is_forgotten() {
    let (fake, keyway) = scene(1, "2s");
    fake.node(0).always("SET", Action::line(COME_AGAIN[0]));
    let mut client = keyway.client();
    client.send("SET k v");
    fake.node(0).wait_for(2, "SET");
    drop(client);
    fake.node(0).forget_rules();
    eventually("nothing waits any more", Duration::from_secs(5), || {
        keyway.metric("keyway_requests_parked") == 0.0 && keyway.metric("keyway_clients") == 0.0
    });
    let sent = fake.node(0).received("SET").len();
    keyway.client().expect("SET other v", "+OK");
    assert_eq!(fake.node(0).received("SET").len(), sent + 1);
}
