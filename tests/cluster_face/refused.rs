//! What is refused, what is for later, and that every row of the table ends in a reply.

use std::time::{Duration, Instant};

use keyway::command::{Command, Handling, supported};

use super::support::{Client, FakeCluster, Flavor, Keyway, Scene};

/// A request that the row's arity allows, with keys that share a slot.
fn request(row: &Command, argument: &str) -> Vec<String> {
    let mut words: Vec<String> = row.name.split('|').map(str::to_owned).collect();
    while words.len() < usize::from(row.arity.unsigned_abs()) {
        words.push(argument.to_owned());
    }
    words
}

/// contract: C7
#[test]
fn operator_commands_are_refused_and_never_sent() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    let rows: Vec<&Command> = supported()
        .filter(|row| row.handling == Handling::Refused)
        .collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in &rows {
        let reply = client.call_args(&request(row, "a")).to_string();
        assert!(
            reply.starts_with("-ERR") && reply.contains(row.name),
            "{}: {reply}",
            row.name
        );
    }
    for name in [
        "shutdown",
        "replicaof",
        "slaveof",
        "debug",
        "migrate",
        "sync",
        "psync",
        "failover",
        "module|load",
        "cluster|reset",
        "cluster|failover",
        "cluster|setslot",
        "cluster|meet",
        "cluster|forget",
        "cluster|addslots",
        "cluster|delslots",
        "cluster|flushslots",
        "cluster|replicate",
    ] {
        assert!(
            rows.iter().any(|row| row.name == name),
            "{name} is not refused"
        );
    }
    for node in fake.nodes() {
        for row in &rows {
            let words = row.name.replace('|', " ");
            assert_eq!(
                node.received(&words),
                Vec::<String>::new(),
                "{words} reached a node"
            );
        }
    }
    client.expect("PING", "+PONG");
}

/// Whatever the arguments, whatever the row: one reply, soon, and the connection goes on. Real nodes
/// take part, so that nothing that should be refused goes unnoticed.
///
/// contract: P2, F5, F8
#[test]
fn every_row_ends_in_a_reply() {
    for flavor in Flavor::ALL {
        let scene = Scene::shared(flavor);
        // Its own Keyway: some rows close or hold other clients.
        let keyway = Keyway::before(&scene.cluster.seeds())
            .set("timeouts.request", "\"5s\"")
            .start();
        let mut client = keyway.client();
        let mut slow = Vec::new();
        for hello in ["HELLO 2", "HELLO 3"] {
            for row in supported() {
                // Ends the connection, or its replies, queues what is behind, or brings more than
                // replies, as it should.
                let is_final = [
                    "quit",
                    "client|kill",
                    "client|reply",
                    "client|pause",
                    "monitor",
                    "multi",
                ]
                .contains(&row.name);
                // What may follow these is another question: tests/pubsub.
                let is_subscription = matches!(row.handling, Handling::Subscription(_));
                if is_final || is_subscription {
                    continue;
                }
                for argument in ["a", "1", "0", "-1", "", "{a}x", "*"] {
                    client.call(hello);
                    let words = request(row, argument);
                    let began = Instant::now();
                    // Whether it is in the servers' mind or not: one reply, and the next is the next's.
                    let mut bytes = super::support::client::encode(&words);
                    bytes.extend(b"ECHO behind\r\n");
                    client.send_raw(bytes);
                    let reply = client.read();
                    client.expect_next("'behind'");
                    let took = began.elapsed();
                    if took > Duration::from_secs(2) {
                        slow.push(format!("{words:?}: {took:?}: {reply}"));
                    }
                }
            }
        }
        assert!(slow.is_empty(), "{slow:#?}");
        // The cluster is as it was.
        assert!(scene.cluster.is_settled());
        assert_eq!(scene.cluster.primaries().len(), 3);
        let reply = client.call("CONFIG GET maxmemory").to_string();
        assert!(reply.contains("'0'"), "{reply}");
    }
}

/// One argument less than allowed, one more than allowed: a server's words.
///
/// contract: P2
#[test]
fn wrong_counts_get_the_servers_words() {
    for flavor in Flavor::ALL {
        let scene = Scene::shared(flavor);
        let (mut ours, mut theirs) = (scene.keyway.client(), scene.plain().client());
        let known = |client: &mut Client, row: &Command| {
            let name = row.name.split('|').next().unwrap_or_default();
            let reply = client.call(&format!("COMMAND INFO {name}"));
            reply
                .items()
                .iter()
                .all(|item| matches!(item, super::support::Value::Array(_)))
        };
        for row in supported().filter(|row| row.handling != Handling::Container) {
            let is_closing = row.name == "quit" || row.name == "shutdown";
            // What this flavor does not have is unknown there, and refused or passed on here.
            if is_closing || !known(&mut theirs, row) {
                continue;
            }
            let mut cases = Vec::new();
            let right = request(row, "a");
            if right.len() > row.name.split('|').count() {
                cases.push(right[..right.len() - 1].to_vec());
            }
            if row.arity > 0 {
                cases.push([right, vec!["more".to_owned()]].concat());
            }
            for words in cases {
                let (got, want) = (
                    ours.call_args(&words).to_string(),
                    theirs.call_args(&words).to_string(),
                );
                let is_about_count = want.starts_with("-ERR wrong number of arguments");
                // Vector sets of Redis 8 are named in upper case.
                assert!(
                    !is_about_count || got.eq_ignore_ascii_case(&want),
                    "{words:?}\n got {got}\nwant {want}"
                );
            }
        }
    }
}
