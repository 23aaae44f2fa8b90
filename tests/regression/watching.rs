//! Clients that watch keys.

use keyway::upstream::{Phase, Role};
use keyway::worker::links::Loss;

use super::scene::{Scene, TIMEOUT_US};

/// A second `WATCH` was given up; the client kept the number of the connection, which was closed, and the next
/// connection to be opened got that number: another client's. contract: C1 T3 T5
#[test]
fn a_watch_that_was_given_up_is_nowhere() {
    for end in ["UNWATCH", "EXEC"] {
        let mut scene = Scene::new();
        let (client, other) = (scene.client(), scene.client());
        scene.says(client, "WATCH {a}1");
        let lease = scene.open();
        scene.wrote(lease);
        scene.node_says(lease, "+OK");
        scene.says(client, "WATCH {a}2");
        assert_eq!(scene.wrote(lease), "WATCH {a}2");
        scene.pass(TIMEOUT_US);
        scene.expect_output(client, &["+OK -ERR", "did not answer"]);
        scene.core.connection_lost(lease, Loss::Lost, "given up");
        scene.says(other, "GET {a}3");
        let shared = scene.open();
        assert_eq!(shared, lease, "the number is given again");
        assert_eq!(scene.wrote(shared), "GET {a}3");
        match end {
            "UNWATCH" => {
                scene.says(client, "UNWATCH");
                scene.expect_output(client, &["+OK"]);
            }
            _ => {
                for line in ["MULTI", "SET {a}1 x", "EXEC"] {
                    scene.says(client, line);
                }
                scene.expect_output(client, &["+OK +QUEUED *-1"]);
            }
        }
        assert_eq!(scene.wrote(shared), "");
        let connection = &scene.core.connections[shared.0 as usize];
        assert_eq!(connection.role, Role::Shared);
    }
}

/// A node refused `MULTI`, and so its `EXEC` did not end the watch: the next client that the connection was lent to
/// was aborted by this one's keys. contract: C1 T3
#[test]
fn a_connection_that_may_still_watch_is_not_lent_on() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "WATCH {a}1");
    let lease = scene.open();
    scene.wrote(lease);
    scene.node_says(lease, "+OK");
    for line in ["MULTI", "SET {a}1 x", "EXEC"] {
        scene.says(client, line);
    }
    assert_eq!(scene.wrote(lease), "MULTI SET {a}1 x EXEC");
    for reply in [
        "-NOPERM this user has no permissions to run the 'multi' command",
        "+OK",
        "-ERR EXEC without MULTI",
    ] {
        scene.node_says(lease, reply);
    }
    scene.expect_output(client, &["node refused MULTI"]);
    let connection = &scene.core.connections[lease.0 as usize];
    assert_eq!(connection.phase, Phase::Closed);
}

/// The last redirect was passed on: an address that clients cannot reach, after a word that they obey.
/// contract: F1 R7
#[test]
fn a_redirect_without_end_is_told_in_words() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "WATCH {a}1");
    let mut leases = Vec::new();
    for _ in 0..200 {
        for (key, host, _) in scene.dialled() {
            scene.core.connection_ready(key);
            leases.push((key, host));
        }
        for (key, host) in &leases {
            let other = if host == "10.0.0.1" { 2 } else { 1 };
            if !scene.wrote(*key).is_empty() {
                scene.node_says(*key, &format!("-MOVED 15495 10.0.0.{other}:6379"));
            }
        }
        scene.pass(TIMEOUT_US / 100);
    }
    let heard = scene.hears(client);
    assert!(heard.contains("redirect to each other"), "{heard}");
    assert!(heard.starts_with("-CLUSTERDOWN "), "{heard}");
    assert!(!heard.contains("10.0.0."), "{heard}");
}

/// A node that was asked and said nothing was told of as a wrong configuration. contract: F1
#[test]
fn a_node_that_does_not_answer_is_told_of() {
    for (line, prelude) in [("WATCH {b}1", None), ("WAIT 1 500", Some("SET {b}1 x"))] {
        let mut scene = Scene::new();
        let client = scene.client();
        if let Some(line) = prelude {
            scene.says(client, line);
            let node = scene.open();
            scene.wrote(node);
            scene.node_says(node, "+OK");
            scene.hears(client);
        }
        scene.says(client, line);
        let lease = scene.open();
        assert_ne!(scene.wrote(lease), "");
        scene.pass(2 * TIMEOUT_US);
        let heard = scene.hears(client);
        assert!(heard.contains("did not answer 'wa"), "{heard}");
        assert!(!heard.contains("unknown"), "{heard}");
    }
}

/// It had waited for a private connection, and that was told although it was asked then. contract: F1
#[test]
fn a_command_that_waited_for_a_connection_and_was_asked_has_nothing() {
    let mut scene = Scene::new();
    scene.core.limits.leases = 1;
    let (first, client) = (scene.client(), scene.client());
    scene.says(first, "WATCH {b}1");
    let lease = scene.open();
    scene.wrote(lease);
    scene.node_says(lease, "+OK");
    scene.says(client, "BLPOP {b}2 1");
    assert_eq!(scene.wrote(lease), "");
    scene.says(first, "UNWATCH");
    assert_eq!(scene.wrote(lease), "UNWATCH");
    scene.node_says(lease, "+OK");
    scene.pass(10_000);
    assert!(scene.wrote(lease).starts_with("BLPOP {b}2"));
    scene.pass(2 * TIMEOUT_US);
    scene.expect_output(client, &["*-1"]);
}
