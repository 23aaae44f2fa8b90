//! What is learnt follows the servers: new nodes, new versions, modules loaded while they run.

use std::time::Duration;

use super::announce::{Told, listing};
use super::support::fake_view::array;
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};
use super::{scene, serve};

const ONE: (i64, i64, i64) = (1, 1, 1);
const DEADLINE: Duration = Duration::from_secs(20);

fn told(name: &str) -> Told {
    Told::new(name, "write", ONE)
}

fn is_known(keyway: &Keyway, command: &str) -> bool {
    !keyway
        .client()
        .call(command)
        .to_string()
        .starts_with("-ERR unknown")
}

/// The very first command of the very first client.
/// contract: R2
#[test]
fn a_client_waits_for_the_first_lesson() {
    let fake = FakeCluster::start(2);
    let gate = Gate::new();
    for node in fake.nodes() {
        node.always("X.ONE", Action::line(":1"));
        let lesson = Action::Reply(listing(&[told("X.ONE")]));
        node.always("COMMAND", Action::After(gate.clone(), Box::new(lesson)));
    }
    let keyway = Keyway::before(&fake.seeds())
        .set("upstream.connect_timeout", "\"20s\"")
        .start();
    let mut client = keyway.client();
    client.send("GET foo");
    client.send("X.ONE foo");
    client.send("NO.SUCH foo");
    client.expect_next("'node-1'");
    fake.node(0).wait_for(1, "COMMAND");
    assert!(client.read_within(Duration::from_millis(50)).is_none());
    gate.open();
    client.expect_next(":1");
    client.expect_next("-ERR unknown command 'NO.SUCH', with args beginning with: 'foo' ");
}

/// The application starts before the cluster.
/// contract: R2 F1
#[test]
fn a_client_waits_for_the_cluster_and_its_lesson() {
    let fake = FakeCluster::start(2);
    for node in fake.nodes() {
        node.always("X.ONE", Action::line(":1"));
        node.always("COMMAND", Action::Reply(listing(&[told("X.ONE")])));
        node.go_down();
    }
    let keyway = Keyway::before(&fake.seeds()).start_unready();
    let mut client = keyway.client();
    client.send("PING");
    client.send("X.ONE foo");
    client.send("PING");
    client.expect_next("+PONG");
    assert!(client.read_within(Duration::from_millis(300)).is_none());
    for node in fake.nodes() {
        node.come_back();
    }
    client.expect_next(":1");
    client.expect_next("+PONG");
}

/// Servers that may not, or cannot, be asked for their commands.
/// contract: R2
#[test]
fn servers_that_do_not_tell() {
    let fake = FakeCluster::start(2);
    fake.node(0).always(
        "COMMAND",
        Action::line("-NOPERM this user has no permissions"),
    );
    fake.node(1).always("COMMAND", Action::line("+what"));
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    client.expect(
        "X.ONE a",
        "-ERR unknown command 'X.ONE', with args beginning with: 'a' ",
    );
    client.expect("GET foo", "'node-1'");
    // One of them changes its mind.
    fake.node(1).forget_rules();
    fake.node(1)
        .always("COMMAND", Action::Reply(listing(&[told("X.ONE")])));
    eventually("it is learnt", DEADLINE, || is_known(&keyway, "X.ONE a"));
}

/// A module is loaded while everything runs: no topology changes by that.
/// contract: R2
#[test]
fn a_module_is_loaded() {
    let (fake, keyway) = scene(&[told("X.ONE")]);
    assert!(is_known(&keyway, "X.ONE foo"));
    assert!(!is_known(&keyway, "X.TWO foo"));
    for index in 0..2 {
        fake.node(index).forget_rules();
        serve(&fake, index, &[told("X.ONE"), told("X.TWO")]);
    }
    eventually("it is learnt", DEADLINE, || is_known(&keyway, "X.TWO foo"));
    assert!(is_known(&keyway, "X.ONE foo"));
    // And unloaded again.
    for index in 0..2 {
        fake.node(index).forget_rules();
        serve(&fake, index, &[told("X.TWO")]);
    }
    eventually("it is forgotten", DEADLINE, || {
        // Asks for it to be looked at.
        is_known(&keyway, "NO.SUCH");
        !is_known(&keyway, "X.ONE foo")
    });
}

