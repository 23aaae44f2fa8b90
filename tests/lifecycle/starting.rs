//! No node is needed to start, and no loss of nodes is final (contract: R11 F1).

use std::time::{Duration, Instant};

use super::support::{Cluster, FakeCluster, Flavor, Keyway, eventually};
use super::{DEADLINE, by_name};

fn go_down(fake: &FakeCluster) {
    for node in fake.nodes() {
        node.go_down();
    }
}

fn come_back(fake: &FakeCluster) {
    for node in fake.nodes() {
        node.come_back();
    }
}

/// contract: R11 F1 F5
#[test]
fn without_a_seed_it_waits_says_so_and_recovers() {
    let fake = FakeCluster::start(2);
    go_down(&fake);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"500ms\"")
        .start_unready();
    let (status, why) = keyway.admin("/ready");
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("no seed"), "{why}");

    let mut client = keyway.client();
    client.expect("PING", "+PONG");
    let asked = Instant::now();
    client.expect_error(
        "GET a",
        "CLUSTERDOWN no seed has told the topology yet; 'get' waited 0.5 s",
    );
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_millis(450), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");

    // Nobody can say yet whether there is such a command: "unknown" would be taken for the last word.
    for _ in 0..2 {
        let asked = Instant::now();
        client.expect_error(
            "X.FOO a",
            "CLUSTERDOWN no seed has told the topology yet; a command",
        );
        let waited = asked.elapsed();
        assert!(waited >= Duration::from_millis(450), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }
    // What a client tries when it connects is not waited for.
    client.expect_error("CLIENT NOSUCH", "ERR unknown subcommand 'NOSUCH'");
    client.expect("PING", "+PONG");

    come_back(&fake);
    eventually("it is ready", DEADLINE, || keyway.is_ready());
    assert!(!client.call("GET a").is_error());
    client.expect_error("X.FOO a", "ERR unknown command 'X.FOO'");
}

/// A request that waits for the first topology is served once it is there.
/// contract: F1
#[test]
fn a_request_from_before_the_cluster_is_answered() {
    let fake = FakeCluster::start(2);
    go_down(&fake);
    let keyway = Keyway::before(&fake.seeds()).start_unready();
    let mut client = keyway.client();
    client.send("GET a");
    client.send("GET b");
    client.expect_silence(Duration::from_millis(300));
    come_back(&fake);
    assert!(!client.read().is_error());
    assert!(!client.read().is_error());
}

/// contract: R11
#[test]
fn every_node_gone_and_back() {
    let cluster = Cluster::start(Flavor::Redis);
    let keyway = Keyway::before(&[])
        .set("cluster.seeds", &by_name(&cluster.seeds()[..2]))
        .set("timeouts.request", "\"1s\"")
        .start();
    let mut client = keyway.client();
    client.expect("SET a 1", "+OK");
    for index in 0..cluster.nodes().len() {
        cluster.kill(index);
    }
    client.expect_error("GET a", "CLUSTERDOWN");
    for index in 0..cluster.nodes().len() {
        cluster.restart(index);
    }
    let recovered = eventually("it is served again", Duration::from_secs(40), || {
        client.call("SET a 2").to_string() == "+OK"
    });
    println!("served again {recovered:?} after the last node's start");
    client.expect("GET a", "'2'");
}

/// Other nodes under the same name: seeds are asked again, not only those once known.
/// contract: R11
#[test]
fn every_node_gone_and_back_at_other_ports() {
    let (old, new) = (FakeCluster::start(2), FakeCluster::start(3));
    go_down(&new);
    let seeds = [old.node(0).addr(), new.node(0).addr()];
    let keyway = Keyway::before(&[])
        .set("cluster.seeds", &by_name(&seeds))
        .set("timeouts.request", "\"500ms\"")
        .start();
    let mut client = keyway.client();
    assert!(!client.call("GET a").is_error());
    go_down(&old);
    client.expect_error("GET a", "CLUSTERDOWN");
    come_back(&new);
    eventually("the others serve", DEADLINE, || {
        !client.call("GET a").is_error()
    });
    let (_, page) = keyway.admin("/topology");
    for node in new.nodes() {
        assert!(page.contains(&node.port().to_string()), "{page}");
    }
}
