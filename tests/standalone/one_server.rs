//! It is served as one node that owns all slots, and looks as if nothing stood between.

use std::time::Duration;

use super::support::{Client, Flavor, Keyway, Server, ServerOptions, eventually};

/// What a cluster could not do, one server does.
///
/// contract: M2, C3
#[test]
fn keys_need_no_common_slot() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let keyway = Keyway::start(&[server.addr()]);
        let mut client = keyway.client();
        for (command, reply) in [
            ("MSETNX a 1 b 2", ":1"),
            ("RENAME a c", "+OK"),
            ("COPY b d", ":1"),
            ("MGET a b c d", "[nil '2' '1' '2']"),
            ("SADD s1 1 2 3", ":3"),
            ("SADD s2 2 3 4", ":3"),
            ("SINTER s1 s2", "['2' '3']"),
            ("SUNIONSTORE s3 s1 s2", ":4"),
            ("SMOVE s1 s2 1", ":1"),
            ("RPUSH l1 a b", ":2"),
            ("LMOVE l1 l2 LEFT RIGHT", "'a'"),
            ("ZADD z1 1 a", ":1"),
            ("ZUNIONSTORE z2 2 z1 nothing", ":1"),
            ("PFADD p1 a", ":1"),
            ("PFMERGE p2 p1", "+OK"),
            ("BITOP NOT b1 b", ":1"),
            ("SORT s3 STORE sorted", ":4"),
            (
                r#"EVAL "return redis.call('MGET', KEYS[1], KEYS[2])" 2 b c"#,
                "['2' '1']",
            ),
            ("DEL a b c d e f b", ":3"),
            ("EXISTS s1 s2 s1", ":3"),
            ("MSET x 1 y 2 z 3", "+OK"),
            ("SWAPDB 0 0", "+OK"),
        ] {
            client.expect(command, reply);
        }
        // What it says of itself and of its data is one server's.
        let mut direct = server.client();
        for command in [
            "DBSIZE",
            "KEYS x*",
            "RANDOMKEY nothing",
            "OBJECT ENCODING x",
            "CONFIG GET maxmemory",
            "SCAN 0 COUNT 1000 MATCH [xyz]",
        ] {
            let (got, want) = (client.call(command), direct.call(command));
            assert_eq!(
                sorted(got.to_string()),
                sorted(want.to_string()),
                "{command}"
            );
        }
        assert_eq!(keyway.metric("keyway_topology_shards"), 1.0);
        let (_, page) = keyway.admin("/topology");
        assert!(page.contains("standalone"), "{page}");
        client.expect("FLUSHALL", "+OK");
        assert_eq!(server.ok("DBSIZE").integer(), 0);
    }
}

/// Sets have no order.
fn sorted(text: String) -> Vec<String> {
    let mut words: Vec<String> = text.split([' ', '[', ']']).map(str::to_owned).collect();
    words.sort();
    words
}

/// Cluster clients are told of one node that owns everything; it is this Keyway.
///
/// contract: C4
#[test]
fn to_cluster_clients_it_is_a_cluster_of_one() {
    for view in ["single", "nodes"] {
        let server = Server::start(Flavor::Redis);
        let keyway = Keyway::before(&[server.addr()])
            .set("listen.cluster_view", &format!("\"{view}\""))
            .start();
        let slots = keyway.client().call("CLUSTER SLOTS");
        assert_eq!(slots.items().len(), 1, "{slots}");
        let row = slots.items()[0].items();
        assert_eq!((row[0].integer(), row[1].integer()), (0, 16383));
        assert_eq!(keyway.client().call("CLUSTER KEYSLOT foo").integer(), 12182);
    }
}

