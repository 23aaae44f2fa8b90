//! Clients that wait for replicas.

use keyway::pipeline::ClientKey;
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::scene::Scene;

/// A client that wrote something, and says `WAIT`; its private connection.
fn waiting(scene: &mut Scene) -> (ClientKey, ConnectionKey) {
    let client = scene.client();
    scene.says(client, "SET {b}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(node, "+OK");
    scene.expect_output(client, &["+OK"]);
    scene.says(client, "WAIT 1 1000");
    let lease = scene.open();
    (client, lease)
}

/// Takes what brings the connection's offset up to now.
fn catches_up(scene: &mut Scene, lease: ConnectionKey) {
    let wrote = scene.wrote(lease);
    assert!(wrote.starts_with("FUNCTION RESTORE"), "{wrote}");
    scene.node_says(lease, "+OK");
    let wrote = scene.wrote(lease);
    assert!(wrote.starts_with("PING WAIT 1"), "{wrote}");
    scene.node_says(lease, "+PONG");
}

/// On its second connection it was asked alone: of an offset that was old, or none. contract: T8
#[test]
fn a_wait_that_is_made_again_catches_up_again() {
    let demoted = "-ERR WAIT cannot be used with replica instances.";
    let mut scene = Scene::new();
    let (client, lease) = waiting(&mut scene);
    catches_up(&mut scene, lease);
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.pass(10_000);
    let lease = scene.open();
    catches_up(&mut scene, lease);
    scene.node_says(lease, demoted);
    scene.pass(10_000);
    catches_up(&mut scene, lease);
    scene.node_says(lease, ":1");
    scene.expect_output(client, &[":1"]);
}
