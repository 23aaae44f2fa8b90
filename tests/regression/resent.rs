//! Writes that are sent again by choice although they may have been executed (`upstream.resend_lost_writes`).

use keyway::acl::CommandList;
use keyway::worker::links::Loss;

use super::scene::{Scene, TIMEOUT_US};

fn scene(names: &[&str]) -> Scene {
    let list = CommandList::of_names(names.iter().copied());
    Scene::resending(list.expect("they are commands"))
}

/// contract: F2 R13
#[test]
fn those_that_are_named_and_no_others() {
    let mut scene = scene(&["set", "@hash"]);
    let client = scene.client();
    for line in ["SET {b}1 x", "INCR {b}2", "HSET {b}3 f x", "GET {b}1"] {
        scene.says(client, line);
    }
    let node = scene.open();
    scene.wrote(node);
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(10_000);
    let node = scene.open();
    let again = "SET {b}1 x HSET {b}3 f x GET {b}1";
    assert_eq!(scene.wrote(node), again);
    assert_eq!(scene.tallies.writes_resent.value(), 2);
    // And once more.
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(10_000);
    let node = scene.open();
    assert_eq!(scene.wrote(node), again);
    for reply in ["+OK", ":0", "$1\r\nx"] {
        scene.node_says(node, reply);
    }
    let heard = scene.hears(client);
    assert!(
        heard.starts_with("+OK -ERR") && heard.ends_with(":0 $1 x"),
        "{heard}"
    );
    assert!(heard.contains("outcome unknown"), "{heard}");
}

/// contract: F2
#[test]
fn a_transaction_is_one_of_them_as_exec() {
    for (named, sent) in [("exec", "MULTI INCR {b}1 EXEC"), ("incr", "")] {
        let mut scene = scene(&[named]);
        let client = scene.client();
        for line in ["MULTI", "INCR {b}1", "EXEC"] {
            scene.says(client, line);
        }
        let node = scene.open();
        scene.wrote(node);
        scene.core.connection_lost(node, Loss::Lost, "crashed");
        scene.pass(10_000);
        match named {
            "exec" => {
                let node = scene.open();
                assert_eq!(scene.wrote(node), sent);
            }
            _ => scene.expect_output(client, &["+OK +QUEUED -ERR", "outcome unknown"]),
        }
    }
}

/// Whatever keeps it from being sent again, its client is not told that it was not executed.
/// contract: F1 F2
#[test]
fn none_is_called_not_executed() {
    let mut scene = scene(&["@all"]);
    let client = scene.client();
    scene.says(client, "SET {b}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(TIMEOUT_US);
    let heard = scene.hears(client);
    assert!(heard.contains("outcome unknown; it may"), "{heard}");
    assert!(heard.starts_with("-ERR "), "{heard}");
}

/// contract: F5
#[test]
fn one_that_is_not_answered_ends_in_time() {
    let mut scene = scene(&["set"]);
    let client = scene.client();
    scene.says(client, "SET {b}1 x");
    let node = scene.open();
    scene.wrote(node);
    scene.core.connection_lost(node, Loss::Lost, "crashed");
    scene.pass(10_000);
    let node = scene.open();
    assert_eq!(scene.wrote(node), "SET {b}1 x");
    scene.pass(TIMEOUT_US);
    scene.expect_output(client, &["outcome unknown", "sent more than once"]);
}
