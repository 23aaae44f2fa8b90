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
        scene.expect_output(client, &["+OK -"]);
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
