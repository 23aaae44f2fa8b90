//! A cluster that announces addresses nobody outside can reach (contract: R12).
//!
//! Six nodes live in a network namespace of the test's own, at 172.28.0.101 to 172.28.0.106, which
//! exist only in there. From outside they can be reached through forwarded ports on loopback alone,
//! as a cluster in Docker with published ports. Keyway and its clients are outside, in a second
//! namespace that has nothing but loopback: an address that escapes the map fails at once, and no
//! packet leaves the machine. One Keyway for each style of map goes through the same scene.
//!
//! The test needs root (CAP_SYS_ADMIN), network namespaces and `ip`. It fails where they are missing;
//! `KEYWAY_TEST_SKIP_NAMESPACES=1` leaves it out, and says so.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use keyway::cluster::Slot;
use support::keyway::KeywayOptions;
use support::ports::Port;
use support::{
    Client, Cluster, ClusterOptions, Forward, Keyway, Namespace, Takeover, Value, eventually,
};

/// The node at this index, inside.
fn inside(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 28, 0, 101 + index as u8)
}

/// The address outside that the network map makes of it; all of 127.0.0.0/8 is loopback.
fn outside(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 101 + index as u8)
}

/// Does all this outside; nothing when the test was asked to be left out.
fn outside_of_the_cluster(test: impl FnOnce(&Outside) + Send) {
    if std::env::var("KEYWAY_TEST_SKIP_NAMESPACES").is_ok_and(|value| value == "1") {
        println!("skipped: KEYWAY_TEST_SKIP_NAMESPACES=1");
        return;
    }
    let hosts: Vec<Ipv4Addr> = (0..6).map(inside).collect();
    let outcome = Namespace::create(&hosts).and_then(|cluster| {
        let here = Namespace::create(&[])?;
        here.run(|| test(&Outside::start(Arc::new(cluster), hosts, here.wrapper())))
    });
    if let Err(missing) = outcome {
        panic!(
            "this test needs root, network namespaces and `ip` (iproute2): {missing}\n\
             KEYWAY_TEST_SKIP_NAMESPACES=1 leaves it out"
        );
    }
}

/// Each node under three forwarded addresses: its own port on 127.0.0.1 (made with the server), its
/// own port on 127.0.0.101 and up, and a port of another number on 127.0.0.1.
struct Outside {
    cluster: Cluster,
    other_ports: Vec<Port>,
    /// What to start Keyway through, so that it is here.
    wrapper: Vec<String>,
    _forwards: Vec<Forward>,
}

impl Outside {
    fn start(namespace: Arc<Namespace>, hosts: Vec<Ipv4Addr>, wrapper: Vec<String>) -> Outside {
        let cluster = Cluster::start_with(ClusterOptions {
            inside: Some((Arc::clone(&namespace), hosts)),
            ..ClusterOptions::default()
        });
        let other_ports: Vec<Port> = (0..6).map(|_| Port::lease()).collect();
        let mut forwards = Vec::new();
        for (index, other) in other_ports.iter().enumerate() {
            let port = cluster.node(index).port();
            let target = SocketAddr::from((inside(index), port));
            forwards.push(namespace.forward((outside(index), port).into(), target));
            let other = (Ipv4Addr::LOCALHOST, other.number());
            forwards.push(namespace.forward(other.into(), target));
        }
        Outside {
            cluster,
            other_ports,
            wrapper,
            _forwards: forwards,
        }
    }

    /// Options for a Keyway that is here, before these nodes' forwarded ports.
    fn keyway(&self, seeds: &[usize], rules: &[(String, String)]) -> KeywayOptions {
        let rules: Vec<String> = rules
            .iter()
            .map(|(from, to)| format!("\"{from}\" = \"{to}\""))
            .collect();
        let seeds: Vec<_> = seeds
            .iter()
            .map(|&index| self.cluster.node(index).addr())
            .collect();
        Keyway::before(&seeds)
            .set(
                "cluster.address_map",
                &format!("{{ {} }}", rules.join(", ")),
            )
            .through(self.wrapper.clone())
    }

    fn port(&self, index: usize) -> u16 {
        self.cluster.node(index).port()
    }

    /// Where a map of exact rules says that a node is.
    fn other_addr(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.other_ports[index].number())
    }

    /// `host:port` -> `host:port`, each node to a port of another number.
    fn exact_rules(&self) -> Vec<(String, String)> {
        let rule = |index| {
            let announced = format!("{}:{}", inside(index), self.port(index));
            (announced, self.other_addr(index))
        };
        (0..6).map(rule).collect()
    }

    /// `host` -> `host`.
    fn host_rules(&self) -> Vec<(String, String)> {
        let rule = |index| (inside(index).to_string(), outside(index).to_string());
        (0..6).map(rule).collect()
    }

    /// A rule for each port, whatever the host.
    fn port_rules(&self) -> Vec<(String, String)> {
        let rule = |index| (format!(":{}", self.port(index)), self.other_addr(index));
        (0..6).map(rule).collect()
    }

    /// Each node by a rule of another kind; the network takes what is left.
    fn mixed_rules(&self) -> Vec<(String, String)> {
        let rules = [
            self.exact_rules()[0].clone(),
            self.host_rules()[1].clone(),
            self.port_rules()[2].clone(),
            network_rule("127.0.0.0/24"),
        ];
        rules.into()
    }

    /// One Keyway for each style of map, with its name.
    fn keyways(&self) -> Vec<(&'static str, Keyway)> {
        let styles = [
            ("exact", self.exact_rules()),
            ("host to host", self.host_rules()),
            ("network to network", vec![network_rule("127.0.0.0/24")]),
            ("network to host", vec![network_rule("127.0.0.1")]),
            ("ports", self.port_rules()),
            ("mixed", self.mixed_rules()),
        ];
        let start = |(name, rules): (&'static str, Vec<(String, String)>)| {
            (name, self.keyway(&[0, 4], &rules).start())
        };
        styles.into_iter().map(start).collect()
    }
}

