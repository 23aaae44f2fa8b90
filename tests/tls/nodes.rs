//! TLS between Keyway and real nodes that want certificates.

use super::DEADLINE;
use super::support::keyway::KeywayOptions;
use super::support::tls::{Authority, Subject, TlsCluster, quoted};
use super::support::{Flavor, Keyway, Takeover, each_flavor, eventually};

each_flavor!(
    the_whole_way,
    nodes_that_announce_plain_ports,
    what_is_wrong_is_told,
);

/// Keyway before a TLS cluster, with a certificate for the nodes.
fn before(scene: &TlsCluster) -> KeywayOptions {
    let own = scene.authority.issue("keyway-upstream");
    Keyway::before(&scene.seeds())
        .set("upstream.tls", "\"on\"")
        .set("upstream.tls_ca", &quoted(&scene.authority.ca()))
        .set("upstream.tls_certificate", &quoted(&own.certificate))
        .set("upstream.tls_key", &quoted(&own.key))
}

/// Shared, private and subscribing connections, reads from replicas, a failover.
fn the_whole_way(flavor: Flavor) {
    let scene = TlsCluster::start(flavor, true);
    let keyway = before(&scene)
        .set("listen.read_policy", "\"any\"")
        .set("listen.read_your_writes", "\"60s\"")
        .start();
    let mut client = keyway.client();
    for number in 0..200 {
        client.expect(&format!("SET tls:{number} {number}"), "+OK");
        client.expect(&format!("GET tls:{number}"), &format!("'{number}'"));
    }
    let value = "x".repeat(3 << 20);
    client.expect(&format!("SET tls:large {value}"), "+OK");
    assert_eq!(client.call("GET tls:large").text(), value);
    let mut blocked = keyway.client();
    blocked.send("BLPOP tls:list 20");
    let mut subscriber = keyway.client();
    subscriber.expect("SUBSCRIBE tls:channel", "['subscribe' 'tls:channel' :1]");
    eventually("the list is waited for", DEADLINE, || {
        keyway.metric("keyway_blocked_clients") > 0.0
    });
    client.expect("RPUSH tls:list element", ":1");
    blocked.expect_next("['tls:list' 'element']");
    client.expect("PUBLISH tls:channel hello", ":1");
    subscriber.expect_next("['message' 'tls:channel' 'hello']");
    // A client that wrote nothing reads from replicas.
    let mut reader = keyway.client();
    eventually("replicas serve reads", DEADLINE, || {
        (0..20).for_each(|number| drop(reader.call(&format!("GET tls:{number}"))));
        keyway.metric("keyway_replica_reads_total") > 0.0
    });
    // Nobody of Keyway's came to a plain port.
    for (index, node) in scene.cluster.nodes().iter().enumerate() {
        let listed = node.ok("CLIENT LIST").text();
        let tls = format!("laddr=127.0.0.1:{}", scene.ports[index].number());
        let own = listed.lines().filter(|line| line.contains(" name=keyway "));
        assert!(own.clone().count() > 0, "{listed}");
        for line in own {
            assert!(line.contains(&tls), "{line}");
        }
    }
    let replica = scene.cluster.replicas_of(0)[0];
    scene.cluster.failover(replica, Takeover::Planned);
    for number in 0..200 {
        client.expect(&format!("SET tls:{number} again"), "+OK");
    }
}

/// `tls-cluster no`: newer servers announce each kind of client its own ports, Redis 7.0 announces plain ones,
/// which the address map turns into TLS ports.
fn nodes_that_announce_plain_ports(flavor: Flavor) {
    let scene = TlsCluster::start(flavor, false);
    let nodes = scene.cluster.nodes().iter().zip(&scene.ports);
    let map: Vec<String> = nodes
        .map(|(node, tls)| format!("\":{}\" = \":{}\"", node.port(), tls.number()))
        .collect();
    let mut options = before(&scene);
    if flavor == Flavor::Redis {
        options = options.set("cluster.address_map", &format!("{{ {} }}", map.join(", ")));
    }
    let keyway = options.start();
    let mut client = keyway.client();
    for number in 0..100 {
        client.expect(&format!("SET ports:{number} {number}"), "+OK");
    }
    // A slot that moves: MOVED and ASK name ports as well.
    let replica = scene.cluster.replicas_of(1)[0];
    scene.cluster.failover(replica, Takeover::Planned);
    for number in 0..100 {
        client.expect(&format!("GET ports:{number}"), &format!("'{number}'"));
    }
}

