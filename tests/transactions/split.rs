//! `cross_slot_transactions = "split"`: one block for each slot, replies in order.

use super::exec;
use super::place::{keys_of, slot};
use super::support::{Action, FakeCluster, Flavor, Keyway, Scene, each_flavor};

each_flavor!(
    replies_are_in_order,
    one_slot_is_one_block,
    what_goes_to_all_primaries_is_done_at_its_place,
    watched_keys_first,
    a_thousand_slots,
);

fn keyway(scene: &Scene) -> Keyway {
    Keyway::before(&scene.cluster.seeds())
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .start()
}

/// contract: T2 M1
fn replies_are_in_order(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    client.call("DEL s:a s:b s:c s:l");
    for (lines, expected) in [
        (
            &["SET s:a 1", "SET s:b 2", "INCR s:a", "GET s:b", "PING"][..],
            "[+OK +OK :2 '2' +PONG]",
        ),
        (
            &[
                "MSET s:a x s:b y s:c z",
                "MGET s:c s:a s:none s:b s:c",
                "LPUSH s:a wrong",
                "CLIENT SETNAME me",
                "DEL s:a s:b s:a",
                "EXISTS s:a s:c",
                "CLIENT GETNAME",
                "GET s:c",
            ],
            "[+OK ['z' 'x' nil 'y' 'z'] -WRONGTYPE Operation against a key holding the wrong kind of value \
             +OK :2 :1 'me' 'z']",
        ),
        (&["PING", "TIME", "SET s:a 1"], ""),
        (&[], "[]"),
    ] {
        let reply = exec(&mut client, lines);
        if !expected.is_empty() {
            assert_eq!(reply, expected);
        }
    }
    client.expect("CLIENT GETNAME", "'me'");
    // What cannot be cut is refused as ever.
    client.expect("MULTI", "+OK");
    client.expect("SET s:a 1", "+QUEUED");
    client.expect_error("RENAME s:a s:b", "CROSSSLOT");
    client.expect_error("EXEC", "EXECABORT");
}

/// contract: T1
fn one_slot_is_one_block(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    let mut watcher = scene.cluster.client_of_key("{s:one}");
    watcher.call("DEL {s:one}n {s:one}m");
    for _ in 0..100 {
        client.send_raw("MULTI\r\nINCR {s:one}n\r\nINCR {s:one}m\r\nEXEC\r\n");
        let both = watcher.call("MGET {s:one}n {s:one}m");
        assert_eq!(both.items()[0], both.items()[1]);
    }
    for _ in 0..400 {
        client.read();
    }
}

