//! What a client sets on its connection: HELLO, RESET, QUIT, CLIENT REPLY.

use super::support::client::words;
use super::support::{Client, Flavor, Scene, Server, Value, each_flavor};
use super::wire::{conversation, shown};

each_flavor! {
    hello_in_every_mix,
    a_failing_hello_changes_nothing,
    reset_forgets,
    quit_answers_what_came_before,
    client_reply_is_silent_as_one_server_is,
    clients_of_both_versions_share_the_port,
}

/// The same lines to a server and to Keyway; replies with the client's number taken out.
#[track_caller]
fn same_as_the_server(flavor: Flavor, lines: &[&str]) {
    let scene = Scene::shared(flavor);
    let talk = |mut client: Client| -> Vec<String> {
        let replies = lines.iter().map(|line| client.try_call(&words(line)));
        let replies = replies.map(|reply| match reply {
            Ok(reply) => without_numbers(reply).to_string(),
            Err(error) => error.kind().to_string(),
        });
        replies.collect()
    };
    let want = talk(scene.plain().client());
    let got = talk(scene.keyway.client());
    for ((line, got), want) in lines.iter().zip(got).zip(want) {
        assert_eq!(got, want, "\nreply to: {line}\namong: {lines:?}");
    }
}

/// A HELLO's reply without the client's id.
fn without_numbers(mut reply: Value) -> Value {
    let is_id = |key: &Value| key.bytes() == Some(b"id");
    match &mut reply {
        Value::Map(pairs) => {
            for (key, value) in pairs {
                if is_id(key) {
                    *value = Value::Null;
                }
            }
        }
        Value::Array(items) => {
            for pair in items.chunks_exact_mut(2) {
                if is_id(&pair[0]) {
                    pair[1] = Value::Null;
                }
            }
        }
        _ => {}
    }
    reply
}

/// But for the name: a server keeps the one of a HELLO that failed behind SETNAME.
///
/// contract: P7, C3
fn hello_in_every_mix(flavor: Flavor) {
    for hello in [
        "HELLO",
        "HELLO 2",
        "HELLO 3",
        "hello 3",
        "HELLO 1",
        "HELLO 4",
        "HELLO 0",
        "HELLO -1",
        "HELLO x",
        "HELLO 3.0",
        "HELLO 03",
        r#"HELLO """#,
        "HELLO 99999999999999999999",
        "HELLO 3 SETNAME me",
        "HELLO 2 setname me",
        "HELLO 3 SETNAME",
        r#"HELLO 3 SETNAME """#,
        r#"HELLO 3 SETNAME "a b""#,
        r#"HELLO 3 SETNAME "a\nb""#,
        r#"HELLO 3 SETNAME "\xff""#,
        "HELLO 3 AUTH",
        "HELLO 3 AUTH default",
        "HELLO 3 AUTH default anything",
        "HELLO 3 AUTH nobody anything",
        "HELLO 3 AUTH default x SETNAME me",
        "HELLO 3 SETNAME me AUTH default x",
        "HELLO 3 SETNAME me AUTH nobody x",
        "HELLO 3 SETNAME a SETNAME b",
        "HELLO 3 FOO",
        "HELLO 3 FOO bar",
        "HELLO 3 SETNAME me FOO",
        "HELLO 5 AUTH nobody x",
        "HELLO 2 AUTH default x AUTH default y SETNAME z",
        "HELLO AUTH default x",
        "HELLO SETNAME me",
    ] {
        same_as_the_server(
            flavor,
            &[
                hello,
                "HGETALL no:such:hash",
                "GET no:such:key",
                "HELLO",
                "HELLO 2",
            ],
        );
    }
}

