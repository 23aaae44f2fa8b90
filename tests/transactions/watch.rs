//! `WATCH`: what is not known to be untouched is not executed.

use std::time::Duration;

use super::exec;
use super::place::{key_of, scene, slot};
use super::support::{Action, Cluster, Flavor, Keyway, Scene, Takeover, each_flavor, eventually};

each_flavor!(
    the_connection_is_given_back,
    keys_of_another_slot_are_refused,
    a_lost_connection_aborts,
    a_moved_slot_aborts,
    a_failover_aborts,
    counters_with_optimistic_locks,
);

/// contract: T3 F6
fn the_connection_is_given_back(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::start(&scene.cluster.seeds());
    let mut client = keyway.client();
    let mut other = keyway.client();
    for end in ["EXEC", "DISCARD", "UNWATCH", "RESET", "EXEC x"] {
        client.expect("WATCH {w}a", "+OK");
        if end == "EXEC" || end == "DISCARD" {
            client.expect("MULTI", "+OK");
        }
        client.call(end);
        // A lease that is free again serves the next one.
        other.expect("WATCH {w}a", "+OK");
        other.expect("UNWATCH", "+OK");
    }
    client.expect("WATCH {w}a", "+OK");
    drop(client);
    eventually("the lease comes back", Duration::from_secs(10), || {
        other.call("WATCH {w}a");
        other.call("UNWATCH");
        keyway.metric("keyway_leases") as usize <= 2
    });
}

/// contract: T2 T3
fn keys_of_another_slot_are_refused(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    client.expect("WATCH {w}a", "+OK");
    client.expect("MULTI", "+OK");
    client.expect_error("SET {w2}b 1", "CROSSSLOT");
    client.expect_error("EXEC", "EXECABORT");
    // The watch went with it.
    client.expect("WATCH {w2}b", "+OK");
    client.expect("UNWATCH", "+OK");
}

/// contract: T3
fn a_lost_connection_aborts(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let mut node = cluster.client_of_key("{w}a");
    for (version, nil) in [("2", "nil-array"), ("3", "null")] {
        client.call(&format!("HELLO {version}"));
        client.call("DEL {w}a");
        client.expect("WATCH {w}a", "+OK");
        client.expect("MULTI", "+OK");
        client.expect("SET {w}a 1", "+QUEUED");
        node.call("CLIENT KILL TYPE normal");
        assert_eq!(client.call("EXEC").to_string(), nil);
        client.expect("EXISTS {w}a", ":0");
        // The next try succeeds.
        client.expect("WATCH {w}a", "+OK");
        assert_eq!(exec(&mut client, &["SET {w}a 1"]), "[+OK]");
    }
}

/// contract: T3
fn a_moved_slot_aborts(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let slot = slot("{w}a");
    let from = cluster.primary_of(slot).expect("somebody owns it");
    for to in [(from + 1) % 3, from] {
        client.call("DEL {w}a");
        client.expect("WATCH {w}a", "+OK");
        client.expect("MULTI", "+OK");
        client.expect("SET {w}a 1", "+QUEUED");
        cluster.move_slot(slot, to);
        client.expect("EXEC", "nil-array");
        client.expect("EXISTS {w}a", ":0");
        client.expect("WATCH {w}a", "+OK");
        assert_eq!(exec(&mut client, &["SET {w}a 1"]), "[+OK]");
    }
}

/// contract: T3
fn a_failover_aborts(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let primary = cluster.primary_of_key("{w}a").expect("somebody owns it");
    let replica = cluster.replicas_of(primary)[0];
    client.expect("WATCH {w}a", "+OK");
    client.expect("MULTI", "+OK");
    client.expect("SET {w}a 1", "+QUEUED");
    cluster.failover(replica, Takeover::Planned);
    client.expect("EXEC", "nil-array");
    client.expect("EXISTS {w}a", ":0");
    client.expect("WATCH {w}a", "+OK");
    assert_eq!(exec(&mut client, &["SET {w}a 1"]), "[+OK]");
    // And dead.
    client.expect("WATCH {w}a", "+OK");
    client.expect("MULTI", "+OK");
    client.expect("SET {w}a 2", "+QUEUED");
    cluster.kill(replica);
    client.expect("EXEC", "nil-array");
}

