//! Clients that are blocked when something breaks, or leave meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keyway::config::CrossSlotBlocking;
use keyway::pipeline::ClientKey;
use keyway::upstream::Phase;
use keyway::worker::client_task::{End, poll_client};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

use super::scene::{Scene, TIMEOUT_US};
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
    scene.core.connections[key.0 as usize].is_end_due()
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
        assert_eq!(scene.wrote(shared), "MULTI BLPOP {b}1 0 EXEC");
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
    let mut leaver = Leaver::new(&mut scene, &["XREAD BLOCK 0 STREAMS {b}s $"]);
    while leaver.turn(&mut scene).is_pending() {}
    assert_eq!(leaver.hears(), "");
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

/// A stream that is deleted looks like one that moves, so it is asked for again. What is found then is not what the
/// client was told by one server, which says the same whether nothing is there or something else. contract: T6
#[test]
fn a_stream_that_is_gone_is_told_in_the_words_of_one_server() {
    const GONE: &str = "-UNBLOCKED the stream key no longer exists";
    const CALL: &str = "XREADGROUP GROUP g c BLOCK 500 STREAMS {b}1 >";
    for (second, expected) in [
        ("-NOGROUP No such key '{b}1' or consumer group 'g'", GONE),
        (
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
            GONE,
        ),
        ("*-1", "*-1"),
        ("-NOPERM no", "-NOPERM no"),
    ] {
        let mut scene = Scene::new();
        let client = scene.client();
        scene.says(client, CALL);
        let lease = scene.open();
        assert_eq!(scene.wrote(lease), CALL);
        scene.node_says(lease, GONE);
        assert_eq!(scene.hears(client), "");
        scene.pass(100_000);
        assert!(scene.wrote(lease).starts_with("XREADGROUP"), "once more");
        scene.node_says(lease, second);
        assert_eq!(scene.hears(client), expected, "{second}");
    }
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

/// A call that was lost was made again at once: a node that lost each connection after it had executed the command
/// was asked as fast as it could be dialled, and gave an element each time. contract: R7 T6
#[test]
fn a_call_that_is_lost_again_and_again_is_made_ever_more_rarely() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "BLPOP {b}1 3");
    let mut count = 0;
    for _ in 0..1000 {
        for (lease, ..) in scene.dialled() {
            scene.core.connection_ready(lease);
            assert!(scene.wrote(lease).starts_with("BLPOP {b}1"));
            scene.core.connection_lost(lease, Loss::Lost, "crashed");
            count += 1;
        }
        scene.pass(1_000);
    }
    assert!((5..20).contains(&count), "{count}");
}

/// contract: T6
#[test]
fn a_call_that_was_lost_follows_a_new_map_at_once() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "BLPOP {b}1 0");
    let lease = scene.open();
    scene.wrote(lease);
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.map(|_| Some(1));
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
}

/// Keys of several slots are polled.
fn polling() -> Scene {
    let mut scene = Scene::new();
    let facts = Arc::get_mut(&mut scene.core.local).expect("nobody else has them");
    facts.cross_slot_blocking = CrossSlotBlocking::Poll;
    scene
}

/// A step of a poll does not block, so one that was sent and lost may have taken an element. contract: T7 F2
#[test]
fn a_step_of_a_poll_is_not_repeated_once_it_was_sent() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "BLPOP {b}1 {a}1 0");
    let lease = scene.open();
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.pass(10_000);
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "MULTI BLPOP {b}1 0 EXEC");
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.expect_output(client, &["before 'blpop' was answered", "outcome unknown"]);
    scene.pass(TIMEOUT_US);
    assert_eq!(scene.dialled(), []);
}

/// contract: T7 F2
#[test]
fn a_step_that_only_reads_is_repeated() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "XREAD BLOCK 0 STREAMS {b}1 {a}1 0 0");
    for _ in 0..2 {
        let lease = scene.open();
        assert!(scene.wrote(lease).starts_with("MULTI XREAD"));
        scene.core.connection_lost(lease, Loss::Lost, "crashed");
        scene.pass(10_000);
    }
    scene.expect_output(client, &[]);
}

/// What does not block asked one slot only or nobody; and what the client sends behind it may be about its later keys.
/// contract: T7 R13
#[test]
fn one_pass_over_the_slots_goes_before_what_follows() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "LMPOP 2 {b}1 {a}1 LEFT");
    scene.says(client, "LPUSH {a}1 x");
    let first = scene.open();
    assert_eq!(scene.wrote(first), "LMPOP 1 {b}1 LEFT");
    assert_eq!(scene.dialled(), [], "nothing leaves behind it");
    scene.node_says(first, "*-1");
    let second = scene.open();
    assert_eq!(scene.wrote(second), "LMPOP 1 {a}1 LEFT");
    scene.node_says(second, "*-1");
    scene.expect_output(client, &["*-1"]);
}

