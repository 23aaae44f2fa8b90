//! Each policy, proved by the counts of the servers.

use super::scene::{before, calls, calls_by_role, cluster, fill, read_all, start};
use super::support::{Flavor, Value, each_flavor, eventually};
use std::time::Duration;

each_flavor!(
    primary_is_the_default,
    prefer_replica,
    any_takes_turns_and_sticks,
    same_zone_by_configuration,
    lowest_latency_notices_a_slow_node,
    by_client_name_and_readwrite,
);

fn primary_is_the_default(flavor: Flavor) {
    let cluster = cluster(flavor, 3, 1);
    let keyway = super::support::Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 30);
    client.expect("READONLY", "+OK");
    read_all(&mut client, &keys);
    assert_eq!(calls_by_role(&cluster, 3, "get"), (30, 0));
    assert_eq!(calls_by_role(&cluster, 3, "readonly"), (0, 0));
}

/// Reads of all kinds go to replicas, everything else to primaries, and `READONLY` is said on no
/// connection to a primary.
///
/// contract: C1
fn prefer_replica(flavor: Flavor) {
    let cluster = cluster(flavor, 3, 1);
    let keyway = start(before(&cluster, "prefer-replica"), 3);
    for version in [2, 3] {
        let mut client = keyway.client();
        client.call(&format!("HELLO {version}"));
        let keys = fill(&cluster, &mut client, 30);
        let (gets, replica_gets) = calls_by_role(&cluster, 3, "get");
        read_all(&mut client, &keys);
        assert_eq!(
            calls_by_role(&cluster, 3, "get"),
            (gets, replica_gets + 30),
            "RESP{version}"
        );
        let (mgets, replica_mgets) = calls_by_role(&cluster, 3, "mget");
        let values = client.call(&format!("MGET {}", keys.join(" ")));
        let Value::Array(values) = values else {
            panic!("{values}");
        };
        let values: Vec<String> = values.iter().map(Value::text).collect();
        assert_eq!(values, keys);
        let (primary, replica) = calls_by_role(&cluster, 3, "mget");
        assert_eq!(primary, mgets);
        assert!(replica > replica_mgets);
    }
    let mut client = keyway.client();
    for (command, reply, name) in [
        ("EXISTS key:1 key:2", ":2", "exists"),
        (
            "EVAL_RO \"return redis.call('get', KEYS[1])\" 1 key:1",
            "'key:1'",
            "eval_ro",
        ),
        ("XREAD COUNT 1 STREAMS key:x 0", "~*", "xread"),
        ("STRLEN key:1", ":5", "strlen"),
        ("SORT_RO key:none", "[]", "sort_ro"),
    ] {
        let (before, _) = calls_by_role(&cluster, 3, name);
        let said = client.call(command).to_string();
        assert!(
            said == reply || reply == "~*" && !said.starts_with('-'),
            "{command}: {said}"
        );
        let (primary, replica) = calls_by_role(&cluster, 3, name);
        assert_eq!(primary, before, "{command}");
        assert!(replica > 0, "{command}");
    }
    // A script that the replicas do not know: the primary does, or is taught.
    let sha = client.call("SCRIPT LOAD \"return redis.call('get', KEYS[1])\"");
    client.expect(&format!("EVALSHA_RO {} 1 key:1", sha.text()), "'key:1'");
    // Not a read, and transactions and blocking reads are none of a replica's.
    client.expect("GETEX key:1", "'key:1'");
    assert_eq!(calls_by_role(&cluster, 3, "getex"), (1, 0));
    assert_eq!(calls_by_role(&cluster, 3, "readonly").0, 0);
    assert!(calls_by_role(&cluster, 3, "readonly").1 >= 3);
    assert!(keyway.metric("keyway_replica_reads_total") >= 60.0);
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// One client's reads of one key come from one node; many clients' from all.
fn any_takes_turns_and_sticks(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 2);
    let keyway = start(before(&cluster, "any"), 2);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 40);
    for _ in 0..20 {
        client.expect("GET key:7", "'key:7'");
    }
    let counts: Vec<u64> = cluster
        .nodes()
        .iter()
        .map(|node| calls(node, "get"))
        .collect();
    assert_eq!(
        counts.iter().filter(|count| **count == 20).count(),
        1,
        "{counts:?}"
    );
    assert_eq!(counts.iter().sum::<u64>(), 20, "{counts:?}");
    for _ in 0..5 {
        read_all(&mut keyway.client(), &keys);
    }
    let counts: Vec<u64> = cluster
        .nodes()
        .iter()
        .map(|node| calls(node, "get"))
        .collect();
    // Of 200 reads each node has about 67.
    assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
    assert!(keyway.metric("keyway_primary_reads_total{kind=\"chosen\"}") > 20.0);
}

