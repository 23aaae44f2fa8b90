//! A test for each mistake that was found, told as a talk: what a client says, what nodes answer, what
//! the client hears. Most were found by the simulation and carry the seed that showed them, as the
//! simulation was then.

#[allow(dead_code)]
#[path = "../simulation/tasks.rs"]
mod tasks;
#[allow(dead_code)]
#[path = "../simulation/wire.rs"]
mod wire;

mod blocked;
mod large;
mod leaving;
mod only_primary;
mod order;
mod resent;
mod scan;
mod scene;
mod slow;
mod turns;
mod uploads;
mod waiting;
mod watching;

use std::pin::Pin;
use std::task::Context;

use keyway::cluster::Slot;
use keyway::resp::Protocol;
use keyway::upstream::Phase;
use keyway::worker::client_task::poll_client;
use keyway::worker::links::Loss;

use scene::{Scene, TIMEOUT_US};

/// CROSSSLOT was counted twice in `requests_total` (simulation seed 6).
#[test]
fn a_refused_request_is_counted_once() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "EVAL s 2 {a}1 {b}1");
    scene.expect_output(client, &["-CROSSSLOT"]);
    assert_eq!(scene.tallies.requests.value(), 1);
}

/// What waited was sent in the version its client spoke by then, and answered in its shape.
/// contract: P1
#[test]
fn a_request_that_waits_keeps_its_version() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "GET {b}1");
    let (refused, ..) = scene.dialled()[0];
    scene
        .core
        .connection_lost(refused, Loss::NotOpened, "refused");
    scene.says(client, "HELLO 3");
    scene.pass(100_000);
    let dialled = scene.dialled();
    assert_eq!(dialled[0].2, Protocol::Resp2);
    scene.core.connection_ready(dialled[0].0);
    assert_eq!(scene.wrote(dialled[0].0), "GET {b}1");
    scene.node_says(dialled[0].0, "$-1");
    scene.expect_output(client, &["$-1 %7 "]);
}

/// A request that followed ASK was overtaken by a later one, whose redirect came from a new snapshot
/// (simulation seeds 53, 797, 876, 896). contract: R13, R4
#[test]
fn a_redirected_request_leaves_when_those_behind_it_are_back() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "APPEND {b}1 x");
    scene.says(client, "MGET {b}1 {b}2");
    scene.says(client, "GET {b}1");
    let old = scene.open();
    scene.wrote(old);
    scene.node_says(old, "-ASK 3300 10.0.0.2:6379");
    assert_eq!(scene.dialled(), [], "two requests on its slot are not back");
    scene.node_says(
        old,
        "-TRYAGAIN Multiple keys request during rehashing of slot",
    );
    scene.node_says(old, "-ASK 3300 10.0.0.2:6379");
    let new = scene.open();
    assert_eq!(scene.wrote(new), "ASKING APPEND {b}1 x");
    scene.map(|_| Some(1));
    assert_eq!(scene.wrote(new), "", "the first one is not back");
    scene.node_says(new, "+OK");
    scene.node_says(new, ":1");
    scene.pass(10_000);
    assert_eq!(scene.wrote(new), "MGET {b}1 {b}2 ASKING GET {b}1");
}

/// What waited was given up when a later request on its slot, but not on its keys, was carried out.
/// contract: R5
#[test]
fn only_a_later_request_on_the_same_key_overtakes() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "MSET {b}1 x {b}2 y");
    scene.says(client, "SET {b}3 z");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(
        node,
        "-TRYAGAIN Multiple keys request during rehashing of slot",
    );
    scene.node_says(node, "+OK");
    scene.expect_output(client, &[]);
    scene.pass(10_000);
    assert_eq!(scene.wrote(node), "MSET {b}1 x {b}2 y");
    scene.node_says(node, "+OK");
    scene.expect_output(client, &["+OK +OK"]);
}

/// contract: R13
#[test]
fn a_request_that_was_overtaken_on_its_key_is_given_up() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "MSET {b}1 x {b}2 y");
    scene.says(client, "SET {b}2 z");
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(
        node,
        "-TRYAGAIN Multiple keys request during rehashing of slot",
    );
    scene.node_says(node, "+OK");
    scene.expect_output(client, &["-TRYAGAIN 'mset' was not executed", "+OK"]);
    scene.pass(100_000);
    assert_eq!(scene.wrote(node), "");
}

