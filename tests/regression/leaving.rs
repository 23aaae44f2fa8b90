//! Clients that leave while they are blocked, or send no more (contract: T5, P3).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keyway::pipeline::ClientKey;
use keyway::upstream::{Phase, SendingEnd};
use keyway::worker::client_task::{End, poll_client};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::blocked::polling;
use super::scene::Scene;
use super::tasks::Flag;
use super::wire::{Shared, Socket, Wire};

/// A client that sends this and no more.
struct Leaver {
    key: ClientKey,
    wire: Shared,
    socket: Socket,
}

impl Leaver {
    fn says(scene: &mut Scene, lines: &[&str]) -> Leaver {
        let mut leaver = Leaver::new(scene, lines);
        for _ in 0..2 {
            assert!(leaver.turn(scene).is_pending(), "it waits for its replies");
        }
        leaver
    }

    fn new(scene: &mut Scene, lines: &[&str]) -> Leaver {
        let wire = Wire::wide();
        for line in lines {
            wire.borrow_mut().send(format!("{line}\r\n").as_bytes());
        }
        wire.borrow_mut().end();
        Leaver {
            key: scene.client(),
            socket: Socket(wire.clone()),
            wire,
        }
    }

    fn turn(&mut self, scene: &mut Scene) -> Poll<End> {
        let waker = Arc::new(Flag::default()).waker();
        let mut context = Context::from_waker(&waker);
        let socket = Pin::new(&mut self.socket);
        poll_client(&mut scene.core, self.key, socket, &mut context)
    }

    fn hears(&mut self) -> String {
        let bytes = self.wire.borrow_mut().take(usize::MAX);
        let heard = String::from_utf8_lossy(&bytes).replace("\r\n", " ");
        heard.trim_end().to_owned()
    }
}

/// It was blocked on a node that was down, and went on being blocked. contract: T5
#[test]
fn a_client_that_left_is_not_blocked_when_its_node_is_back() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    let (refused, ..) = scene.dialled()[0];
    scene
        .core
        .connection_lost(refused, Loss::NotOpened, "refused");
    scene.pass(1_200_000);
    assert_eq!(scene.dialled(), []);
    assert!(matches!(
        leaver.turn(&mut scene),
        Poll::Ready(End::Gone | End::Finished)
    ));
    assert!(!scene.core.is_anyone_waiting());
}

/// Its end was seen while an earlier request blocked it, and nobody looked for it again. contract: T5
#[test]
fn a_client_that_left_before_it_was_blocked_is_not_served_for_ever() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["WATCH {b}1", "BLPOP {b}2 0"]);
    let watching = scene.open();
    assert_eq!(scene.wrote(watching), "WATCH {b}1");
    scene.node_says(watching, "+OK");
    assert!(leaver.turn(&mut scene).is_pending());
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}2 0");
    scene.pass(1_200_000);
    let connection = &scene.core.connections[lease.0 as usize];
    assert_eq!(connection.phase, Phase::Closed);
    assert!(leaver.turn(&mut scene).is_ready());
}

/// What was to be the replies of all shards was put together although there was none, and that it cannot be was what the
/// client read. contract: P3 T8
#[test]
fn who_leaves_while_replicas_are_waited_for_hears_nothing() {
    for has_one in [false, true] {
        let mut scene = Scene::new();
        let mut leaver = Leaver::says(&mut scene, &["ECHO before", "WAIT 1 0"]);
        for (lease, host, _) in scene.dialled() {
            scene.core.connection_ready(lease);
            assert_eq!(scene.wrote(lease), "WAIT 1 0");
            if has_one && host == "10.0.0.2" {
                scene.node_says(lease, ":1");
            }
        }
        scene.pass(1_200_000);
        assert!(leaver.turn(&mut scene).is_ready());
        assert_eq!(leaver.hears(), "$6 before", "{has_one}");
    }
}

/// Its node sees it leave right behind its request, in whichever order the two come to be known. contract: T5
#[test]
fn the_node_is_told_that_its_client_left() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    let lease = scene.open();
    assert!(!is_end_due(&scene, lease), "before the request");
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
    assert!(is_end_due(&scene, lease));
    scene
        .core
        .connection_lost(lease, Loss::Lost, "the node closed it");
    assert!(leaver.turn(&mut scene).is_ready());
    assert_eq!(leaver.hears(), "");
}

