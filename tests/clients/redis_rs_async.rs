//! redis-rs, asynchronous: the multiplexed connection, the connection manager that reconnects by
//! itself, and the cluster client.

use redis::aio::{ConnectionLike, ConnectionManager, MultiplexedConnection};
use redis::{AsyncCommands, ProtocolVersion, Script};

use crate::redis_rs::{PROTOCOLS, client, cluster_client};
use crate::redis_rs_table::{Call, Differences};
use crate::scene::{PASSWORD, Scene};
use crate::support::{Flavor, Server};

// contract: P1
#[tokio::test]
async fn multiplexed_connection_is_answered_as_one_server_does() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let mut got = open(&scene.url(), protocol).await;
        compare("async", protocol, &mut got, |_| true).await;
    }
}

// contract: C4
#[tokio::test]
async fn cluster_client_is_answered_as_one_server_does() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let cluster = cluster_client(&scene.url(), protocol);
        let mut got = cluster.get_async_connection().await.expect("connects");
        let suits = Call::suits_cluster_clients;
        compare("async-cluster", protocol, &mut got, suits).await;
    }
}

async fn compare(
    name: &str,
    protocol: ProtocolVersion,
    got: &mut impl ConnectionLike,
    suits: impl Fn(&Call) -> bool,
) {
    let server = Server::start(Flavor::Redis);
    let mut expected = open(&format!("redis://{}", server.addr()), protocol).await;
    let mut differences = Differences::default();
    let calls = Call::all(&format!("{name}-{protocol:?}"));
    for call in calls.iter().filter(|call| suits(call)) {
        let server = call.outcome(expected.req_packed_command(&call.command()).await);
        let keyway = call.outcome(got.req_packed_command(&call.command()).await);
        differences.compare(call, server, keyway);
    }
    differences.none();
}

async fn open(url: &str, protocol: ProtocolVersion) -> MultiplexedConnection {
    let client = client(url, protocol);
    let connection = client.get_multiplexed_async_connection().await;
    connection.unwrap_or_else(|error| panic!("{url}, {protocol:?}: {error}"))
}

/// Many tasks share one connection; each must read what it wrote, and a large value of one does
/// not mix with the replies of the others.
// contract: P2, P8
#[tokio::test]
async fn many_tasks_share_one_connection() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let connection = open(&scene.url(), protocol).await;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..50_usize {
            let mut connection = connection.clone();
            tasks.spawn(async move {
                for number in 0..40 {
                    let key = format!("tasks-{protocol:?}:{task}:{number}");
                    // One task writes large values between the small ones of the others.
                    let len = if task == 0 { 200_000 } else { 20 };
                    let value = vec![task as u8; len + number];
                    let () = connection.set(&key, &value).await.expect("SET");
                    let got: Vec<u8> = connection.get(&key).await.expect("GET");
                    assert!(got == value, "{key}: {} bytes", got.len());
                }
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.expect("no task panics");
        }
    }
}

// contract: M1, M5, T4
#[tokio::test]
async fn typed_calls() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let mut connection = open(&scene.url(), protocol).await;
        let name = format!("async-typed-{protocol:?}");
        let keys: Vec<String> = (0..1_000)
            .map(|number| format!("{name}:{number}"))
            .collect();
        let pairs: Vec<(&String, usize)> = keys.iter().zip(0..).collect();
        let () = connection.mset(&pairs).await.expect("MSET over all slots");
        let numbers: Vec<usize> = connection.mget(&keys).await.expect("MGET over all slots");
        assert!(numbers.into_iter().eq(0..1_000));
        let mut iterator = connection
            .scan_match::<_, String>(format!("{name}:*"))
            .await
            .expect("SCAN begins");
        let mut found = std::collections::HashSet::new();
        while let Some(key) = iterator.next_item().await {
            found.insert(key.expect("SCAN goes on"));
        }
        drop(iterator);
        assert_eq!(found, keys.iter().cloned().collect());
        let mut pipe = redis::pipe();
        for key in &keys {
            pipe.incr(key, 1).del(key);
        }
        let replies: Vec<usize> = pipe.query_async(&mut connection).await.expect("a pipeline");
        assert!(replies.chunks(2).map(|pair| pair[0]).eq(1..=1_000));
        let text = format!("-- {name}\nreturn redis.call('INCR', KEYS[1])");
        let script = Script::new(&text);
        for number in 0..20 {
            let call = script.key(format!("{name}:script:{number}"));
            let reply: usize = call.invoke_async(&mut connection).await.expect("it runs");
            assert_eq!(reply, 1);
        }
    }
}

// contract: P7
#[tokio::test]
async fn password() {
    let scene = Scene::start();
    let protected = scene.protected();
    let password = PASSWORD.replace(' ', "%20");
    for protocol in PROTOCOLS {
        let url = format!("redis://:{password}@{}", protected.addr());
        let mut connection = open(&url, protocol).await;
        let pong: String = connection.ping().await.expect("PING");
        assert_eq!(pong, "PONG");
        let cluster = cluster_client(&url, protocol);
        let mut connection = cluster.get_async_connection().await.expect("connects");
        let none: Option<String> = connection.get("protected").await.expect("GET");
        assert_eq!(none, None);
    }
}

/// The library reconnects; a call that meets the gap is repeated by its caller, as any write's must
/// be.
// contract: F7
#[tokio::test]
async fn managed_connection_comes_back_after_a_restart() {
    let scene = Scene::start();
    for protocol in PROTOCOLS {
        let client = client(&scene.url(), protocol);
        let mut managed = ConnectionManager::new(client).await.expect("connects");
        let mut cluster = cluster_client(&scene.url(), protocol)
            .get_async_connection()
            .await
            .expect("connects");
        let () = managed.set("managed", 1).await.expect("SET");
        scene.restart();
        let mut attempts = 0;
        loop {
            match managed.incr::<_, _, usize>("managed", 1).await {
                Ok(got) => break assert!(got >= 2, "{got}"),
                Err(error) => assert!(
                    error.is_connection_dropped() || error.is_io_error(),
                    "{error}"
                ),
            }
            attempts += 1;
            assert!(attempts < 5, "it does not come back");
        }
        let got: usize = cluster
            .get("managed")
            .await
            .expect("the cluster client retries");
        assert!(got >= 2);
    }
}
