//! Clients that are slow, or ask for much, beside others.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keyway::pipeline::ClientKey;
use keyway::telemetry::worker_tallies::SlowClient;
use keyway::upstream::Phase;
use keyway::worker::client_task::{End, poll_client};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;
use keyway::worker::upstream_task::poll_connection;

use super::scene::{Scene, TIMEOUT_US};
use super::tasks::Flag;
use super::wire::{Shared, Socket, Wire};

/// A client with a socket.
struct Peer {
    key: ClientKey,
    wire: Shared,
    socket: Socket,
}

impl Peer {
    fn new(scene: &mut Scene) -> Peer {
        let wire = Wire::wide();
        Peer {
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

    fn sends(&mut self, scene: &mut Scene, bytes: &str) {
        self.wire.borrow_mut().send(bytes.as_bytes());
        assert!(self.turn(scene).is_pending());
    }

    fn hears(&mut self) -> String {
        let bytes = self.wire.borrow_mut().take(usize::MAX);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Runs a connection to a node.
pub fn turn(scene: &mut Scene, key: ConnectionKey, wire: &Shared) -> Poll<String> {
    let waker = Arc::new(Flag::default()).waker();
    let mut context = Context::from_waker(&waker);
    let mut socket = Socket(wire.clone());
    poll_connection(&mut scene.core, key, Pin::new(&mut socket), &mut context)
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.core.limits.stream_threshold_bytes = 8;
    scene.core.limits.upload_threshold_bytes = 8;
    scene.core.limits.stream_buffer_bytes = 0;
    scene.core.limits.stream_window_bytes = 10;
    scene.core.limits.bulk_connections = 1;
    scene.core.limits.large_value_us = TIMEOUT_US / 4;
    scene
}

pub fn gave_way(scene: &Scene) -> u64 {
    let kind = SlowClient::LargeValue as usize;
    scene.tallies.slow_clients.value(kind)
}

/// A client asks for a large reply while others wait, so that it is fetched again.
fn asks_for_much(scene: &mut Scene, client: ClientKey, key: &str) {
    let other = scene.client();
    scene.says(client, &format!("GET {key}"));
    scene.says(other, "SET {a}9 x");
    let node = match scene.dialled().first() {
        Some((node, ..)) => {
            scene.core.connection_ready(*node);
            *node
        }
        None => ConnectionKey(0),
    };
    scene.wrote(node);
    let connection = &mut scene.core.connections[node.0 as usize];
    connection.input.extend(b"$20\r\n0123456789");
    scene.core.receive_replies(node).expect("a reply");
    scene.node_says(node, "0123456789");
    scene.node_says(node, "+OK");
}

/// One client that does not take its large reply held the only connection for such, and others waited for it until
/// their deadline. contract: P8
#[test]
fn a_slow_reader_gives_way_when_others_wait() {
    let mut scene = scene();
    let slow = scene.client();
    asks_for_much(&mut scene, slow, "{a}1");
    let bulk = scene.open();
    let wire = Wire::wide();
    assert!(turn(&mut scene, bulk, &wire).is_pending());
    let begin = format!("$3000\r\n{}", "x".repeat(1000));
    wire.borrow_mut().send(begin.as_bytes());
    assert!(turn(&mut scene, bulk, &wire).is_pending());
    for _ in 0..8 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert_eq!(gave_way(&scene), 0, "nobody waits");
    let other = scene.client();
    asks_for_much(&mut scene, other, "{a}2");
    for _ in 0..2 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert_eq!(gave_way(&scene), 1);
    assert!(turn(&mut scene, bulk, &wire).is_pending());
    assert!(turn(&mut scene, bulk, &wire).is_ready(), "it is closed");
    scene.core.connection_lost(bulk, Loss::Lost, "closed");
    scene.pass(TIMEOUT_US / 10);
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "GET {a}2");
    scene.node_says(bulk, "$1\r\n2");
    scene.expect_output(other, &["$1 2"]);
}

/// The same, for a client that sends a large value. contract: P8
#[test]
fn a_slow_sender_gives_way_when_others_wait() {
    let mut scene = scene();
    let (mut slow, mut other) = (Peer::new(&mut scene), Peer::new(&mut scene));
    slow.sends(&mut scene, "*3\r\n$3\r\nSET\r\n$4\r\n{a}1\r\n$100\r\nxxxx");
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "EXISTS {a}1");
    scene.node_says(bulk, ":0");
    slow.sends(&mut scene, "xxxx");
    for _ in 0..8 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert_eq!(gave_way(&scene), 0, "nobody waits");
    other.sends(&mut scene, "*3\r\n$3\r\nSET\r\n$4\r\n{a}2\r\n$100\r\nyyyy");
    for _ in 0..2 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert_eq!(gave_way(&scene), 1);
    assert!(slow.turn(&mut scene).is_pending());
    let heard = slow.hears();
    assert!(heard.contains("was not executed"), "{heard}");
    assert_eq!(scene.core.connections[bulk.0 as usize].phase, Phase::Closed);
    scene.core.connection_lost(bulk, Loss::Lost, "closed");
    scene.pass(TIMEOUT_US / 10);
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "EXISTS {a}2");
    // The rest of the first one's is dropped; what follows it counts.
    slow.sends(&mut scene, &format!("{}\r\nPING\r\n", "x".repeat(92)));
    assert!(slow.turn(&mut scene).is_pending());
    assert_eq!(slow.hears(), "+PONG\r\n");
}

/// A client ended in the middle of a large request while it waited for something else: when that had come, the rest of
/// its request was waited for, for ever (simulation of requests in pieces, seed 27). contract: P3
#[test]
fn the_rest_of_a_request_is_not_waited_for_after_the_end() {
    let mut scene = scene();
    let mut peer = Peer::new(&mut scene);
    peer.sends(
        &mut scene,
        "WATCH {a}1\r\n*3\r\n$3\r\nSET\r\n$4\r\n{a}2\r\n$100\r\nxxxx",
    );
    peer.wire.borrow_mut().end();
    assert!(peer.turn(&mut scene).is_pending());
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.node_says(lease, "+OK");
    let mut turns = 0;
    while peer.turn(&mut scene).is_pending() {
        turns += 1;
        assert!(turns < 10, "it does not leave");
    }
    assert_eq!(peer.hears(), "+OK\r\n");
}

/// Clients that asked for fifty replies of 100 KB each, a thousand of them at once, had all those sent before anybody
/// else's next reply: the first ones told too late how long they are. contract: F6
#[test]
fn clients_with_large_replies_do_not_fill_a_connection() {
    let mut scene = Scene::new();
    scene.core.limits.requests_in_flight_per_client = 1000;
    let pipeline = "GET {a}1\r\n".repeat(50);
    let large = format!("$100000\r\n{}", "x".repeat(100_000));
    let node = scene.with_large_reply(&large);
    let clients: Vec<ClientKey> = (0..200).map(|_| scene.client()).collect();
    for client in &clients {
        scene.core.process(*client, pipeline.as_bytes());
    }
    let ahead = |scene: &Scene| scene.core.connections[node.0 as usize].in_flight.len();
    // What is not known yet counts as 64 KiB, so 8 MiB are 128.
    assert!(
        (200..=200 + 128).contains(&ahead(&scene)),
        "{}",
        ahead(&scene)
    );
    scene.wrote(node);
    for _ in 0..ahead(&scene) {
        scene.node_says(node, &large);
    }
    for client in &clients {
        let client = scene.core.clients.get(*client).expect("it is here");
        let len = client.replies.output().len();
        client.replies.written(len);
    }
    for client in &clients {
        scene.core.process(*client, pipeline.as_bytes());
    }
    assert!(
        (200..=200 + 84).contains(&ahead(&scene)),
        "{}",
        ahead(&scene)
    );
    // One with small replies is not held up, and a new one is after its first reply.
    let (small, new) = (scene.client(), scene.client());
    let client = scene.core.clients.get(small).expect("it is here");
    client.replies.guess_len(100);
    let before = ahead(&scene);
    scene.core.process(small, pipeline.as_bytes());
    assert_eq!(ahead(&scene), before + 50);
    scene.core.process(new, pipeline.as_bytes());
    assert_eq!(ahead(&scene), before + 51);
}

/// A new client's pipeline goes out as far as its replies could be large, which is less while others get such; and all of
/// it after the first reply that was not.
#[test]
fn a_new_client_is_soon_known() {
    let mut scene = Scene::new();
    scene.core.limits.requests_in_flight_per_client = 1000;
    let large = format!("$20000\r\n{}", "x".repeat(20_000));
    let node = scene.with_large_reply(&large);
    let pipeline = "GET {a}1\r\n".repeat(500);
    let ahead = |scene: &Scene| scene.core.connections[node.0 as usize].in_flight.len();
    let client = scene.client();
    let taken = scene.core.process(client, pipeline.as_bytes()).consumed;
    assert_eq!(ahead(&scene), 16);
    scene.wrote(node);
    scene.node_says(node, "$5\r\nsmall");
    scene.core.process(client, &pipeline.as_bytes()[taken..]);
    assert_eq!(ahead(&scene), 499);
    // It was long ago.
    scene.core.now_us += 1_000_000;
    let client = scene.client();
    scene.core.process(client, pipeline.as_bytes());
    assert_eq!(ahead(&scene), 499 + 64);
}

impl Scene {
    /// A connection over which somebody has just got this reply.
    fn with_large_reply(&mut self, large: &str) -> ConnectionKey {
        let scout = self.client();
        self.core.process(scout, b"GET {a}1\r\n");
        let node = self.open();
        self.wrote(node);
        self.node_says(node, large);
        node
    }
}
