//! Connections that are lost, servers that are away, and databases that are gone.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::process::Folder;
use super::support::{Action, FakeCluster, Flavor, Gate, Keyway, Server, each_flavor, eventually};
use super::{SOON, client_in};

each_flavor!(
    lost_connections_come_back_to_their_database,
    what_is_not_there_is_not_asked_for_again_and_again,
    a_restart_is_sat_out
);

/// contract: C1 F2
fn lost_connections_come_back_to_their_database(flavor: Flavor) {
    const DATABASES: usize = 5;
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut clients: Vec<_> = (0..DATABASES).map(|n| client_in(&keyway, n)).collect();
    let (mut written, mut killed) = (0, 0);
    for round in 0..30 {
        for (database, client) in clients.iter_mut().enumerate() {
            for number in 0..20 {
                client.send(&format!("SET in:{database}:{round}:{number} {database}"));
            }
        }
        killed += server.ok("CLIENT KILL TYPE normal SKIPME yes").integer();
        for client in &mut clients {
            for _ in 0..20 {
                let reply = client.read().to_string();
                written += usize::from(reply == "+OK");
                assert!(
                    reply == "+OK" || reply.contains("outcome unknown"),
                    "{reply}"
                );
            }
        }
    }
    assert!(written > 1_000 && killed > 10, "{written}, {killed}");
    for database in 0..DATABASES {
        let mut direct = server.client();
        direct.expect(&format!("SELECT {database}"), "+OK");
        let keys = direct.call("KEYS *");
        assert!(!keys.items().is_empty());
        for key in keys.items() {
            let key = key.text();
            assert!(
                key.starts_with(&format!("in:{database}:")),
                "{key} in {database}"
            );
        }
    }
}

/// A program with a wrong number in its URL cost a node a connection for each try (4,570 a second). contract: C5 F6
fn what_is_not_there_is_not_asked_for_again_and_again(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let accepted = || {
        let info = server.ok("INFO stats").text();
        let mut lines = info.lines();
        let count = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
        count.expect("it counts").parse::<u64>().expect("a number")
    };
    let refusal = "-ERR DB index is out of range";
    keyway.client().expect("SELECT 99", refusal);
    let (before, began) = (accepted(), Instant::now());
    for _ in 0..200 {
        let mut client = keyway.client();
        client.expect("SELECT 99", refusal);
        client.expect("SELECT -1", refusal);
        client.expect("SELECT 2000000000", refusal);
    }
    // Each thread asks once a second, and looking costs one.
    let allowed = 2 + 2 * (1 + began.elapsed().as_secs());
    let more = accepted() - before;
    assert!(more <= allowed, "{more} connections");
    keyway.client().expect("SELECT 15", "+OK");
}

/// contract: F1 R11
fn a_restart_is_sat_out(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut old = client_in(&keyway, 2);
    server.kill();
    let mut new = keyway.client();
    new.send("SELECT 3");
    new.send("SET a three");
    old.send("SET a two");
    old.send("SELECT 4");
    old.send("SET a four");
    server.restart();
    for client in [&mut new, &mut old] {
        client.expect_next("+OK");
        client.expect_next("+OK");
    }
    old.expect_next("+OK");
    for (database, value) in [(2, "'two'"), (3, "'three'"), (4, "'four'"), (0, "nil")] {
        client_in(&keyway, database).expect("GET a", value);
    }
}

/// A program that does not look at the reply must not go on in another database than it means.
///
/// contract: C1 F5
#[test]
fn who_is_not_told_in_time_is_closed() {
    let fake = FakeCluster::standalone();
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"500ms\"")
        .start();
    let gate = Gate::new();
    fake.node(0).always(
        "SELECT",
        Action::After(gate.clone(), Box::new(Action::Default)),
    );
    let mut client = keyway.client();
    client.expect("SET in:0 1", "+OK");
    client.send_raw("SELECT 3\r\nSET in:0 meant-for-3\r\n");
    let refusal = client.read().to_string();
    assert!(refusal.contains("the connection is closed"), "{refusal}");
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(fake.node(0).received("SET").len(), 1);
    gate.open();
    fake.node(0).forget_rules();
    client_in(&keyway, 3).expect("SET in:3 1", "+OK");
}