/// From each version, with a name, after each failure.
///
/// contract: P7
fn a_failing_hello_changes_nothing(flavor: Flavor) {
    for before in ["HELLO 2 SETNAME old", "HELLO 3 SETNAME old"] {
        for failing in [
            "HELLO 4 SETNAME new",
            "HELLO 3 SETNAME new FOO",
            "HELLO 2 SETNAME new FOO",
            "HELLO 2 AUTH nobody x SETNAME new",
            "HELLO 3 AUTH nobody x SETNAME new",
            r#"HELLO 2 SETNAME "n w""#,
            r#"HELLO 3 SETNAME "n w""#,
        ] {
            let mut client = Scene::shared(flavor).keyway.client();
            client.call(before);
            let shape = client.call("HGETALL no:such:hash");
            assert!(client.call(failing).is_error(), "{failing}");
            assert_eq!(client.call("HGETALL no:such:hash"), shape, "{failing}");
            client.expect("CLIENT GETNAME", "'old'");
        }
    }
}

/// contract: P7
fn reset_forgets(flavor: Flavor) {
    same_as_the_server(
        flavor,
        &[
            "HELLO 3 SETNAME me",
            "RESET",
            "CLIENT GETNAME",
            "HGETALL no:such:hash",
            "GET no:such:key",
            "HELLO",
            "RESET now",
            "RESET",
            "PING",
        ],
    );
    // In a pipeline it waits for its turn.
    same_bytes(
        flavor,
        "CLIENT SETNAME a\r\nDEL reset:k\r\nINCR reset:k\r\nGET reset:k\r\nRESET\r\nGET reset:none\r\nCLIENT GETNAME\r\nDEL reset:k\r\n",
    );
    same_bytes(flavor, "CLIENT REPLY OFF\r\nPING\r\nRESET\r\nPING\r\n");
    same_bytes(flavor, "CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n");
}

/// contract: P7, P2
fn quit_answers_what_came_before(flavor: Flavor) {
    for bytes in [
        "QUIT\r\n",
        "quit\r\nPING\r\n",
        "DEL quit:k\r\nINCR quit:k\r\nINCR quit:k\r\nQUIT\r\nINCR quit:k\r\n",
        "GET quit:k\r\nDEL quit:k\r\nQUIT now\r\nPING\r\n",
        "QUIT\r\n*abc\r\n",
        "CLIENT REPLY OFF\r\nQUIT\r\n",
        "CLIENT REPLY SKIP\r\nQUIT\r\n",
        "PING\r\nMGET quit:a quit:b quit:c quit:d\r\nQUIT\r\nPING\r\n",
    ] {
        same_bytes(flavor, bytes);
    }
    // The close comes without the client's doing.
    let mut client = Scene::shared(flavor).keyway.client();
    client.send_raw("SET quit:x 1\r\nDEL quit:x\r\nQUIT\r\nPING\r\n");
    assert_eq!(client.read_to_end(), b"+OK\r\n:1\r\n+OK\r\n");
}

const NOTHING_SKIPPED: [&str; 3] = [
    "CLIENT REPLY SKIP\r\n\r\nPING 1\r\nPING 2\r\n",
    "CLIENT REPLY SKIP\r\n*0\r\nPING 1\r\nPING 2\r\n",
    "CLIENT REPLY SKIP\r\n*-1\r\nPING 1\r\nPING 2\r\n",
];