/// contract: R11, C1
#[test]
fn it_logs_in_with_user_and_password() {
    let server = Server::start_with(ServerOptions {
        password: Some("default-pass".to_owned()),
        config: vec!["user app on >app-pass ~* &* +@all".to_owned()],
        ..ServerOptions::default()
    });
    for (user, password) in [("", "default-pass"), ("app", "app-pass")] {
        let keyway = Keyway::before(&[server.addr()])
            .set("upstream.username", &format!("\"{user}\""))
            .set("upstream.password", &format!("\"{password}\""))
            .start();
        // Clients need none: that is between Keyway and the server.
        let mut client = keyway.client();
        client.expect("SET k v", "+OK");
        client.call("HELLO 3");
        client.expect("GET k", "'v'");
    }
    // With a wrong one nothing works, and the error says what.
    let keyway = Keyway::before(&[server.addr()])
        .set("upstream.password", "\"wrong\"")
        .set("timeouts.request", "\"500ms\"")
        .start_unready();
    let reply = keyway.client().call("GET k").to_string();
    assert!(reply.starts_with('-'), "{reply}");
    let log = keyway.log();
    assert!(log.contains("WRONGPASS"), "the log says why: {log}");
    assert!(
        !log.contains("\"wrong\"") && !log.contains("=wrong"),
        "the log keeps the secret: {log}"
    );
    assert!(!keyway.is_ready());
}

/// SELECT changes nobody else's database.
///
/// contract: C5, C1
#[test]
fn databases_do_not_mix() {
    let server = Server::start(Flavor::Redis);
    let keyway = Keyway::start(&[server.addr()]);
    let (mut one, mut other) = (keyway.client(), keyway.client());
    one.expect("SELECT 0", "+OK");
    one.expect("SET where zero", "+OK");
    let reply = one.call("SELECT 1").to_string();
    if reply == "+OK" {
        one.expect("GET where", "nil");
        one.expect("SET where one", "+OK");
    } else {
        assert!(reply.starts_with("-ERR"), "{reply}");
        one.expect("GET where", "'zero'");
    }
    other.expect("GET where", "'zero'");
    for command in [
        "SELECT 99999",
        "SELECT x",
        "SELECT -1",
        "SELECT",
        "SELECT 0 0",
    ] {
        assert!(one.call(command).is_error(), "{command}");
    }
}

/// A restart of the server is sat out; what the client asks meanwhile waits.
///
/// contract: F1, R11
#[test]
fn a_restart_is_sat_out() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let keyway = Keyway::start(&[server.addr()]);
        let mut client = keyway.client();
        for round in 0..3 {
            client.expect(&format!("SET round {round}"), "+OK");
            let failures = keyway.metric("keyway_upstream_failures_total");
            server.kill();
            eventually("the loss is noticed", Duration::from_secs(5), || {
                keyway.metric("keyway_upstream_failures_total") > failures
            });
            let mut waiting: Vec<Client> = (0..5).map(|_| keyway.client()).collect();
            for (number, client) in waiting.iter_mut().enumerate() {
                client.send(&format!("SET waited:{number} {round}"));
            }
            server.restart();
            for (number, client) in waiting.iter_mut().enumerate() {
                client.expect_next("+OK");
                client.expect(&format!("GET waited:{number}"), &format!("'{round}'"));
            }
        }
    }
}

/// It answers LOADING for a while after its start: not an error for the client.
///
/// contract: R5
#[test]
fn a_server_that_is_loading_is_waited_for() {
    let server = Server::start_with(ServerOptions {
        config: vec!["appendonly yes".to_owned(), "key-load-delay 0".to_owned()],
        ..ServerOptions::default()
    });
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = keyway.client();
    for batch in 0..20 {
        let mut words = vec!["MSET".to_owned()];
        for number in 0..1_000 {
            words.extend([format!("loading:{batch}:{number}"), "value".to_owned()]);
        }
        assert_eq!(client.call_args(&words).to_string(), "+OK");
    }
    // About a second and a half in which it answers LOADING.
    server.ok("CONFIG SET key-load-delay 75");
    server.ok("CONFIG REWRITE");
    let failures = keyway.metric("keyway_upstream_failures_total");
    server.terminate();
    eventually("the loss is noticed", Duration::from_secs(5), || {
        keyway.metric("keyway_upstream_failures_total") > failures
    });
    client.send("GET loading:19:999");
    client.send("INCR loading:n");
    let starter = std::thread::scope(|scope| scope.spawn(|| server.restart()).join().is_ok());
    assert!(starter);
    client.expect_next("'value'");
    client.expect_next(":1");
}
