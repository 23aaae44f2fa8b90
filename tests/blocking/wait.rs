//! `WAIT` speaks of the client's own writes, on every shard it wrote to.

use std::time::{Duration, Instant};

use super::SOON;
use super::support::{Action, Cluster, FakeCluster, Flavor, Keyway, each_flavor, eventually};

each_flavor!(the_smallest_of_all_shards, append_only_files);

/// contract: T8
fn the_smallest_of_all_shards(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    // Nothing written: all replicas have it.
    eventually("the replicas are counted", SOON, || {
        client.call("WAIT 0 100").integer() == 1
    });
    client.expect("WAIT 1 1000", ":1");
    client.expect("SET wait:a 1", "+OK");
    client.expect("SET wait:b 1", "+OK");
    client.expect("SET wait:c 1", "+OK");
    client.expect("WAIT 1 20000", ":1");
    let (one, other) = two_shards(&cluster);
    let replica = cluster.replicas_of(cluster.primary_of_key(&one).expect("owned"))[0];
    cluster.pause(replica);
    // A client that wrote to another shard only does not see it, even if it reads here.
    let mut elsewhere = keyway.client();
    elsewhere.expect(&format!("SET {other} 1"), "+OK");
    elsewhere.expect(&format!("GET {one}"), "nil");
    elsewhere.expect("WAIT 1 20000", ":1");
    // One that wrote here and there gets the smaller number, after its time.
    client.expect(&format!("SET {other} 2"), "+OK");
    client.expect(&format!("SET {one} 2"), "+OK");
    let began = Instant::now();
    client.expect("WAIT 1 300", ":0");
    assert!(began.elapsed() >= Duration::from_millis(300));
    // While it waits nobody else does.
    client.send("WAIT 1 0");
    client.expect_silence(Duration::from_millis(50));
    elsewhere.expect(&format!("GET {one}"), "'2'");
    cluster.resume(replica);
    client.expect_next(":1");
    client.expect_error("WAIT x 1", "ERR value is not an integer");
    client.expect_error("WAIT 1 -1", "ERR timeout is negative");
}

/// contract: T8
fn append_only_files(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    client.expect("SET aof:a 1", "+OK");
    if flavor == Flavor::Redis && !flavor.is_since(7, 2) {
        client.expect_error("WAITAOF 0 0 100", "ERR unknown command");
        return;
    }
    client.expect("WAITAOF 0 0 100", "[:0 :0]");
}

/// A primary that was just replaced says that it is a replica, which is nothing to the client: the primary
/// is asked.
///
/// contract: R5 T8
#[test]
fn a_demoted_primary_is_not_asked_for_replicas() {
    let fake = FakeCluster::start(1);
    let demoted = "-ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 \
                   if a replica is configured to be writable (which is not the default) writes to \
                   replicas are just local and are not propagated.";
    fake.node(0).once("WAIT", Action::line(demoted));
    fake.node(0).always("WAIT", Action::line(":1"));
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    client.expect("SET wait:a 1", "+OK");
    client.expect("WAIT 1 1000", ":1");
    assert_eq!(fake.node(0).received("WAIT").len(), 2);
}

/// Keys of two shards.
fn two_shards(cluster: &Cluster) -> (String, String) {
    let one = "wait:one".to_owned();
    let owner = cluster.primary_of_key(&one);
    let others = (0..).map(|number| format!("wait:other:{number}"));
    let other = others
        .into_iter()
        .find(|key| cluster.primary_of_key(key) != owner);
    (one, other.expect("there are three"))
}
