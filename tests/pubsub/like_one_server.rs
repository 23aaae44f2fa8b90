//! What a client is told, step by step, is what one server of the same flavor tells.

use crate::listener::{read_many, until_pong};
use crate::support::{Client, Flavor, Scene, each_flavor};

each_flavor!(
    confirmations_and_counts,
    messages,
    resp2_may_only_change_subscriptions,
    resp3_may_do_anything,
    hello_two_while_subscribed,
    reset_and_quit,
    replies_switched_off,
    names_of_any_bytes,
    pipelined,
    pubsub_of_nobody,
    pubsub_counts,
    pubsub_counts_before_they_change,
);

/// Runs the same steps on one server and through Keyway, and compares everything that the first client
/// gets. A step is the first client's, or, after `>`, another client's, whose reply is compared as well.
#[track_caller]
fn compare(flavor: Flavor, protocol: u8, steps: &[&str]) {
    let scene = Scene::shared(flavor);
    let connect = |addr| {
        let mut client = Client::connect(addr);
        client.call(&format!("HELLO {protocol}"));
        client
    };
    let mut plain = [
        connect(scene.plain().addr()),
        Client::connect(scene.plain().addr()),
    ];
    let mut through = [connect(scene.keyway.addr()), scene.keyway.client()];
    for (number, step) in steps.iter().enumerate() {
        let token = format!("step-{number}");
        if let Some(command) = step.strip_prefix('>') {
            let expected = plain[1].call(command).to_string();
            let got = through[1].call(command).to_string();
            assert_eq!(got, expected, "RESP{protocol}: {command} in {steps:#?}");
        } else {
            plain[0].send(step);
            through[0].send(step);
        }
        if *step == "QUIT" {
            assert_eq!(
                plain[0].read_to_end().escape_ascii().to_string(),
                through[0].read_to_end().escape_ascii().to_string()
            );
            return;
        }
        let expected = until_pong(&mut plain[0], &token);
        // A message comes when it comes: the server's number of replies is waited for.
        let mut got = read_many(&mut through[0], expected.len());
        got.extend(until_pong(&mut through[0], &token));
        assert_eq!(got, expected, "RESP{protocol}: {step} in {steps:#?}");
    }
}

#[track_caller]
fn compare_both(flavor: Flavor, steps: &[&str]) {
    compare(flavor, 2, steps);
    compare(flavor, 3, steps);
}

/// contract: S1
fn confirmations_and_counts(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    compare_both(
        flavor,
        &[
            "SUBSCRIBE cc:1 cc:2 cc:1",
            "SUBSCRIBE cc:2",
            "PSUBSCRIBE cc:p1* cc:p2*",
            "SSUBSCRIBE {cc}s1 {cc}s2 {cc}s1",
            "SUBSCRIBE cc:3",
            "PSUBSCRIBE cc:p1*",
            "UNSUBSCRIBE cc:none",
            "UNSUBSCRIBE cc:1 cc:1",
            "UNSUBSCRIBE cc:3",
            "UNSUBSCRIBE",
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE cc:p1*",
            "PUNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SUNSUBSCRIBE x",
            "SUNSUBSCRIBE {cc}s2",
            "SUNSUBSCRIBE",
            "GET cc",
        ],
    );
}

/// contract: S1 P6
fn messages(flavor: Flavor) {
    compare_both(
        flavor,
        &[
            "SUBSCRIBE ms:1 ms:2",
            ">PUBLISH ms:1 hello",
            ">PUBLISH ms:2 \"\"",
            ">PUBLISH ms:other x",
            "SSUBSCRIBE {ms}s",
            ">SPUBLISH {ms}s hi",
            ">PUBLISH {ms}s hi",
            ">SPUBLISH ms:1 hi",
            "UNSUBSCRIBE ms:1",
            ">PUBLISH ms:1 late",
            ">PUBLISH ms:2 \"bin\\0\\r\\nary\"",
        ],
    );
    // Nodes pass on to each other what is heard by patterns: the last message may still be on its way when the next
    // client subscribes, and must not be one that it would hear.
    for protocol in [2, 3] {
        let steps = [
            "PSUBSCRIBE mp:[a-c]*",
            ">PUBLISH mp:bx 1",
            ">PUBLISH mp:dx 1",
            ">PUBLISH mp:c 1",
            "PUNSUBSCRIBE mp:[a-c]*",
            ">PUBLISH mp:bx 1",
        ];
        let steps = steps.map(|step| step.replace("mp:", &format!("mp{protocol}:")));
        compare(flavor, protocol, &steps.each_ref().map(String::as_str));
    }
}

