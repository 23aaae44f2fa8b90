//! A cluster with replicas, a Keyway before it, and who served what.

use std::time::Duration;

use super::support::keyway::KeywayOptions;
use super::support::{Client, Cluster, ClusterOptions, Flavor, Keyway, Server, eventually};

/// How long it may take until Keyway knows that all replicas are in sync.
const SERVING_DEADLINE: Duration = Duration::from_secs(20);

/// A cluster with so many primaries and replicas for each.
pub fn cluster(flavor: Flavor, primaries: usize, replicas: usize) -> Cluster {
    Cluster::start_with(ClusterOptions {
        primaries,
        replicas,
        ..ClusterOptions::of(flavor)
    })
}

/// Starts a Keyway and waits until all replicas serve.
#[track_caller]
pub fn start(options: KeywayOptions, replicas: usize) -> Keyway {
    let keyway = options.start();
    wait_for_serving(&keyway, replicas);
    keyway
}

/// Waits until so many replicas serve reads.
#[track_caller]
pub fn wait_for_serving(keyway: &Keyway, replicas: usize) {
    let what = format!("{replicas} replicas serve reads");
    eventually(&what, SERVING_DEADLINE, || {
        keyway.metric("keyway_replicas_serving") == replicas as f64
    });
}

/// A Keyway before a cluster, whose first listener has this policy.
pub fn before(cluster: &Cluster, policy: &str) -> KeywayOptions {
    Keyway::before(&cluster.seeds()).set("listen.read_policy", &format!("\"{policy}\""))
}

/// How often a server has carried out a command, by its own count.
pub fn calls(server: &Server, command: &str) -> u64 {
    let text = server.call("INFO commandstats").text();
    let prefix = format!("cmdstat_{command}:calls=");
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |rest| {
        let digits = rest.split(',').next().unwrap_or_default();
        digits.parse().expect("a count")
    })
}

/// The counts of a command on primaries and on replicas, by index: nodes are told apart by their part at
/// the start.
pub fn calls_by_role(cluster: &Cluster, primaries: usize, command: &str) -> (u64, u64) {
    let count = |nodes: &[Server]| nodes.iter().map(|node| calls(node, command)).sum();
    let (of_primaries, of_replicas) = cluster.nodes().split_at(primaries);
    (count(of_primaries), count(of_replicas))
}

/// Writes so many keys, each with itself as its value, and waits until the replicas have them.
pub fn fill(cluster: &Cluster, client: &mut Client, keys: usize) -> Vec<String> {
    let keys: Vec<String> = (0..keys).map(|number| format!("key:{number}")).collect();
    let sets: Vec<String> = keys.iter().map(|key| format!("SET {key} {key}")).collect();
    for reply in client.pipeline(&sets) {
        assert_eq!(reply.to_string(), "+OK");
    }
    wait_for_replication(cluster);
    keys
}

/// Waits until every replica that answers has what its primary has.
#[track_caller]
pub fn wait_for_replication(cluster: &Cluster) {
    eventually("the replicas caught up", SERVING_DEADLINE, || {
        cluster.primaries().into_iter().all(|primary| {
            let of = |index: usize, field: &str| {
                let text = cluster.node(index).call("INFO replication").text();
                let mut lines = text.lines();
                let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
                line.map(str::to_owned)
            };
            let offset = of(primary, "master_repl_offset");
            let replicas = cluster.replicas_of(primary);
            replicas
                .into_iter()
                .all(|replica| of(replica, "slave_repl_offset") == offset)
        })
    });
}

/// Reads each key and expects itself.
#[track_caller]
pub fn read_all(client: &mut Client, keys: &[String]) {
    for key in keys {
        assert_eq!(client.call(&format!("GET {key}")).text(), *key);
    }
}
