//! Large replies whose client's turn has not come: it cannot take them, however fast it reads. With thresholds of a
//! few bytes, so that a reply of twenty is large.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keyway::pipeline::ClientKey;
use keyway::upstream::{Connection, Phase, Role};
use keyway::worker::client_task::poll_client;
use keyway::worker::clients;
use keyway::worker::nodes::ConnectionKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scene::{Scene, TIMEOUT_US};
use super::slow::{gave_way, turn};
use super::tasks::Flag;
use super::wire::Wire;

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.core.limits.stream_threshold_bytes = 8;
    scene.core.limits.stream_buffer_bytes = 0;
    scene.core.limits.stream_window_bytes = 10;
    scene.core.limits.bulk_connections = 1;
    scene.core.limits.large_value_us = TIMEOUT_US / 4;
    // Nodes are late, and nothing ends for that.
    scene.core.limits.request_timeout_us = 60 * TIMEOUT_US;
    scene
}

/// A client's socket that takes so many bytes more.
struct Narrow(usize);

impl AsyncRead for Narrow {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = bytes.len().min(self.0);
        self.0 -= count;
        match count {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Scene {
    fn is_here(&mut self, client: ClientKey) -> bool {
        let client = self.core.clients.get(client).expect("it did not leave");
        client.phase == clients::Phase::Open
    }

    /// A client that tracks, with a connection of its own to each node, `{b}`'s first.
    fn tracking_client(&mut self) -> (ClientKey, ConnectionKey, ConnectionKey) {
        let client = self.client();
        self.says(client, "HELLO 3");
        self.says(client, "CLIENT TRACKING ON");
        let first = self.open();
        self.wrote(first);
        self.node_says(first, "+OK");
        let mut own = Vec::new();
        for tag in ["{b}", "{a}"] {
            self.says(client, &format!("GET {tag}1"));
            for (key, ..) in self.dialled() {
                self.core.connection_ready(key);
            }
            let asked: Vec<ConnectionKey> = (0..3)
                .map(ConnectionKey)
                .filter(|key| self.core.connections.contains(key.0 as usize))
                .filter(|key| !self.connection(*key).in_flight.is_empty())
                .collect();
            let [key] = asked[..] else {
                panic!("asked of {asked:?}");
            };
            assert_eq!(self.connection(key).role, Role::Tracking(client));
            self.wrote(key);
            self.node_says(key, "$1\r\nx");
            own.push(key);
        }
        self.hears(client);
        (client, own[0], own[1])
    }

    /// The rest of a reply of 3000 bytes comes, as far as it is read.
    #[track_caller]
    fn node_ends(&mut self, key: ConnectionKey, wire: &super::wire::Shared) {
        assert!(turn(self, key, wire).is_pending());
        wire.borrow_mut()
            .send(format!("{}\r\n", "x".repeat(2000)).as_bytes());
        assert!(turn(self, key, wire).is_pending());
        assert!(self.connection(key).passing.is_none(), "it is left unread");
    }
}

/// 1000 bytes of a reply of 3000.
fn much() -> String {
    format!("$3000\r\n{}", "x".repeat(1000))
}

fn passes_to(connection: &Connection) -> Option<ClientKey> {
    let passing = connection.passing.as_ref().expect("it comes in pieces");
    passing.to.map(|ticket| ticket.client)
}

/// A large reply of a client that tracks was left unread for it on its own connection, while what it had to hear first
/// was sent again and stood behind: neither ever came. The error of the earlier request may come before the large
/// reply or in the middle of it, from another node or from the same one. contract: P2 P8 F5
#[test]
fn a_tracking_clients_large_reply_does_not_stand_before_an_earlier_one() {
    let moved = "-MOVED 3300 10.0.0.2:6379";
    let not_now = "-TRYAGAIN Multiple keys request during rehashing of slot";
    for (earlier, error, is_first) in [
        ("{b}1", moved, true),
        ("{b}1", moved, false),
        ("{a}3", not_now, true),
    ] {
        let mut scene = scene();
        let (client, one, two) = scene.tracking_client();
        scene.says(client, &format!("GET {earlier}"));
        scene.says(client, "GET {a}2");
        let from = if earlier == "{b}1" { one } else { two };
        scene.wrote(one);
        scene.wrote(two);
        let wire = Wire::wide();
        if is_first {
            scene.node_says(from, error);
        }
        scene.node_begins(two, &much());
        assert!(turn(&mut scene, two, &wire).is_pending());
        if !is_first {
            scene.node_says(from, error);
        }
        assert_eq!(passes_to(scene.connection(two)), None, "it is dropped");
        scene.node_ends(two, &wire);
        scene.pass(10_000);
        assert_eq!(scene.connection(two).in_flight.len(), 1, "the earlier one");
        scene.node_says(two, "$1\r\nb");
        // Invalidations may stand before and behind.
        scene.expect_output(client, &["$1 b"]);
        assert_eq!(scene.dialled(), [], "it is asked over its own connection");
        assert_eq!(scene.wrote(two), "GET {a}2");
        scene.node_says_much(two);
        scene.expect_output(client, &["$20 01234567890123456789"]);
    }
}

/// A client held the only connection for large replies while another node was late, and was closed because others
/// waited for that connection, as if it had been slow. contract: F4 P8
#[test]
fn a_client_whose_turn_has_not_come_holds_no_connection() {
    let mut scene = scene();
    let (client, other, third) = (scene.client(), scene.client(), scene.client());
    scene.says(client, "GET {b}1");
    let late = scene.open();
    scene.wrote(late);
    scene.says(client, "GET {a}1");
    let node = scene.open();
    scene.wrote(node);
    let wire = Wire::wide();
    scene.node_begins(node, &much());
    assert!(turn(&mut scene, node, &wire).is_pending());
    assert_eq!(scene.connection(node).role, Role::Shared);
    assert_eq!(
        passes_to(scene.connection(node)),
        None,
        "it is fetched again"
    );
    scene.node_ends(node, &wire);
    // Others get theirs meanwhile.
    scene.says(other, "GET {a}2");
    scene.says(third, "SET {a}9 x");
    scene.wrote(node);
    scene.node_says_much(node);
    scene.node_says(node, "+OK");
    let bulk = scene.open();
    assert_eq!(scene.wrote(bulk), "GET {a}2");
    scene.node_says_much(bulk);
    assert_eq!(scene.hears(other), "$20 01234567890123456789");
    for _ in 0..30 {
        scene.pass(TIMEOUT_US / 10);
    }
    scene.node_says(late, "$1\r\nb");
    assert_eq!(scene.hears(client), "$1 b");
    assert_eq!(scene.wrote(bulk), "GET {a}1", "at once");
    scene.node_says_much(bulk);
    assert_eq!(scene.hears(client), "$20 01234567890123456789");
    assert_eq!(gave_way(&scene), 0);
}

/// A client with a late `GET` on one node and `GETDEL` of a large value on another, and somebody behind that.
fn a_value_that_is_gone(scene: &mut Scene) -> (ClientKey, ClientKey, [ConnectionKey; 2]) {
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "GET {b}1");
    let late = scene.open();
    scene.wrote(late);
    scene.says(client, "GETDEL {a}1");
    let node = scene.open();
    scene.says(other, "GET {a}2");
    scene.wrote(node);
    (client, other, [late, node])
}

/// What cannot be asked for again was left unread although its client could not take it yet: the client was closed for
/// that after a second, and the value of its `GETDEL` was lost. contract: F4 P8
#[test]
fn what_cannot_be_asked_for_again_is_held_until_its_turn() {
    let mut scene = scene();
    let (client, other, [late, node]) = a_value_that_is_gone(&mut scene);
    let wire = Wire::wide();
    scene.node_begins(node, &much());
    scene.node_ends(node, &wire);
    scene.node_says(node, "$1\r\n2");
    assert_eq!(scene.hears(other), "$1 2");
    for _ in 0..30 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert!(scene.is_here(client));
    scene.node_says(late, "$1\r\nb");
    let heard = scene.hears(client);
    assert!(heard.starts_with("$1 b $3000 xxx"), "{heard}");
    assert_eq!(heard.len(), "$1 b $3000 ".len() + 3000);
}

/// ... and no further than that: then it is left unread, and the time in which its client has to go on begins there.
#[test]
fn what_was_held_is_left_unread_in_its_turn() {
    let mut scene = scene();
    let (client, other, [late, node]) = a_value_that_is_gone(&mut scene);
    let wire = Wire::wide();
    scene.node_begins(node, &format!("$1200000\r\n{}", "x".repeat(300_000)));
    scene.node_begins(node, &"x".repeat(300_000));
    assert!(turn(&mut scene, node, &wire).is_pending());
    for _ in 0..30 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert!(scene.is_here(client));
    scene.node_says(late, "$1\r\nb");
    scene.node_begins(node, &"x".repeat(300_000));
    assert!(turn(&mut scene, node, &wire).is_pending());
    assert!(scene.connection(node).is_left_unread());
    for _ in 0..9 {
        scene.pass(TIMEOUT_US / 10);
        assert!(scene.is_here(client));
    }
    scene.pass(TIMEOUT_US / 5);
    assert!(!scene.is_here(client), "others wait behind it");
    scene.node_begins(node, &format!("{}\r\n$1\r\n2\r\n", "x".repeat(300_000)));
    assert_eq!(scene.hears(other), "$1 2");
}

/// A client that takes what was held for it, as fast as it can, is not closed because that is much.
#[test]
fn whoever_takes_what_was_held_may_need_longer() {
    let mut scene = scene();
    let (client, _, [late, node]) = a_value_that_is_gone(&mut scene);
    let wire = Wire::wide();
    scene.node_begins(node, &format!("$1200000\r\n{}", "x".repeat(300_000)));
    scene.node_begins(node, &"x".repeat(300_000));
    scene.node_says(late, "$1\r\nb");
    scene.node_begins(node, &"x".repeat(300_000));
    assert!(turn(&mut scene, node, &wire).is_pending());
    assert!(scene.connection(node).is_left_unread());
    for _ in 0..8 {
        for _ in 0..9 {
            scene.pass(TIMEOUT_US / 10);
        }
        let waker = Arc::new(Flag::default()).waker();
        let mut context = Context::from_waker(&waker);
        let mut socket = Narrow(100_000);
        let outcome = poll_client(&mut scene.core, client, Pin::new(&mut socket), &mut context);
        assert!(outcome.is_pending());
        assert!(turn(&mut scene, node, &wire).is_pending());
        assert!(scene.connection(node).is_left_unread());
        assert!(scene.is_here(client));
    }
    for _ in 0..12 {
        scene.pass(TIMEOUT_US / 10);
    }
    assert!(!scene.is_here(client), "it takes nothing");
}

/// contract: F6
#[test]
fn what_is_held_until_its_turn_is_bounded() {
    let mut scene = scene();
    scene.core.limits.client_output_hard_bytes = 400_000;
    let (client, other, [_, node]) = a_value_that_is_gone(&mut scene);
    scene.node_begins(node, &format!("$1200000\r\n{}", "x".repeat(300_000)));
    scene.node_begins(node, &"x".repeat(300_000));
    assert!(scene.is_here(client));
    scene.node_begins(node, &"x".repeat(300_000));
    assert!(!scene.is_here(client));
    assert!(scene.core.clients.get(client).is_some());
    scene.node_begins(node, &format!("{}\r\n$1\r\n2\r\n", "x".repeat(300_000)));
    assert_eq!(scene.hears(other), "$1 2");
}

/// What a client asked for behind a large reply had all its time anew although that reply's turn had not come: it was
/// read as fast as the node sent it, and nobody was late but the node. contract: F5
#[test]
fn time_does_not_stand_still_before_the_turn() {
    let mut scene = scene();
    scene.core.limits.request_timeout_us = TIMEOUT_US;
    scene.core.limits.stream_buffer_bytes = 1000;
    let client = scene.client();
    scene.says(client, "GET {b}1");
    let late = scene.open();
    scene.wrote(late);
    scene.says(client, "GET {a}1");
    scene.says(client, "GET {a}2");
    let node = scene.open();
    scene.wrote(node);
    scene.node_begins(node, "$20\r\n01234");
    for _ in 0..13 {
        scene.pass(TIMEOUT_US / 10);
        scene.node_begins(node, "x");
    }
    scene.node_begins(node, "xx\r\n");
    scene.expect_output(
        client,
        &["did not answer 'get'", "$20 01234xxxxxxxxxxxxxxx -"],
    );
    assert_eq!(scene.connection(node).phase, Phase::Ready);
}

/// A client that tracks was closed in the middle of a large reply when the reply's node lost its slots, although the
/// node stayed and sent the rest. contract: R10 P8
#[test]
fn a_tracking_clients_large_reply_is_whole_when_its_slots_move() {
    let mut scene = scene();
    let (client, _, two) = scene.tracking_client();
    scene.says(client, "GET {a}2");
    let wire = Wire::wide();
    scene.node_begins(two, &much());
    assert!(turn(&mut scene, two, &wire).is_pending());
    assert!(scene.connection(two).is_left_unread());
    scene.map(|_| Some(0));
    assert!(turn(&mut scene, two, &wire).is_pending(), "its reply comes");
    assert!(scene.hears(client).starts_with("$3000 xxx"));
    wire.borrow_mut()
        .send(format!("{}\r\n", "x".repeat(2000)).as_bytes());
    let mut heard = String::new();
    while turn(&mut scene, two, &wire).is_pending() {
        let more = scene.hears(client);
        assert!(!more.is_empty(), "it is left when the reply is over");
        heard.push_str(&more);
    }
    heard.push_str(&scene.hears(client));
    assert!(heard.contains("xxx >2 $10 invalidate"), "{heard}");
    assert_eq!(heard.matches('x').count(), 2000);
    assert!(scene.is_here(client));
}

/// The rest of a reply is not waited for when its client has left.
#[test]
fn a_large_reply_for_nobody_is_not_waited_for() {
    let mut scene = scene();
    let (client, _, two) = scene.tracking_client();
    scene.says(client, "GET {a}2");
    scene.node_begins(two, &much());
    scene.core.cut_off(client);
    scene.core.client_left(client);
    assert_eq!(scene.connection(two).phase, Phase::Closed);
}
