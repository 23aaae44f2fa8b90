//! A cluster whose nodes know several users, and Keyway before it.

use std::sync::OnceLock;
use std::time::Duration;

use crate::support::keyway::KeywayOptions;
use crate::support::{Client, Cluster, ClusterOptions, Flavor, Keyway};

pub const DEADLINE: Duration = Duration::from_secs(60);

/// A node's users: those of Keyway's `a` and `b`, and the service user, who may touch neither's data.
fn node_users() -> Vec<String> {
    vec![
        "user service on >ps ~service:* &service:* +@all".to_owned(),
        "user up-a on >pa ~a:* ~{a}* &a:* +@all".to_owned(),
        "user up-b on >pb ~b:* ~{b}* &b:* +@all".to_owned(),
    ]
}

/// A cluster of such nodes that tests must not change.
pub fn shared(flavor: Flavor) -> &'static Cluster {
    static CLUSTERS: [OnceLock<Cluster>; 2] = [OnceLock::new(), OnceLock::new()];
    CLUSTERS[flavor as usize].get_or_init(|| replicated(flavor))
}

/// One of a test's own, whose primaries have replicas.
pub fn replicated(flavor: Flavor) -> Cluster {
    Cluster::start_with(ClusterOptions {
        flavor,
        config: node_users(),
        ..ClusterOptions::default()
    })
}

/// One of a test's own, without replicas.
pub fn own(flavor: Flavor) -> Cluster {
    Cluster::start_with(ClusterOptions {
        flavor,
        replicas: 0,
        config: node_users(),
        ..ClusterOptions::default()
    })
}

/// A Keyway whose connections are the service user's, unless something else is said.
pub fn service(cluster: &Cluster) -> KeywayOptions {
    Keyway::before(&cluster.seeds())
        .set("upstream.username", "\"service\"")
        .set("upstream.password", "\"ps\"")
}

/// With two users of its own, each of which is another one at the nodes; their rules allow them everything.
pub fn mapped(cluster: &Cluster) -> KeywayOptions {
    let mut options = service(cluster);
    for (number, name) in [(1, "a"), (2, "b")] {
        let key = |key: &str| format!("KEYWAY_USERS_{number}_{key}");
        options = options
            .env(&key("NAME"), name)
            .env(&key("RULES"), "on ~* &* +@all")
            .env(&key("PASSWORD"), "p")
            .env(&key("UPSTREAM_USERNAME"), &format!("up-{name}"))
            .env(&key("UPSTREAM_PASSWORD"), &format!("p{name}"));
    }
    options
}

/// Whose clients are whom they say to be.
pub fn passing_through(cluster: &Cluster) -> KeywayOptions {
    service(cluster).set("upstream.identity", "\"pass-through\"")
}

/// A client that has said who it is.
pub fn client(keyway: &Keyway, user: &str) -> Client {
    let mut client = keyway.client();
    client.expect(&format!("AUTH {user} p"), "+OK");
    client
}

/// The same in RESP3.
pub fn client_resp3(keyway: &Keyway, user: &str) -> Client {
    let mut client = keyway.client();
    let hello = client.call(&format!("HELLO 3 AUTH {user} p"));
    assert!(!hello.is_error(), "{hello}");
    client
}

/// The connections that the nodes have of a user, as lines of `CLIENT LIST`.
pub fn connections_of(cluster: &Cluster, user: &str) -> Vec<String> {
    let word = format!(" user={user} ");
    let nodes = cluster.nodes().iter();
    nodes
        .flat_map(|node| {
            let list = node.ok("CLIENT LIST").text();
            let lines = list.lines().filter(|line| line.contains(&word));
            lines.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}
