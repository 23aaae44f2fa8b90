//! `SCAN` returned an empty or partial page with a cursor wherever a shard ended, and clients that call it once (`SCAN 0
//! MATCH x* COUNT 1000`) found a fraction of what is there. contract: M5

use keyway::pipeline::ClientKey;
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::scene::{Scene, TIMEOUT_US};

/// A node's reply.
fn page(cursor: u64, keys: &[&str]) -> String {
    let cursor = cursor.to_string();
    let keys: Vec<String> = keys
        .iter()
        .map(|key| format!("\r\n${}\r\n{key}", key.len()))
        .collect();
    format!(
        "*2\r\n${}\r\n{cursor}\r\n*{}{}",
        cursor.len(),
        keys.len(),
        keys.concat()
    )
}

/// What a client heard: its cursor and its elements.
#[track_caller]
fn heard(scene: &mut Scene, client: ClientKey) -> (String, Vec<String>) {
    let heard = scene.hears(client);
    let words: Vec<&str> = heard.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"*2"), "{heard}");
    let is_text = |word: &&&str| !word.starts_with(['*', '$']);
    let mut texts = words.iter().filter(is_text).map(|word| (*word).to_owned());
    let cursor = texts.next().expect("a cursor");
    (cursor, texts.collect())
}

/// The first node has told `x` and is finished; the second is asked for the rest.
fn half_way(request: &str, second: &str) -> (Scene, ClientKey, ConnectionKey, ConnectionKey) {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, request);
    let first = scene.open();
    assert_eq!(scene.wrote(first), request);
    scene.node_says(first, &page(0, &["x"]));
    let other = scene.open();
    assert_eq!(scene.wrote(other), second);
    scene.expect_output(client, &[]);
    (scene, client, first, other)
}

