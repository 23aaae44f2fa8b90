//! Real clusters: what all nodes tell, what happens to keys by themselves, and what a client hears when
//! slots move and nodes die.

use std::time::Duration;

use keyway::cluster::Slot;

use super::support::{Cluster, Flavor, Keyway, Server, Takeover, each_flavor, eventually};
use super::{FLUSH, SOON, ask, invalid, messages, reply, wait_for};

each_flavor!(all_nodes_tell, before_one_server, slots_move_and_nodes_die);

/// A key of each of three primaries.
const KEYS: [&str; 3] = ["b", "c", "a"];

/// Flushes, keys that expire and that are evicted, changes by scripts and by other Keyways.
///
/// contract: S6
fn all_nodes_tell(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let elsewhere = Keyway::start(&cluster.seeds());
    let (mut client, mut other) = (keyway.client_resp3(), elsewhere.client());
    client.expect("CLIENT TRACKING ON", "+OK");
    for key in KEYS {
        client.expect(&format!("GET {key}"), "null");
        other.expect(&format!("SET {key} 1"), "+OK");
        assert_eq!(messages(&mut client), [invalid(key)]);
    }
    client.expect("MGET b c a", "['1' '1' '1']");
    other.expect("FLUSHALL", "+OK");
    // Each node says it; it is told once, as by one server.
    assert_eq!(messages(&mut client), [FLUSH]);
    client.expect("DBSIZE", ":0");
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let (done, mut told) = ask(&mut client, flush);
        assert_eq!(done, "+OK");
        told.extend(messages(&mut client));
        assert_eq!(told, [FLUSH], "{flush}");
        client.expect("GET nothing", "null");
    }
    for key in KEYS {
        other.expect(&format!("SET {key} 1 PX 1000"), "+OK");
        client.expect(&format!("GET {key}"), "'1'");
        wait_for(&mut client, &invalid(key));
    }
    for key in KEYS {
        client.expect(&format!("GET {key}"), "null");
        other.expect(
            &format!("EVAL \"return redis.call('set', KEYS[1], 2)\" 1 {key}"),
            "+OK",
        );
        assert_eq!(messages(&mut client), [invalid(key)]);
    }
    client.expect("MGET b c a", "['2' '2' '2']");
    for primary in cluster.primaries() {
        cluster
            .node(primary)
            .ok("CONFIG SET maxmemory-policy allkeys-random");
        cluster.node(primary).ok("CONFIG SET maxmemory 1");
        // Eviction is done before the next command that may use memory.
        let _ = cluster.node(primary).try_call("PING");
    }
    let mut told = messages(&mut client);
    while told.len() < 3 {
        told.push(client.read().to_string());
    }
    told.sort();
    assert_eq!(told, [invalid("a"), invalid("b"), invalid("c")]);
}

/// contract: S6
fn before_one_server(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let (mut client, mut direct) = (keyway.client_resp3(), server.client());
    client.expect("CLIENT TRACKING ON NOLOOP", "+OK");
    client.expect("MGET b c a", "[null null null]");
    client.expect("SET b 1", "+OK");
    client.expect("GET b", "'1'");
    direct.expect("MSET a 1 b 2 c 3", "+OK");
    assert_eq!(messages(&mut client), ["a", "b", "c"].map(invalid));
    client.expect("GET b", "'2'");
    server.kill();
    wait_for(&mut client, FLUSH);
}

/// contract: S6 R3 R8
fn slots_move_and_nodes_die(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut direct = Cluster::client_of_key(&cluster, "foo");
    let mut client = keyway.client_resp3();
    let mut broadcast = keyway.client_resp3();
    client.expect("CLIENT TRACKING ON", "+OK");
    broadcast.expect("CLIENT TRACKING ON BCAST", "+OK");
    direct.expect("SET foo 1", "+OK");
    client.expect("GET foo", "'1'");
    let slot = Slot::of_key(b"foo").number();
    let source = cluster.primary_of(slot).expect("somebody owns the slot");
    let mut others = cluster.primaries().into_iter().filter(|&one| one != source);
    let target = others.next().expect("there are three primaries");

    // The key leaves its node, which says so.
    let half = cluster.begin_move(slot, target);
    half.migrate(&["foo"]);
    wait_for(&mut client, &invalid("foo"));
    // What is read through ASK is not to be cached.
    let (value, _) = ask(&mut client, "GET foo");
    assert_eq!(value, "'1'");
    wait_for(&mut client, &invalid("foo"));
    messages(&mut client);
    half.finish();
    // Nobody asks for the slot: the map alone tells.
    wait_for(&mut client, FLUSH);
    wait_for(&mut broadcast, FLUSH);
    assert_eq!(reply(&mut client, "GET foo"), "'1'");
    let mut at_target = cluster.client_of_key("foo");
    at_target.expect("SET foo 2", "+OK");
    wait_for(&mut client, &invalid("foo"));
    wait_for(&mut broadcast, &invalid("foo"));

    // A planned failover takes the table of tracked keys away.
    assert_eq!(reply(&mut client, "GET foo"), "'2'");
    let heir = cluster.replicas_of(target)[0];
    cluster.failover(heir, Takeover::Planned);
    wait_for(&mut client, FLUSH);
    wait_for(&mut broadcast, FLUSH);
    messages(&mut client);
    assert_eq!(reply(&mut client, "GET foo"), "'2'");
    cluster.client_of_key("foo").expect("SET foo 3", "+OK");
    wait_for(&mut client, &invalid("foo"));
    wait_for(&mut broadcast, &invalid("foo"));

    assert_eq!(reply(&mut client, "GET foo"), "'3'");
    messages(&mut client);
    messages(&mut broadcast);
    cluster.kill(heir);
    // At once, and not when a replica has taken over.
    let told = client.read_within(Duration::from_secs(1));
    assert_eq!(told.expect("a flush").to_string(), FLUSH);
    wait_for(&mut broadcast, FLUSH);
    assert_eq!(reply(&mut client, "GET foo"), "'3'");
    let now = cluster.wait_for_new_primary(slot, heir);
    let mut at_heir = cluster.node(now).client();
    eventually("the new primary knows who listens", SOON, || {
        at_heir.call("CLIENT LIST").text().contains("flags=tB")
    });
    messages(&mut client);
    messages(&mut broadcast);
    at_heir.expect("SET foo 4", "+OK");
    wait_for(&mut client, &invalid("foo"));
    wait_for(&mut broadcast, &invalid("foo"));
}