/// contract: P7, P2
fn client_reply_is_silent_as_one_server_is(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    for bytes in [
        "CLIENT REPLY ON\r\nPING\r\n",
        "CLIENT REPLY OFF\r\nPING\r\nGET reply:none\r\nFOO\r\nCLIENT REPLY ON\r\nPING\r\n",
        "CLIENT REPLY SKIP\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\nCLIENT REPLY OFF\r\nPING 1\r\nCLIENT REPLY ON\r\nPING 2\r\n",
        "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING 1\r\nPING 2\r\nCLIENT REPLY ON\r\nPING 3\r\n",
        "CLIENT REPLY OFF\r\nCLIENT REPLY OFF\r\nCLIENT REPLY ON\r\nCLIENT REPLY ON\r\n",
        "CLIENT REPLY\r\nCLIENT REPLY MAYBE\r\nCLIENT REPLY ON OFF\r\nclient reply skip\r\nPING\r\nPING\r\n",
        "CLIENT REPLY SKIP\r\nFOO\r\nFOO\r\n",
        // What is no request is never answered, and is what was skipped.
        "CLIENT REPLY SKIP\r\n\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\n*0\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\n*-1\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY OFF\r\n\r\nPING 1\r\nCLIENT REPLY ON\r\nPING 2\r\n",
        "CLIENT REPLY SKIP\r\nGET\r\nPING\r\n",
        "CLIENT REPLY SKIP\r\nCLIENT REPLY MAYBE\r\nPING 1\r\nPING 2\r\n",
        "CLIENT REPLY OFF\r\nCLIENT REPLY MAYBE\r\nPING\r\nCLIENT REPLY ON\r\n",
        "CLIENT REPLY SKIP\r\nSET reply:a 1\r\nGET reply:a\r\nDEL reply:a\r\n",
        "CLIENT REPLY OFF\r\nMSET reply:a 1 reply:b 2 reply:c 3\r\nMGET reply:a reply:b\r\nCLIENT REPLY ON\r\nMGET reply:a reply:b reply:c\r\nDEL reply:a reply:b reply:c\r\n",
        "CLIENT REPLY SKIP\r\nMGET reply:a reply:b reply:c\r\nDBSIZE extra\r\nPING\r\n",
        "CLIENT REPLY OFF\r\n*abc\r\n",
        "CLIENT REPLY SKIP\r\n*abc\r\n",
        "HELLO 3 FOO\r\nCLIENT REPLY SKIP\r\nHELLO 3\r\nHGETALL reply:none\r\n",
    ] {
        // Redis 8 skips the next request that is one.
        let is_redis_8 = flavor == Flavor::Redis && flavor.is_since(8, 0);
        if is_redis_8 && NOTHING_SKIPPED.contains(&bytes) {
            continue;
        }
        same_bytes(flavor, bytes);
    }
    // Silent commands are carried out, in their order.
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    client.send_raw("CLIENT REPLY OFF\r\n");
    for _ in 0..1_000 {
        client.send_raw("INCR reply:n\r\n");
    }
    client.send_raw("CLIENT REPLY ON\r\nGET reply:n\r\nDEL reply:n\r\n");
    for reply in ["+OK", "'1000'", ":1"] {
        client.expect_next(reply);
    }
}

#[track_caller]
fn same_bytes(flavor: Flavor, bytes: &str) {
    let scene = Scene::shared(flavor);
    let plain: &Server = scene.plain();
    let want = conversation(plain.addr(), &[bytes]);
    let got = conversation(scene.keyway.addr(), &[bytes]);
    assert_eq!(shown(&got), shown(&want), "\nsent: {bytes:?}");
}

/// Their replies never mix, though they go through the same worker.
///
/// contract: P1
fn clients_of_both_versions_share_the_port(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let (mut old, mut new) = (scene.keyway.client(), scene.keyway.client_resp3());
    old.call("DEL both:h both:z");
    old.expect("HSET both:h f v", ":1");
    new.expect("ZADD both:z 1.5 m", ":1");
    for _ in 0..200 {
        for client in [&mut old, &mut new] {
            client.send_raw("HGETALL both:h\r\nZSCORE both:z m\r\nGET both:none\r\n");
        }
        for reply in ["['f' 'v']", "'1.5'", "nil"] {
            old.expect_next(reply);
        }
        for reply in ["{'f' 'v'}", ",1.5", "null"] {
            new.expect_next(reply);
        }
    }
    // The same connection changes its mind in the middle of a pipeline.
    old.send_raw("HGETALL both:h\r\nHELLO 3\r\nHGETALL both:h\r\nHELLO 2\r\nHGETALL both:h\r\n");
    old.expect_next("['f' 'v']");
    assert!(matches!(old.read(), Value::Map(_)));
    old.expect_next("{'f' 'v'}");
    assert!(matches!(old.read(), Value::Array(_)));
    old.expect_next("['f' 'v']");
}
