//! Requests for several nodes: whom they wait for, and whom not.

use keyway::pipeline::ClientKey;

use super::scene::Scene;

impl Scene {
    /// Whether the worker takes a request on now.
    fn takes(&mut self, client: ClientKey, line: &str) -> bool {
        let bytes = format!("{line}\r\n");
        self.core.process(client, bytes.as_bytes()).consumed > 0
    }
}

/// A full outbox of one node held up requests over several slots of other nodes, and `PUBLISH`. contract: F4
#[test]
fn a_node_that_takes_nothing_holds_up_its_own_only() {
    let mut scene = Scene::new();
    scene.core.limits.outbox_bytes = 1;
    let (writer, client) = (scene.client(), scene.client());
    scene.says(writer, "SET {a}1 x");
    let full = scene.open();
    assert!(!scene.takes(client, "MGET {a}1 {b}1"));
    let other = scene.open();
    for (line, replies) in [
        ("MGET {b}1 {c}1", vec!["*1\r\n$-1"; 2]),
        ("CLUSTER COUNTKEYSINSLOT 0", vec![":0"]),
        ("SCAN 0", vec!["*2\r\n$1\r\n0\r\n*0"]),
    ] {
        assert!(scene.takes(client, line), "{line}");
        assert!(
            !scene.takes(client, line),
            "{line}: its own node is full now"
        );
        assert_ne!(scene.wrote(other), "");
        for reply in replies {
            scene.node_says(other, reply);
        }
    }
    assert!(!scene.takes(client, "DBSIZE"), "it is for both");
    assert_eq!(scene.wrote(full), "SET {a}1 x");
    scene.node_says(full, "+OK");
    assert!(scene.takes(client, "DBSIZE"));
}

/// `FLUSHALL` changed places with writes of its client when a node sent one of them elsewhere. contract: R13
#[test]
fn what_writes_everywhere_keeps_its_place() {
    let mut scene = Scene::new();
    let client = scene.client();
    assert!(scene.takes(client, "SET {b}1 x"));
    let one = scene.open();
    assert_eq!(scene.wrote(one), "SET {b}1 x");
    assert!(!scene.takes(client, "FLUSHALL"));
    scene.node_says(one, "-MOVED 3300 10.0.0.2:6379");
    assert!(!scene.takes(client, "FLUSHALL"));
    let two = scene.open();
    assert_eq!(scene.wrote(two), "SET {b}1 x");
    scene.node_says(two, "+OK");
    assert!(scene.takes(client, "FLUSHALL"));
    assert!(!scene.takes(client, "SET {b}2 x"), "its place is behind");
    assert_eq!(scene.wrote(one), "FLUSHALL");
    assert_eq!(scene.wrote(two), "FLUSHALL");
    scene.node_says(one, "+OK");
    scene.node_says(two, "-LOADING Redis is loading the dataset in memory");
    assert!(!scene.takes(client, "SET {b}2 x"));
    scene.pass(10_000);
    assert_eq!(scene.wrote(two), "FLUSHALL");
    scene.node_says(two, "+OK");
    assert!(scene.takes(client, "SET {b}2 x"));
}
