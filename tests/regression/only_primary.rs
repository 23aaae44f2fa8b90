//! Transactions with commands for all primaries, before a cluster that has one: the map changes before they leave.
//!
//! contract: T2

use keyway::pipeline::ClientKey;
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::scene::Scene;

const BLOCK: &str = "MULTI SET {a}1 x DBSIZE EXEC";

/// A client whose transaction is queued before the only primary.
fn queued() -> (Scene, ClientKey) {
    let mut scene = Scene::new();
    scene.map(|_| Some(0));
    let client = scene.client();
    for line in ["MULTI", "SET {a}1 x", "DBSIZE"] {
        scene.says(client, line);
    }
    scene.expect_output(client, &["+OK +QUEUED +QUEUED"]);
    (scene, client)
}

/// The same, on its way.
fn sent() -> (Scene, ClientKey, ConnectionKey) {
    let (mut scene, client) = queued();
    scene.says(client, "EXEC");
    let node = scene.open();
    assert_eq!(scene.wrote(node), BLOCK);
    (scene, client, node)
}

fn executes(scene: &mut Scene, client: ClientKey, node: ConnectionKey) {
    for reply in ["+OK", "+QUEUED", "+QUEUED", "*2\r\n+OK\r\n:1"] {
        scene.node_says(node, reply);
    }
    scene.expect_output(client, &["*2 +OK :1"]);
}

/// The node says this to the first command, and so refuses the block.
fn refuses(scene: &mut Scene, node: ConnectionKey, error: &str) {
    let abort = "-EXECABORT Transaction discarded because of previous errors.";
    for reply in ["+OK", error, "+QUEUED", abort] {
        scene.node_says(node, reply);
    }
}

fn halves(scene: &mut Scene) {
    scene.map(|slot| Some(usize::from(slot.number() >= 8192)));
}

const REFUSED: &[&str] = &["-EXECABORT", "CROSSSLOT", "several now"];

#[test]
fn it_is_carried_out_there() {
    let (mut scene, client, node) = sent();
    executes(&mut scene, client, node);
}

/// It is answered behind what the client sent before, and in front of what it sends then.
#[test]
fn nothing_overtakes_it() {
    let (mut scene, client) = queued();
    let other = scene.client();
    scene.says(other, "SET {b}1 x");
    let node = scene.open();
    assert_eq!(scene.wrote(node), "SET {b}1 x");
    for line in ["EXEC", "SET {a}1 y"] {
        scene.says(client, line);
    }
    assert_eq!(scene.wrote(node), BLOCK);
    scene.node_says(node, "+OK");
    executes(&mut scene, client, node);
}

#[test]
fn a_second_primary_came_before_exec() {
    let (mut scene, client) = queued();
    halves(&mut scene);
    scene.says(client, "EXEC");
    scene.expect_output(client, REFUSED);
    assert_eq!(scene.dialled(), []);
    // It is over.
    scene.says(client, "MULTI");
    scene.says(client, "DBSIZE");
    scene.expect_output(client, &["+OK -CROSSSLOT"]);
}

#[test]
fn a_second_primary_came_while_it_waited() {
    let (mut scene, client, node) = sent();
    refuses(
        &mut scene,
        node,
        "-LOADING Redis is loading the dataset in memory",
    );
    scene.expect_output(client, &[]);
    halves(&mut scene);
    scene.pass(100_000);
    scene.expect_output(client, REFUSED);
    assert_eq!(scene.dialled(), []);
}

#[test]
fn it_is_sent_again_to_the_only_primary() {
    let (mut scene, client, node) = sent();
    refuses(
        &mut scene,
        node,
        "-LOADING Redis is loading the dataset in memory",
    );
    scene.pass(100_000);
    assert_eq!(scene.wrote(node), BLOCK);
    executes(&mut scene, client, node);
}

/// A redirect names somebody the map does not know: the heir of the only primary, or a second one.
#[test]
fn a_redirect_is_looked_at_once_the_map_tells() {
    let moved = "-MOVED 15495 10.0.0.2:6379";
    let (mut scene, client, node) = sent();
    refuses(&mut scene, node, moved);
    scene.pass(100_000);
    scene.expect_output(client, &[]);
    assert_eq!(scene.wrote(node), "");
    scene.map(|_| Some(1));
    scene.pass(100_000);
    let heir = scene.open();
    assert_eq!(scene.wrote(heir), BLOCK);
    executes(&mut scene, client, heir);

    let (mut scene, client, node) = sent();
    refuses(&mut scene, node, moved);
    halves(&mut scene);
    scene.pass(100_000);
    scene.expect_output(client, REFUSED);

    let (mut scene, client, node) = sent();
    refuses(&mut scene, node, "-ASK 15495 10.0.0.2:6379");
    scene.expect_output(client, REFUSED);
}

/// Nobody knows whether it was executed; as any write it is not sent again.
#[test]
fn it_is_lost_as_any_write() {
    let (mut scene, client, node) = sent();
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.expect_output(client, &["outcome unknown"]);
}

/// What is watched: `EXEC` cannot wait.
#[test]
fn a_second_primary_came_while_keys_were_watched() {
    let mut scene = Scene::new();
    scene.map(|_| Some(0));
    let client = scene.client();
    scene.says(client, "WATCH {a}1");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.node_says(lease, "+OK");
    for line in ["MULTI", "DBSIZE"] {
        scene.says(client, line);
    }
    scene.expect_output(client, &["+OK +OK +QUEUED"]);
    halves(&mut scene);
    scene.says(client, "EXEC");
    scene.expect_output(client, REFUSED);
    assert_eq!(scene.wrote(lease).matches("DBSIZE").count(), 0);
}