fn is_end_due(scene: &Scene, key: ConnectionKey) -> bool {
    let connection = &scene.core.connections[key.0 as usize];
    connection.end == SendingEnd::Wanted && connection.outbox.unwritten().is_empty()
}

/// While its private connection is being opened others' elements come over the shared one: it is asked there, once.
/// contract: T5 P3
#[test]
fn a_client_that_leaves_before_its_connection_is_there_is_asked_for_once() {
    for (found, heard) in [
        ("*1\r\n*-1", ""),
        ("*1\r\n*2\r\n$4\r\n{b}1\r\n$1\r\nx", "*2 $4 {b}1 $1 x"),
        ("-EXECABORT no", "-EXECABORT no"),
    ] {
        let mut scene = Scene::new();
        let other = scene.client();
        scene.says(other, "GET {b}1");
        let shared = scene.open();
        scene.wrote(shared);
        let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
        assert_eq!(scene.wrote(shared), "MULTI BLPOP {b}1 0.001 EXEC");
        for (lease, ..) in scene.dialled() {
            let connection = &scene.core.connections[lease.0 as usize];
            assert_eq!(connection.phase, Phase::Closed, "it is for nobody");
        }
        for reply in ["$-1", "+OK", "+QUEUED", found] {
            scene.node_says(shared, reply);
        }
        assert!(leaver.turn(&mut scene).is_ready());
        assert_eq!(leaver.hears(), heard);
        assert!(!scene.core.is_anyone_waiting());
    }
}

/// What others add while its private connection is being opened is what a client waits for that asks for what is
/// newer than the last entry. contract: T5
#[test]
fn the_last_entry_is_the_one_when_the_request_came() {
    let mut scene = Scene::new();
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "XREAD BLOCK 0 STREAMS {b}s $");
    let shared = scene.open();
    scene.says(other, "XADD {b}s * f v");
    assert_eq!(
        scene.wrote(shared),
        "MULTI XREVRANGE {b}s + - COUNT 1 EXEC XADD {b}s f v"
    );
    for reply in ["+OK", "+QUEUED", "*1\r\n*1\r\n*2\r\n$3\r\n7-7\r\n*0"] {
        scene.node_says(shared, reply);
    }
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "XREAD BLOCK 0 STREAMS {b}s 7-7");
    scene.node_says(lease, "*0");
    assert_eq!(scene.hears(client), "*0");
}

/// Its wait ends while it is asked for that. contract: T5 C2
#[test]
fn who_waits_for_the_last_entry_can_leave_and_be_let_go() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["PING", "XREAD BLOCK 0 STREAMS {b}s $"]);
    let shared = scene.open();
    for reply in ["+OK", "+QUEUED", "*1\r\n*0"] {
        scene.node_says(shared, reply);
    }
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "XREAD BLOCK 0 STREAMS {b}s 0-0");
    assert!(is_end_due(&scene, lease));
    scene
        .core
        .connection_lost(lease, Loss::Lost, "the node closed it");
    while leaver.turn(&mut scene).is_pending() {}
    assert_eq!(leaver.hears(), "+PONG");
    scene.pass(5_000);
    assert!(!scene.core.is_anyone_waiting());

    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "XREAD BLOCK 100 STREAMS {b}s $");
    let shared = scene.open();
    scene.wrote(shared);
    scene.pass(200_000);
    assert_eq!(scene.hears(client), "*-1");
    for reply in ["+OK", "+QUEUED", "*1\r\n*0"] {
        scene.node_says(shared, reply);
    }
    assert_eq!(scene.dialled(), []);
    scene.says(client, "GET {b}1");
    scene.node_says(shared, "$-1");
    assert_eq!(scene.hears(client), "$-1");

    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "XREAD BLOCK 0 STREAMS {b}s $");
    let shared = scene.open();
    for reply in ["+OK", "+QUEUED", "*1\r\n-WRONGTYPE no"] {
        scene.node_says(shared, reply);
    }
    // The node itself says it in its own words.
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "XREAD BLOCK 0 STREAMS {b}s");
}

/// What was executed, perhaps, is not asked for once more for nobody. contract: T5
#[test]
fn a_client_that_left_is_not_asked_for_again() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.pass(5_000);
    assert_eq!(scene.dialled(), []);
    assert!(leaver.turn(&mut scene).is_ready());
}

