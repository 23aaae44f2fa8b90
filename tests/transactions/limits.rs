//! What a transaction may hold, and what it costs.

use super::exec;
use super::place::scene;
use super::support::{Action, Flavor, Gate, Keyway, Scene, each_flavor};

each_flavor!(
    large_transactions,
    one_that_is_too_large,
    on_the_shared_connection
);

/// contract: T1 F6
fn large_transactions(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    client.call("DEL {big}n {big}v");
    let lines = vec!["INCR {big}n"; 20_000];
    let reply = exec(&mut client, &lines);
    assert!(reply.ends_with(":19999 :20000]"));
    let value = "v".repeat(8 << 20);
    let set = format!("SET {{big}}v {value}");
    assert_eq!(
        exec(&mut client, &[&set, "STRLEN {big}v"]),
        "[+OK :8388608]"
    );
    client.call("DEL {big}v");
}

/// contract: F6
fn one_that_is_too_large(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("limits.transaction_bytes", "\"64kb\"")
        .start();
    let mut client = keyway.client();
    client.call("DEL {big}s");
    client.expect("MULTI", "+OK");
    let line = format!("APPEND {{big}}s {}", "x".repeat(20_000));
    for _ in 0..3 {
        client.expect(&line, "+QUEUED");
    }
    client.expect_error(
        &line,
        "ERR the transaction is larger than 65536 bytes (limits.transaction_bytes)",
    );
    client.expect(&line, "+QUEUED");
    client.expect_error("EXEC", "EXECABORT");
    client.expect("EXISTS {big}s", ":0");
    client.expect("MULTI", "+OK");
    client.expect("PING", "+QUEUED");
    client.expect("EXEC", "[+PONG]");
}

/// No private connection, no connection more. contract: T1
fn on_the_shared_connection(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::start(&scene.cluster.seeds());
    let mut clients: Vec<_> = (0..50).map(|_| keyway.client()).collect();
    for client in &mut clients {
        assert_eq!(exec(client, &["SET {one}k 1", "GET {one}k"]), "[+OK '1']");
    }
    assert_eq!(keyway.metric("keyway_leases") as usize, 0);
    assert!(keyway.metric("keyway_upstream_connections") as usize <= 3);
}

/// Blocks are pipelined: the second one is sent before the first one is answered.
///
/// contract: T1 P2
#[test]
fn blocks_of_one_client_do_not_wait_for_each_other() {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    fake.node(0).once(
        "EXEC",
        Action::After(gate.clone(), Box::new(Action::Default)),
    );
    let mut client = keyway.client();
    client.send_raw("MULTI\r\nINCR a\r\nEXEC\r\nGET a\r\nMULTI\r\nINCR a\r\nEXEC\r\n");
    fake.node(0).wait_for(2, "EXEC");
    fake.node(0).wait_for(1, "GET");
    gate.open();
    for expected in [
        "+OK", "+QUEUED", "[:1]", "'node-0'", "+OK", "+QUEUED", "[:1]",
    ] {
        client.expect_next(expected);
    }
    let all = fake.node(0).requests("");
    let mut connections: Vec<u64> = all
        .iter()
        .filter(|request| ["MULTI", "GET"].contains(&&*request.text(0)))
        .map(|request| request.connection)
        .collect();
    connections.dedup();
    assert_eq!(connections.len(), 1, "one connection for all");
}
