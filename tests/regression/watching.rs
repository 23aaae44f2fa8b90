//! Clients that watch keys.

use keyway::cluster::Slot;
use keyway::pipeline::ClientKey;
use keyway::upstream::{Phase, Role};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;

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

/// The slot's owner changed between `WATCH` and `GET`: the old primary watched, the new one, which was behind it,
/// was read, and the old one, which had not heard of it yet, carried `EXEC` out. Two updates of one version
/// (`make chaos`, Redis, seed 2029). contract: T3
#[test]
fn what_another_node_was_read_for_is_watched_no_more() {
    // A new snapshot; or a redirect that some other client got.
    for by_snapshot in [true, false] {
        // For good; or the slot comes back.
        for comes_back in [false, true] {
            let mut scene = Scene::new();
            let (client, other) = (scene.client(), scene.client());
            let lease = watching(&mut scene, client);
            let slot = Slot::of_key(b"a");
            let heir = match by_snapshot {
                true => {
                    scene.map(|_| Some(0));
                    scene.says(client, "GET {a}1");
                    scene.open()
                }
                false => {
                    scene.says(other, "GET {a}2");
                    let old = scene.open();
                    scene.wrote(old);
                    let moved = format!("-MOVED {} 10.0.0.1:6379", slot.number());
                    scene.node_says(old, &moved);
                    let heir = scene.open();
                    scene.wrote(heir);
                    scene.node_says(heir, "$-1");
                    scene.says(client, "GET {a}1");
                    heir
                }
            };
            assert_eq!(scene.wrote(heir), "GET {a}1");
            scene.node_says(heir, "$1\r\n1");
            scene.expect_output(client, &["$1 1"]);
            if comes_back {
                scene.core.now_us += 1;
                scene.map(|slot| Some(usize::from(slot.number() >= 8192)));
            }
            for line in ["MULTI", "SET {a}1 2", "EXEC"] {
                scene.says(client, line);
            }
            scene.expect_output(client, &["+OK +QUEUED *-1"]);
            assert_eq!(scene.wrote(lease), "");
        }
    }
}

/// The same, where the owner changed while `WATCH` was on its way. contract: T3
#[test]
fn a_node_that_lost_the_slot_meanwhile_does_not_watch() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.says(client, "WATCH {a}1");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.map(|_| Some(0));
    scene.node_says(lease, "+OK");
    scene.says(client, "GET {a}1");
    let heir = scene.open();
    scene.wrote(heir);
    scene.node_says(heir, "$1\r\n1");
    for line in ["MULTI", "SET {a}1 2", "EXEC"] {
        scene.says(client, line);
    }
    scene.expect_output(client, &["+OK $1 1 +OK +QUEUED *-1"]);
    assert_eq!(scene.wrote(lease), "UNWATCH");
}

/// A second `WATCH` is on its way when the slot's owner changes. contract: T3
#[test]
fn a_second_watch_is_answered_when_the_slot_moves() {
    let mut scene = Scene::new();
    let client = scene.client();
    let lease = watching(&mut scene, client);
    scene.says(client, "WATCH {a}2");
    assert_eq!(scene.wrote(lease), "WATCH {a}2");
    scene.map(|_| Some(0));
    scene.core.connection_lost(lease, Loss::Lost, "given up");
    scene.expect_output(client, &["+OK"]);
    for line in ["MULTI", "SET {a}1 2", "EXEC"] {
        scene.says(client, line);
    }
    scene.expect_output(client, &["+OK +QUEUED *-1"]);
}

/// `EXEC` is with the node when the map changes: the node decides, and what it says is true. contract: T3
#[test]
fn an_exec_that_is_under_way_is_left_to_its_node() {
    for (reply, expected) in [("*1\r\n+OK", "*1 +OK"), ("*-1", "*-1")] {
        let mut scene = Scene::new();
        let client = scene.client();
        let lease = watching(&mut scene, client);
        for line in ["MULTI", "SET {a}1 2", "EXEC"] {
            scene.says(client, line);
        }
        assert_eq!(scene.wrote(lease), "MULTI SET {a}1 2 EXEC");
        scene.map(|_| Some(0));
        for reply in ["+OK", "+QUEUED", reply] {
            scene.node_says(lease, reply);
        }
        scene.expect_output(client, &[&format!("+OK +QUEUED {expected}")]);
    }
}

/// A client that watches `{a}1`, and the connection that does so for it.
fn watching(scene: &mut Scene, client: ClientKey) -> ConnectionKey {
    scene.says(client, "WATCH {a}1");
    let lease = scene.open();
    assert_eq!(scene.wrote(lease), "WATCH {a}1");
    scene.node_says(lease, "+OK");
    scene.expect_output(client, &["+OK"]);
    lease
}