/// What the socket did not take by the deadline was answered with "outcome unknown", and executed
/// later (simulation seeds 95, 300). contract: F1, F2
#[test]
fn what_was_not_written_is_not_unknown() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "APPEND {b}1 x");
    let node = scene.open();
    scene.pass(TIMEOUT_US);
    let connection = &scene.core.connections[node.0 as usize];
    assert_eq!(connection.phase, Phase::Closed);
    scene.core.connection_lost(node, Loss::Lost, "given up");
    scene.pass(5_000);
    scene.expect_output(client, &["-CLUSTERDOWN", "was not executed"]);
}

/// A request that stood behind younger ones was given up half a deadline late. contract: F5
#[test]
fn an_old_request_behind_a_young_one_ends_in_time() {
    let mut scene = Scene::new();
    let (old, young) = (scene.client(), scene.client());
    scene.says(old, "GET {b}1");
    let node = scene.open();
    scene.wrote(node);
    scene.core.now_us += TIMEOUT_US * 9 / 10;
    scene.node_says(node, "-LOADING Redis is loading the dataset in memory");
    scene.says(young, "GET {b}2");
    scene.pass(10_000);
    assert_eq!(scene.wrote(node), "GET {b}2 GET {b}1");
    scene.pass(TIMEOUT_US / 10 + 100_000);
    scene.expect_output(old, &["did not answer 'get'"]);
    scene.expect_output(young, &[]);
}

/// A client that waited for room was forgotten when the outbox was taken back unopened (simulation
/// seed 343). contract: F6
#[test]
fn a_client_that_waits_for_room_is_woken_when_an_outbox_is_taken_back() {
    let mut scene = Scene::new();
    scene.core.limits.outbox_bytes = 1;
    let (first, second) = (scene.client(), scene.client());
    scene.says(first, "GET {b}1");
    scene.says(second, "GET {b}2");
    let flag = tasks::Flag::raised();
    flag.lower();
    let waiting = scene.core.clients.get(second).expect("it is here");
    assert!(waiting.is_stalled);
    waiting.begin_turn(&flag.waker());
    scene.map(|_| Some(1));
    assert!(flag.is_raised());
}

/// A client was never read again when its output reached the soft limit and was written in the same
/// turn (simulation seed 4). contract: P9
#[test]
fn a_client_whose_output_was_written_is_read_again() {
    let mut scene = Scene::new();
    scene.core.limits.client_output_soft_bytes = 4;
    let client = scene.client();
    let wire = wire::Wire::wide();
    let mut socket = wire::Socket(wire.clone());
    let flag = tasks::Flag::raised();
    let waker = flag.waker();
    let mut turn = |scene: &mut Scene| {
        while flag.lower() {
            let mut context = Context::from_waker(&waker);
            let poll = poll_client(&mut scene.core, client, Pin::new(&mut socket), &mut context);
            assert!(poll.is_pending());
        }
    };
    wire.borrow_mut().send(b"GET {b}1\r\n");
    turn(&mut scene);
    let node = scene.open();
    scene.wrote(node);
    scene.node_says(node, "$5\r\nvalue");
    wire.borrow_mut().send(b"PING\r\n");
    turn(&mut scene);
    let heard = wire.borrow_mut().take(usize::MAX);
    assert_eq!(heard, b"$5\r\nvalue\r\n+PONG\r\n");
}

/// The error of one part spoke for the whole request, though other parts were executed (simulation
/// seeds 87, 339, 344). contract: M1
#[test]
fn an_error_of_a_part_says_so() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "MSET {a}1 x {b}1 y");
    let dialled = scene.dialled();
    let to = |host: &str| dialled.iter().find(|one| one.1 == host).expect("both").0;
    let (refused, node) = (to("10.0.0.1"), to("10.0.0.2"));
    scene.core.connection_ready(node);
    assert_eq!(scene.wrote(node), "MSET {a}1 x");
    scene.node_says(node, "+OK");
    scene
        .core
        .connection_lost(refused, Loss::NotOpened, "refused");
    scene.pass(TIMEOUT_US);
    scene.expect_output(client, &["-CLUSTERDOWN", "a part of the request"]);
}

/// The gauge of connections still counted those that were given up (simulation seed 1397).
#[test]
fn a_connection_that_was_given_up_is_counted_down() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "GET {b}1");
    let node = scene.open();
    scene.wrote(node);
    scene.pass(TIMEOUT_US);
    let connection = &scene.core.connections[node.0 as usize];
    assert_eq!(connection.phase, Phase::Closed, "it answers nobody");
    scene.core.connection_lost(node, Loss::Lost, "given up");
    assert_eq!(scene.tallies.upstream_connections.value(), 0);
}

