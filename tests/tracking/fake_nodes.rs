//! What real nodes do rarely, scripted: invalidations between replies that wait for each other, lost and
//! silent connections, refusals, redirects.

use std::time::Duration;

use super::support::{Action, Client, FakeCluster, Gate, Keyway, Value, eventually};
use super::{FLUSH, SOON, ask, invalid, messages, reply, wait_for};

/// A key of each node, when two share the slots.
const KEYS: [&str; 2] = ["b", "a"];

fn scene() -> (FakeCluster, Keyway, Client) {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::start(&fake.seeds());
    let client = keyway.client_resp3();
    (fake, keyway, client)
}

/// A bulk string, and an invalidation of this key right behind it.
fn value_then_invalid(value: &str, key: &str) -> Action {
    let length = key.len();
    Action::Reply(
        format!(
            "${}\r\n{value}\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n${length}\r\n{key}\r\n",
            value.len()
        )
        .into_bytes(),
    )
}

/// Reads until a reply came; everything in its order.
fn hear(client: &mut Client, replies: usize) -> Vec<String> {
    let mut heard = Vec::new();
    let mut count = 0;
    while count < replies {
        let value = client.read();
        count += usize::from(!matches!(value, Value::Push(_)));
        heard.push(value.to_string());
    }
    heard
}

/// The private connections of one client: one for each node, begun with what the client asked for, and
/// nobody else's requests go there.
///
/// contract: S6 C1
#[test]
fn a_connection_of_its_own() {
    let (fake, keyway, mut client) = scene();
    let mut other = keyway.client_resp3();
    client.expect("CLIENT TRACKING ON NOLOOP", "+OK");
    for (node, key) in KEYS.iter().enumerate() {
        client.expect(&format!("GET {key}"), &format!("'node-{node}'"));
        other.expect(&format!("GET {key}"), &format!("'node-{node}'"));
        client.expect(&format!("SET {key} 1"), "+OK");
    }
    client.expect("MGET a b", "['node-1' 'node-0']");
    for node in fake.nodes() {
        let said = node.requests("CLIENT TRACKING");
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0].line(), "CLIENT TRACKING ON NOLOOP");
        let own = said[0].connection;
        let here = node.requests("");
        let here = here.iter().filter(|request| request.connection == own);
        let names: Vec<_> = here.map(|request| request.text(0)).collect();
        assert_eq!(names, ["HELLO", "CLIENT", "GET", "SET", "MGET"]);
        assert_eq!(node.requests("GET").len(), 2);
    }
    client.expect("CLIENT TRACKING OFF", "+OK");
    client.expect("GET b", "'node-0'");
    let last = fake.node(0).requests("GET b").pop().expect("three");
    let shared = fake.node(0).requests("GET b")[1].connection;
    assert_eq!(last.connection, shared, "it shares again");
}

/// The reply of one node is held back behind another's; the invalidation of its key must come behind it.
///
/// contract: S6
#[test]
fn an_invalidation_does_not_overtake_a_reply_that_is_held() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    let gate = Gate::new();
    let held = Action::After(gate.clone(), Box::new(Action::bulk("slow")));
    fake.node(0).once("GET b", held);
    fake.node(1).once("GET a", value_then_invalid("old", "a"));
    client.send("GET b");
    client.send("GET a");
    // At once for what was cached before, and again where it belongs.
    wait_for(&mut client, &invalid("a"));
    gate.open();
    assert_eq!(hear(&mut client, 2), ["'slow'", "'old'"]);
    client.expect_next(&invalid("a"));
    assert!(messages(&mut client).is_empty());
}

/// contract: S6 M1
#[test]
fn an_invalidation_does_not_overtake_a_part_that_came_before_it() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    let gate = Gate::new();
    let held = Action::After(
        gate.clone(),
        Box::new(Action::Reply(b"*1\r\n$1\r\nB\r\n".to_vec())),
    );
    fake.node(0).once("MGET b", held);
    let part = b"*1\r\n$1\r\nA\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
    fake.node(1).once("MGET a", Action::Reply(part.to_vec()));
    client.send("MGET a b");
    wait_for(&mut client, &invalid("a"));
    gate.open();
    assert_eq!(hear(&mut client, 1), ["['A' 'B']"]);
    client.expect_next(&invalid("a"));
}