/// Four clients count with read, WATCH and EXEC; no increment is lost. contract: T3
fn counters_with_optimistic_locks(flavor: Flavor) {
    const TIMES: usize = 50;
    let scene = Scene::shared(flavor);
    let addr = scene.keyway.addr();
    scene.keyway.client().call("DEL {w}count");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = super::support::Client::connect(addr);
                let mut done = 0;
                while done < TIMES {
                    client.expect("WATCH {w}count", "+OK");
                    let count = client.call("GET {w}count");
                    let count: usize = match count.bytes() {
                        Some(_) => count.text().parse().expect("a number"),
                        None => 0,
                    };
                    let line = format!("SET {{w}}count {}", count + 1);
                    if exec(&mut client, &[&line]) == "[+OK]" {
                        done += 1;
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it counts");
    }
    let mut client = scene.keyway.client();
    client.expect("GET {w}count", &format!("'{}'", 4 * TIMES));
}

/// What a node says at `EXEC` on a connection that watches: anything about the slot is an abort.
///
/// contract: T3
#[test]
fn redirects_abort() {
    for word in ["INCR", "EXEC"] {
        for error in ["MOVED", "ASK", "-TRYAGAIN x", "-CLUSTERDOWN x"] {
            let (fake, keyway) = scene(2, "10s");
            let key = key_of(0, 2);
            let action = match error {
                "MOVED" => Action::moved(slot(&key), fake.node(1)),
                "ASK" => Action::ask(slot(&key), fake.node(1)),
                line => Action::line(line),
            };
            fake.node(0).once(word, action);
            let mut client = keyway.client();
            client.expect(&format!("WATCH {key}"), "+OK");
            let line = format!("INCR {key}");
            assert_eq!(exec(&mut client, &[&line]), "nil-array", "{word} {error}");
            assert_eq!(fake.node(1).received("EXEC").len(), 0);
            assert_eq!(fake.node(0).received("EXEC").len(), 1);
        }
    }
}

/// contract: T3 F2
#[test]
fn a_watched_block_that_is_lost() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    for (line, expected) in [("INCR k", "outcome unknown"), ("GET k", "nil-array")] {
        client.expect("WATCH k", "+OK");
        fake.node(0).once("EXEC", Action::close());
        let reply = exec(&mut client, &[line]);
        assert!(reply.contains(expected), "{line}: {reply}");
    }
    fake.node(0).once("INCR", Action::line("-OOM no room"));
    client.expect("WATCH k", "+OK");
    assert_eq!(
        exec(&mut client, &["INCR k"]),
        "-EXECABORT Transaction discarded because of: OOM no room"
    );
    client.expect("WATCH k", "+OK");
    assert_eq!(exec(&mut client, &["INCR k"]), "[:1]");
}

/// What was written over a private connection is the client's own, too.
///
/// contract: T3 T8
#[test]
fn wait_speaks_of_watched_transactions() {
    let (fake, keyway) = scene(3, "10s");
    for node in fake.nodes() {
        node.always("WAIT", Action::line(":1"));
    }
    let mut client = keyway.client();
    let keys: Vec<String> = (0..2).map(|node| key_of(node, 3)).collect();
    client.expect(&format!("SET {} 1", keys[0]), "+OK");
    client.expect(&format!("WATCH {}", keys[1]), "+OK");
    let line = format!("INCR {}", keys[1]);
    assert_eq!(exec(&mut client, &[&line]), "[:1]");
    client.expect("WAIT 1 0", ":1");
    let asked: Vec<usize> = fake
        .nodes()
        .iter()
        .map(|node| node.received("WAIT").len())
        .collect();
    assert_eq!(asked, [1, 1, 0]);
}