/// When a shard's lowest slot was redirected, two parts of a request to all primaries went to one node
/// and none to the other (simulation seeds 577, 876). contract: M4
#[test]
fn all_primaries_are_asked_once_after_a_redirect() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "CLUSTER COUNTKEYSINSLOT 8192");
    let second = scene.open();
    scene.wrote(second);
    scene.node_says(second, "-MOVED 8192 10.0.0.1:6379");
    let first = scene.open();
    scene.wrote(first);
    scene.node_says(first, ":0");
    scene.says(client, "DBSIZE");
    assert_eq!(scene.wrote(first), "DBSIZE");
    assert_eq!(scene.wrote(second), "DBSIZE");
}

/// Without any owner of a slot, requests to all primaries and SCAN were refused at once (simulation
/// seeds 453, 1557). contract: F1
#[test]
fn what_goes_to_all_primaries_waits_for_one() {
    let mut scene = Scene::new();
    scene.map(|_| None);
    let (client, other) = (scene.client(), scene.client());
    scene.says(client, "DBSIZE");
    scene.says(other, "SCAN 0");
    scene.expect_output(client, &[]);
    scene.expect_output(other, &[]);
    scene.map(|_| Some(0));
    let node = scene.open();
    assert_eq!(scene.wrote(node), "DBSIZE SCAN 0");
    scene.map(|_| None);
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(TIMEOUT_US);
    scene.expect_output(client, &["-CLUSTERDOWN", "was not executed"]);
    scene.expect_output(other, &["-CLUSTERDOWN", "was not executed"]);
}

/// A node reads a number of keys more laxly than the command does (`" 1"`), finds keys and names
/// their owner; that was passed on. contract: R3
#[test]
fn keys_that_only_the_node_finds_are_redirected() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "ZUNION \" 1\" {a}1");
    let (one, host, _) = scene.dialled().remove(0);
    scene.core.connection_ready(one);
    assert_eq!(scene.wrote(one), "ZUNION  1 {a}1");
    // Any node will do, so it may be either.
    let owner = if host == "10.0.0.1" { 2 } else { 1 };
    let slot = Slot::of_key(b"a").number();
    scene.node_says(one, &format!("-MOVED {slot} 10.0.0.{owner}:6379"));
    let other = scene.open();
    assert_eq!(scene.wrote(other), "ZUNION  1 {a}1");
    scene.node_says(other, "-ERR value is not an integer or out of range");
    scene.expect_output(client, &["-ERR value is not an integer or out of range"]);
}

/// A part for a primary that left the map went to the new owner of a slot, who had a part of its own: it answered
/// twice, and nobody for the rest (simulation seeds 2653, 3764). contract: M4
#[test]
fn a_part_for_a_primary_that_left_goes_to_nobody_who_was_asked() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "DBSIZE");
    let dialled = scene.dialled();
    let (one, two) = (dialled[0].0, dialled[1].0);
    scene.core.connection_ready(one);
    scene.core.connection_lost(two, Loss::NotOpened, "refused");
    assert_eq!(scene.wrote(one), "DBSIZE");
    scene.node_says(one, ":1");
    // Of the second one's slots only the lowest has an owner.
    scene.map(|slot| (slot.number() <= 8192).then_some(0));
    for _ in 0..5 {
        scene.pass(TIMEOUT_US / 10);
        assert_eq!(scene.wrote(one), "", "it was asked");
    }
    scene.map(|slot| Some(usize::from(slot.number() > 8192)));
    let two = scene.open();
    assert_eq!(scene.wrote(two), "DBSIZE");
    scene.node_says(two, ":2");
    scene.expect_output(client, &[":3"]);
}

/// `EXEC` of a client that watched was "outcome unknown" at its deadline, although the node had never been given
/// the end of it (simulation seed 2335). contract: F1 F2
#[test]
fn a_block_that_was_not_written_is_not_unknown() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "WATCH {a}1");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.node_says(lease, "+OK");
    scene.says(client, "MULTI");
    scene.says(client, "SET {a}1 x");
    scene.expect_output(client, &["+OK", "+QUEUED"]);
    scene.says(client, "EXEC");
    let outbox = &mut scene.core.connections[lease.0 as usize].outbox;
    outbox.mark_written(outbox.unwritten().len() - 1);
    for _ in 0..12 {
        scene.pass(TIMEOUT_US / 10);
    }
    scene.expect_output(client, &["-CLUSTERDOWN", "was not executed"]);
}
