//! Clients that are blocked when something breaks.

use std::sync::Arc;

use keyway::config::CrossSlotBlocking;
use keyway::worker::links::Loss;

use super::scene::{Scene, TIMEOUT_US};

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
pub fn polling() -> Scene {
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

/// A client was let go; the node was asked to let its connection go, over the shared connection, which was lost: the
/// client waited for ever. contract: C2 F5
#[test]
fn a_client_that_was_let_go_is_let_go_though_the_word_was_lost() {
    let mut scene = Scene::new();
    let (client, other) = (scene.client(), scene.client());
    scene.says(other, "GET {b}2");
    let shared = scene.open();
    scene.wrote(shared);
    scene.node_says(shared, "$-1");
    scene.says(client, "BLPOP {b}1 0");
    let lease = scene.open();
    scene.core.connection_numbered(lease, Some(7));
    scene.wrote(lease);
    scene.core.dismiss(client);
    assert_eq!(scene.wrote(shared), "CLIENT UNBLOCK 7 ERROR");
    scene.core.connection_lost(shared, Loss::Lost, "crashed");
    for _ in 0..11 {
        scene.pass(TIMEOUT_US / 10);
    }
    let shared = scene.open();
    assert_eq!(scene.wrote(shared), "CLIENT UNBLOCK 7 ERROR");
    // It had popped something before.
    scene.node_says(lease, "*2\r\n$4\r\n{b}1\r\n$1\r\nx");
    scene.expect_output(client, &["*2 $4 {b}1 $1 x"]);
}