/// contract: T2 M4
fn what_goes_to_all_primaries_is_done_at_its_place(flavor: Flavor) {
    // It empties the cluster: one of its own.
    let cluster = super::support::Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .start();
    let mut client = keyway.client();
    client.expect("MSET s:a 1 s:b 2 s:c 3", "+OK");
    assert_eq!(
        exec(
            &mut client,
            &[
                "DBSIZE",
                "SET s:d 4",
                "DBSIZE",
                "FLUSHALL",
                "DBSIZE",
                "RANDOMKEY",
                "SET s:e 5",
                "RANDOMKEY",
                "KEYS *",
                "SCAN x",
                "SET s:f 6",
                "DBSIZE"
            ]
        ),
        "[:3 +OK :4 +OK :0 nil +OK 's:e' ['s:e'] -ERR invalid cursor +OK :2]"
    );
    client.expect("MGET s:a s:d s:e s:f", "[nil nil '5' '6']");
    let many: Vec<String> = (0..20_000).map(|_| "SCAN x".to_owned()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let reply = exec(&mut client, &many);
    assert_eq!(reply.matches("invalid cursor").count(), 20_000);
}

/// contract: T3
fn watched_keys_first(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    let mut other = scene.keyway.client();
    other.call("DEL s:w s:x s:y");
    for is_touched in [false, true, false] {
        other.call("DEL s:x s:y");
        client.expect("WATCH s:w", "+OK");
        if is_touched {
            other.call("INCR s:w");
        }
        let reply = exec(
            &mut client,
            &["INCR s:x", "INCR s:y", "PING", "CLIENT GETNAME"],
        );
        let expected = if is_touched {
            "nil-array"
        } else {
            "[:1 :1 +PONG nil]"
        };
        assert_eq!(reply, expected);
        other.expect("EXISTS s:x s:y", if is_touched { ":0" } else { ":2" });
    }
    // The watched slot's own commands, and an end without any.
    client.expect("WATCH s:w", "+OK");
    assert_eq!(
        exec(&mut client, &["INCR s:w", "DBSIZE", "INCR s:y"])
            .matches(':')
            .count(),
        3
    );
    client.expect("WATCH s:w", "+OK");
    other.call("INCR s:w");
    assert_eq!(exec(&mut client, &["DBSIZE"]), "nil-array");
}

/// contract: T2
fn a_thousand_slots(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = keyway(scene);
    let mut client = keyway.client();
    let mut lines: Vec<String> = (0..1000).map(|n| format!("SET s:t{n} {n}")).collect();
    lines.extend((0..1000).rev().map(|n| format!("GET s:t{n}")));
    lines.push(format!(
        "MGET {}",
        (0..1000)
            .map(|n| format!("s:t{n}"))
            .collect::<Vec<_>>()
            .join(" ")
    ));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let reply = exec(&mut client, &lines);
    let numbers = |range: &mut dyn Iterator<Item = usize>| {
        range
            .map(|n| format!("'{n}'"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let expected = format!(
        "[{}{} [{}]]",
        "+OK ".repeat(1000),
        numbers(&mut (0..1000).rev()),
        numbers(&mut (0..1000))
    );
    assert_eq!(reply, expected);
    assert_eq!(keyway.metric("keyway_leases") as usize, 0);
}

/// A part that is refused: the error says which parts were carried out.
///
/// contract: T2
#[test]
fn a_part_that_fails_is_told() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .set("timeouts.request", "\"1s\"")
        .start();
    let keys: Vec<String> = (0..2).map(|node| keys_of(node, 2, 1).remove(0)).collect();
    let (near, far) = (slot(&keys[0]), slot(&keys[1]));
    let lines = [format!("SET {} 1", keys[0]), format!("INCR {}", keys[1])];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut client = keyway.client();
    let mut check = |beginning: &str, end: &str| {
        let reply = exec(&mut client, &lines);
        assert!(
            reply.starts_with(beginning) && reply.ends_with(end),
            "{reply}\nwant: {beginning} ... {end}"
        );
    };
    let parts = "[of the parts of this transaction";
    fake.node(1).once("INCR", Action::line("-OOM no room"));
    check(
        "-EXECABORT Transaction discarded because of: OOM no room ",
        &format!("{parts}: executed: 1 (slot {near}); not executed: 1 (slot {far})]"),
    );
    fake.node(1).once("EXEC", Action::close());
    check(
        "-ERR the connection to the node was lost before 'exec' was answered",
        &format!("{parts}: executed: 1 (slot {near}); unknown: 1 (slot {far})]"),
    );
    fake.node(1).always("INCR", Action::line("-TRYAGAIN later"));
    check(
        "-TRYAGAIN later ",
        &format!("{parts}: executed: 1 (slot {near}); not executed: 1 (slot {far})]"),
    );
    fake.node(1).forget_rules();
    // Nothing was sent twice, and nothing is left over.
    assert_eq!(exec(&mut client, &lines), "[+OK :1]");
    assert_eq!(fake.node(0).received("SET").len(), 4);
}

/// Parts are resent one by one, and what Keyway answers itself waits for all of them.
///
/// contract: T1 T2
#[test]
fn a_part_that_moves_is_resent_alone() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .start();
    let keys: Vec<String> = (0..2).map(|node| keys_of(node, 2, 1).remove(0)).collect();
    fake.node(1)
        .once("GET", Action::ask(slot(&keys[1]), fake.node(0)));
    let mut client = keyway.client();
    let lines = [
        "CLIENT SETNAME me".to_owned(),
        format!("GET {}", keys[1]),
        format!("SET {} 1", keys[0]),
        "CLIENT GETNAME".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(exec(&mut client, &lines), "[+OK 'node-0' +OK 'me']");
    assert_eq!(fake.node(0).received("SET").len(), 1);
    assert_eq!(fake.node(0).received("ASKING").len(), 1);
    // A part that fails: nothing of this client's own state has changed.
    fake.node(0).once("SET", Action::line("-OOM no room"));
    let lines = ["CLIENT SETNAME you", lines[2], lines[1]];
    assert!(exec(&mut client, &lines).starts_with("-EXECABORT"));
    client.expect("CLIENT GETNAME", "'me'");
}
