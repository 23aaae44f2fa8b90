//! Before a cluster whose nodes have several databases. The nodes are scripted; whatever happens to slots, nodes and
//! connections, each request has to come over a connection that selected its client's database before anything else.

use std::collections::HashMap;

use super::support::{Action, FakeCluster, FakeNode, Keyway, eventually};
use super::{SOON, client_in};

/// A slot's key names its database, so that it is seen where it arrives.
fn key(database: usize, tag: &str) -> String {
    format!("{{{tag}}}in:{database}")
}

fn with_databases(primaries: usize, replicas: usize, databases: usize) -> FakeCluster {
    let fake = FakeCluster::start_with_replicas(primaries, replicas);
    fake.change(|layout| layout.databases = databases);
    fake
}

/// `SELECT` belongs to the handshake, and what names a database came over a connection of that database. Returns how
/// many requests were looked at.
fn check(node: &FakeNode) -> usize {
    let mut said: HashMap<u64, Vec<String>> = HashMap::new();
    for request in node.requests("") {
        said.entry(request.connection)
            .or_default()
            .push(request.line());
    }
    let mut checked = 0;
    for lines in said.values() {
        let selected = lines.iter().position(|line| line.starts_with("SELECT "));
        let database = selected.map_or("0", |at| lines[at].trim_start_matches("SELECT "));
        assert!(
            selected.is_none_or(|at| at == 1),
            "not in the handshake: {lines:?}"
        );
        let selects = lines
            .iter()
            .filter(|line| line.to_uppercase().contains("SELECT"));
        assert!(selects.count() <= 1, "{lines:?}");
        for line in lines {
            let places = line.match_indices("in:");
            for (at, _) in places {
                let named: String = line[at + 3..]
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                assert_eq!(named, database, "{line} in database {database}: {lines:?}");
                checked += 1;
            }
        }
    }
    checked
}

fn check_all(fake: &FakeCluster) -> usize {
    fake.nodes().iter().map(check).sum()
}

/// Requests of every kind, in this database.
const REQUESTS: &[&str] = &[
    "GET @",
    "SET @ v",
    "MGET @ @",
    "DEL @ {b}@ {c}@ {d}@",
    "INCR @",
    "EVAL return(1) 1 @",
];

fn say_everything(keyway: &Keyway, databases: &[usize]) {
    let mut clients: Vec<_> = databases.iter().map(|n| client_in(keyway, *n)).collect();
    for tag in ["foo", "bar", "baz", "qux"] {
        for request in REQUESTS {
            for (client, database) in clients.iter_mut().zip(databases) {
                client.send(&request.replace('@', &key(*database, tag)));
            }
            for client in &mut clients {
                let reply = client.read();
                assert!(!reply.is_error(), "{request}: {reply}");
            }
        }
    }
}

/// contract: C1 C5
#[test]
fn every_kind_of_request() {
    let fake = with_databases(3, 0, 4);
    let keyway = Keyway::start(&fake.seeds());
    say_everything(&keyway, &[0, 1, 2, 3]);
    let mut client = client_in(&keyway, 2);
    // Over private connections.
    fake.nodes()
        .iter()
        .for_each(|node| node.always("BLPOP", Action::line("*-1")));
    client.expect(&format!("BLPOP {} 1", key(2, "foo")), "nil-array");
    client.expect(&format!("WATCH {}", key(2, "foo")), "+OK");
    client.expect("UNWATCH", "+OK");
    client.expect("MULTI", "+OK");
    client.expect(&format!("SET {} 1", key(2, "foo")), "+QUEUED");
    client.expect("EXEC", "[+OK]");
    client.expect("DBSIZE", ":3");
    client.expect("SELECT 4", "-ERR DB index is out of range");
    client.expect(&format!("SET {} 1", key(2, "foo")), "+OK");
    assert!(check_all(&fake) > 100);
}

/// contract: C5
#[test]
fn without_databases_the_error_is_the_nodes() {
    let fake = with_databases(2, 0, 1);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    for index in ["1", "15", "-1"] {
        let select = format!("SELECT {index}");
        client.expect(&select, "-ERR SELECT is not allowed in cluster mode");
    }
    client.expect("SELECT 0", "+OK");
    client.expect(&format!("SET {} 1", key(0, "foo")), "+OK");
    fake.nodes()[0].always("SELECT", Action::line("-NOPERM no permissions"));
    fake.nodes()[1].always("SELECT", Action::line("-NOPERM no permissions"));
    // What nodes said is remembered for a second.
    eventually("they are asked again", SOON, || {
        client.call("SELECT 1").to_string() == "-NOPERM no permissions"
    });
    client.expect(&format!("SET {} 1", key(0, "foo")), "+OK");
    assert_eq!(check_all(&fake), 2);
}

/// contract: C1 R3 R4
#[test]
fn redirects_keep_the_database() {
    let fake = with_databases(2, 0, 4);
    let keyway = Keyway::start(&fake.seeds());
    let mut clients: Vec<_> = (0..4)
        .map(|database| client_in(&keyway, database))
        .collect();
    let slot = 12_182;
    let (old, new) = (fake.node(1), fake.node(0));
    for (database, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("SET {} 1", key(database, "foo")), "+OK");
        old.once("GET", Action::ask(slot, new));
        client.expect(&format!("GET {}", key(database, "foo")), "'node-0'");
    }
    old.always("GET", Action::moved(slot, new));
    for (database, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("GET {}", key(database, "foo")), "'node-0'");
    }
    fake.change(|layout| layout.assign(slot, slot, 0));
    for (database, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("SET {} 1", key(database, "foo")), "+OK");
    }
    let asked = new.received("GET");
    assert!(asked.len() >= 8, "{asked:?}");
    assert!(check_all(&fake) >= 16);
}

/// contract: C1 R10 F1
#[test]
fn lost_connections_and_failovers_keep_the_database() {
    let fake = with_databases(2, 1, 4);
    let keyway = Keyway::start(&fake.seeds());
    say_everything(&keyway, &[1, 0, 3]);
    for round in 0..3 {
        for node in fake.nodes() {
            let before = node.requests("SELECT").len();
            node.cut_connections();
            let mut client = client_in(&keyway, 3);
            for tag in ["foo", "bar"] {
                eventually("it goes on", SOON, || {
                    client
                        .call(&format!("GET {}", key(3, tag)))
                        .to_string()
                        .contains("node-")
                });
            }
            let _ = (round, before);
        }
        say_everything(&keyway, &[2, 3, 0]);
    }
    fake.node(0).go_down();
    fake.change(|layout| layout.promote(2));
    say_everything(&keyway, &[0, 1, 2, 3]);
    assert!(fake.node(2).received("GET").len() > 3);
    check_all(&fake);
}

/// contract: C1
#[test]
fn reads_from_replicas_too() {
    let fake = with_databases(2, 1, 4);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.read_policy", "\"prefer-replica\"")
        .start();
    let replicas = [fake.node(2), fake.node(3)];
    let mut clients: Vec<_> = (0..4)
        .map(|database| client_in(&keyway, database))
        .collect();
    eventually("replicas serve every database", SOON, || {
        for (database, client) in clients.iter_mut().enumerate() {
            for tag in ["foo", "bar"] {
                let reply = client.call(&format!("GET {}", key(database, tag)));
                assert!(!reply.is_error(), "{reply}");
            }
        }
        let seen: Vec<String> = replicas
            .iter()
            .flat_map(|node| node.received("GET"))
            .collect();
        (0..4).all(|database| {
            seen.iter()
                .any(|line| line.ends_with(&format!("in:{database}")))
        })
    });
    check_all(&fake);
}
