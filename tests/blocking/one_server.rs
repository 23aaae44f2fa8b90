//! What a blocked client sees is what it sees on one server.

use std::time::{Duration, Instant};

use super::support::{Flavor, Keyway, Scene, each_flavor, eventually};
use super::{SOON, wait_for_blocked};

each_flavor!(
    replies_are_one_servers,
    a_client_that_leaves_takes_nothing,
    a_client_that_leaves_at_once_takes_nothing,
    nothing_is_added_before_a_stream_is_waited_for,
    a_client_that_leaves_with_requests_behind_takes_nothing,
    half_closed_clients_get_what_is_there,
    nobody_else_is_blocked,
    earlier_writes_come_first,
    unblocked_by_another_client,
    private_connections_are_used_again,
);

/// A Keyway of the test's own, since blocked clients are counted.
fn keyway(scene: &Scene) -> Keyway {
    Keyway::start(&scene.cluster.seeds())
}

/// Every form, with data and without, in both versions. contract: T5 P1
fn replies_are_one_servers(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let plain = scene.plain();
    for version in ["2", "3"] {
        let (mut server, mut through) = (plain.client(), scene.keyway.client());
        for client in [&mut server, &mut through] {
            let hello = client.call(&format!("HELLO {version}"));
            assert!(!hello.is_error(), "{hello}");
            client.call("DEL {one}l {one}m {one}z {one}s");
        }
        let mut both = |line: &str| {
            let expected = server.call(line).to_string();
            assert_eq!(
                through.call(line).to_string(),
                expected,
                "RESP{version} {line}"
            );
        };
        for line in [
            "RPUSH {one}l a b c d e f",
            "BLPOP {one}none {one}l 0",
            "BRPOP {one}l 1",
            "BLMOVE {one}l {one}m LEFT RIGHT 1",
            "BRPOPLPUSH {one}l {one}m 0.5",
            "BLMPOP 1 2 {one}none {one}l LEFT COUNT 2",
            "LRANGE {one}l 0 -1",
            "ZADD {one}z 1 a 2 b 3.5 c 4 d",
            "BZPOPMIN {one}z 1",
            "BZPOPMAX {one}none {one}z 1",
            "BZMPOP 1 1 {one}z MIN COUNT 2",
            "XADD {one}s 1-1 f v",
            "XREAD COUNT 5 BLOCK 10 STREAMS {one}s 0",
            "XGROUP CREATE {one}s g 0",
            "XREADGROUP GROUP g me BLOCK 10 STREAMS {one}s >",
            // Nothing there: nulls of each kind.
            "BLPOP {one}none 0.01",
            "BLMOVE {one}none {one}m LEFT RIGHT 0.01",
            "BRPOPLPUSH {one}none {one}m 0.01",
            "BLMPOP 0.01 1 {one}none LEFT",
            "BZPOPMIN {one}none 0.01",
            "BZMPOP 0.01 1 {one}none MAX",
            "XREAD BLOCK 10 STREAMS {one}s $",
            "XREADGROUP GROUP g me BLOCK 10 STREAMS {one}s >",
            // Wrong in every way.
            "BLPOP {one}l -1",
            "BLPOP {one}l x",
            "BLPOP {one}l nan",
            "BLPOP {one}l 1e400",
            "BLPOP {one}z 1",
            "BLMPOP 1 0 {one}l LEFT",
            "BLMPOP 1 x {one}l LEFT",
            "BLMPOP 1 1 {one}l UP",
            "BLMOVE {one}l {one}m UP DOWN 1",
            "XREAD BLOCK -1 STREAMS {one}s 0",
            "XREAD BLOCK x STREAMS {one}s 0",
            "XREADGROUP GROUP none me BLOCK 10 STREAMS {one}s >",
            "BLPOP {one}l",
        ] {
            both(line);
        }
    }
}

/// contract: T5
fn a_client_that_leaves_takes_nothing(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    for round in 0..20 {
        let key = format!("leaves:{round}");
        let mut client = keyway.client();
        client.send(&format!("BLPOP {key} 0"));
        wait_for_blocked(&keyway, 1);
        // Its request has reached the node.
        let mut node = scene.cluster.client_of_key(&key);
        eventually("the node knows of it", SOON, || {
            blocked_at_node(&mut node) >= 1
        });
        drop(client);
        wait_for_blocked(&keyway, 0);
        eventually("the node has noticed", SOON, || {
            blocked_at_node(&mut node) == 0
        });
        let mut other = keyway.client();
        other.expect(&format!("RPUSH {key} element"), ":1");
        other.expect(&format!("LLEN {key}"), ":1");
        other.expect(&format!("DEL {key}"), ":1");
    }
}

/// It sends and is gone: a server sees both at once. contract: T5
fn a_client_that_leaves_at_once_takes_nothing(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut other = keyway.client();
    for round in 0..40 {
        let key = format!("at-once:{round}");
        let mut client = keyway.client();
        client.expect("PING", "+PONG");
        // There is a shared connection to the node.
        other.expect(&format!("LLEN {key}"), ":0");
        client.send(&format!("BLPOP {key} 0"));
        drop(client);
        // By then a server has looked at both.
        other.expect("PING", "+PONG");
        other.expect(&format!("RPUSH {key} element"), ":1");
        other.expect(&format!("LLEN {key}"), ":1");
        other.expect(&format!("DEL {key}"), ":1");
    }
}

