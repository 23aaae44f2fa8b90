//! What real replicas say rarely, from scripted nodes: the read goes elsewhere at once.

use std::time::Duration;

use super::scene::{start, wait_for_serving};
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

/// Primaries with one replica each; replica `r` of primary 0 is node `r * primaries`.
fn scene(primaries: usize, replicas: usize, policy: &str) -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start_with_replicas(primaries, replicas);
    let options = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"10s\"")
        .set("listen.read_policy", &format!("\"{policy}\""));
    let keyway = start(options, primaries * replicas);
    (fake, keyway)
}

/// contract: R5, R6, F2
#[test]
fn a_replica_that_cannot_serve_is_left_at_once() {
    for error in [
        "-LOADING Redis is loading the dataset in memory",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "-CLUSTERDOWN The cluster is down",
        "-READONLY You can't write against a read only replica.",
        "-TRYAGAIN Multiple keys request during rehashing of slot",
        "-NOSCRIPT No matching script.",
    ] {
        let (fake, keyway) = scene(1, 1, "prefer-replica");
        let mut client = keyway.client();
        client.expect("GET a", "'node-1'");
        fake.node(1).once("GET", Action::line(error));
        client.expect("GET a", "'node-0'");
        assert_eq!(fake.node(0).received("GET").len(), 1, "{error}");
        assert_eq!(keyway.metric("keyway_errors_total"), 0.0, "{error}");
        let again = "keyway_primary_reads_total{kind=\"asked_again\"}";
        assert_eq!(keyway.metric(again), 1.0, "{error}");
        if !error.starts_with("-TRYAGAIN") {
            eventually("it is read from again", Duration::from_secs(5), || {
                client.call("GET a").to_string() == "'node-1'"
            });
        }
    }
}

/// A replica that lags showed an older value than the one that was watched, and the transaction went through: an
/// update was lost. contract: T3
#[test]
fn what_is_watched_is_read_from_the_primary() {
    let (fake, keyway) = scene(1, 1, "prefer-replica");
    let mut client = keyway.client();
    for end in [&["UNWATCH"][..], &["MULTI", "INCR {w}a", "EXEC"]] {
        client.expect("GET {w}a", "'node-1'");
        client.expect("WATCH {w}a", "+OK");
        client.expect("GET {w}a", "'node-0'");
        client.expect("GET other", "'node-1'");
        for line in end {
            assert!(!client.call(line).is_error(), "{line}");
        }
    }
    client.expect("GET {w}a", "'node-1'");
    let watching = "keyway_primary_reads_total{kind=\"watching\"}";
    assert_eq!(keyway.metric(watching), 2.0);
    assert_eq!(fake.node(0).received("GET").len(), 2);
}

/// Errors that are the request's own are the client's.
#[test]
fn other_errors_of_a_replica_are_passed_on() {
    let (fake, keyway) = scene(1, 1, "prefer-replica");
    let mut client = keyway.client();
    for error in [
        "-WRONGTYPE Operation against a key",
        "-ERR no",
        "-NOPERM no",
    ] {
        fake.node(1).once("GET", Action::line(error));
        client.expect("GET a", error);
    }
    assert_eq!(fake.node(0).received("GET").len(), 0);
}

/// With two replicas the other one is asked first, the primary last.
#[test]
fn another_replica_comes_before_the_primary() {
    let (fake, keyway) = scene(1, 2, "prefer-replica");
    let mut client = keyway.client();
    let loading = || Action::line("-LOADING no");
    for node in [1, 2] {
        fake.node(node).always("GET", loading());
        let other = format!("'node-{}'", 3 - node);
        for key in 0..10 {
            client.expect(&format!("GET k{key}"), &other);
        }
        assert!(!fake.node(node).received("GET").is_empty());
        fake.node(node).forget_rules();
        eventually("it is read from again", Duration::from_secs(5), || {
            (0..10).any(|key| client.call(&format!("GET k{key}")).to_string() != other)
        });
    }
    fake.node(1).always("GET", loading());
    fake.node(2).always("GET", loading());
    for key in 0..10 {
        client.expect(&format!("GET k{key}"), "'node-0'");
    }
}

