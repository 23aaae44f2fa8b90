//! Learnt commands go where their keys, flags and tips say.

use super::announce::Told;
use super::scene;
use super::support::fake_view::{array, bulk};
use super::support::{Action, FakeCluster, Gate, Keyway};

const ONE: (i64, i64, i64) = (1, 1, 1);
const NONE: (i64, i64, i64) = (0, 0, 0);

/// contract: R2, M2
#[test]
fn by_key() {
    let (fake, keyway) = scene(&[
        Told::new("JSON.SET", "write denyoom module", ONE).arity(-4),
        Told::new("bf.add", "write module", ONE).arity(3),
        Told::new("X.COPY", "write", (1, 2, 1)),
        Told::new("X.SPECS", "write movablekeys", ONE).specs(&["1 0 1", "3 0 1"]),
    ]);
    for mut client in [keyway.client(), keyway.client_resp3()] {
        client.expect("JSON.SET foo $ 1", "'node-1'");
        client.expect("json.set bar $ 1", "'node-0'");
        client.expect("BF.ADD foo x", "'node-1'");
        client.expect("X.COPY {foo}1 {foo}2 bar", "'node-1'");
        client.expect("X.SPECS {foo}1 bar {foo}2", "'node-1'");
        for command in ["X.COPY foo bar", "X.SPECS foo x bar"] {
            client.expect(
                command,
                "-CROSSSLOT Keys in request don't hash to the same slot",
            );
        }
        // Checked before anything is sent, with the name as the server writes it.
        client.expect(
            "json.set foo",
            "-ERR wrong number of arguments for 'JSON.SET' command",
        );
        client.expect(
            "bf.add foo",
            "-ERR wrong number of arguments for 'bf.add' command",
        );
        client.expect(
            "JSON.GET foo",
            "-ERR unknown command 'JSON.GET', with args beginning with: 'foo' ",
        );
    }
    assert_eq!(fake.node(1).received("JSON.SET"), ["JSON.SET foo $ 1"; 2]);
}

/// contract: R2, M1
#[test]
fn split_by_slot() {
    let (fake, keyway) = scene(&[]);
    drop(keyway);
    let told = [
        Told::new("JSON.MGET", "readonly", (1, -2, 1))
            .arity(-3)
            .tips("request_policy:multi_shard"),
        Told::new("X.DEL", "write", (1, -1, 1))
            .arity(-2)
            .tips("request_policy:multi_shard response_policy:agg_sum"),
        Told::new("X.MSET", "write", (1, -1, 3))
            .arity(-4)
            .tips("request_policy:multi_shard response_policy:all_succeeded"),
    ];
    for node in fake.nodes() {
        node.forget_rules();
        node.on("JSON.MGET", |request| {
            let keys = 1..request.arguments.len() - 1;
            Action::Reply(array(
                &keys.map(|at| bulk(&request.text(at))).collect::<Vec<_>>(),
            ))
        });
        node.on("X.DEL", |request| {
            Action::line(&format!(":{}", request.arguments.len() - 1))
        });
        node.always("COMMAND", Action::Reply(super::announce::listing(&told)));
    }
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    client.expect(
        "JSON.MGET foo bar {foo}2 foo $.x",
        "['foo' 'bar' '{foo}2' 'foo']",
    );
    assert_eq!(fake.node(0).received("JSON.MGET"), ["JSON.MGET bar $.x"]);
    assert_eq!(
        fake.node(1).received("JSON.MGET"),
        ["JSON.MGET foo {foo}2 foo $.x"]
    );
    client.expect("X.DEL foo bar foo", ":3");
    client.expect("X.MSET foo $ 1 bar $ 2", "+OK");
    assert_eq!(fake.node(0).received("X.MSET"), ["X.MSET bar $ 2"]);
    client.expect(
        "X.MSET foo $ 1 bar $",
        "-ERR wrong number of arguments for 'X.MSET' command",
    );
    // One part fails, the whole fails.
    fake.node(0).forget_rules();
    fake.node(0).always("X.DEL", Action::line("-WRONGTYPE no"));
    client.expect("X.DEL foo bar", "-WRONGTYPE no");
}

/// contract: R2, M4
#[test]
fn to_all_as_the_tips_say() {
    let tips = |name: &str, request: &str, response: &str| {
        Told::new(name, "readonly", NONE).tips(&format!(
            "request_policy:{request} response_policy:{response}"
        ))
    };
    let fake = FakeCluster::start_with_replicas(2, 1);
    let told = [
        tips("X.SUM", "all_shards", "agg_sum"),
        tips("X.MIN", "all_shards", "agg_min"),
        tips("X.MAX", "all_shards", "agg_max"),
        tips("X.AND", "all_shards", "agg_logical_and"),
        tips("X.OR", "all_shards", "agg_logical_or"),
        tips("X.ONE", "all_shards", "one_succeeded"),
        tips("X.ALL", "all_nodes", "all_succeeded"),
        Told::new("X.LIST", "readonly", NONE).tips("request_policy:all_shards"),
    ];
    for (index, node) in fake.nodes().iter().enumerate() {
        for name in ["X.SUM", "X.MIN", "X.MAX"] {
            node.always(name, Action::line(&format!(":{}", 3 + index)));
        }
        for name in ["X.AND", "X.OR"] {
            node.always(name, Action::line(&format!(":{index}")));
        }
        node.always(
            "X.LIST",
            Action::Reply(array(&[bulk(&format!("of-{index}"))])),
        );
        node.always("COMMAND", Action::Reply(super::announce::listing(&told)));
    }
    fake.node(0).always("X.ONE", Action::line("-ERR not here"));
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    for (command, reply) in [
        ("X.SUM", ":7"),
        ("X.MIN", ":3"),
        ("X.MAX", ":4"),
        ("X.AND", ":0"),
        ("X.OR", ":1"),
        ("X.ONE", "+OK"),
        ("X.ALL a", "+OK"),
        ("X.LIST", "['of-0' 'of-1']"),
    ] {
        client.expect(command, reply);
    }
    for node in fake.nodes() {
        assert_eq!(node.received("X.ALL"), ["X.ALL a"], "replicas as well");
    }
    assert!(fake.node(2).received("X.SUM").is_empty(), "primaries alone");
}