fn network_rule(to: &str) -> (String, String) {
    ("172.28.0.0/24".to_owned(), to.to_owned())
}

/// Keys whose slots spread over all shards.
fn keys(prefix: &str) -> Vec<String> {
    (0..64).map(|number| format!("{prefix}:{number}")).collect()
}

/// Writes and reads one by one and all at once, so that every shard is asked.
fn expect_all_shards_work(client: &mut Client, prefix: &str) {
    let keys = keys(prefix);
    for key in &keys {
        client.expect(&format!("SET {key} {key}"), "+OK");
    }
    for key in &keys {
        client.expect(&format!("GET {key}"), &format!("'{key}'"));
    }
    let all = client.call(&format!("MGET {}", keys.join(" ")));
    let expected: Vec<Value> = keys.iter().map(Value::bulk).collect();
    assert_eq!(all.items(), expected);
}

/// contract: R12
#[test]
fn a_cluster_inside_a_namespace_works_from_outside() {
    outside_of_the_cluster(clients_work);
}

fn clients_work(scene: &Outside) {
    for index in 0..6 {
        let addr = SocketAddr::from((inside(index), scene.port(index)));
        let direct = TcpStream::connect_timeout(&addr, Duration::from_millis(200));
        assert!(direct.is_err(), "{addr} can be reached without a map");
    }
    let keyways = scene.keyways();
    for (style, keyway) in &keyways {
        println!("map: {style}");
        expect_all_shards_work(&mut keyway.client(), "plain");
    }
    redirects_are_followed(scene, &keyways);
    failovers_are_followed(scene, &keyways);
}

/// ASK while a slot is between two nodes, then MOVED.
fn redirects_are_followed(scene: &Outside, keyways: &[(&str, Keyway)]) {
    let slot = Slot::of_key(b"{move}").number();
    let from = scene.cluster.primary_of(slot).expect("it is served");
    let to = (from + 1) % 3;
    let mut clients: Vec<Client> = keyways.iter().map(|(_, keyway)| keyway.client()).collect();
    clients[0].expect("SET {move}:stays 1", "+OK");
    let half = scene.cluster.begin_move(slot, to);
    for (client, (style, keyway)) in clients.iter_mut().zip(keyways) {
        // Not at the source, so the source answers ASK.
        client.expect(&format!("SET '{{move}}:{style}' new"), "+OK");
        client.expect(&format!("GET '{{move}}:{style}'"), "'new'");
        client.expect("GET {move}:stays", "'1'");
        let asked = keyway.metric("keyway_redirects_total{kind=\"ask\"}");
        assert!(asked >= 1.0, "{style}: {asked} ASK");
    }
    half.finish();
    for (client, (style, keyway)) in clients.iter_mut().zip(keyways) {
        client.expect(&format!("GET '{{move}}:{style}'"), "'new'");
        client.expect("GET {move}:stays", "'1'");
        let moved = keyway.metric("keyway_redirects_total{kind=\"moved\"}");
        assert!(moved >= 1.0, "{style}: {moved} MOVED");
    }
}

/// A planned failover, then the sudden death of another primary: the replicas' addresses are mapped
/// as well.
fn failovers_are_followed(scene: &Outside, keyways: &[(&str, Keyway)]) {
    scene.cluster.failover(3, Takeover::Planned);
    for (style, keyway) in keyways {
        println!("map after a failover: {style}");
        expect_all_shards_work(&mut keyway.client(), "failover");
    }
    let slot = Slot::of_key(b"plain:1").number();
    let dead = scene.cluster.primary_of(slot).expect("it is served");
    scene.cluster.kill(dead);
    for (style, keyway) in keyways {
        println!("map after a kill: {style}");
        // Not a sleep: the request itself waits until a replica has taken over.
        keyway.client().expect("GET plain:1", "'plain:1'");
        expect_all_shards_work(&mut keyway.client(), "kill");
    }
}

/// contract: C4 R12
#[test]
fn the_nodes_view_shows_mapped_addresses() {
    outside_of_the_cluster(nodes_are_shown);
}

fn nodes_are_shown(scene: &Outside) {
    let keyway = scene
        .keyway(&[0], &scene.exact_rules())
        .set("listen.cluster_view", "\"nodes\"")
        .start();
    let mut expected: Vec<String> = (0..6).map(|index| scene.other_addr(index)).collect();
    expected.sort();
    let mut client = keyway.client();
    eventually("all six are shown", Duration::from_secs(10), || {
        let slots = client.call("CLUSTER SLOTS");
        let mut shown: Vec<String> = slots
            .items()
            .iter()
            .flat_map(|range| &range.items()[2..])
            .map(|node| format!("{}:{}", node.items()[0].text(), node.items()[1].integer()))
            .collect();
        shown.sort();
        shown.dedup();
        assert!(
            shown.iter().all(|addr| expected.contains(addr)),
            "{shown:?}"
        );
        shown == expected
    });
    let nodes = client.call("CLUSTER NODES").text();
    assert!(!nodes.contains("172.28."), "{nodes}");
    // And they are where a client gets through.
    for addr in &expected {
        let addr = addr.parse().expect("host and port");
        Client::connect(addr).expect("PING", "+PONG");
    }
}