/// contract: S1
fn resp2_may_only_change_subscriptions(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    for begin in ["SUBSCRIBE r2", "PSUBSCRIBE r2", "SSUBSCRIBE r2"] {
        compare(
            flavor,
            2,
            &[
                begin,
                "GET k",
                "SET k v",
                "CLIENT ID",
                "CLIENT LIST",
                "PUBLISH r2 x",
                "PUBSUB NUMSUB r2",
                "HELLO",
                "HELLO 3",
                "MULTI",
                "EXEC",
                "MGET a b c",
                "BLPOP k 0",
                "PING",
                "PING x",
                "PING x y",
                "FOO",
                "GET",
                "CLIENT FOO",
                "SUBSCRIBE",
                "UNSUBSCRIBE nothing",
            ],
        );
    }
}

/// contract: S1
fn resp3_may_do_anything(flavor: Flavor) {
    compare(
        flavor,
        3,
        &[
            "SUBSCRIBE r3",
            "SET r3:k v",
            "GET r3:k",
            "PING",
            "PING x",
            ">PUBLISH r3 m",
            "MGET r3:k r3:l r3:m",
            "DEL r3:k",
            "BLPOP r3:list 0.01",
            "UNSUBSCRIBE",
        ],
    );
}

/// contract: S1 P7
fn hello_two_while_subscribed(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client_resp3();
    client.expect("SUBSCRIBE h2:x", ">['subscribe' 'h2:x' :1]");
    client.call("HELLO 2");
    client.expect_error("GET k", "ERR Can't execute 'get': only (P|S)SUBSCRIBE");
    scene.keyway.client().expect("PUBLISH h2:x two", ":1");
    client.expect_next("['message' 'h2:x' 'two']");
    client.expect("RESET", "+RESET");
    client.expect("GET h2:k", "nil");
}

/// contract: P7 S1
fn reset_and_quit(flavor: Flavor) {
    compare_both(
        flavor,
        &[
            "SUBSCRIBE rq",
            "SSUBSCRIBE rq",
            "RESET",
            ">PUBLISH rq m",
            ">SPUBLISH rq m",
            ">PUBSUB NUMSUB rq",
            "GET rq:k",
        ],
    );
    compare_both(flavor, &["SUBSCRIBE rq:2", "QUIT"]);
}

/// Confirmations and messages are pushes, in RESP2 as well. contract: P7
fn replies_switched_off(flavor: Flavor) {
    for protocol in [2, 3] {
        let scene = Scene::shared(flavor);
        for addr in [scene.plain().addr(), scene.keyway.addr()] {
            let mut client = Client::connect(addr);
            client.call(&format!("HELLO {protocol}"));
            let mark = if protocol == 3 { ">" } else { "" };
            client.send("CLIENT REPLY OFF");
            client.expect("SUBSCRIBE ro", &format!("{mark}['subscribe' 'ro' :1]"));
            Client::connect(addr).expect("PUBLISH ro m", ":1");
            client.expect_next(&format!("{mark}['message' 'ro' 'm']"));
            client.send("PING unheard");
            client.expect("UNSUBSCRIBE", &format!("{mark}['unsubscribe' 'ro' :0]"));
            client.expect("CLIENT REPLY ON", "+OK");
            client.send("CLIENT REPLY SKIP");
            client.expect("SUBSCRIBE ro", &format!("{mark}['subscribe' 'ro' :1]"));
            let pong = if protocol == 3 {
                "+PONG"
            } else {
                "['pong' '']"
            };
            client.expect("PING", pong);
        }
    }
}

