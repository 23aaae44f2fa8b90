//! What nodes are sent, by nodes that tell.

use std::time::Duration;

use super::load;
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

const BODY: &str = "return 1";
const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

fn scene() -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(2);
    for node in fake.nodes() {
        node.always("SCRIPT LOAD", Action::bulk(SHA));
        node.always("EVAL", Action::line(":1"));
        node.always("EVALSHA", Action::line(":2"));
    }
    let keyway = Keyway::start(&fake.seeds());
    (fake, keyway)
}

/// The first call over a connection carries the body, whatever the node knows; later ones do not.
/// contract: T4, R13
#[test]
fn the_first_call_of_a_connection_carries_the_body() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    assert_eq!(load(&mut client, BODY), SHA);
    // `foo` belongs to the second node, `bar` to the first.
    client.expect(&format!("EVALSHA {SHA} 1 foo x"), ":1");
    client.expect(&format!("EVALSHA {SHA} 1 foo x"), ":2");
    keyway
        .client()
        .expect(&format!("evalsha {} 1 foo y", SHA.to_uppercase()), ":2");
    assert_eq!(
        fake.node(1).received("EVAL"),
        [format!("EVAL {BODY} 1 foo x")]
    );
    assert!(fake.node(0).received("EVAL").is_empty());
    client.expect(&format!("EVALSHA_RO {SHA} 1 bar"), "+OK");
    assert_eq!(
        fake.node(0).received("EVAL_RO"),
        [format!("EVAL_RO {BODY} 1 bar")]
    );
    // Another connection may be another server.
    fake.node(1).cut_connections();
    eventually("the cut is noticed", Duration::from_secs(10), || {
        keyway.metric("keyway_upstream_failures_total") >= 1.0
    });
    client.expect(&format!("EVALSHA {SHA} 1 foo z"), ":1");
    assert_eq!(fake.node(1).received("EVALSHA").len(), 2);
}

/// contract: T4, R13
#[test]
fn noscript_is_mended_once_and_in_order() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    load(&mut client, BODY);
    client.expect(&format!("EVALSHA {SHA} 1 foo warm"), ":1");
    fake.node(1).forget_rules();
    fake.node(1).times(
        3,
        "EVALSHA",
        Action::line("-NOSCRIPT No matching script. Please use EVAL."),
    );
    fake.node(1).always("EVAL", Action::line(":1"));
    let calls: Vec<String> = (0..3).map(|n| format!("EVALSHA {SHA} 1 foo {n}")).collect();
    let replies = client.pipeline(&calls);
    assert_eq!(
        replies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [":1"; 3]
    );
    let bodies: Vec<String> = (0..3).map(|n| format!("EVAL {BODY} 1 foo {n}")).collect();
    assert_eq!(fake.node(1).received("EVAL")[1..], bodies);
    assert_eq!(
        keyway.metric("keyway_redirects_total{kind=\"noscript\"}"),
        3.0
    );
    // A node that says so of a body is passed on: nothing is tried for ever.
    fake.node(1).forget_rules();
    fake.node(1)
        .always("EVAL", Action::line("-NOSCRIPT No matching script."));
    fake.node(1)
        .always("EVALSHA", Action::line("-NOSCRIPT No matching script."));
    client.expect(
        &format!("EVALSHA {SHA} 1 foo x"),
        "-NOSCRIPT No matching script.",
    );
}

/// A call that is redirected meets a node that may lack the script: it takes the body along.
/// contract: T4, R3, R4
#[test]
fn redirected_calls_carry_the_body() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    load(&mut client, BODY);
    client.expect(&format!("EVALSHA {SHA} 1 foo"), ":1");
    fake.node(1).forget_rules();
    fake.node(1)
        .once("EVALSHA", Action::ask(12182, fake.node(0)));
    client.expect(&format!("EVALSHA {SHA} 1 foo asked"), ":1");
    assert_eq!(fake.node(0).received("ASKING").len(), 1);
    fake.node(1)
        .once("EVALSHA", Action::moved(12182, fake.node(0)));
    client.expect(&format!("EVALSHA {SHA} 1 foo moved"), ":1");
    assert_eq!(
        fake.node(0).received("EVAL"),
        [
            format!("EVAL {BODY} 1 foo asked"),
            format!("EVAL {BODY} 1 foo moved")
        ]
    );
}

/// contract: T4, R13
#[test]
fn redis_is_not_asked_for_a_body_nobody_saw() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    let missing = Action::line("-NOSCRIPT No matching script.");
    for node in fake.nodes() {
        node.forget_rules();
        node.always("EVALSHA", missing.clone());
        node.always("SCRIPT SHOW", missing.clone());
    }
    // These say that they are Redis.
    client.expect(
        &format!("EVALSHA {SHA} 1 foo"),
        "-NOSCRIPT No matching script.",
    );
    assert!(fake.node(0).received("SCRIPT SHOW").is_empty());
}

/// A script runs: who asks to end it does not wait behind it.
/// contract: T4
#[test]
fn a_kill_goes_past_what_runs() {
    let (fake, keyway) = scene();
    let gate = Gate::new();
    fake.node(1).forget_rules();
    fake.node(1).once(
        "EVAL",
        Action::After(
            gate.clone(),
            Box::new(Action::line("-ERR Error running script: killed")),
        ),
    );
    fake.node(0).always(
        "SCRIPT KILL",
        Action::line("-NOTBUSY No scripts in execution right now."),
    );
    let mut runs = keyway.client();
    runs.send("EVAL endless 1 foo");
    fake.node(1).wait_for(1, "EVAL");
    keyway.client().expect("SCRIPT KILL", "+OK");
    let run = fake.node(1).requests("EVAL")[0].connection;
    let kill = fake.node(1).requests("SCRIPT KILL")[0].connection;
    assert_ne!(run, kill, "over another connection");
    gate.open();
    runs.expect_next("-ERR Error running script: killed");
}
