//! Blocking over keys of several slots: refused, or polled where that is configured.

use std::time::{Duration, Instant};

use super::support::{Client, Flavor, Keyway, Scene, each_flavor};
use super::wait_for_blocked;

each_flavor!(
    refused_by_default,
    keys_are_served_in_their_order,
    elements_that_come_later,
    nothing_is_lost_or_given_twice,
    one_pass_is_what_one_server_says,
);

const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

fn polling(scene: &Scene) -> Keyway {
    Keyway::before(&scene.cluster.seeds())
        .set("compatibility.cross_slot_blocking", "\"poll\"")
        .start()
}

/// contract: T7
fn refused_by_default(flavor: Flavor) {
    let mut client = Scene::shared(flavor).keyway.client();
    for line in [
        "BLPOP {a}l {b}l 0",
        "BZMPOP 0 2 {a}z {b}z MIN",
        "XREAD BLOCK 0 STREAMS {a}s {b}s 0 0",
        "XREAD STREAMS {a}s {b}s 0 0",
        "XREADGROUP GROUP g c STREAMS {a}s {b}s > >",
        "LMPOP 2 {a}l {b}l LEFT",
        "ZMPOP 2 {a}z {b}z MIN",
    ] {
        client.expect(line, &format!("-{CROSSSLOT}"));
    }
}

/// Every form is what one server says. contract: T7 P1
fn keys_are_served_in_their_order(flavor: Flavor) {
    // Redis 6.2 has no LMPOP.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let keyway = polling(scene);
    for version in ["2", "3"] {
        let (mut server, mut through) = (scene.plain().client(), keyway.client());
        for client in [&mut server, &mut through] {
            client.call(&format!("HELLO {version}"));
            client.call("DEL poll:a poll:b poll:c poll:z poll:y poll:s poll:t");
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
            "RPUSH poll:b 1 2 3 4",
            "RPUSH poll:c 5 6 7 8",
            "BLPOP poll:a poll:c poll:b 0",
            "BRPOP poll:a poll:b poll:c 1",
            "BLMPOP 0 3 poll:a poll:b poll:c RIGHT COUNT 2",
            "ZADD poll:y 1 a 2.5 b 3 c",
            "BZPOPMIN poll:z poll:y 1",
            "BZPOPMAX poll:z poll:y 1",
            "BZMPOP 1 2 poll:z poll:y MAX",
            "XADD poll:t 1-1 f v",
            "XREAD BLOCK 10 STREAMS poll:s poll:t 0 0",
            "BLPOP poll:none poll:neither 0.02",
            "BZPOPMIN poll:none poll:neither 0.02",
            "XREAD BLOCK 10 STREAMS poll:none poll:neither $ $",
            "BLPOP poll:t poll:b 0",
            "BLPOP poll:a poll:b x",
            "BLPOP poll:a poll:b -1",
        ] {
            both(line);
        }
        // Both ends in one place, or not at all.
        through.expect(
            "BLMOVE poll:a poll:b LEFT RIGHT 0",
            &format!("-{CROSSSLOT}"),
        );
    }
}

