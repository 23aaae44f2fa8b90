//! redis-rs, blocking: its single client and its cluster client.

use std::collections::HashSet;

use redis::cluster::ClusterClient;
use redis::{Client, Commands, Connection, ConnectionLike, ProtocolVersion, Script};

use crate::redis_rs_table::{Call, Differences};
use crate::scene::{PASSWORD, Scene};
use crate::support::{Flavor, Server};

pub const PROTOCOLS: [ProtocolVersion; 2] = [ProtocolVersion::RESP2, ProtocolVersion::RESP3];

/// A client as an application opens it, from a URL.
pub fn client(url: &str, protocol: ProtocolVersion) -> Client {
    let resp = match protocol {
        ProtocolVersion::RESP3 => "resp3",
        _ => "resp2",
    };
    Client::open(format!("{url}/?protocol={resp}")).expect("the URL is right")
}

/// A cluster client that knows this one address.
pub fn cluster_client(url: &str, protocol: ProtocolVersion) -> ClusterClient {
    let builder = ClusterClient::builder([url]).use_protocol(protocol);
    builder.build().expect("the URL is right")
}

// contract: P1
#[test]
fn answers_as_one_server_does() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let mut got = open(&scene.url(), protocol);
        compare("sync", protocol, &mut got, |_| true);
    }
}

// contract: C4
#[test]
fn cluster_client_is_answered_as_one_server_does() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let cluster = cluster_client(&scene.url(), protocol);
        let mut got = cluster.get_connection().expect("connects");
        compare(
            "sync-cluster",
            protocol,
            &mut got,
            Call::suits_cluster_clients,
        );
    }
}

/// Every call of the table, to a server of its own and to Keyway.
fn compare(
    name: &str,
    protocol: ProtocolVersion,
    got: &mut impl ConnectionLike,
    suits: impl Fn(&Call) -> bool,
) {
    let server = Server::start(Flavor::Redis);
    let mut expected = open(&format!("redis://{}", server.addr()), protocol);
    let mut differences = Differences::default();
    let calls = Call::all(&format!("{name}-{protocol:?}"));
    for call in calls.iter().filter(|call| suits(call)) {
        let server = call.outcome(expected.req_command(&call.command()));
        let keyway = call.outcome(got.req_command(&call.command()));
        differences.compare(call, server, keyway);
    }
    differences.none();
}

fn open(url: &str, protocol: ProtocolVersion) -> Connection {
    let client = client(url, protocol);
    let connection = client.get_connection();
    connection.unwrap_or_else(|error| panic!("{url}, {protocol:?}: {error}"))
}

#[test]
fn typed_calls() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let mut connection = open(&scene.url(), protocol);
        many_keys(&mut connection, &format!("typed-{protocol:?}"));
        pipelines(&mut connection, &format!("pipe-{protocol:?}"));
        transactions(&mut connection, &format!("tx-{protocol:?}"));
        scripts(&mut connection, &format!("script-{protocol:?}"));
        odd_keys_and_values(&mut connection, &format!("odd-{protocol:?}"));
        session(&mut connection);
    }
}

// contract: M1, M5
fn many_keys(connection: &mut Connection, name: &str) {
    let keys: Vec<String> = (0..2_000)
        .map(|number| format!("{name}:{number}"))
        .collect();
    let pairs: Vec<(&String, usize)> = keys.iter().zip(0..).collect();
    let stored: String = connection.mset(&pairs).expect("MSET over all slots");
    assert_eq!(stored, "OK");
    let numbers: Vec<usize> = connection.mget(&keys).expect("MGET over all slots");
    assert!(numbers.into_iter().eq(0..2_000));
    let found: HashSet<String> = connection
        .scan_match(format!("{name}:*"))
        .expect("SCAN begins")
        .collect::<Result<_, _>>()
        .expect("SCAN goes on");
    assert_eq!(found, keys.iter().cloned().collect());
    let deleted: usize = connection.del(&keys).expect("DEL over all slots");
    assert_eq!(deleted, 2_000);
}

// contract: P2
fn pipelines(connection: &mut Connection, name: &str) {
    let mut pipe = redis::pipe();
    for number in 0..1_000 {
        let key = format!("{name}:{number}");
        pipe.set(&key, number).ignore().get(&key);
    }
    let numbers: Vec<usize> = pipe.query(connection).expect("a pipeline over all slots");
    assert!(numbers.into_iter().eq(0..1_000));
}

