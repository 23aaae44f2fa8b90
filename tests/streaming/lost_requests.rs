//! Large requests whose node is lost, or is not the right one.

use super::DEADLINE;
use super::lost_replies::key_of;
use super::support::client::encode;
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

const LEN: usize = 300_000;

fn scene() -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.stream_threshold_bytes", "\"4kb\"")
        .set("timeouts.request", "\"2s\"")
        .start();
    (fake, keyway)
}

fn request(key: &str) -> Vec<u8> {
    encode(&[&b"SET"[..], key.as_bytes(), &[b'v'; LEN]])
}

/// Not whole: not executed, and told so. The client goes on.
///
/// contract: P8, F2
#[test]
fn a_node_that_is_lost_before_the_end_has_not_executed_it() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    let mut client = keyway.client();
    let request = request(&key);
    for _ in 0..3 {
        let written = || keyway.metric("keyway_upstream_written_bytes_total");
        let before = written();
        client.send_raw(&request[..LEN / 2]);
        eventually("some of it is there", DEADLINE, || {
            written() - before > 100_000.0
        });
        fake.node(0).cut_connections();
        client.send_raw(&request[LEN / 2..]);
        let reply = client.read().to_string();
        assert!(
            reply.starts_with("-ERR 'set' was not executed: the connection to the node was lost"),
            "{reply}"
        );
        client.expect(&format!("GET {key}"), "'node-0'");
        assert_eq!(fake.node(0).received("SET").len(), 0);
    }
}

/// Whole, and no reply: nobody can know, and it is not sent again.
///
/// contract: P8, F2
#[test]
fn a_node_that_is_lost_after_the_end_may_have_executed_it() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    fake.node(0).once("SET", Action::close());
    let mut client = keyway.client();
    client.send_raw(request(&key));
    let reply = client.read().to_string();
    assert!(reply.contains("outcome unknown"), "{reply}");
    assert_eq!(fake.node(0).received("SET").len(), 1);
    client.expect(&format!("GET {key}"), "'node-0'");
    client.expect_raw(request(&key), "+OK\r\n");
}

/// The node that does not serve the key says so before the value is sent.
///
/// contract: P8, R3, R4, R5
#[test]
fn redirects_are_followed_before_the_value_leaves() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    let slot = keyway::cluster::Slot::of_key(key.as_bytes()).number();
    let mut client = keyway.client();
    let question = format!("EXISTS {key}");
    fake.node(0).times(
        2,
        &question,
        Action::line("-TRYAGAIN Multiple keys request during rehashing of slot"),
    );
    fake.node(0).once(
        &question,
        Action::line("-LOADING Redis is loading the dataset in memory"),
    );
    client.expect_raw(request(&key), "+OK\r\n");
    assert_eq!(fake.node(0).received("SET").len(), 1);

    fake.node(0)
        .once(&question, Action::ask(slot, fake.node(1)));
    client.expect_raw(request(&key), "+OK\r\n");
    let there = fake.node(1).received("");
    let at = there
        .iter()
        .position(|line| line.starts_with("SET"))
        .expect("it went there");
    assert_eq!(there[at - 1], "ASKING");

    fake.node(0)
        .once(&question, Action::moved(slot, fake.node(1)));
    client.expect_raw(request(&key), "+OK\r\n");
    assert_eq!(fake.node(1).received("SET").len(), 2);
}

/// The slot moves while the value is under way: it cannot be sent elsewhere, and the client is told what
/// that means. When it asks again it is carried out.
///
/// contract: P8, R3
#[test]
fn a_slot_that_moves_meanwhile_is_told() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    let slot = keyway::cluster::Slot::of_key(key.as_bytes()).number();
    fake.node(0).once("SET", Action::moved(slot, fake.node(1)));
    fake.node(0)
        .times(9, &format!("EXISTS {key}"), Action::Default);
    let mut client = keyway.client();
    client.send_raw(request(&key));
    let reply = client.read().to_string();
    assert!(
        reply.starts_with("-TRYAGAIN 'set' was not executed"),
        "{reply}"
    );
    client.expect_raw(request(&key), "+OK\r\n");
    assert_eq!(
        fake.node(1).received("SET").len() + fake.node(0).received("SET").len(),
        2
    );
}

/// A node that never answers the question, or never takes the value.
///
/// contract: P8, F1, F5
#[test]
fn a_silent_node_is_told_by_the_deadline() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    fake.node(0).always("EXISTS", Action::Silence);
    let mut client = keyway.client();
    client.send_raw(request(&key));
    let reply = client.read().to_string();
    assert!(
        reply.starts_with('-') && reply.contains("not executed"),
        "{reply}"
    );
    assert_eq!(fake.node(0).received("SET").len(), 0);
    fake.node(0).forget_rules();
    client.expect_raw(request(&key), "+OK\r\n");
    fake.node(0).always("SET", Action::Silence);
    client.send_raw(request(&key));
    let reply = client.read().to_string();
    assert!(reply.contains("outcome unknown"), "{reply}");
}

/// The client's earlier requests are answered first, its later ones come after.
///
/// contract: P2, P8, R13
#[test]
fn it_keeps_its_place_in_the_pipeline() {
    let (fake, keyway) = scene();
    let key = key_of(&fake, 0);
    let gate = Gate::new();
    let first = format!("GET {key}:{{{key}}}");
    fake.node(0).once(
        &first,
        Action::After(gate.clone(), Box::new(Action::line("+first"))),
    );
    let mut client = keyway.client();
    let all = [
        format!("{first}\r\n").into_bytes(),
        request(&key),
        format!("GET {key}\r\n").into_bytes(),
    ];
    client.send_raw(all.concat());
    fake.node(0).wait_for(1, &first);
    keyway.client().expect("PING", "+PONG");
    assert_eq!(fake.node(0).received("EXISTS").len(), 0);
    gate.open();
    for reply in ["+first", "+OK", "'node-0'"] {
        client.expect_next(reply);
    }
    let received = fake.node(0).received("");
    let of_client = received
        .iter()
        .filter(|line| line.starts_with("SET ") || line.starts_with("GET "));
    let order: Vec<&str> = of_client.map(|line| &line[..3]).collect();
    assert_eq!(order, ["GET", "SET", "GET"]);
}