/// A client that goes on naming what nobody knows costs the servers next to nothing.
/// contract: R2, F6
#[test]
fn unknown_commands_are_not_asked_for_each_time() {
    let (fake, keyway) = scene(&[]);
    let mut client = keyway.client();
    let commands = vec!["NO.SUCH a"; 1000];
    for _ in 0..5 {
        let replies = client.pipeline(&commands);
        assert!(
            replies
                .iter()
                .all(|reply| reply.to_string().starts_with("-ERR unknown command"))
        );
    }
    let asked = || {
        fake.nodes()
            .iter()
            .map(|node| node.received("COMMAND").len())
            .sum::<usize>()
    };
    // Each once at the start, and one more for the sake of these.
    eventually("it is looked at once more", DEADLINE, || asked() >= 3);
    assert!(asked() <= 4, "asked {} times", asked());
}

/// contract: R2
#[test]
fn new_nodes_are_asked() {
    let fake = FakeCluster::start(3);
    // The third has no slots, and another module.
    fake.change(|layout| layout.assign(0, 16383, 0));
    fake.change(|layout| layout.assign(8192, 16383, 1));
    for index in 0..2 {
        serve(&fake, index, &[told("X.ONE")]);
    }
    serve(&fake, 2, &[told("X.ONE"), told("X.THIRD")]);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"200ms\"")
        .start();
    let mut client = keyway.client();
    client.expect("X.ONE foo", "'node-1'");
    assert!(
        fake.node(2).received("COMMAND").is_empty(),
        "it owns nothing"
    );
    fake.change(|layout| layout.assign(8192, 16383, 2));
    fake.node(2).wait_for(1, "COMMAND");
    eventually("it is learnt", DEADLINE, || {
        is_known(&keyway, "X.THIRD foo")
    });
    client.expect("X.THIRD foo", "'node-2'");
}

/// contract: R2
#[test]
fn another_version_is_asked_anew() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("cluster.refresh_interval", "\"200ms\"")
        .start();
    let asked = |index: usize| fake.node(index).received("COMMAND").len();
    eventually("both are asked", DEADLINE, || {
        asked(0) >= 1 && asked(1) >= 1
    });
    for index in 0..2 {
        fake.node(index).forget_rules();
        serve(&fake, index, &[told("X.NEW")]);
    }
    fake.change(|layout| layout.version = "9.9.9".to_owned());
    // A server that was upgraded was restarted.
    for node in fake.nodes() {
        node.cut_connections();
    }
    eventually("both are asked again", DEADLINE, || {
        asked(0) >= 2 && asked(1) >= 2
    });
    eventually("it is learnt", DEADLINE, || is_known(&keyway, "X.NEW foo"));
}

/// contract: R2
#[test]
fn nodes_that_differ_are_joined() {
    let fake = FakeCluster::start(2);
    serve(&fake, 0, &[told("X.ONE"), told("X.BOTH")]);
    serve(&fake, 1, &[told("X.TWO"), told("X.BOTH")]);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    client.expect("X.ONE bar", "'node-0'");
    client.expect("X.TWO foo", "'node-1'");
    client.expect("X.BOTH foo", "'node-1'");
    assert!(
        is_known(&keyway, "X.ONE foo"),
        "the node itself may refuse it"
    );
}

/// contract: R2
#[test]
fn redis_six_is_understood() {
    let fake = FakeCluster::start(2);
    for (index, node) in fake.nodes().iter().enumerate() {
        let entries = [
            told("JSON.SET").render_old(),
            Told::new("get", "readonly", ONE).render_old(),
        ];
        node.always("JSON.SET", Action::bulk(&format!("node-{index}")));
        node.always("COMMAND", Action::Reply(array(&entries)));
    }
    let keyway = Keyway::start(&fake.seeds());
    keyway.client().expect("JSON.SET foo $ 1", "'node-1'");
    keyway.client().expect("JSON.SET bar $ 1", "'node-0'");
}

/// contract: F6
#[test]
fn not_more_are_learnt_than_allowed() {
    let fake = FakeCluster::start(1);
    let many: Vec<Told> = (0..50)
        .map(|number| told(&format!("X.N{number}")))
        .collect();
    serve(&fake, 0, &many);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.learnt_commands", "10")
        .start();
    let known = (0..50).filter(|number| is_known(&keyway, &format!("X.N{number} a")));
    assert_eq!(known.count(), 10);
    assert!(keyway.log().contains("limits.learnt_commands"));
}