// contract: T1 T3
fn transactions(connection: &mut Connection, name: &str) {
    let key = format!("{{{name}}}tx");
    let (count, text): (usize, String) = redis::pipe()
        .atomic()
        .set(&key, 1)
        .ignore()
        .incr(&key, 1)
        .get(&key)
        .query(connection)
        .expect("a transaction");
    assert_eq!((count, text.as_str()), (2, "2"));
    let watched = std::slice::from_ref(&key);
    let (count,): (usize,) = redis::transaction(connection, watched, |connection, pipe| {
        let count: usize = redis::cmd("GET").arg(&key).query(connection)?;
        pipe.set(&key, count + 1)
            .ignore()
            .get(&key)
            .query(connection)
    })
    .expect("a watched transaction");
    assert_eq!(count, 3);
}

// contract: T4
fn scripts(connection: &mut Connection, name: &str) {
    // The library falls back from EVALSHA to SCRIPT LOAD and EVALSHA again.
    let text = format!("-- {name}\nredis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]");
    let script = Script::new(&text);
    for number in 0..20 {
        let mut call = script.key(format!("{name}:{number}"));
        let reply: usize = call
            .arg(number)
            .invoke(connection)
            .expect("the script runs");
        assert_eq!(reply, number);
    }
    let (loaded,): (bool,) = redis::cmd("SCRIPT")
        .arg("EXISTS")
        .arg(script.get_hash())
        .query(connection)
        .expect("SCRIPT EXISTS");
    assert!(loaded);
}

// contract: P3, P8
fn odd_keys_and_values(connection: &mut Connection, name: &str) {
    let large: Vec<u8> = (0..5 << 20).map(|index: u32| (index % 251) as u8).collect();
    for key in ["ключ-鍵-🔑", "sp ace\r\n\0", "{}x", "{open"] {
        let key = format!("{name}:{key}");
        let () = connection.set(&key, &large).expect("SET of 5 MiB");
        let got: Vec<u8> = connection.get_del(&key).expect("GETDEL of 5 MiB");
        assert!(got == large, "{key}: {} bytes came back", got.len());
    }
}

// contract: C2, C3
fn session(connection: &mut Connection) {
    let () = connection.client_setname("rust").expect("CLIENT SETNAME");
    let name: String = connection.client_getname().expect("CLIENT GETNAME");
    assert_eq!(name, "rust");
    let info: redis::InfoDict = redis::cmd("INFO").query(connection).expect("INFO");
    assert_eq!(info.get("redis_mode"), Some("standalone".to_owned()));
    assert_eq!(info.get("cluster_enabled"), Some(0));
}

// contract: P7
#[test]
fn passwords() {
    let scene = Scene::start();
    let protected = scene.protected();
    for protocol in PROTOCOLS {
        let attempt = |credentials: &str| -> Result<String, redis::RedisError> {
            let url = format!("redis://{credentials}{}", protected.addr());
            let mut connection = client(&url, protocol).get_connection()?;
            redis::cmd("PING").query(&mut connection)
        };
        let password = PASSWORD.replace(' ', "%20");
        for credentials in [format!(":{password}@"), format!("default:{password}@")] {
            assert_eq!(
                attempt(&credentials).expect("the password is right"),
                "PONG"
            );
        }
        for credentials in [
            String::new(),
            ":wrong@".to_owned(),
            format!("who:{password}@"),
        ] {
            let error = attempt(&credentials).expect_err("the password is wrong");
            let text = error.to_string().to_lowercase();
            assert!(
                ["authenti", "invalid username-password"]
                    .iter()
                    .any(|word| text.contains(word)),
                "{protocol:?} {credentials}: {text}"
            );
        }
    }
}

/// A pool as applications make one: threads with a connection each, opened again when it broke.
// contract: F7
#[test]
fn threads_come_back_after_a_restart() {
    let scene = Scene::start();
    let client = client(&scene.url(), ProtocolVersion::RESP3);
    let work = |thread: usize| {
        let mut connection = client.get_connection().expect("connects");
        for number in 0..100 {
            let key = format!("threads:{thread}:{number}");
            let () = connection.set(&key, number).expect("SET");
            let got: usize = connection.get(&key).expect("GET");
            assert_eq!(got, number);
        }
        connection
    };
    let mut connections: Vec<Connection> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|connection| connection.expect("no thread panics"))
            .collect()
    });
    scene.restart();
    for connection in &mut connections {
        let get = redis::cmd("GET").arg("threads:0:7").to_owned();
        let got = get.query::<usize>(connection).or_else(|error| {
            assert!(error.is_unrecoverable_error(), "{error}");
            *connection = client.get_connection()?;
            get.query(connection)
        });
        assert_eq!(got.expect("Keyway is back"), 7);
    }
}