/// What is added right after the request is what it waits for, also when its private connection is not there yet.
/// contract: T5
fn nothing_is_added_before_a_stream_is_waited_for(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut other = keyway.client();
    for round in 0..40 {
        let stream = format!("newest:{round}");
        let mut client = keyway.client();
        client.expect("PING", "+PONG");
        other.expect(&format!("XADD {stream} 1-1 f v"), "'1-1'");
        client.send(&format!("XREAD BLOCK 2000 STREAMS {stream} $"));
        other.expect(&format!("XADD {stream} 1-2 f v"), "'1-2'");
        let expected = format!("[['{stream}' [['1-2' ['f' 'v']]]]]");
        assert_eq!(client.read().to_string(), expected);
        other.expect(&format!("DEL {stream}"), ":1");
    }
}

/// contract: T5
fn a_client_that_leaves_with_requests_behind_takes_nothing(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    client.send("BLPOP behind:key 0");
    for _ in 0..100 {
        client.send("SET behind:other x");
    }
    wait_for_blocked(&keyway, 1);
    drop(client);
    wait_for_blocked(&keyway, 0);
    let mut other = keyway.client();
    other.expect("RPUSH behind:key element", ":1");
    other.expect("LLEN behind:key", ":1");
    other.expect("EXISTS behind:other", ":0");
    other.expect("DEL behind:key", ":1");
}

/// contract: P3 T5
fn half_closed_clients_get_what_is_there(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    client.send_raw("RPUSH half:key one\r\nBLPOP half:key 0\r\n");
    client.finish_sending();
    let said = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert_eq!(said, ":1\r\n*2\r\n$8\r\nhalf:key\r\n$3\r\none\r\n");
    let mut client = keyway.client();
    client.send_raw("BLPOP half:key 0\r\n");
    client.finish_sending();
    assert_eq!(client.read_to_end(), b"");
    wait_for_blocked(&keyway, 0);
}

/// contract: T5
fn nobody_else_is_blocked(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut blocked = keyway.client();
    blocked.send("BLPOP nobody:key 0");
    blocked.send("ECHO after");
    wait_for_blocked(&keyway, 1);
    let mut other = keyway.client();
    let began = Instant::now();
    other.expect("SET nobody:other x", "+OK");
    other.expect("GET nobody:other", "'x'");
    assert!(began.elapsed() < Duration::from_secs(5));
    blocked.expect_silence(Duration::from_millis(50));
    other.expect("RPUSH nobody:key element", ":1");
    blocked.expect_next("['nobody:key' 'element']");
    blocked.expect_next("'after'");
}

/// contract: T5 R13
fn earlier_writes_come_first(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    for round in 0..200 {
        client.send(&format!("RPUSH first:key {round}"));
        client.send("BLPOP first:key 0");
        client.send("EXISTS first:key");
        client.expect_next(":1");
        client.expect_next(&format!("['first:key' '{round}']"));
        client.expect_next(":0");
    }
}

/// contract: C2
fn unblocked_by_another_client(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut other = keyway.client();
    for (how, expected) in [
        ("", "nil-array"),
        (" TIMEOUT", "nil-array"),
        (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let mut blocked = keyway.client();
        let id = blocked.call("CLIENT ID").to_string().replace(':', "");
        other.expect(&format!("CLIENT UNBLOCK {id}"), ":0");
        blocked.send("BLPOP unblocked:key 0");
        wait_for_blocked(&keyway, 1);
        let mut node = scene.cluster.client_of_key("unblocked:key");
        eventually("the node knows of it", SOON, || {
            blocked_at_node(&mut node) >= 1
        });
        other.expect(&format!("CLIENT UNBLOCK {id}{how}"), ":1");
        blocked.expect_next(expected);
        blocked.expect("PING", "+PONG");
    }
    other.expect_error("CLIENT UNBLOCK x", "ERR value is not an integer");
    other.expect_error(
        "CLIENT UNBLOCK 1 NOW",
        "ERR CLIENT UNBLOCK reason should be",
    );
    other.expect("CLIENT UNBLOCK -1", ":0");
}

fn private_connections_are_used_again(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    for _ in 0..500 {
        client.expect("RPUSH again:key x", ":1");
        client.expect("BLPOP again:key 0", "['again:key' 'x']");
    }
    assert_eq!(keyway.metric("keyway_leases") as usize, 1);
}

/// How many clients of a node are blocked.
fn blocked_at_node(node: &mut super::support::Client) -> usize {
    let info = node.call("INFO clients").text();
    let line = info
        .split_whitespace()
        .find(|line| line.contains("blocked_clients:"));
    let count = line.and_then(|line| line.split(':').next_back());
    count
        .and_then(|count| count.trim().parse().ok())
        .expect("INFO has it")
}