/// contract: T7
#[test]
fn one_pass_ends_with_the_first_that_has_something() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "ZMPOP 3 {b}1 {a}1 {b}2 MIN COUNT 2");
    let first = scene.open();
    assert_eq!(scene.wrote(first), "ZMPOP 1 {b}1 MIN COUNT 2");
    scene.node_says(first, "*-1");
    let second = scene.open();
    assert_eq!(scene.wrote(second), "ZMPOP 1 {a}1 MIN COUNT 2");
    scene.node_says(second, "*2\r\n$4\r\n{a}1\r\n*0");
    scene.expect_output(client, &["*2 $4 {a}1 *0"]);
    assert_eq!(scene.wrote(first), "");
}

/// contract: T7 F2
#[test]
fn a_lost_step_of_one_pass_is_not_repeated() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "LMPOP 2 {b}1 {a}1 LEFT");
    let first = scene.open();
    scene.wrote(first);
    scene.node_says(first, "*-1");
    let second = scene.open();
    scene.wrote(second);
    scene.core.connection_lost(second, Loss::Lost, "crashed");
    scene.expect_output(client, &["before 'lmpop' was answered", "outcome unknown"]);
}

/// A step for which there is no node waits for one, as any request, and no longer. contract: T7 F1
#[test]
fn a_step_of_one_pass_waits_for_its_node() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "LMPOP 2 {b}1 {a}1 LEFT");
    let first = scene.open();
    scene.wrote(first);
    scene.node_says(first, "*-1");
    let second = scene.open();
    scene.wrote(second);
    scene.node_says(second, "-CLUSTERDOWN The cluster is down");
    scene.expect_output(client, &[]);
    scene.pass(100_000);
    assert_eq!(scene.wrote(second), "LMPOP 1 {a}1 LEFT");
    scene.node_says(second, "-CLUSTERDOWN The cluster is down");
    scene.pass(TIMEOUT_US);
    scene.expect_output(client, &["CLUSTERDOWN The cluster is down"]);
}

/// Streams are read everywhere at once, and each is there in the order of the keys. contract: T7
#[test]
fn streams_of_several_slots_are_one_reply() {
    let mut scene = polling();
    let client = scene.client();
    scene.says(client, "XREAD COUNT 1 STREAMS {a}1 {b}1 {a}2 0 0 0");
    // The node of the first key is dialled first.
    let dialled = scene.dialled();
    let [(of_a, ..), (of_b, ..)] = &dialled[..] else {
        panic!("not two nodes: {dialled:?}");
    };
    let (of_a, of_b) = (*of_a, *of_b);
    for connection in [of_a, of_b] {
        scene.core.connection_ready(connection);
    }
    assert_eq!(
        scene.wrote(of_a),
        "XREAD COUNT 1 STREAMS {a}1 0 XREAD COUNT 1 STREAMS {a}2 0"
    );
    assert_eq!(scene.wrote(of_b), "XREAD COUNT 1 STREAMS {b}1 0");
    scene.node_says(of_a, "*1\r\n+a1");
    scene.node_says(of_a, "*1\r\n+a2");
    scene.expect_output(client, &[]);
    scene.node_says(of_b, "*-1");
    scene.expect_output(client, &["*2 +a1 +a2"]);
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

/// The end of such a time was summed up to a time long ago. contract: F8 T6
#[test]
fn a_time_beyond_all_clocks_is_waited() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "XREAD BLOCK 18446744073709551 STREAMS {b}1 0");
    let lease = scene.open();
    assert!(scene.wrote(lease).starts_with("XREAD"));
    scene.pass(3 * TIMEOUT_US);
    scene.expect_output(client, &[]);
    scene.core.connection_lost(lease, Loss::Lost, "crashed");
    scene.pass(10_000);
    let lease = scene.open();
    assert!(scene.wrote(lease).starts_with("XREAD"));
}

/// What was given up closed its connection, whose end was then taken for that of the client's next call: it was made
/// a second time beside the first, and what one of the two popped was for nobody. contract: C1 T5
#[test]
fn a_call_that_was_given_up_does_not_end_the_next_one() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "BLPOP {b}1 1");
    let hung = scene.open();
    scene.wrote(hung);
    scene.pass(2 * TIMEOUT_US);
    scene.expect_output(client, &["*-1"]);
    scene.says(client, "BLPOP {b}1 0");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "BLPOP {b}1 0");
    scene.core.connection_lost(hung, Loss::Lost, "given up");
    scene.pass(200_000);
    assert_eq!(scene.dialled(), []);
    scene.node_says(lease, "*2\r\n$4\r\n{b}1\r\n$1\r\nx");
    scene.expect_output(client, &["*2 $4 {b}1 $1 x"]);
}