/// contract: C2
#[test]
fn who_waits_for_a_database_can_be_killed() {
    let fake = FakeCluster::standalone();
    let keyway = Keyway::start(&fake.seeds());
    let never = Action::After(Gate::new(), Box::new(Action::Default));
    fake.node(0).always("SELECT", never);
    let mut client = keyway.client();
    let id = client.call("CLIENT ID").integer();
    client.send("SELECT 3");
    fake.node(0).wait_for(1, "SELECT");
    keyway
        .client()
        .expect(&format!("CLIENT KILL ID {id}"), ":1");
    let began = Instant::now();
    assert_eq!(client.read_to_end(), b"");
    // And not at its deadline, 20 s.
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Another answer than was to be expected when a node was to be asked: nobody waited for what was found out, and its
/// task asked for it for ever.
#[test]
fn rules_that_change_meanwhile_hold_up_nobody() {
    let fake = FakeCluster::standalone();
    let folder = Folder::new("rules");
    let file = folder.path().join("users.acl");
    let rules = |more: &str| {
        let line = format!("user app on >p ~* &* +@all {more}\n");
        std::fs::write(&file, line).expect("our own folder");
    };
    rules("");
    let keyway = Keyway::before(&fake.seeds())
        .set("acl.file", &format!("\"{}\"", file.display()))
        .start();
    let gate = Gate::new();
    let slow = Action::After(gate.clone(), Box::new(Action::Default));
    fake.node(0).always("GET", slow);
    let mut client = keyway.client();
    client.expect("AUTH app p", "+OK");
    client.send_raw("GET in:0\r\nSELECT 3\r\nSELECT 0\r\nPING\r\n");
    fake.node(0).wait_for(1, "GET");
    let mut other = keyway.client();
    other.expect("AUTH app p", "+OK");
    rules("-select +select|0");
    keyway.signal(Signal::HUP);
    eventually("rules are read anew", SOON, || {
        other.call("SELECT 3").is_error()
    });
    gate.open();
    assert!(!client.read().is_error());
    assert!(client.read().to_string().starts_with("-NOPERM"));
    client.expect_next("+OK");
    client.expect_next("+PONG");
    other.expect("PING", "+PONG");
    let before = keyway.cpu_time();
    other.expect_silence(Duration::from_millis(1_000));
    let spent = keyway.cpu_time() - before;
    assert!(spent < Duration::from_millis(500), "{spent:?}");
}

/// What the client asked for before is answered first, and waiting for it costs nothing.
#[test]
fn waiting_for_earlier_replies_is_idle() {
    let server = Server::start(Flavor::Redis);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = keyway.client();
    client.expect("SET a zero", "+OK");
    server.pause();
    client.send("GET a");
    client.send("SELECT 3");
    client.send("GET a");
    let before = keyway.cpu_time();
    client.expect_silence(Duration::from_millis(1_500));
    let spent = keyway.cpu_time() - before;
    assert!(spent < Duration::from_millis(500), "{spent:?}");
    server.resume();
    client.expect_next("'zero'");
    client.expect_next("+OK");
    client.expect_next("nil");
}

/// It was started anew with fewer.
///
/// contract: C1
#[test]
fn nothing_is_carried_out_when_the_database_is_gone() {
    let fake = FakeCluster::standalone();
    let keyway = Keyway::start(&fake.seeds());
    let mut client = client_in(&keyway, 3);
    client.expect("SET in:3 1", "+OK");
    fake.change(|layout| layout.databases = 2);
    fake.node(0).cut_connections();
    let mut zero = keyway.client();
    zero.expect("SET in:0 1", "+OK");
    let before = fake.node(0).received("SET").len();
    for _ in 0..3 {
        let refusal = client.call("SET in:3 2").to_string();
        let is_right = refusal.starts_with("-ERR DB index is out of range")
            && refusal.contains("nothing was executed");
        assert!(is_right, "{refusal}");
    }
    keyway
        .client()
        .expect("SELECT 3", "-ERR DB index is out of range");
    assert_eq!(fake.node(0).received("SET").len(), before);
    // What is left is served, and what comes back too.
    client.expect("SELECT 1", "+OK");
    client.expect("SET in:1 1", "+OK");
    client.expect("SELECT 3", "-ERR DB index is out of range");
    fake.change(|layout| layout.databases = 16);
    // That it was not there is remembered for a second.
    eventually("the server is asked again", SOON, || {
        client.call("SELECT 3").to_string() == "+OK"
    });
    client.expect("SET in:3 3", "+OK");
}
