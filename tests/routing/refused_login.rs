//! Nodes that do not let Keyway itself in any more: somebody changed the password there.

use std::time::Duration;

use super::support::{Action, FakeCluster, Keyway, eventually};

const DEADLINE: Duration = Duration::from_secs(10);

const BEGINS: &str = "a node refuses Keyway's own login";
const ENDS: &str = "the node accepts Keyway's own login again";

fn refusals(keyway: &Keyway) -> f64 {
    keyway.metric("keyway_upstream_refusals_total")
}

/// contract: F4 F5
#[test]
fn a_refused_login_is_told_once_and_counted() {
    for refusal in [
        "-NOAUTH HELLO must be called with the client already authenticated",
        "-WRONGPASS invalid username-password pair or user is disabled.",
        "-NOPERM User keyway has no permissions to run the 'hello' command",
    ] {
        let fake = FakeCluster::start(2);
        let keyway = Keyway::before(&fake.seeds())
            .set("proxy.workers", "3")
            .set("cluster.refresh_interval", "\"1h\"")
            .start();
        let mut old = keyway.client();
        old.expect("MGET a b c", "['node-1' 'node-0' 'node-0']");
        for node in fake.nodes() {
            node.always("HELLO", Action::line(refusal));
        }
        // New connections: of the other protocol version, on every worker.
        let mut new: Vec<_> = (0..6).map(|_| keyway.client_resp3()).collect();
        for client in &mut new {
            client.send("MGET a b c");
        }
        eventually("they were refused often", DEADLINE, || {
            refusals(&keyway) >= 12.0
        });
        // In this order, because both go on.
        let refused = refusals(&keyway);
        assert!(keyway.metric("keyway_upstream_failures_total") >= refused);
        let log = keyway.log();
        assert_eq!(log.matches(BEGINS).count(), 2, "each node once: {log}");
        let (word, _) = refusal.split_once(' ').expect("a word");
        assert!(log.contains(word), "{log}");
        // What is open goes on, and so Keyway is ready.
        old.expect("MGET a b c", "['node-1' 'node-0' 'node-0']");
        assert_eq!(keyway.admin("/ready").0, 200);
        for node in fake.nodes() {
            node.forget_rules();
        }
        for client in &mut new {
            client.expect_next("['node-1' 'node-0' 'node-0']");
        }
        eventually("it is told that it is over", DEADLINE, || {
            keyway.log().matches(ENDS).count() == 2
        });
        assert_eq!(keyway.log().matches(BEGINS).count(), 2);
    }
}

/// A refusal that is not about who logs in is counted, and says itself to the client. contract: F5
#[test]
fn another_refusal_is_only_counted() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let full = Action::line("-ERR max number of clients reached");
    fake.node(0).always("HELLO", full);
    let mut client = keyway.client_resp3();
    client.send("GET a");
    eventually("it is counted", DEADLINE, || refusals(&keyway) >= 2.0);
    fake.node(0).forget_rules();
    client.expect_next("'node-0'");
    assert!(!keyway.log().contains(BEGINS));
    assert!(!keyway.log().contains(ENDS));
}
