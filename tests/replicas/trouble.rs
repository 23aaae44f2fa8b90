//! Replicas that die, hang, lag or follow nobody: reads go elsewhere, and no client hears of it.

use std::time::{Duration, Instant};

use super::scene::{
    before, calls, calls_by_role, cluster, fill, read_all, start, wait_for_serving,
};
use super::support::{Flavor, Takeover, each_flavor, eventually};

each_flavor!(
    a_replica_is_killed_under_load,
    a_replica_hangs,
    a_replica_is_cut_off_and_lags,
    the_primary_dies,
    a_replica_takes_over,
);

/// contract: F2
fn a_replica_is_killed_under_load(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 2);
    let keyway = start(before(&cluster, "prefer-replica"), 2);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 50);
    let gets: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let began = Instant::now();
    let mut is_killed = false;
    while began.elapsed() < Duration::from_secs(3) {
        for (reply, key) in client.pipeline(&gets).iter().zip(&keys) {
            assert_eq!(reply.text(), *key);
        }
        if !is_killed && began.elapsed() > Duration::from_millis(300) {
            cluster.kill(1);
            is_killed = true;
        }
    }
    wait_for_serving(&keyway, 1);
    let before = calls(cluster.node(2), "get");
    read_all(&mut client, &keys);
    assert_eq!(calls(cluster.node(2), "get"), before + 50);
    // It comes back and serves again.
    cluster.restart(1);
    wait_for_serving(&keyway, 2);
    eventually(
        "the restarted replica serves",
        Duration::from_secs(10),
        || {
            read_all(&mut client, &keys);
            calls(cluster.node(1), "get") > 0
        },
    );
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// contract: F5
fn a_replica_hangs(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let options = before(&cluster, "prefer-replica").set("cluster.replica_timeout", "\"300ms\"");
    let keyway = start(options, 1);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 20);
    read_all(&mut client, &keys);
    cluster.pause(1);
    let began = Instant::now();
    let gets: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    for (reply, key) in client.pipeline(&gets).iter().zip(&keys) {
        assert_eq!(reply.text(), *key);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // From now on it is not even tried.
    let began = Instant::now();
    read_all(&mut client, &keys);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(250), "{took:?}");
    cluster.resume(1);
    let before = calls(cluster.node(1), "get");
    eventually("it serves again", Duration::from_secs(20), || {
        read_all(&mut client, &keys);
        calls(cluster.node(1), "get") > before + 20
    });
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// The replica cannot follow: its link is down and stays so while the primary goes on. It serves nothing
/// from then on, long before it is behind by what is allowed.
fn a_replica_is_cut_off_and_lags(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let keyway = start(before(&cluster, "prefer-replica"), 1);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 5);
    // It dials its primary with a password that is wrong, and so is refused again and again.
    cluster.node(0).ok("CONFIG SET requirepass secret");
    cluster.node(1).ok("CONFIG SET masterauth wrong");
    cluster.node(0).ok("CLIENT KILL TYPE replica SKIPME yes");
    wait_for_serving(&keyway, 0);
    assert_eq!(keyway.metric("keyway_replicas_left_out"), 1.0);
    let (primary, replica) = calls_by_role(&cluster, 1, "get");
    read_all(&mut client, &keys);
    assert_eq!(calls_by_role(&cluster, 1, "get"), (primary + 5, replica));
    assert!(keyway.metric("keyway_primary_reads_total{kind=\"no_replica\"}") >= 5.0);
    assert!(keyway.log().contains("a replica serves no reads"));
    cluster.node(0).ok("CONFIG SET requirepass \"\"");
    cluster.node(1).ok("CONFIG SET masterauth \"\"");
    wait_for_serving(&keyway, 1);
    read_all(&mut client, &keys);
    assert_eq!(
        calls_by_role(&cluster, 1, "get"),
        (primary + 5, replica + 5)
    );
}

/// A primary that is gone leaves reads to its replicas, whose link is down then; writes wait.
fn the_primary_dies(flavor: Flavor) {
    let cluster = cluster(flavor, 3, 1);
    let keyway = start(before(&cluster, "any"), 3);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 60);
    // Nobody takes over.
    for replica in 3..6 {
        cluster
            .node(replica)
            .ok("CONFIG SET cluster-replica-no-failover yes");
    }
    cluster.kill(0);
    // Until the failure is known, a read may have to find that out.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let round = Instant::now();
        read_all(&mut client, &keys);
        let took = round.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}

/// A replica becomes the primary and the other way round: no error, and reads go to the new replica.
fn a_replica_takes_over(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let keyway = start(before(&cluster, "prefer-replica"), 1);
    let mut client = keyway.client();
    let keys = fill(&cluster, &mut client, 10);
    read_all(&mut client, &keys);
    for (new, old) in [(1, 0), (0, 1)] {
        cluster.failover(new, Takeover::Planned);
        read_all(&mut client, &keys);
        client.expect("SET key:0 key:0", "+OK");
        eventually("the new replica serves", Duration::from_secs(20), || {
            let before = calls(cluster.node(old), "get");
            read_all(&mut client, &keys);
            calls(cluster.node(old), "get") == before + 10
        });
    }
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}