/// A replica that says MOVED is not believed: the read follows the map, and a refresh is asked for.
///
/// contract: R3, R8
#[test]
fn moved_from_a_replica_is_followed_and_refreshed() {
    let (fake, keyway) = scene(2, 1, "prefer-replica");
    let mut client = keyway.client();
    // Node 2 follows node 0; `b` is in a slot of node 0.
    client.expect("GET b", "'node-2'");
    let refreshes = keyway.metric("keyway_topology_refreshes_total");
    fake.change(|layout| layout.assign(3300, 3300, 1));
    fake.node(2)
        .always("GET b", Action::moved(3300, fake.node(1)));
    fake.node(0)
        .always("GET b", Action::moved(3300, fake.node(1)));
    let reply = client.call("GET b").to_string();
    assert!(reply == "'node-1'" || reply == "'node-3'", "{reply}");
    eventually("the map is refreshed", Duration::from_secs(5), || {
        keyway.metric("keyway_topology_refreshes_total") > refreshes
    });
    eventually(
        "the new shard's replica serves",
        Duration::from_secs(5),
        || client.call("GET b").to_string() == "'node-3'",
    );
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// A lost connection to a replica: the reads in flight are done elsewhere, each once more.
///
/// contract: F2
#[test]
fn a_lost_connection_to_a_replica_is_no_error() {
    let (fake, keyway) = scene(1, 1, "prefer-replica");
    let mut client = keyway.client();
    client.expect("GET a", "'node-1'");
    fake.node(1)
        .once("GET c", Action::ReplyAndClose(b"$6\r\nnod".to_vec()));
    let replies = client.pipeline(&["GET b", "GET c", "GET d", "MGET e f g"]);
    assert_eq!(replies[0].to_string(), "'node-1'");
    for reply in &replies[1..3] {
        assert!(reply.to_string().starts_with("'node-"), "{reply}");
    }
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// `READONLY` is said on connections for reads from replicas, and on no other, which carry all writes.
///
/// contract: C1
#[test]
fn writes_and_readonly_never_share_a_connection() {
    let (fake, keyway) = scene(2, 1, "any");
    for version in [2, 3] {
        let mut client = keyway.client();
        client.call(&format!("HELLO {version}"));
        for key in 0..200 {
            client.expect(&format!("SET k{key} v"), "+OK");
            client.call(&format!("GET k{key}"));
        }
        client.call("DEL k1 k2 k3 k4 k5");
        client.call("MGET k1 k2 k3 k4 k5");
        client.call("FLUSHALL");
    }
    for (index, node) in fake.nodes().iter().enumerate() {
        let all = node.requests("");
        let of = |words: &str| -> std::collections::BTreeSet<u64> {
            node.requests(words)
                .iter()
                .map(|request| request.connection)
                .collect()
        };
        let (read_only, writes) = (of("READONLY"), &(&of("SET") | &of("DEL")) | &of("FLUSHALL"));
        assert!(read_only.is_disjoint(&writes), "node {index}");
        let is_replica = index >= 2;
        assert_eq!(!read_only.is_empty(), is_replica, "node {index}");
        assert_eq!(writes.is_empty(), is_replica, "node {index}");
        for connection in read_only {
            let mine = all
                .iter()
                .filter(|request| request.connection == connection);
            let names: std::collections::BTreeSet<String> =
                mine.map(|request| request.text(0)).collect();
            let allowed = ["GET", "HELLO", "MGET", "READONLY"];
            assert!(
                names.iter().all(|name| allowed.contains(&name.as_str())),
                "{names:?}"
            );
        }
    }
}

/// A read waits at a replica: the write behind it must not be seen by it, and so waits as well. Reads and
/// writes of other slots do not.
///
/// contract: R13
#[test]
fn a_write_waits_for_a_read_at_a_replica() {
    let (fake, keyway) = scene(1, 1, "prefer-replica");
    let gate = Gate::new();
    fake.node(1).once(
        "GET a",
        Action::After(gate.clone(), Box::new(Action::Default)),
    );
    let mut client = keyway.client();
    client.send("GET a");
    client.send("SET a 1");
    client.send("GET a");
    fake.node(1).wait_for(1, "GET a");
    let mut other = keyway.client();
    other.expect("SET a 2", "+OK");
    assert_eq!(fake.node(0).received("SET a 1").len(), 0);
    gate.open();
    assert_eq!(client.read().to_string(), "'node-1'");
    assert_eq!(client.read().to_string(), "+OK");
    assert!(client.read().to_string().starts_with("'node-"));
    fake.node(0).wait_for(1, "SET a 1");
}

/// A replica that falls behind serves no reads until it has caught up.
#[test]
fn a_replica_that_lags_is_left_out() {
    let fake = FakeCluster::start_with_replicas(1, 1);
    let offset = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1000));
    let growing = offset.clone();
    fake.node(0).on("INFO replication", move |_| {
        let now = growing.fetch_add(1000, std::sync::atomic::Ordering::SeqCst);
        Action::bulk(&format!(
            "role:master\r\nmaster_replid:one\r\nmaster_repl_offset:{now}\r\n"
        ))
    });
    let reached = std::sync::Arc::new(std::sync::Mutex::new(None::<u64>));
    let (fixed, growing) = (reached.clone(), offset);
    fake.node(1).on("INFO replication", move |_| {
        let now = growing.load(std::sync::atomic::Ordering::SeqCst);
        let now = fixed.lock().expect("not poisoned").unwrap_or(now);
        Action::bulk(&format!(
            "role:slave\r\nmaster_link_status:up\r\nmaster_replid:one\r\nslave_repl_offset:{now}\r\n"
        ))
    });
    let options = Keyway::before(&fake.seeds())
        .set("cluster.replica_lag_max", "\"1s\"")
        .set("listen.read_policy", "\"prefer-replica\"");
    let keyway = start(options, 1);
    let mut client = keyway.client();
    client.expect("GET a", "'node-1'");
    *reached.lock().expect("not poisoned") = Some(1000);
    wait_for_serving(&keyway, 0);
    client.expect("GET a", "'node-0'");
    assert!(keyway.log().contains("Lagging"), "{}", keyway.log());
    *reached.lock().expect("not poisoned") = None;
    wait_for_serving(&keyway, 1);
    client.expect("GET a", "'node-1'");
}