/// Two replicas and the primary by zone: the near replica, then the near primary, then any replica.
fn same_zone_by_configuration(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 2);
    let zoned = |near: &str| {
        before(&cluster, "same-zone")
            .set("cluster.zone", "\"a\"")
            .set(
                "cluster.zones",
                &format!("{{ \"127.0.0.1\" = \"{near}\" }}"),
            )
    };
    // All nodes are here: a replica serves.
    let keyway = start(zoned("a"), 2);
    let keys = fill(&cluster, &mut keyway.client(), 10);
    read_all(&mut keyway.client(), &keys);
    assert_eq!(calls_by_role(&cluster, 1, "get"), (0, 10));
    drop(keyway);
    // None is: a replica serves all the same.
    let keyway = start(zoned("b"), 2);
    read_all(&mut keyway.client(), &keys);
    assert_eq!(calls_by_role(&cluster, 1, "get"), (0, 20));
    drop(keyway);
    if flavor == Flavor::Valkey {
        // The nodes say it themselves.
        for (node, zone) in cluster.nodes().iter().zip(["b", "a", "b"]) {
            node.ok(&format!("CONFIG SET availability-zone {zone}"));
        }
        let keyway = start(
            before(&cluster, "same-zone").set("cluster.zone", "\"a\""),
            2,
        );
        read_all(&mut keyway.client(), &keys);
        assert_eq!(
            calls(cluster.node(1), "get") + calls(cluster.node(2), "get"),
            30
        );
        let near = calls(cluster.node(1), "get");
        read_all(&mut keyway.client(), &keys);
        assert_eq!(calls(cluster.node(1), "get"), near + 10);
        // The replica's zone changes; now the primary is the only one here.
        cluster.node(0).ok("CONFIG SET availability-zone a");
        cluster.node(1).ok("CONFIG SET availability-zone c");
        eventually("the primary serves", Duration::from_secs(10), || {
            let before = calls(cluster.node(0), "get");
            read_all(&mut keyway.client(), &keys);
            calls(cluster.node(0), "get") == before + 10
        });
    }
}

/// A node that is slow for a while loses its reads, and gets them back when it is fast again.
fn lowest_latency_notices_a_slow_node(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let keyway = start(before(&cluster, "lowest-latency"), 1);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 5);
    // A server that sleeps answers nobody: `node` is the slow one.
    for (slow, fast) in [(0, 1), (1, 0), (0, 1)] {
        let lazy = cluster.node(slow);
        eventually("the fast node serves all", Duration::from_secs(30), || {
            // Slow in most of its time, so that a question finds it so.
            let mut sleeper = lazy.client();
            sleeper.send("DEBUG SLEEP 0.15");
            let before = calls(cluster.node(fast), "get");
            for _ in 0..3 {
                read_all(&mut client, &keys);
            }
            let served = calls(cluster.node(fast), "get") - before;
            sleeper.read();
            served == 15
        });
    }
}

/// The name decides, and a client that changes its name changes its policy; `READWRITE` wants primaries.
fn by_client_name_and_readwrite(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let options = super::support::Keyway::before(&cluster.seeds()).set(
        "listen.read_policy_by_name",
        "{ \"report-*\" = \"prefer-replica\" }",
    );
    let keyway = start(options, 1);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 1);
    let mut expected = (0, 0);
    let mut check = |command: &str, is_replica: bool| {
        let reply = client.call(command);
        assert!(!reply.is_error(), "{command}: {reply}");
        read_all(&mut client, &keys);
        match is_replica {
            true => expected.1 += 1,
            false => expected.0 += 1,
        }
        assert_eq!(calls_by_role(&cluster, 1, "get"), expected, "{command}");
    };
    check("PING", false);
    check("CLIENT SETNAME report-7", true);
    check("CLIENT SETNAME web", false);
    check("HELLO 3 SETNAME report-8", true);
    check("READWRITE", false);
    check("CLIENT SETNAME report-9", false);
    check("READONLY", true);
    check("RESET", false);
}
