//! The address map: a cluster whose nodes announce addresses that exist only where they live (a
//! container network, the far side of a NAT) serves clients outside, through Keyway alone.
//!
//! Two network namespaces, as two machines:
//!
//! ```text
//!        outside                  the map says              inside
//!   client -> Keyway -> 127.0.0.1:7101 ... 7106  =  172.28.0.101:6379 ... 172.28.0.106:6384
//! ```
//!
//! Nothing outside has a route to 172.28.0.0/24; a forwarder that stands in both carries the bytes, as
//! published ports do. Needs root and Linux; where there is neither, the test fails and says so.
//! `KEYWAY_TEST_SKIP_NAMESPACES=1` leaves it out, and says that too.

mod inside;

#[path = "../support/mod.rs"]
mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use inside::{Inside, announced, inner_addr, inner_port};
use support::{Client, Keyway, eventually};

/// The first of the ports that lead inside; on other addresses outside, the nodes' own ports do.
const PORTS: u16 = 7_101;

/// contract: R12, R3, R4, R8, C4
#[test]
fn a_client_outside_uses_a_cluster_inside() {
    if std::env::var("KEYWAY_TEST_SKIP_NAMESPACES").is_ok_and(|value| value == "1") {
        println!("skipped: KEYWAY_TEST_SKIP_NAMESPACES=1");
        return;
    }
    let inside = Inside::start();
    let outside = &inside.outside;
    outside.within(|| {
        assert_unreachable();
        let exact = rules(|node| (inner_addr(node), format!("127.0.0.1:{}", PORTS + node)));
        let seeds: Vec<String> = (0..3)
            .map(|node| format!("127.0.0.1:{}", PORTS + node))
            .collect();
        without_a_map_nothing_works(&inside, &seeds);

        let host = |node: u16| format!("127.2.0.{}", 101 + node);
        for map in [
            rules(|node| (announced(node), host(node))),
            rules(|node| (announced(node), format!("127.0.0.1:{}", PORTS + node))),
            rules(|node| {
                (
                    format!(":{}", inner_port(node)),
                    format!("127.0.0.1:{}", PORTS + node),
                )
            }),
            "{ \"172.28.0.0/24\" = \"127.3.0.0/24\" }".to_owned(),
            "{ \"172.28.0.0/24\" = \"127.4.0.1\" }".to_owned(),
            // A rule of each kind for one node or two; the network is for those left.
            format!(
                "{{ \"{}\" = \"127.0.0.1:{PORTS}\", \"{}\" = \"{}\", \":{}\" = \"127.0.0.1:{}\", \
                 \"172.28.0.0/24\" = \"127.3.0.0/24\" }}",
                inner_addr(0),
                announced(1),
                host(1),
                inner_port(2),
                PORTS + 2,
            ),
        ] {
            println!("map {map}");
            let keyway = before(&inside, &seeds, &map);
            everything_works(&mut keyway.client());
        }

        let keyway = before(&inside, &seeds, &exact);
        everything_works(&mut keyway.client());
        shows_mapped_addresses(&inside, &seeds, &exact);
        slots_move(&inside, &keyway);
        planned_failover(&inside, &keyway);
        a_primary_dies(&inside, &keyway);
    });
}

/// A map of one rule for each node.
fn rules(rule: impl Fn(u16) -> (String, String)) -> String {
    let rules: Vec<String> = (0..6)
        .map(|node| {
            let (from, to) = rule(node);
            format!("\"{from}\" = \"{to}\"")
        })
        .collect();
    format!("{{ {} }}", rules.join(", "))
}

fn before(inside: &Inside, seeds: &[String], map: &str) -> Keyway {
    options(inside, seeds)
        .set("cluster.address_map", map)
        .start()
}

fn options(inside: &Inside, seeds: &[String]) -> support::keyway::KeywayOptions {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    Keyway::before(&[])
        .set("cluster.seeds", &format!("[{}]", seeds.join(", ")))
        .set("timeouts.request", "\"10s\"")
        .through(inside.outside.wrapper())
}

/// The premise.
fn assert_unreachable() {
    for node in 0..6 {
        let addr = inner_addr(node).parse().expect("an address");
        let outcome = TcpStream::connect_timeout(&addr, Duration::from_secs(1));
        assert!(
            outcome.is_err(),
            "{addr} can be reached: the test proves nothing"
        );
    }
}

/// The counter-proof: what the map does is not done by something else.
fn without_a_map_nothing_works(inside: &Inside, seeds: &[String]) {
    let keyway = options(inside, seeds)
        .set("timeouts.request", "\"500ms\"")
        .start_unready();
    let reply = keyway.client().call("SET k v").to_string();
    assert!(reply.starts_with('-'), "without a map: {reply}");
    assert!(!reply.contains("outcome unknown"), "{reply}");
}

