//! Requests for several nodes: whom they wait for, and whom not.

use keyway::pipeline::ClientKey;
use keyway::worker::links::Loss;

use super::scene::{Scene, TIMEOUT_US};

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
        // The page ends where it would have to wait for the other node.
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

/// What was asked of a primary that then gave its last slot away waited for it until its deadline. contract: M4 R8
#[test]
fn what_a_primary_was_asked_that_left_is_asked_anew() {
    for (line, reply, sum) in [
        ("DBSIZE", ":1", ":1"),
        ("FLUSHALL", "+OK", "+OK"),
        ("RANDOMKEY", "", ""),
    ] {
        let mut scene = Scene::new();
        let client = scene.client();
        scene.says(client, line);
        let dialled = scene.dialled();
        let (one, two) = (dialled[0].0, dialled[1].0);
        scene.core.connection_ready(one);
        scene.core.connection_lost(two, Loss::NotOpened, "refused");
        scene.map(|_| Some(0));
        if line == "RANDOMKEY" {
            assert_eq!(scene.wrote(one), "DBSIZE RANDOMKEY");
            scene.node_says(one, ":1");
            scene.node_says(one, "$1\r\na");
            assert_eq!(scene.wrote(one), "DBSIZE RANDOMKEY");
            scene.node_says(one, ":1");
            scene.node_says(one, "$1\r\nb");
            scene.expect_output(client, &["$1 b"]);
            continue;
        }
        assert_eq!(scene.wrote(one), line);
        scene.node_says(one, reply);
        assert_eq!(scene.wrote(one), line, "once more, of all that are there");
        scene.expect_output(client, &[]);
        scene.node_says(one, reply);
        scene.expect_output(client, &[sum]);
    }
}

/// A request that waited for a map went twice to a primary that it had asked, which was none yet when the request came
/// (simulation seed 1521, in pieces). contract: M4
#[test]
fn what_was_planned_late_asks_nobody_twice() {
    let mut scene = Scene::new();
    scene.map(|_| None);
    let client = scene.client();
    scene.says(client, "DBSIZE");
    scene.core.now_us += 1_000;
    scene.cluster(&[3, 4], |slot| Some(usize::from(slot.number() >= 8192)));
    let dialled = scene.dialled();
    let (one, two) = (dialled[0].0, dialled[1].0);
    scene.core.connection_ready(one);
    scene.core.connection_lost(two, Loss::NotOpened, "refused");
    assert_eq!(scene.wrote(one), "DBSIZE");
    scene.node_says(one, ":1");
    scene.cluster(&[3, 4], |slot| (slot.number() <= 8192).then_some(0));
    for _ in 0..5 {
        scene.pass(TIMEOUT_US / 10);
        assert_eq!(scene.wrote(one), "", "it was asked");
    }
    scene.cluster(&[3, 4], |slot| Some(usize::from(slot.number() > 8192)));
    let two = scene.open();
    assert_eq!(scene.wrote(two), "DBSIZE");
    scene.node_says(two, ":2");
    scene.expect_output(client, &[":3"]);
}

/// Its name is taken by the first of those that were asked, so it cannot be done twice.
#[test]
fn what_cannot_be_done_twice_is_not_begun_anew() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "FUNCTION LOAD x");
    let dialled = scene.dialled();
    let (one, two) = (dialled[0].0, dialled[1].0);
    scene.core.connection_ready(one);
    scene.core.connection_lost(two, Loss::NotOpened, "refused");
    scene.map(|_| Some(0));
    assert_eq!(scene.wrote(one), "FUNCTION LOAD x");
    scene.node_says(one, "$1\r\nx");
    scene.pass(TIMEOUT_US / 2);
    assert_eq!(scene.wrote(one), "");
    scene.pass(TIMEOUT_US / 2);
    scene.expect_output(client, &["-CLUSTERDOWN", "was not executed"]);
}
