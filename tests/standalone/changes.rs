//! It comes back as something else: a cluster where one server was, and one server where a cluster was.

use std::time::Duration;

use super::support::{Client, FakeCluster, Keyway, Value, eventually};

fn mget(client: &mut Client) -> Value {
    client.call("MGET a b c d")
}

/// contract: R11
#[test]
fn it_is_detected_anew() {
    let fake = FakeCluster::start(2);
    fake.change(|layout| layout.cluster_enabled = false);
    let keyway = Keyway::start(&fake.seeds()[..1]);
    let mut client = keyway.client();
    for _ in 0..2 {
        // One server: a command of many keys arrives whole.
        assert_eq!(
            mget(&mut client).to_string(),
            "['node-0' 'node-0' 'node-0' 'node-0']"
        );
        assert_eq!(
            fake.node(0).received("MGET").pop().as_deref(),
            Some("MGET a b c d")
        );
        client.expect("RENAME a b", "+OK");

        // The server is replaced by a cluster: connections are lost, the same address answers anew.
        for node in fake.nodes() {
            node.go_down();
        }
        fake.change(|layout| layout.cluster_enabled = true);
        for node in fake.nodes() {
            node.come_back();
        }
        eventually("the cluster is detected", Duration::from_secs(10), || {
            mget(&mut client).to_string().contains("node-1")
        });
        client.expect_error("RENAME a b", "CROSSSLOT");
        client.expect("SET {a}x 1", "+OK");

        // And back.
        for node in fake.nodes() {
            node.go_down();
        }
        fake.change(|layout| layout.cluster_enabled = false);
        fake.node(0).come_back();
        eventually(
            "the one server is detected",
            Duration::from_secs(10),
            || client.call("RENAME a b").to_string() == "+OK",
        );
        fake.node(1).come_back();
    }
}

/// Without a lost connection: the periodic question finds it.
///
/// contract: R8, R11
#[test]
fn it_is_detected_without_a_sign() {
    let fake = FakeCluster::start(1);
    fake.change(|layout| layout.cluster_enabled = false);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"200ms\"")
        .start();
    let mut client = keyway.client();
    client.expect("RENAME a b", "+OK");
    fake.change(|layout| layout.cluster_enabled = true);
    eventually("the cluster is detected", Duration::from_secs(5), || {
        client
            .call("RENAME a b")
            .to_string()
            .starts_with("-CROSSSLOT")
    });
}

/// Seeds that name nobody at first.
///
/// contract: R11
#[test]
fn a_server_that_comes_late_is_found() {
    let fake = FakeCluster::standalone();
    fake.node(0).go_down();
    let keyway = Keyway::before(&fake.seeds()).start_unready();
    assert!(!keyway.is_ready());
    let mut client = keyway.client();
    client.send("GET a");
    keyway.client().expect("PING", "+PONG");
    fake.node(0).come_back();
    client.expect_next("'node-0'");
    eventually("keyway is ready", Duration::from_secs(5), || {
        keyway.is_ready()
    });
}