/// Without keys and tips nobody knows whose it is: at least all clients mean the same node.
/// contract: R2
#[test]
fn without_keys() {
    let (fake, keyway) = scene(&[
        Told::new("FT.SEARCH", "readonly", NONE).arity(-3),
        Told::new("X.PING", "readonly", NONE).arity(1),
    ]);
    for _ in 0..6 {
        let mut client = keyway.client();
        client.expect("FT.SEARCH foo *", "'node-1'");
        client.expect("FT.SEARCH bar *", "'node-0'");
        assert!(!client.call("X.PING").is_error());
    }
    assert_eq!(fake.node(0).received("FT.SEARCH").len(), 6);
}

/// contract: R2
#[test]
fn subcommands() {
    let (_fake, keyway) = scene(&[
        Told::new("X.CONFIG", "", NONE).arity(-2).with(&[
            Told::new("X.CONFIG|GET", "readonly", (2, 2, 1)).arity(3),
            Told::new("set", "admin", NONE),
        ]),
        // One that the table has, with one that it lacks.
        Told::new("memory", "", NONE).arity(-2).with(&[
            Told::new("memory|later", "readonly", (2, 2, 1)).arity(3),
            Told::new("memory|usage", "readonly", (9, 9, 1)).arity(99),
        ]),
    ]);
    let mut client = keyway.client();
    client.expect("x.config get foo", "'node-1'");
    client.expect(
        "X.CONFIG GET",
        "-ERR wrong number of arguments for 'X.CONFIG|GET' command",
    );
    client.expect(
        "X.CONFIG",
        "-ERR wrong number of arguments for 'X.CONFIG' command",
    );
    client.expect(
        "X.CONFIG nope",
        "-ERR unknown subcommand 'nope'. Try X.CONFIG HELP.",
    );
    client.expect_error("X.CONFIG SET", "ERR 'X.CONFIG|set' is refused");
    client.expect("MEMORY LATER foo", "'node-1'");
    client.expect(
        "MEMORY nope foo",
        "-ERR unknown subcommand 'nope'. Try MEMORY HELP.",
    );
    // What the table says stands.
    client.expect("MEMORY USAGE foo", "'node-1'");
}

/// What could change a connection that clients share, or is for operators, is refused (contract: C1, C7).
/// contract: R2
#[test]
fn what_might_do_harm_is_refused() {
    let mut connection = Told::new("X.STATE", "fast", NONE);
    connection.categories = "@fast @connection".to_owned();
    let (fake, keyway) = scene(&[
        Told::new("X.ADMIN", "admin", NONE),
        Told::new("X.SUBSCRIBE", "pubsub", NONE),
        Told::new("X.LOGIN", "no_auth", NONE),
        connection,
    ]);
    let mut client = keyway.client();
    for name in ["X.ADMIN", "X.SUBSCRIBE", "X.LOGIN", "X.STATE"] {
        client.expect_error(name, &format!("ERR '{name}' is refused by Keyway"));
        for node in fake.nodes() {
            assert!(node.received(name).is_empty());
        }
    }
}

/// contract: R2, F2
#[test]
fn writes_are_not_repeated_and_reads_are() {
    let (fake, keyway) = scene(&[
        Told::new("X.ADD", "write", ONE),
        Told::new("X.GET", "readonly", ONE),
        Told::new("X.DO", "fast", ONE),
    ]);
    let mut client = keyway.client();
    for (command, outcome) in [
        (
            "X.ADD",
            "-ERR the connection to the node was lost before 'X.ADD' was answered",
        ),
        (
            "X.DO",
            "-ERR the connection to the node was lost before 'X.DO' was answered",
        ),
        ("X.GET", "'node-1'"),
    ] {
        // By now it is known.
        client.expect(&format!("{command} bar"), "'node-0'");
        fake.node(1).forget_rules();
        fake.node(1).once(command, Action::close());
        fake.node(1).always(command, Action::bulk("node-1"));
        let reply = client.call(&format!("{command} foo")).to_string();
        assert!(reply.starts_with(outcome), "{command}: {reply}");
    }
    assert_eq!(fake.node(1).received("X.ADD").len(), 1);
    assert_eq!(fake.node(1).received("X.GET").len(), 2);
}

/// A command that blocks waits on a connection of its own.
/// contract: R2, T5
#[test]
fn blocking() {
    let (fake, keyway) = scene(&[Told::new("X.BPOP", "write blocking", ONE)]);
    let gate = Gate::new();
    keyway.client().expect("X.BPOP bar 0", "'node-0'");
    fake.node(1).forget_rules();
    fake.node(1).once(
        "X.BPOP",
        Action::After(gate.clone(), Box::new(Action::bulk("popped"))),
    );
    let mut waits = keyway.client();
    waits.send("X.BPOP foo 0");
    fake.node(1).wait_for(1, "X.BPOP");
    keyway.client().expect("GET foo", "'node-1'");
    gate.open();
    waits.expect_next("'popped'");
}