/// contract: P3 S1
fn names_of_any_bytes(flavor: Flavor) {
    compare_both(
        flavor,
        &[
            "SUBSCRIBE \"\" \"a\\r\\nb\" \"\\0\\xff\"",
            ">PUBLISH \"\" x",
            ">PUBLISH \"a\\r\\nb\" x",
            ">PUBLISH \"\\0\\xff\" x",
            "UNSUBSCRIBE \"\"",
            ">PUBLISH \"\" x",
        ],
    );
}

/// In one write, with requests before and behind. contract: P2 S1
fn pipelined(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    for protocol in [2, 3] {
        compare_one_write(
            flavor,
            protocol,
            &[
                "SET pl:k v",
                "GET pl:k",
                "SUBSCRIBE pl:1 pl:2",
                "GET pl:k",
                "PING",
                "UNSUBSCRIBE pl:1",
                "SUBSCRIBE pl:3",
                "UNSUBSCRIBE pl:3 pl:2",
                "GET pl:k",
                "QUIT",
            ],
        );
    }
}

/// What ends right behind a question was still there. contract: P2 S4
fn pubsub_counts_before_they_change(flavor: Flavor) {
    for end in ["UNSUBSCRIBE {pb}:2 pb:4 pb:1", "RESET"] {
        compare_one_write(
            flavor,
            3,
            &[
                "SUBSCRIBE pb:1 {pb}:2",
                "PUBSUB NUMSUB pb:1 pb:3 {pb}:2 pb:1",
                end,
                "QUIT",
            ],
        );
        compare_one_write(
            flavor,
            3,
            &["SUBSCRIBE pb:4", "PUBSUB CHANNELS pb:*", end, "QUIT"],
        );
    }
}

/// Compares all that is heard until the end.
#[track_caller]
fn compare_one_write(flavor: Flavor, protocol: u8, commands: &[&str]) {
    let scene = Scene::shared(flavor);
    let requests = commands
        .iter()
        .map(|command| crate::support::client::encode(&crate::support::client::words(command)));
    let bytes: Vec<u8> = requests.flatten().collect();
    let [expected, got] = [scene.plain().addr(), scene.keyway.addr()].map(|addr| {
        let mut client = Client::connect(addr);
        client.call(&format!("HELLO {protocol}"));
        client.send_raw(&bytes);
        client.read_to_end().escape_ascii().to_string()
    });
    assert_eq!(got, expected, "RESP{protocol}: {commands:#?}");
}

/// contract: S4
fn pubsub_of_nobody(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    compare_both(
        flavor,
        &[
            "PUBSUB NUMSUB po:1 po:2 po:1",
            "PUBSUB NUMSUB",
            "PUBSUB SHARDNUMSUB po:1",
            "PUBSUB CHANNELS po:*",
            "PUBSUB SHARDCHANNELS po:*",
            "PUBLISH po:1 x",
            "SPUBLISH po:1 x",
            "PUBSUB CHANNELS a b",
            "PUBSUB NUMPAT x",
            "PUBSUB FOO",
            "PUBSUB",
        ],
    );
}

/// The hub's own subscriptions do not show. contract: S4
fn pubsub_counts(flavor: Flavor) {
    compare_both(
        flavor,
        &[
            "SUBSCRIBE pc:1 pc:2",
            "PSUBSCRIBE pc:p",
            "SSUBSCRIBE {pc}s",
            ">PUBSUB NUMSUB pc:1 pc:2 pc:3 pc:1",
            ">PUBSUB SHARDNUMSUB {pc}s {pc}t",
            ">PUBSUB CHANNELS pc:1",
            ">PUBSUB CHANNELS pc:[3-9]",
            ">PUBSUB SHARDCHANNELS {pc}*",
            ">PUBLISH pc:2 x",
            ">SPUBLISH {pc}s x",
            ">SPUBLISH pc:1 x",
            "UNSUBSCRIBE pc:1",
            ">PUBSUB NUMSUB pc:1 pc:2",
            ">PUBSUB CHANNELS pc:1",
            "PUNSUBSCRIBE pc:p",
            ">PUBLISH pc:p x",
        ],
    );
}