/// contract: T7
fn elements_that_come_later(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = polling(scene);
    let mut other = keyway.client();
    let mut client = keyway.client();
    client.send("BLPOP later:a later:b later:c 0");
    wait_for_blocked(&keyway, 1);
    client.expect_silence(Duration::from_millis(100));
    other.expect("RPUSH later:c x", ":1");
    client.expect_next("['later:c' 'x']");
    client.send("XREAD BLOCK 0 STREAMS later:s later:t $ $");
    wait_for_blocked(&keyway, 1);
    client.expect_silence(Duration::from_millis(100));
    other.expect("XADD later:t 5-5 f v", "'5-5'");
    client.expect_next("[['later:t' [['5-5' ['f' 'v']]]]]");
    let began = Instant::now();
    client.expect("BLPOP later:a later:b 0.3", "nil-array");
    assert!(began.elapsed() >= Duration::from_millis(300));
    // Let go, as by one server.
    let id = client.call("CLIENT ID").integer();
    client.send("BLPOP later:a later:b 0");
    wait_for_blocked(&keyway, 1);
    other.expect(&format!("CLIENT UNBLOCK {id} ERROR"), ":1");
    client.expect_next("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    client.expect("PING", "+PONG");
    other.call("DEL later:s later:t");
}

/// contract: T7
fn nothing_is_lost_or_given_twice(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = polling(scene);
    let mut clients: Vec<Client> = (0..20).map(|_| keyway.client()).collect();
    let mut other = keyway.client();
    let keys = ["lost:a", "lost:b", "lost:c", "lost:d"];
    for round in 0..10 {
        for client in &mut clients {
            client.send("BLPOP lost:a lost:b lost:c lost:d 0");
        }
        for number in 0..clients.len() {
            let key = keys[(number + round) % keys.len()];
            let reply = other.call(&format!("RPUSH {key} {round}/{number}"));
            assert!(!reply.is_error(), "{reply}");
        }
        let mut got: Vec<String> = clients
            .iter_mut()
            .map(|client| client.read().items()[1].text())
            .collect();
        got.sort();
        let mut expected: Vec<String> = (0..clients.len())
            .map(|number| format!("{round}/{number}"))
            .collect();
        expected.sort();
        assert_eq!(got, expected);
    }
}

/// What does not block over several slots is what one server says. contract: T7 P1
fn one_pass_is_what_one_server_says(flavor: Flavor) {
    // Redis 6.2 has no LMPOP.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let keyway = polling(scene);
    for version in ["2", "3"] {
        let (mut server, mut through) = (scene.plain().client(), keyway.client());
        for client in [&mut server, &mut through] {
            client.call(&format!("HELLO {version}"));
            client.call("DEL pass:a pass:b pass:c pass:y pass:z pass:s pass:t pass:u");
        }
        let mut both = |line: &str| {
            let expected = server.call(line).to_string();
            let got = through.call(line).to_string();
            assert_eq!(got, expected, "RESP{version} {line}");
        };
        for line in [
            "LMPOP 3 pass:a pass:b pass:c LEFT",
            "RPUSH pass:b 1 2 3",
            "RPUSH pass:c 4 5",
            "LMPOP 3 pass:a pass:b pass:c LEFT",
            "LMPOP 3 pass:c pass:a pass:b RIGHT COUNT 9",
            "lmpop 3 pass:c pass:a pass:b right count 9",
            "LMPOP 3 pass:c pass:a pass:b RIGHT COUNT 9",
            "LMPOP 2 pass:a pass:b MIDDLE",
            "LMPOP 2 pass:a pass:b LEFT COUNT 0",
            "ZADD pass:y 1 a 2.5 b 3 c",
            "ZMPOP 2 pass:z pass:y MIN",
            "ZMPOP 2 pass:y pass:z MAX COUNT 5",
            "ZMPOP 2 pass:y pass:z MAX COUNT 5",
            "XREAD STREAMS pass:s pass:t pass:u 0 0 0",
            "XADD pass:s 1-1 f v",
            "XADD pass:s 1-2 f w",
            "XADD pass:u 2-1 f x",
            "XREAD STREAMS pass:s pass:t pass:u 0 0 0",
            "XREAD COUNT 1 STREAMS pass:u pass:t pass:s 0 0 0",
            "XREAD STREAMS pass:u pass:s pass:u 0 1-1 0",
            "XREAD STREAMS pass:s pass:u $ $",
            "XREAD STREAMS pass:s pass:u 1-2 0",
            "XREAD STREAMS pass:s pass:t pass:u 0 0",
            "XREAD STREAMS pass:s pass:u 0 x",
            "XGROUP CREATE pass:s g 0",
            "XGROUP CREATE pass:u g 0",
            "XREADGROUP GROUP g c COUNT 1 STREAMS pass:u pass:s > >",
            "XREADGROUP GROUP g c STREAMS pass:u pass:s > >",
            "XREADGROUP GROUP g c STREAMS pass:u pass:s > >",
            "XREADGROUP GROUP g c STREAMS pass:s pass:u 0 0",
            "XREADGROUP GROUP g d STREAMS pass:s pass:u 0 0",
            "XACK pass:s g 1-1",
            "XREADGROUP GROUP g c STREAMS pass:u pass:s 0 0",
            "SET pass:a text",
            "LMPOP 2 pass:a pass:b LEFT",
        ] {
            both(line);
        }
        // Inside MULTI all keys of a command are at one node.
        through.expect("MULTI", "+OK");
        through.expect("LMPOP 2 pass:a pass:b LEFT", &format!("-{CROSSSLOT}"));
        through.call("DISCARD");
        let pipeline = [
            "LMPOP 2 pass:b pass:c LEFT",
            "RPUSH pass:c late",
            "LMPOP 2 pass:b pass:c LEFT",
        ];
        let replies = through.pipeline(&pipeline.map(str::to_owned));
        assert!(!replies[0].to_string().contains("late"), "{}", replies[0]);
        assert!(replies[2].to_string().contains("late"), "{}", replies[2]);
    }
}
