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

/// What is only a means, and not allowed to a user at the nodes, kept it from `WAIT`. contract: T8
#[test]
fn catching_up_may_be_forbidden() {
    // Redis 7.0, where the `PING` is enough.
    let mut scene = Scene::new();
    let (client, lease) = waiting(&mut scene);
    scene.wrote(lease);
    scene.node_says(
        lease,
        "-NOPERM this user has no permissions to run the 'function|restore' command",
    );
    assert!(scene.wrote(lease).starts_with("PING WAIT 1"));
    scene.node_says(lease, "+PONG");
    scene.node_says(lease, ":0");
    scene.expect_output(client, &[":0"]);
    // Later ones: a number would be a guess.
    let mut scene = Scene::new();
    let (client, lease) = waiting(&mut scene);
    scene.wrote(lease);
    scene.node_says(
        lease,
        "-NOPERM User w has no permissions to run the 'function|restore' command",
    );
    assert!(!scene.wrote(lease).contains("WAIT"));
    scene.expect_output(client, &["-NOPERM 'wait'", "+function|restore"]);
}

/// The number of a node that a client wrote to was given to a new one, a primary of another shard: only that one was
/// asked. contract: T8
#[test]
fn a_node_that_took_a_number_over_is_not_the_one_that_was_written_to() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SET {a}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(node, "+OK");
    // The third one takes over from the second, which leaves for good.
    scene.cluster(&[1, 3], |slot| Some(usize::from(slot.number() >= 8192)));
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(200_000);
    // The fourth gets a part of the first one's slots.
    scene.cluster(&[1, 3, 4], |slot| match slot.number() {
        ..4000 => Some(0),
        4000..8192 => Some(2),
        _ => Some(1),
    });
    scene.says(client, "WAIT 1 0");
    assert_eq!(asked(&mut scene), ["10.0.0.1", "10.0.0.3", "10.0.0.4"]);
}

/// So with the number that a call waits for, which was made in vain. contract: T8
#[test]
fn a_call_that_waits_for_a_node_keeps_its_number() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SET {a}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(node, "+OK");
    scene.says(client, "WAIT 1 0");
    let (refused, ..) = scene.dialled()[0];
    scene
        .core
        .connection_lost(refused, Loss::NotOpened, "refused");
    scene.cluster(&[1], |slot| (slot.number() < 8192).then_some(0));
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.dialled();
    scene.pass(200_000);
    scene.cluster(&[1, 3, 4], |slot| match slot.number() {
        ..4000 => Some(0),
        4000..8192 => Some(1),
        _ => Some(2),
    });
    scene.pass(200_000);
    assert_eq!(asked(&mut scene), ["10.0.0.4"]);
}

/// The hosts to which connections are wanted.
fn asked(scene: &mut Scene) -> Vec<String> {
    let dialled = scene.dialled().into_iter();
    let mut hosts: Vec<String> = dialled.map(|(_, host, _)| host).collect();
    hosts.sort();
    hosts
}

/// A fourth primary gets a part of the first one's slots, and the connection to the third, which is the second one's heir,
/// is lost: what was asked there is asked there again.
#[track_caller]
fn the_heir_is_asked_again(scene: &mut Scene, heir: ConnectionKey) {
    scene.pass(200_000);
    scene.cluster(&[1, 3, 4], |slot| match slot.number() {
        ..4000 => Some(0),
        4000..8192 => Some(2),
        _ => Some(1),
    });
    scene.core.connection_lost(heir, Loss::Lost, "crashed");
    scene.pass(200_000);
    assert_eq!(asked(scene), ["10.0.0.3"]);
}

/// The number of a node that a call in flight still names, because it went to that node's heir, was given to a primary
/// of another shard: made again, it was asked there. contract: T8
#[test]
fn a_call_in_flight_keeps_the_number_of_its_node() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "SET {a}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(node, "+OK");
    scene.expect_output(client, &["+OK"]);
    scene.says(client, "WAIT 1 0");
    let lease = scene.open();
    // The third one takes over from the second, which leaves for good.
    scene.cluster(&[1, 3], |slot| Some(usize::from(slot.number() >= 8192)));
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.pass(200_000);
    let dialled = scene.dialled();
    assert_eq!((dialled.len(), &*dialled[0].1), (1, "10.0.0.3"));
    let lease = dialled[0].0;
    scene.core.connection_ready(lease);
    scene.wrote(lease);
    the_heir_is_asked_again(&mut scene, lease);
}

/// The same with a part of a request to all primaries: another shard was asked in place of its own, and the sum was
/// smaller than what there is. contract: M1 M4
#[test]
fn a_part_in_flight_keeps_the_number_of_its_node() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "DBSIZE");
    for (node, host, _) in scene.dialled() {
        match &*host {
            "10.0.0.2" => {
                // It leaves for good before it is asked: the third one takes over.
                scene.core.now_us += 1;
                scene.cluster(&[1, 3], |slot| Some(usize::from(slot.number() >= 8192)));
                scene.core.connection_lost(node, Loss::NotOpened, "refused");
            }
            _ => {
                scene.core.connection_ready(node);
                scene.wrote(node);
                scene.node_says(node, ":10");
            }
        }
    }
    let heir = scene.open();
    assert_eq!(scene.wrote(heir), "DBSIZE");
    the_heir_is_asked_again(&mut scene, heir);
}

/// A client was let go that waited for replicas, while not all nodes could be asked: in place of a number it got an
/// array, or that Keyway cannot merge the replies. contract: C2 T8
#[test]
fn who_is_let_go_hears_a_number() {
    for (line, answer, expected) in [
        ("WAIT 1 0", Some(":1"), ":0"),
        ("WAIT 1 0", None, ":0"),
        ("WAITAOF 0 1 0", None, "*2 :0 :0"),
        ("WAITAOF 0 1 0", Some("*2\r\n:1\r\n:1"), "*2 :0 :0"),
    ] {
        let mut scene = Scene::new();
        let client = scene.client();
        scene.says(client, line);
        for (lease, host, _) in scene.dialled() {
            match answer {
                Some(answer) if host == "10.0.0.2" => {
                    scene.core.connection_ready(lease);
                    assert_eq!(scene.wrote(lease), line);
                    scene.node_says(lease, answer);
                }
                _ => {
                    let core = &mut scene.core;
                    core.connection_lost(lease, Loss::NotOpened, "refused");
                }
            }
        }
        // As by `CLIENT UNBLOCK`.
        scene.core.dismiss(client);
        assert_eq!(scene.hears(client), expected, "{line} {answer:?}");
    }
}

/// A client that waits for several nodes stood in the queue for private connections once more each time that one of its
/// calls was lost, and filled it alone. contract: F6
#[test]
fn a_client_that_waits_stands_in_the_queue_once() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "WAIT 1 0");
    for _ in 0..200 {
        for (lease, host, _) in scene.dialled() {
            let (loss, core) = match &*host {
                "10.0.0.1" => (Loss::NotOpened, &mut scene.core),
                _ => {
                    scene.core.connection_ready(lease);
                    scene.wrote(lease);
                    (Loss::Lost, &mut scene.core)
                }
            };
            core.connection_lost(lease, loss, "crashed");
        }
        scene.pass(10_000);
    }
    assert_eq!(scene.core.blocked_retry, [client]);
}
