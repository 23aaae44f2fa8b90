//! What is said of databases, and what comes from all of them.

use super::support::{Flavor, Keyway, Server, ServerOptions, Value, each_flavor};
use super::{client_in, client_resp3_in};

each_flavor!(
    who_is_connected_is_seen_from_everywhere,
    monitors_see_all_databases,
    messages_are_of_no_database,
    notifications_name_the_database,
    what_is_tracked_is_forgotten_in_all_databases,
);

/// contract: C2
fn who_is_connected_is_seen_from_everywhere(flavor: Flavor) {
    let server = Server::start(flavor);
    for workers in [1, 2] {
        let keyway = Keyway::before(&[server.addr()])
            .set("proxy.workers", &workers.to_string())
            .start();
        let mut clients: Vec<_> = (0..4)
            .map(|database| client_in(&keyway, database))
            .collect();
        for (database, client) in clients.iter_mut().enumerate() {
            let info = client.call("CLIENT INFO").text();
            assert!(info.contains(&format!(" db={database} ")), "{info}");
            let list = client.call("CLIENT LIST").text();
            let own = list.lines().filter(|line| line.contains(" db="));
            assert_eq!(own.count(), 4, "{list}");
            for other in 0..4 {
                assert!(list.contains(&format!(" db={other} ")), "{list}");
            }
        }
        let id = clients[3].call("CLIENT ID").integer();
        clients[3].send("BLPOP nothing 0");
        let unblock = format!("CLIENT UNBLOCK {id}");
        super::support::eventually("it is blocked", super::SOON, || {
            clients[1].call(&unblock).integer() == 1
        });
        clients[3].expect_next("nil-array");
        clients[2].expect(&format!("CLIENT KILL ID {id}"), ":1");
        clients[3].expect_closed();
        // A pause is everybody's.
        clients[2].expect("CLIENT PAUSE 100000 WRITE", "+OK");
        clients[1].send("SET paused 1");
        clients[0].send("SET paused 0");
        clients[2].expect("GET paused", "nil");
        clients[2].expect("CLIENT UNPAUSE", "+OK");
        clients[1].expect_next("+OK");
        clients[0].expect_next("+OK");
        client_in(&keyway, 0).expect("FLUSHALL", "+OK");
    }
}

/// contract: S7
fn monitors_see_all_databases(flavor: Flavor) {
    let (server, model) = (Server::start(flavor), Server::start(flavor));
    let keyway = Keyway::before(&[server.addr()])
        .set("proxy.workers", "2")
        .start();
    let lines = [
        "SELECT 2",
        "SET a 1",
        "SELECT 0",
        "GET a",
        "SELECT 3",
        "SELECT 99",
        "MULTI",
        "SET b 1",
        "EXEC",
        "RESET",
        "GET a",
        "SELECT 1",
        "ECHO mark",
    ];
    let mut want = model.client();
    let mut got = [0, 2, 5].map(|database| client_in(&keyway, database));
    want.expect("MONITOR", "+OK");
    for monitor in &mut got {
        monitor.expect("MONITOR", "+OK");
    }
    let (mut theirs, mut ours) = (model.client(), keyway.client());
    for line in lines {
        assert_eq!(ours.call(line).to_string(), theirs.call(line).to_string());
    }
    let want = until_mark(&mut want);
    assert_eq!(want.len(), lines.len(), "{want:?}");
    for monitor in &mut got {
        assert_eq!(until_mark(monitor), want);
    }
}

/// The lines a monitor is shown, without time and address.
fn until_mark(monitor: &mut super::Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = monitor.read().to_string();
        let (_, line) = line.split_once('[').expect("the database");
        let (database, rest) = line.split_once(' ').expect("the address");
        let (_, command) = rest.split_once("] ").expect("the command");
        lines.push(format!("{database} {command}"));
        if command.contains("mark") {
            return lines;
        }
    }
}

/// contract: S1 S4
fn messages_are_of_no_database(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut listeners: Vec<_> = (0..3)
        .map(|database| client_in(&keyway, database))
        .collect();
    for client in &mut listeners {
        client.expect("SUBSCRIBE news", "['subscribe' 'news' :1]");
    }
    for database in 0..4 {
        client_in(&keyway, database).expect("PUBLISH news x", ":3");
        for client in &mut listeners {
            client.expect_next("['message' 'news' 'x']");
        }
    }
    client_in(&keyway, 5).expect("PUBSUB NUMSUB news", "['news' :3]");
}

/// contract: S3
fn notifications_name_the_database(flavor: Flavor) {
    let server = Server::start_with(ServerOptions {
        flavor,
        config: vec!["notify-keyspace-events KEA".to_owned()],
        ..ServerOptions::default()
    });
    let keyway = Keyway::start(&[server.addr()]);
    let (mut here, mut elsewhere) = (client_in(&keyway, 3), keyway.client());
    here.expect(
        "SUBSCRIBE __keyspace@3__:a",
        "['subscribe' '__keyspace@3__:a' :1]",
    );
    elsewhere.expect(
        "PSUBSCRIBE __keyevent@*__:set",
        "['psubscribe' '__keyevent@*__:set' :1]",
    );
    for database in [3, 1, 0] {
        client_in(&keyway, database).expect("SET a 1", "+OK");
        let event = format!("__keyevent@{database}__:set");
        elsewhere.expect_next(&format!("['pmessage' '__keyevent@*__:set' '{event}' 'a']"));
    }
    here.expect_next("['message' '__keyspace@3__:a' 'set']");
    client_in(&keyway, 3).expect("DEL a", ":1");
    here.expect_next("['message' '__keyspace@3__:a' 'del']");
}

/// As on the server, which remembers keys without their database.
///
/// contract: S6
fn what_is_tracked_is_forgotten_in_all_databases(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut tracker = client_resp3_in(&keyway, 2);
    tracker.expect("SET a two", "+OK");
    for writer in [2, 5, 0] {
        tracker.expect("CLIENT TRACKING on", "+OK");
        tracker.expect("GET a", "'two'");
        client_in(&keyway, writer).expect("SET a two", "+OK");
        match tracker.read() {
            Value::Push(items) => assert_eq!(items[0].text(), "invalidate"),
            other => panic!("{writer}: {other}"),
        }
        tracker.expect("CLIENT TRACKING off", "+OK");
    }
}