/// Each mistake: its word in the log, and to clients.
fn what_is_wrong_is_told(flavor: Flavor) {
    let scene = TlsCluster::start(flavor, true);
    let stranger = Authority::new("another CA");
    let foreign = stranger.issue("foreign");
    let expired = Subject {
        is_expired: true,
        ..Subject::named("keyway")
    };
    let expired = scene.authority.issue_for("expired", &expired);
    let quick = || before(&scene).set("timeouts.request", "\"500ms\"");
    let with = |pair: &super::Pair| {
        quick()
            .set("upstream.tls_certificate", &quoted(&pair.certificate))
            .set("upstream.tls_key", &quoted(&pair.key))
    };
    let plain = Keyway::before(&scene.cluster.seeds());
    for (options, why) in [
        (
            quick().set("upstream.tls_ca", &quoted(&stranger.ca())),
            "not signed by a CA that is trusted here",
        ),
        (
            quick().set("upstream.tls_server_name", "\"redis.example\""),
            "is for another name",
        ),
        (with(&foreign), "does not trust the CA of the certificate"),
        (with(&expired), "finds the certificate shown to it expired"),
        (
            quick()
                .set("upstream.tls_certificate", "\"\"")
                .set("upstream.tls_key", "\"\""),
            "wants a certificate",
        ),
        (
            plain
                .set("timeouts.request", "\"500ms\"")
                .set("upstream.tls", "\"on\"")
                .set("upstream.tls_ca", &quoted(&scene.authority.ca())),
            "",
        ),
    ] {
        let keyway = options.start_unready();
        eventually(&format!("the log says: {why}"), DEADLINE, || {
            keyway.log().contains(why) && keyway.log().contains("does not tell the topology")
        });
        assert!(!keyway.is_ready());
        keyway.client().expect_error("GET a", "CLUSTERDOWN");
    }
    // An unverified one is told of loudly, and works.
    let keyway = quick()
        .set("upstream.tls_ca", &quoted(&stranger.ca()))
        .set("upstream.tls_verify", "\"off\"")
        .start();
    keyway.client().expect("SET unverified 1", "+OK");
    assert!(keyway.log().contains("are NOT verified"));
}

/// A managed cluster: its nodes announce addresses and have a certificate for the name of the configuration
/// endpoint alone.
#[test]
fn one_name_for_all() {
    let scene = TlsCluster::start(Flavor::Valkey, true);
    certify_localhost_alone(&scene);
    let port = scene.ports[0].number();
    let by_name = |rule: &str| {
        before(&scene)
            .set("cluster.seeds", &format!("[\"localhost:{port}\"]"))
            .set("upstream.tls_server_name", &format!("\"{rule}\""))
            .set("timeouts.request", "\"2s\"")
    };
    let keyway = by_name("seed").start();
    let mut client = keyway.client();
    for number in 0..50 {
        client.expect(&format!("SET named:{number} {number}"), "+OK");
    }
    // By what they announce, the nodes are not who they say.
    let keyway = by_name("announced").start();
    let mut client = keyway.client();
    client.expect_error("SET named:1 1", "CLUSTERDOWN");
    let told = client.call("SET named:1 1").to_string();
    assert!(told.contains("is for another name"), "{told}");
}

/// Nodes announce addresses to be dialled at, and host names beside them that their certificates are for.
#[test]
fn announced_host_names_are_names_of_certificates() {
    for flavor in Flavor::ALL {
        let config = vec!["cluster-announce-hostname localhost".to_owned()];
        let scene = TlsCluster::start_with(flavor, true, config);
        certify_localhost_alone(&scene);
        let port = scene.ports[0].number();
        let keyway = before(&scene)
            .set("cluster.seeds", &format!("[\"localhost:{port}\"]"))
            .start();
        let mut client = keyway.client();
        for number in 0..50 {
            client.expect(&format!("SET hosts:{number} {number}"), "+OK");
        }
    }
}

/// All nodes show a certificate for this name and no address.
fn certify_localhost_alone(scene: &TlsCluster) {
    let only = Subject {
        hosts: &["localhost"],
        ..Subject::named("node")
    };
    let pair = scene.authority.issue_for("node", &only);
    for node in scene.cluster.nodes() {
        node.ok(&format!(
            "CONFIG SET tls-cert-file {} tls-key-file {}",
            pair.certificate.display(),
            pair.key.display()
        ));
    }
}