/// What a server would have had ready for it, it gets, wherever the keys are. contract: T5 P3 R3 T7
#[test]
fn a_client_that_sends_no_more_gets_what_is_there() {
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
    scene.node_says(lease, "-MOVED 3300 10.0.0.2:6379");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
    scene.node_says(lease, "*2\r\n$4\r\n{b}1\r\n$1\r\nx");
    assert!(leaver.turn(&mut scene).is_ready());
    assert_eq!(leaver.hears(), "*2 $4 {b}1 $1 x");

    let mut scene = polling();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 {a}1 0"]);
    for found in ["*1\r\n*-1", "*1\r\n*2\r\n$4\r\n{a}1\r\n$1\r\nx"] {
        let lease = scene.open();
        scene.wrote(lease);
        for reply in ["+OK", "+QUEUED", found] {
            scene.node_says(lease, reply);
        }
    }
    assert!(leaver.turn(&mut scene).is_ready());
    assert_eq!(leaver.hears(), "*2 $4 {a}1 $1 x");
}

/// A round of a poll that found nothing is the last one for a client that left. contract: T5 T7
#[test]
fn a_client_that_left_is_not_polled_for() {
    let mut scene = polling();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 {a}1 0"]);
    for _ in 0..2 {
        let lease = scene.open();
        scene.wrote(lease);
        for reply in ["+OK", "+QUEUED", "*1\r\n*-1"] {
            scene.node_says(lease, reply);
        }
    }
    scene.pass(5_000);
    assert!(leaver.turn(&mut scene).is_ready());
    assert!(!scene.core.is_anyone_waiting());
}

/// `WATCH` and `EXEC` were taken for requests that may wait for ever, and the client for one that left.
/// contract: P3
#[test]
fn a_client_that_sends_no_more_gets_its_transaction() {
    let mut scene = Scene::new();
    let lines = ["WATCH {a}1", "MULTI", "SET {a}1 x", "EXEC"];
    let mut leaver = Leaver::says(&mut scene, &lines);
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.pass(400_000);
    scene.node_says(lease, "+OK");
    for _ in 0..2 {
        assert!(leaver.turn(&mut scene).is_pending());
    }
    assert_eq!(scene.wrote(lease), "MULTI SET {a}1 x EXEC");
    scene.pass(400_000);
    for reply in ["+OK", "+QUEUED", "*1\r\n+OK"] {
        scene.node_says(lease, reply);
    }
    assert!(leaver.turn(&mut scene).is_ready());
    assert_eq!(leaver.hears(), "+OK +OK +QUEUED *1 +OK");
}

/// What it sent behind a command that blocked it is not looked at, as on one server. contract: T5
#[test]
fn what_a_client_sent_behind_is_not_carried_out() {
    let mut scene = Scene::new();
    let other = scene.client();
    scene.says(other, "GET {b}1");
    let shared = scene.open();
    scene.wrote(shared);
    let mut leaver = Leaver::says(&mut scene, &["PING", "BLPOP {b}1 0", "SET {b}1 x"]);
    assert_eq!(scene.wrote(shared), "MULTI BLPOP {b}1 0.001 EXEC");
    for reply in ["$-1", "+OK", "+QUEUED", "*1\r\n*-1"] {
        scene.node_says(shared, reply);
    }
    while leaver.turn(&mut scene).is_pending() {}
    assert_eq!(leaver.hears(), "+PONG");
    assert_eq!(scene.wrote(shared), "");
}

/// What comes after it has left is not for it: it is asked for now or not at all. contract: T5
#[test]
fn nothing_waits_for_a_client_that_left() {
    // Over the shared connection.
    let mut scene = Scene::new();
    let other = scene.client();
    scene.says(other, "GET {b}1");
    let shared = scene.open();
    scene.wrote(shared);
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    scene.wrote(shared);
    let down = "-CLUSTERDOWN Hash slot not served";
    for reply in ["$-1", "+OK", down, "-EXECABORT Transaction discarded"] {
        scene.node_says(shared, reply);
    }
    assert!(leaver.turn(&mut scene).is_ready());
    scene.pass(100_000);
    assert_eq!(scene.wrote(shared), "");
    // Over its own.
    let mut scene = Scene::new();
    let mut leaver = Leaver::says(&mut scene, &["BLPOP {b}1 0"]);
    let lease = scene.open();
    scene.wrote(lease);
    scene.node_says(lease, down);
    assert!(leaver.turn(&mut scene).is_ready());
    scene.pass(100_000);
    assert_eq!(scene.dialled(), []);
}