/// What the server told before it read the key is told before its value.
///
/// contract: S6
#[test]
fn a_reply_does_not_overtake_an_invalidation() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    let early = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$3\r\nnew\r\n";
    fake.node(1).once("GET a", Action::Reply(early.to_vec()));
    assert_eq!(
        ask(&mut client, "GET a"),
        ("'new'".into(), vec![invalid("a")])
    );
    // Pushes of other kinds are not for the client.
    let odd = b">2\r\n$3\r\nfoo\r\n:1\r\n$1\r\nx\r\n";
    fake.node(1).once("GET a", Action::Reply(odd.to_vec()));
    assert_eq!(ask(&mut client, "GET a"), ("'x'".into(), vec![]));
}

/// contract: S6 F2
#[test]
fn a_lost_connection_invalidates_all_behind_the_replies_it_gave() {
    let (fake, keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET b", "'node-0'");
    let gate = Gate::new();
    let slow = || Action::After(gate.clone(), Box::new(Action::bulk("slow")));
    fake.node(0).once("GET b", slow());
    fake.node(1)
        .once("GET a", Action::ReplyAndClose(b"$3\r\nold\r\n".to_vec()));
    client.send("GET b");
    client.send("GET a");
    wait_for(&mut client, FLUSH);
    gate.open();
    assert_eq!(hear(&mut client, 2), ["'slow'", "'old'"]);
    client.expect_next(FLUSH);
    // A read whose connection is lost is done again, and tracked where it is done.
    fake.node(1).once("GET a", Action::close());
    let (value, told) = ask(&mut client, "GET a");
    assert_eq!(value, "'node-1'");
    assert_eq!(told, [FLUSH]);
    let read = fake.node(1).requests("GET a").pop().expect("it was read");
    let said = fake.node(1).requests("CLIENT TRACKING ON");
    assert!(said.iter().any(|said| said.connection == read.connection));
    assert!(keyway.metric("keyway_tracking_flushes_total") >= 2.0);
}

/// A client that speaks RESP2 for a while hears nothing then, and nothing when it speaks RESP3 again; unless what it
/// was promised before cannot be kept.
///
/// contract: S6 P1
#[test]
fn a_connection_lost_in_resp2_is_told_of_in_resp3() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET a", "'node-1'");
    for is_lost in [false, true] {
        client.call("HELLO 2");
        client.expect("GET a", "'node-1'");
        if is_lost {
            fake.node(1).cut_connections();
            // Keyway knows, since it needs another one.
            let connections = fake.node(1).requests("HELLO").len();
            eventually("the loss is noticed", SOON, || {
                client.expect("GET a", "'node-1'");
                fake.node(1).requests("HELLO").len() > connections
            });
        }
        client.call("HELLO 3");
        let (value, told) = ask(&mut client, "GET a");
        assert_eq!(value, "'node-1'");
        let expected: &[&str] = if is_lost { &[FLUSH] } else { &[] };
        assert_eq!(told, expected);
    }
}

/// `CLIENT CACHING` is right before the command it is meant for, on each connection that command uses,
/// also when that is done again.
///
/// contract: S6 R4
#[test]
fn caching_is_said_right_before() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON OPTIN", "+OK");
    let before = |node: usize, command: &str| {
        let all = fake.node(node).requests("");
        let at = all.iter().rposition(|request| request.line() == command);
        let at = at.unwrap_or_else(|| panic!("node {node} did not get {command}"));
        let own = all[at].connection;
        let mut earlier = all[..at].iter().rev();
        let earlier = earlier.find(|request| request.connection == own);
        earlier.expect("HELLO at least").line()
    };
    client.expect("CLIENT CACHING YES", "+OK");
    client.expect("MGET a b", "['node-1' 'node-0']");
    assert_eq!(before(0, "MGET b"), "CLIENT CACHING YES");
    assert_eq!(before(1, "MGET a"), "CLIENT CACHING YES");
    client.expect("MGET a b", "['node-1' 'node-0']");
    assert_eq!(before(0, "MGET b"), "MGET b");
    fake.node(1).once("GET a", Action::close());
    client.expect("CLIENT CACHING YES", "+OK");
    assert_eq!(reply(&mut client, "GET a"), "'node-1'");
    assert_eq!(before(1, "GET a"), "CLIENT CACHING YES");
    assert_eq!(fake.node(1).requests("GET a").len(), 2);
    fake.node(1)
        .once("GET a", Action::moved(15495, fake.node(0)));
    client.expect("CLIENT CACHING YES", "+OK");
    assert_eq!(reply(&mut client, "GET a"), "'node-0'");
    assert_eq!(before(0, "GET a"), "CLIENT CACHING YES");
}