#[test]
fn a_few_keys_are_one_page() {
    let (mut scene, client, _, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    scene.node_says(other, &page(0, &["y", "z"]));
    assert_eq!(
        heard(&mut scene, client),
        ("0".into(), vec!["x".into(), "y".into(), "z".into()])
    );
    let line = "SCAN 0 MATCH ?* COUNT 1000";
    let (mut scene, client, _, other) = half_way(line, "SCAN 0 MATCH ?* COUNT 999");
    scene.node_says(other, &page(5, &[]));
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    scene.says(client, &format!("SCAN {cursor} MATCH ?* COUNT 1000"));
    assert_eq!(scene.wrote(other), "SCAN 5 MATCH ?* COUNT 1000");
}

/// A page was withheld until its deadline while the next node was away. contract: F1
#[test]
fn a_page_ends_before_a_node_that_is_away() {
    type Fault = fn(&mut Scene, ConnectionKey);
    let faults: [Fault; 5] = [
        |scene, other| (scene.core).connection_lost(other, Loss::Lost, "crashed"),
        |scene, other| (scene.core).connection_lost(other, Loss::NotOpened, "refused"),
        |scene, other| scene.node_says(other, "-CLUSTERDOWN The cluster is down"),
        |scene, other| scene.node_says(other, "-LOADING Redis is loading the dataset in memory"),
        |scene, other| scene.node_says(other, "-MASTERDOWN Link with MASTER is down"),
    ];
    for fault in faults {
        let (mut scene, client, _, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
        fault(&mut scene, other);
        let (cursor, found) = heard(&mut scene, client);
        assert_eq!(found, ["x"]);
        assert_ne!(cursor, "0");
        // The next call waits for the node, and nothing is lost.
        scene.says(client, &format!("SCAN {cursor}"));
        scene.pass(100_000);
        let again = scene.dialled().first().map_or(other, |dialled| dialled.0);
        scene.core.connection_ready(again);
        assert_eq!(scene.wrote(again), "SCAN 0");
        scene.node_says(again, &page(0, &["y"]));
        assert_eq!(heard(&mut scene, client), ("0".into(), vec!["y".into()]));
    }
}

/// The next node is known to be away when its turn comes. contract: F1
#[test]
fn a_node_that_is_known_to_be_away_is_not_waited_for() {
    let mut scene = Scene::new();
    let (client, writer) = (scene.client(), scene.client());
    scene.says(writer, "GET {a}1");
    let (away, ..) = scene.dialled().remove(0);
    scene.core.connection_lost(away, Loss::NotOpened, "refused");
    scene.says(client, "SCAN 0");
    let first = scene.open();
    scene.wrote(first);
    scene.node_says(first, &page(0, &["x"]));
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    assert_ne!(cursor, "0");
}

/// A node that hangs kept the page of the others until its deadline. contract: F1 F3
#[test]
fn a_page_ends_before_a_node_that_hangs() {
    let (mut scene, client, _, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    scene.pass(TIMEOUT_US / 4);
    scene.expect_output(client, &[]);
    scene.pass(TIMEOUT_US / 4);
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    scene.says(client, &format!("SCAN {cursor}"));
    assert_eq!(scene.wrote(other), "SCAN 0");
    // The first of them is late, and nobody's.
    scene.node_says(other, &page(0, &["late"]));
    scene.expect_output(client, &[]);
    scene.node_says(other, &page(0, &["y"]));
    assert_eq!(heard(&mut scene, client), ("0".into(), vec!["y".into()]));
}

/// The reply to a step that was given up is nobody's. contract: F3
#[test]
fn a_late_reply_is_not_taken_for_anothers() {
    let (mut scene, client, first, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    scene.says(client, "DBSIZE");
    assert_eq!(scene.wrote(first), "", "it waits for its turn");
    scene.pass(TIMEOUT_US / 2);
    assert_eq!(heard(&mut scene, client).1, ["x"]);
    scene.says(client, "DBSIZE");
    assert_eq!(
        (scene.wrote(first), scene.wrote(other)),
        ("DBSIZE".into(), "DBSIZE".into())
    );
    scene.node_says(other, &page(0, &["late"]));
    scene.node_says(other, ":2");
    scene.node_says(first, ":1");
    scene.expect_output(client, &[":3"]);
}

/// Later requests of its client overtook its further steps, and `DEL` took what they would have found. contract: R13
#[test]
fn later_requests_of_its_client_wait_for_the_page() {
    for line in [
        "DEL {a}1",
        "MSET {a}1 x {b}1 y",
        "FLUSHALL",
        "MGET {a}1 {b}1",
        "SCAN 0",
        "EVAL s 1 {a}1",
        "PUBLISH c x",
        "BLPOP {a}1 0",
        "WATCH {a}1",
    ] {
        let (mut scene, client, first, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
        let takes = |scene: &mut Scene| {
            let bytes = format!("{line}\r\n");
            scene.core.process(client, bytes.as_bytes()).consumed > 0
        };
        assert!(!takes(&mut scene), "{line}");
        assert_eq!(
            (scene.wrote(first), scene.wrote(other)),
            Default::default(),
            "{line}"
        );
        scene.node_says(other, &page(0, &["y"]));
        assert_eq!(heard(&mut scene, client).0, "0");
        assert!(takes(&mut scene), "{line}");
    }
    // A client's transaction behind it.
    let (mut scene, client, _, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    for line in ["MULTI", "DEL {a}1"] {
        scene.says(client, line);
    }
    assert_eq!(scene.core.process(client, b"EXEC\r\n").consumed, 0);
    assert_eq!(scene.wrote(other), "");
    scene.node_says(other, &page(0, &["y"]));
    scene.says(client, "EXEC");
    assert_eq!(scene.wrote(other), "MULTI DEL {a}1 EXEC");
}

/// The slots of a node that was lost came to the other one, whose keys of before were given already.
#[test]
fn a_page_goes_on_on_a_new_map() {
    let (mut scene, client, first, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    scene.core.connection_lost(other, Loss::Lost, "crashed");
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    scene.map(|_| Some(0));
    scene.says(client, &format!("SCAN {cursor}"));
    assert_eq!(scene.wrote(first), "SCAN 0");
    // `b` is in a slot that was walked, `a` in one that was not.
    scene.node_says(first, &page(0, &["b", "a"]));
    assert_eq!(heard(&mut scene, client), ("0".into(), vec!["a".into()]));
}

/// The first step is planned anew, on the map of its new moment. contract: F1
#[test]
fn a_first_step_that_is_lost_is_planned_anew() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SCAN 0");
    let first = scene.open();
    scene.wrote(first);
    scene.core.connection_lost(first, Loss::Lost, "crashed");
    scene.pass(100_000);
    let again = scene.open();
    assert_eq!(scene.wrote(again), "SCAN 0");
    scene.node_says(again, "-LOADING Redis is loading the dataset in memory");
    scene.expect_output(client, &[]);
    scene.map(|_| Some(1));
    let other = scene.open();
    assert_eq!(scene.wrote(other), "SCAN 0");
    scene.node_says(other, &page(0, &["x"]));
    assert_eq!(heard(&mut scene, client), ("0".into(), vec!["x".into()]));
}

/// The time is over when the first node answers: no other is asked. contract: F1
#[test]
fn a_late_page_is_a_short_one() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SCAN 0");
    let first = scene.open();
    scene.wrote(first);
    scene.core.now_us += TIMEOUT_US;
    scene.node_says(first, &page(0, &["x"]));
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    assert_ne!(cursor, "0");
    assert_eq!(scene.dialled(), []);
}

#[test]
fn a_denial_behind_a_page_is_told_when_the_client_asks_again() {
    let (mut scene, client, _, other) = half_way("SCAN 0", "SCAN 0 COUNT 9");
    scene.node_says(other, "-NOPERM no");
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    scene.says(client, &format!("SCAN {cursor}"));
    assert_eq!(scene.wrote(other), "SCAN 0");
    scene.node_says(other, "-NOPERM no");
    scene.expect_output(client, &["-NOPERM no"]);
}

/// Nobody owns what is left to walk: the page ends there, and the walk waits for an owner.
#[test]
fn a_page_ends_where_nobody_owns_the_slots() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SCAN 0");
    let first = scene.open();
    scene.wrote(first);
    scene.map(|slot| (slot.number() < 8192).then_some(0));
    scene.node_says(first, &page(0, &["x"]));
    let (cursor, found) = heard(&mut scene, client);
    assert_eq!(found, ["x"]);
    scene.says(client, &format!("SCAN {cursor}"));
    scene.expect_output(client, &[]);
    scene.map(|_| Some(0));
    scene.pass(100_000);
    assert_eq!(scene.wrote(first), "SCAN 0");
}