/// Every shard, by one key and by many.
fn everything_works(client: &mut Client) {
    let names: Vec<String> = (0..100).map(|number| format!("mapped:{number}")).collect();
    for name in &names {
        client.expect(&format!("SET {name} {name}"), "+OK");
        client.expect(&format!("GET {name}"), &format!("'{name}'"));
    }
    let reply = client.call(&format!("MGET {}", names.join(" ")));
    let values = reply.items().iter().map(|value| value.text());
    assert!(values.eq(names.iter().cloned()), "{reply}");
    assert!(client.call("DBSIZE").integer() >= 100);
}

/// To cluster clients too, the nodes are where the map says.
fn shows_mapped_addresses(inside: &Inside, seeds: &[String], map: &str) {
    let keyway = options(inside, seeds)
        .set("cluster.address_map", map)
        .set("cluster.refresh_interval", "\"200ms\"")
        .set("listen.cluster_view", "\"nodes\"")
        .start();
    let mut client = keyway.client();
    for command in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"] {
        // A replica that the nodes still call loading is not shown.
        let deadline = Duration::from_secs(10);
        eventually("all nodes are shown", deadline, || {
            let shown = client.call(command).to_string();
            assert!(!shown.contains("172.28."), "{command}: {shown}");
            (PORTS..PORTS + 6).all(|port| shown.contains(&port.to_string()))
        });
    }
    let (_, page) = keyway.admin("/topology");
    assert!(
        page.contains("172.28.0.101") && page.contains("127.0.0.1:7101"),
        "{page}"
    );
}

/// MOVED and ASK name inner addresses; Keyway learns of this from them.
fn slots_move(inside: &Inside, keyway: &Keyway) {
    let slot = Slot::of_key(b"{moving}").number();
    let (from, ids) = (inside.owner(slot), inside.ids());
    let to = (0..6)
        .find(|&node| node != from && inside.is_primary(node))
        .expect("there are three primaries");
    let mut client = keyway.client();
    client.expect("SET {moving}here 1", "+OK");
    client.expect("SET {moving}there 2", "+OK");
    inside.ok(
        to,
        &format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]),
    );
    inside.ok(
        from,
        &format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]),
    );
    let target = inner_addr(to as u16).replace(':', " ");
    inside.ok(from, &format!("MIGRATE {target} {{moving}}there 0 5000"));
    // One key is here, one is there: ASK.
    client.expect("GET {moving}here", "'1'");
    client.expect("GET {moving}there", "'2'");
    client.expect("INCR {moving}new", ":1");
    inside.ok(from, &format!("MIGRATE {target} {{moving}}here 0 5000"));
    for node in [to, from] {
        inside.ok(node, &format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]));
    }
    // All is there: MOVED.
    client.expect(
        "MGET {moving}here {moving}there {moving}new",
        "['1' '2' '1']",
    );
    assert!(keyway.metric("keyway_redirects_total{kind=\"ask\"}") >= 2.0);
    assert!(keyway.metric("keyway_redirects_total{kind=\"moved\"}") >= 1.0);
}

fn planned_failover(inside: &Inside, keyway: &Keyway) {
    let slot = Slot::of_key(b"{planned}").number();
    let old = inside.owner(slot);
    let replica = inside.replica_of(old);
    let mut client = keyway.client();
    client.expect("SET {planned} 0", "+OK");
    inside.ok(replica, "CLUSTER FAILOVER");
    let mut number = 0;
    eventually("the replica took over", Duration::from_secs(10), || {
        number += 1;
        client.expect("INCR {planned}", &format!(":{number}"));
        inside.owner(slot) == replica
    });
    everything_works(&mut client);
    inside.wait_until_replicated(replica);
}

/// The forwarder of a dead node takes connections and closes them, as published ports do.
fn a_primary_dies(inside: &Inside, keyway: &Keyway) {
    let slot = Slot::of_key(b"{dying}").number();
    let old = inside.owner(slot);
    let mut client = keyway.client();
    client.expect("SET {dying} 1", "+OK");
    let failures = keyway.metric("keyway_upstream_failures_total");
    inside.kill(old);
    eventually("the loss is noticed", Duration::from_secs(5), || {
        keyway.metric("keyway_upstream_failures_total") > failures
    });
    let began = Instant::now();
    // None of it was in flight: all of it waits, and is done once.
    client.send("INCR {dying}");
    client.send("GET {dying}");
    let mut other = keyway.client();
    let alive = (0..).map(|number: u32| format!("alive:{number}"));
    let alive = alive
        .take(200)
        .find(|name| inside.owner(Slot::of_key(name.as_bytes()).number()) != old)
        .expect("two of three shards live");
    for _ in 0..20 {
        let one = Instant::now();
        other.expect(&format!("SET {alive} v"), "+OK");
        assert!(
            one.elapsed() < Duration::from_millis(500),
            "the others wait as well"
        );
    }
    client.expect_next(":2");
    client.expect_next("'2'");
    println!("served {:.1?} after the death", began.elapsed());
    everything_works(&mut client);
}