/// What came through `ASK` is not kept up to date if the move is given up: nobody may cache it. And a
/// key that a client knows not to be there may now be made at the other node.
///
/// contract: S6 R4
#[test]
fn what_came_through_ask_is_not_cached() {
    let (fake, keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET a", "'node-1'");
    fake.node(1)
        .times(2, "GET a", Action::ask(15495, fake.node(0)));
    assert_eq!(
        ask(&mut client, "GET a"),
        ("'node-0'".into(), vec![FLUSH.into()])
    );
    // The moving slot was told of while the request was outstanding, so it is told once more.
    let mut told = messages(&mut client);
    told.sort();
    assert_eq!(told, [invalid("a"), FLUSH.to_owned()]);
    // Somebody else's redirect tells as well.
    eventually("it is told of again", SOON, || {
        fake.node(1).once("SET a", Action::ask(15495, fake.node(0)));
        keyway.client().expect("SET a 1", "+OK");
        messages(&mut client).contains(&FLUSH.to_owned())
    });
}

/// contract: S6 R3
#[test]
fn a_slot_of_another_owner_invalidates_all() {
    let (fake, keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET a", "'node-1'");
    let gate = Gate::new();
    let old = Action::After(gate.clone(), Box::new(Action::bulk("old")));
    fake.node(1).once("GET a", old);
    client.send("GET a");
    fake.node(1).wait_for(2, "GET a");
    // Nobody sends the client's requests elsewhere: the map alone tells, without being asked.
    fake.change(|layout| layout.assign(15495, 15495, 0));
    wait_for(&mut client, FLUSH);
    // The old owner answers only now: what it says is not kept up to date.
    gate.open();
    client.expect_next("'old'");
    client.expect_next(FLUSH);
    client.expect("GET a", "'node-0'");
    assert!(keyway.metric("keyway_tracking_flushes_total") >= 1.0);
}

/// contract: S6 F5
#[test]
fn a_refusal_is_the_clients_and_nothing_is_in_effect() {
    let (fake, keyway, mut client) = scene();
    let refusal = "-NOPERM this user has no permissions to run the 'client|tracking' command";
    for node in fake.nodes() {
        node.once("CLIENT TRACKING", Action::line(refusal));
    }
    client.expect("CLIENT TRACKING ON BCAST", refusal);
    assert_eq!(client.call("CLIENT GETREDIR").integer(), -1);
    assert!(keyway.metric("keyway_tracking_clients") < 1.0);
    // One refuses and one does not: it is not in effect.
    fake.node(1)
        .once("CLIENT TRACKING", Action::line("-ERR odd"));
    client.expect("CLIENT TRACKING ON BCAST", "-ERR odd");
    assert_eq!(client.call("CLIENT GETREDIR").integer(), -1);
    client.expect("CLIENT TRACKING ON BCAST PREFIX a", "+OK");
    // The same for a change: what was in effect before is put into effect anew.
    fake.node(0)
        .once("CLIENT TRACKING", Action::line("-ERR odd"));
    assert_eq!(
        reply(&mut client, "CLIENT TRACKING ON BCAST PREFIX b"),
        "-ERR odd"
    );
    assert_eq!(
        reply(&mut client, "CLIENT TRACKINGINFO"),
        "{'flags' ~['on' 'bcast'] 'redirect' :0 'prefixes' ['a']}"
    );
    for node in fake.nodes() {
        let again = "CLIENT TRACKING ON BCAST PREFIX a";
        eventually("it is said again", SOON, || node.received(again).len() == 2);
    }
}

/// A node refuses what it accepted from the client before: nothing is read there untracked.
///
/// contract: S6 F1
#[test]
fn nothing_is_read_where_tracking_is_refused() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"500ms\"")
        .start();
    let mut client = keyway.client_resp3();
    fake.node(0)
        .always("CLIENT TRACKING", Action::line("-NOPERM no"));
    fake.node(1).once("GET a", Action::bulk("tracked"));
    // Which node is asked for `CLIENT TRACKING` is not told; the other is asked when it is read from.
    let on = client.call("CLIENT TRACKING ON").to_string();
    if on == "+OK" {
        client.expect("GET a", "'tracked'");
        client.expect_error("GET b", "CLUSTERDOWN");
        assert!(fake.node(0).received("GET b").is_empty());
    } else {
        assert_eq!(on, "-NOPERM no");
    }
    // Others are not held up by it.
    keyway.client_resp3().expect("GET b", "'node-0'");
}

