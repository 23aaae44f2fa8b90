//! Values that are passed on in pieces, when the slot gets another owner meanwhile.

use std::sync::Arc;

use keyway::acl::{Door, Doors, User, Users};
use keyway::pipeline::ClientKey;
use keyway::worker::nodes::ConnectionKey;

use super::scene::Scene;

const VALUE_LEN: usize = 400_000;

/// A client that has begun to send a long value, and the connection over which it goes.
fn uploading(scene: &mut Scene) -> (ClientKey, ConnectionKey) {
    let client = scene.client();
    sends(
        scene,
        client,
        &format!("*3\r\n$3\r\nSET\r\n$4\r\n{{a}}1\r\n${VALUE_LEN}\r\n"),
    );
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "EXISTS {a}1");
    (client, bulk)
}

/// Hands in what a client sends until all of it is taken, or nothing is.
fn sends(scene: &mut Scene, client: ClientKey, bytes: &str) {
    let mine = scene.core.clients.get(client).expect("it is here");
    let mut input = std::mem::take(&mut mine.input);
    input.extend(bytes.as_bytes());
    while !input.is_empty() {
        let consumed = scene.core.process(client, &input).consumed;
        if consumed == 0 {
            break;
        }
        input.drain(..consumed);
    }
    scene.core.clients.get(client).expect("it is here").input = input;
}

/// The slot's owner changed while the value was on its way. The old one, which had not heard of it yet, got the last
/// piece, carried the write out and confirmed it: it was lost. contract: R13 F2
#[test]
fn a_value_does_not_go_to_its_end_at_a_node_that_lost_the_slot() {
    let mut scene = Scene::new();
    let (client, bulk) = uploading(&mut scene);
    scene.node_says(bulk, ":0");
    sends(&mut scene, client, "");
    sends(&mut scene, client, &"x".repeat(VALUE_LEN / 2));
    scene.wrote(bulk);
    scene.map(|_| Some(0));
    sends(&mut scene, client, &"x".repeat(VALUE_LEN - VALUE_LEN / 2));
    sends(&mut scene, client, "\r\n");
    let connection = &scene.core.connections[bulk.0 as usize];
    assert!(
        connection.in_flight.is_empty(),
        "a whole request is with a node that the map says does not own the slot"
    );
    scene.expect_output(client, &["-TRYAGAIN", "was not executed"]);
}

/// The same, before the node said that it serves the key. contract: R13 F2
#[test]
fn a_value_does_not_begin_at_a_node_that_lost_the_slot() {
    let mut scene = Scene::new();
    let (client, bulk) = uploading(&mut scene);
    scene.map(|_| Some(0));
    scene.node_says(bulk, ":0");
    scene.pass(200_000);
    let heir = scene.open();
    assert_eq!(scene.wrote(heir), "EXISTS {a}1");
    scene.node_says(heir, ":0");
    sends(&mut scene, client, &"x".repeat(VALUE_LEN));
    sends(&mut scene, client, "\r\n");
    assert_eq!(scene.wrote(bulk), "");
    scene.wrote(heir);
    scene.node_says(heir, "+OK");
    scene.expect_output(client, &["+OK"]);
}

/// What does not concern it does not end it: other slots that move, and the owner of a slot whose keys are leaving.
/// contract: R4 P8
#[test]
fn a_value_goes_on_when_others_move_or_its_own_slot_is_leaving() {
    for is_asked in [false, true] {
        let mut scene = Scene::new();
        let (client, mut bulk) = uploading(&mut scene);
        match is_asked {
            true => {
                scene.node_says(bulk, "-ASK 15495 10.0.0.1:6379");
                bulk = scene.open();
                assert_eq!(scene.wrote(bulk), "ASKING");
                scene.node_says(bulk, "+OK");
            }
            false => scene.node_says(bulk, ":0"),
        }
        sends(&mut scene, client, &"x".repeat(VALUE_LEN / 2));
        scene.wrote(bulk);
        scene.map(|slot| Some(usize::from(slot.number() >= 10_000)));
        sends(&mut scene, client, &"x".repeat(VALUE_LEN - VALUE_LEN / 2));
        sends(&mut scene, client, "\r\n");
        scene.wrote(bulk);
        scene.node_says(bulk, "+OK");
        scene.expect_output(client, &["+OK"]);
    }
}

/// A write that had begun before `CLIENT PAUSE` was carried out in the middle of the pause. contract: C2
#[test]
fn a_value_waits_for_the_end_of_a_pause() {
    for mode in ["WRITE", "ALL"] {
        let mut scene = Scene::new();
        let (client, bulk) = uploading(&mut scene);
        scene.node_says(bulk, ":0");
        sends(&mut scene, client, &"x".repeat(VALUE_LEN / 2));
        scene.wrote(bulk);
        let other = scene.client();
        scene.says(other, &format!("CLIENT PAUSE 5000 {mode}"));
        sends(&mut scene, client, &"x".repeat(VALUE_LEN - VALUE_LEN / 2));
        sends(&mut scene, client, "\r\n");
        assert_eq!(scene.wrote(bulk).len(), 0, "{mode}");
        scene.pass(5_000_000);
        sends(&mut scene, client, "");
        assert_ne!(scene.wrote(bulk).len(), 0, "{mode}");
        scene.node_says(bulk, "+OK");
        scene.expect_output(client, &["+OK"]);
    }
}

/// A client was forbidden to write while it sent a value, and the write was carried out all the same. contract: C1
#[test]
fn a_value_whose_client_may_not_write_any_more_does_not_go_to_its_end() {
    let doors = |rules: &[&str]| {
        let user = User::of_rules("app", rules.iter().map(|rule| rule.as_bytes())).expect("rules");
        Arc::new(Doors(vec![Arc::new(Door {
            users: Users::new(Vec::new(), Some(Arc::new(user))),
            ..Door::default()
        })]))
    };
    let mut scene = Scene::new();
    scene
        .core
        .take_doors(doors(&["on", "nopass", "~*", "&*", "+@all"]));
    let (client, bulk) = uploading(&mut scene);
    scene.node_says(bulk, ":0");
    sends(&mut scene, client, &"x".repeat(VALUE_LEN / 2));
    scene.wrote(bulk);
    scene
        .core
        .take_doors(doors(&["on", "nopass", "~*", "&*", "+@read"]));
    sends(&mut scene, client, &"x".repeat(VALUE_LEN - VALUE_LEN / 2));
    sends(&mut scene, client, "\r\n");
    let connection = &scene.core.connections[bulk.0 as usize];
    assert!(connection.in_flight.is_empty(), "the request is whole");
    scene.expect_output(client, &["-TRYAGAIN", "was not executed"]);
}
