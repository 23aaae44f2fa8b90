//! Keys that only a node can tell: `COMMAND GETKEYS`, once for each shape.

use super::announce::Told;
use super::support::fake_view::{array, bulk};
use super::support::{Action, FakeCluster, Gate, Keyway};

const UNKNOWN: [&str; 2] = ["1 0 1", "?"];

/// Both nodes find keys behind the word `KEYS`.
fn scene() -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(2);
    let told = [Told::new("X.ANY", "write movablekeys", (1, 1, 1)).specs(&UNKNOWN)];
    for (index, node) in fake.nodes().iter().enumerate() {
        node.on("COMMAND GETKEYS", |request| {
            let words: Vec<String> = (0..request.arguments.len())
                .map(|at| request.text(at))
                .collect();
            match words.iter().position(|word| word == "KEYS") {
                Some(at) => {
                    let keys: Vec<Vec<u8>> = words[at + 1..].iter().map(|key| bulk(key)).collect();
                    Action::Reply(array(&keys))
                }
                None => Action::line("-ERR The command has no key arguments"),
            }
        });
        node.always("X.ANY", Action::bulk(&format!("node-{index}")));
        node.always("COMMAND", Action::Reply(super::announce::listing(&told)));
    }
    let keyway = Keyway::start(&fake.seeds());
    (fake, keyway)
}

fn questions(fake: &FakeCluster) -> usize {
    let asked = fake
        .nodes()
        .iter()
        .map(|node| node.received("COMMAND GETKEYS").len());
    asked.sum()
}

/// contract: R2
#[test]
fn a_node_is_asked_where_nobody_specified() {
    let (fake, keyway) = scene();
    for mut client in [keyway.client(), keyway.client_resp3()] {
        client.expect("X.ANY 7 KEYS foo", "'node-1'");
        client.expect("X.ANY 7 KEYS bar", "'node-0'");
        client.expect("x.any 7 KEYS {foo}1 {foo}2", "'node-1'");
        client.expect(
            "X.ANY 7 KEYS foo bar",
            "-CROSSSLOT Keys in request don't hash to the same slot",
        );
        // A node cannot tell: what is specified leads to one that says what is wrong.
        client.expect("X.ANY bar", "'node-0'");
        client.expect("X.ANY foo", "'node-1'");
    }
    assert!(
        fake.node(1)
            .received("X.ANY")
            .contains(&"x.any 7 KEYS {foo}1 {foo}2".to_owned())
    );
}

/// contract: R2
#[test]
fn one_answer_serves_all_requests_of_its_shape() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    for number in 0..20 {
        client.expect(&format!("X.ANY 7 KEYS {{foo}}:{number}"), "'node-1'");
        client.expect(&format!("X.ANY 7 KEYS {{bar}}:{number}"), "'node-0'");
    }
    keyway
        .client_resp3()
        .expect("X.ANY 7 KEYS {foo}:x", "'node-1'");
    assert_eq!(questions(&fake), 1);
    client.expect("X.ANY 8 KEYS {foo}:1", "'node-1'");
    client.expect("X.ANY 7 KEYS {foo}:1 {foo}:2", "'node-1'");
    assert_eq!(
        questions(&fake),
        3,
        "another argument, another number of them"
    );
    client.expect(
        "X.ANY 7 KEYS {foo}:1 {bar}:2",
        "-CROSSSLOT Keys in request don't hash to the same slot",
    );
    assert_eq!(questions(&fake), 3);
    // A key that might be a word.
    client.expect("X.ANY 7 KEYS foo", "'node-1'");
    client.expect("X.ANY 7 KEYS foo", "'node-1'");
    assert_eq!(questions(&fake), 5);
}

/// While the node is asked, the client's other requests wait, earlier and later ones: nobody knows
/// whose keys it will work on.
/// contract: R2, R13
#[test]
fn it_keeps_its_place() {
    let (fake, keyway) = scene();
    let gate = Gate::new();
    // By now the command is known.
    keyway.client().expect("X.ANY 7 KEYS foo", "'node-1'");
    for node in fake.nodes() {
        node.forget_rules();
        node.on("COMMAND GETKEYS", {
            let gate = gate.clone();
            move |_| Action::After(gate.clone(), Box::new(Action::Reply(array(&[bulk("foo")]))))
        });
    }
    let mut client = keyway.client();
    for command in [
        "SET foo 1",
        "SET bar 2",
        "X.ANY a KEYS foo",
        "SET foo 3",
        "SET bar 4",
    ] {
        client.send(command);
    }
    client.expect_next("+OK");
    client.expect_next("+OK");
    let asks = || questions(&fake) == 2;
    super::support::eventually("a node is asked", std::time::Duration::from_secs(10), asks);
    // Another client goes on, but for what waits at the very connection.
    assert_eq!(
        fake.node(0).received("SET").len() + fake.node(1).received("SET").len(),
        2
    );
    gate.open();
    for _ in 0..3 {
        client.expect_next("+OK");
    }
    let order: Vec<String> = fake.node(1).received("");
    let order: Vec<&String> = order
        .iter()
        .skip_while(|line| *line != "SET foo 1")
        .filter(|line| line.contains("foo") && !line.contains("GETKEYS"))
        .collect();
    assert_eq!(order, ["SET foo 1", "X.ANY a KEYS foo", "SET foo 3"]);
}

/// contract: R2, F1
#[test]
fn a_lost_question_is_asked_again() {
    let (fake, keyway) = scene();
    let mut client = keyway.client();
    client.expect("X.ANY 7 KEYS foo", "'node-1'");
    client.expect("X.ANY 7 KEYS bar", "'node-0'");
    for node in fake.nodes() {
        node.forget_rules();
        node.once("COMMAND GETKEYS", Action::close());
        node.always("COMMAND GETKEYS", Action::Reply(array(&[bulk("foo")])));
        node.always("X.ANY", Action::line(":1"));
    }
    client.expect("X.ANY a KEYS foo", ":1");
    assert_eq!(fake.node(1).received("X.ANY a").len(), 1);
    assert!(questions(&fake) >= 4);
}

/// One server needs no keys to find itself.
/// contract: R2
#[test]
fn a_standalone_server_is_not_asked() {
    let fake = FakeCluster::standalone();
    let told = [Told::new("X.ANY", "write movablekeys", (0, 0, 0)).specs(&UNKNOWN)];
    fake.node(0).always("X.ANY", Action::line(":1"));
    fake.node(0)
        .always("COMMAND", Action::Reply(super::announce::listing(&told)));
    let keyway = Keyway::start(&fake.seeds());
    keyway.client().expect("X.ANY 7 KEYS foo bar", ":1");
    assert_eq!(questions(&fake), 0);
}