/// contract: S6 F6
#[test]
fn private_connections_are_limited() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.leases", "5")
        .start();
    let mut first = keyway.client_resp3();
    let mut second = keyway.client_resp3();
    let mut third = keyway.client_resp3();
    first.expect("CLIENT TRACKING ON", "+OK");
    second.expect("CLIENT TRACKING ON", "+OK");
    third.expect_error(
        "CLIENT TRACKING ON",
        "ERR CLIENT TRACKING: too many private",
    );
    third.expect("GET a", "'node-1'");
    // Who tracks already may change how.
    second.expect("CLIENT TRACKING ON OPTIN", "+OK");
    drop(first);
    eventually("the first one has left", SOON, || {
        !third.call("CLIENT TRACKING ON").is_error()
    });
    second.expect("RESET", "+RESET");
    let mut fourth = keyway.client_resp3();
    fourth.expect("CLIENT TRACKING ON", "+OK");
    eventually("connections are closed", SOON, || {
        // One shared connection to node 1, and what the two who track have opened.
        keyway.metric("keyway_upstream_connections") <= 3.0
    });
}

/// A node that is there and says nothing may be cut off: what was read there is not relied on. `PING`
/// does not wait for it for ever.
///
/// contract: S6 F4
#[test]
fn a_silent_node_is_not_relied_on() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET a", "'node-1'");
    fake.node(1).always("PING", Action::Silence);
    let (pong, told) = ask(&mut client, "PING");
    assert_eq!(pong, "+PONG");
    assert!(
        !told.is_empty() && told.iter().all(|message| message == FLUSH),
        "{told:?}"
    );
    // Said once; or once more behind the reply, a part of which had come before.
    let again = client.read_within(Duration::from_millis(200));
    assert!(again.is_none_or(|again| again.to_string() == FLUSH));
    client.expect_silence(Duration::from_millis(300));
    // One that nobody asks anything is asked for a sign of life.
    let (_fake, _keyway, mut quiet) = {
        let (fake, keyway, mut client) = scene();
        client.expect("CLIENT TRACKING ON", "+OK");
        client.expect("GET a", "'node-1'");
        fake.node(1).always("PING", Action::Silence);
        (fake, keyway, client)
    };
    wait_for(&mut quiet, FLUSH);
}

/// `PING` comes behind what nodes have said before.
///
/// contract: S6
#[test]
fn a_ping_comes_behind_all_invalidations() {
    let (fake, _keyway, mut client) = scene();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("MGET a b", "['node-1' 'node-0']");
    let late = |key: &str| {
        let push = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n{key}\r\n+PONG\r\n");
        Action::Reply(push.into_bytes())
    };
    fake.node(0).once("PING", late("b"));
    fake.node(1).once("PING", late("a"));
    let (pong, mut told) = ask(&mut client, "PING hello");
    told.sort();
    told.dedup();
    assert_eq!(pong, "'hello'");
    assert_eq!(told, [invalid("a"), invalid("b")]);
}

/// A replica would be asked over a connection that does not track.
///
/// contract: S6
#[test]
fn who_tracks_reads_from_primaries() {
    let fake = FakeCluster::start_with_replicas(1, 1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.read_policy", "\"prefer-replica\"")
        .start();
    let mut client = keyway.client_resp3();
    // Before a replica is known to be fit the primary is read from.
    let from_replica = |client: &mut Client| {
        eventually("the replica is read from", SOON, || {
            client.call("GET a").to_string() == "'node-1'"
        });
    };
    from_replica(&mut client);
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("GET a", "'node-0'");
    client.expect("MGET a b", "['node-0' 'node-0']");
    client.expect("CLIENT TRACKING OFF", "+OK");
    from_replica(&mut client);
}

/// A new primary, and one that was away, are told what a client in `BCAST` mode wants; what they did
/// not tell meanwhile is made up for.
///
/// contract: S6
#[test]
fn broadcast_follows_the_primaries() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client_resp3();
    client.expect("CLIENT TRACKING ON BCAST PREFIX a", "+OK");
    let said = "CLIENT TRACKING ON BCAST PREFIX a";
    for node in [0, 1] {
        assert_eq!(fake.node(node).received(said).len(), 1);
    }
    fake.change(|layout| layout.promote(2));
    wait_for(&mut client, FLUSH);
    fake.node(2).wait_for(1, said);
    wait_for(&mut client, FLUSH);
    assert!(fake.node(3).received(said).is_empty());
    fake.node(1).cut_connections();
    wait_for(&mut client, FLUSH);
    fake.node(1).wait_for(2, said);
    wait_for(&mut client, FLUSH);
}
