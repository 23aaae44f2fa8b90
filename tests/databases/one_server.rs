//! Before one server: every command that names a database, or is about one.

use super::client_in;
use super::support::{Flavor, Keyway, Server, each_flavor};

each_flavor!(
    every_reply_is_the_servers,
    a_pipeline_goes_from_one_to_another,
    what_it_sends_behind_goes_along,
    large_values_go_where_they_belong,
    a_script_selects_for_itself,
    blocking_is_for_one_database,
    transactions_are_of_one_database,
);

/// Every command that names a database, with every kind of index; and what is about one.
const REQUESTS: &[&str] = &[
    "MSET k v DB w {a} 1 {b} 2",
    "SELECT 0",
    "SELECT 1",
    "GET k",
    "SET only here",
    "DBSIZE",
    "SELECT 99999",
    "GET only",
    "SELECT 16",
    "SELECT 2147483647",
    "SELECT -1",
    "SELECT x",
    "SELECT 01",
    "SELECT +1",
    "SELECT 99999999999",
    "SELECT 99999999999999999999999",
    "SELECT",
    "SELECT 0 0",
    "select 15",
    "DBSIZE",
    "SELECT 0",
    "MOVE k 0",
    "MOVE k 3",
    "GET k",
    "MOVE missing 3",
    "MOVE k -1",
    "MOVE k x",
    "MOVE k 99999999999",
    "MOVE k",
    "SELECT 3",
    "GET k",
    "SELECT 0",
    "SWAPDB 0 0",
    "SWAPDB 0 3",
    "GET k",
    "DBSIZE",
    "SWAPDB 3 0",
    "SWAPDB 3 3",
    "SWAPDB x 3",
    "SWAPDB 3 x",
    "SWAPDB 0 16",
    "SWAPDB 0 99999999999",
    "SWAPDB 0",
    "SET k v",
    "COPY k copy DB 0",
    "COPY k copy DB 2",
    "COPY k copy db 2 REPLACE",
    "COPY k copy REPLACE DB 5",
    "COPY k copy DB 0 DB 2",
    "COPY k copy DB 16",
    "COPY k copy DB x",
    "COPY k copy DB 2 FOO",
    "COPY k copy DB",
    "COPY k k DB 2",
    "SELECT 5",
    "GET copy",
    "SCAN 0 COUNT 100",
    "RANDOMKEY",
    "KEYS *",
    "RENAME copy {x}copy",
    "FLUSHDB",
    "DBSIZE",
    "SELECT 2",
    "DBSIZE",
    "HELLO 2",
    "DBSIZE",
    "RESET",
    "GET k",
    "SELECT 2",
    "FLUSHALL",
    "DBSIZE",
];

/// contract: C5
fn every_reply_is_the_servers(flavor: Flavor) {
    let (server, model) = (Server::start(flavor), Server::start(flavor));
    let keyway = Keyway::start(&[server.addr()]);
    let (mut client, mut modelled) = (keyway.client(), model.client());
    for request in REQUESTS {
        let (got, want) = (client.call(request), modelled.call(request));
        if request.starts_with("HELLO") {
            continue;
        }
        assert_eq!(got.to_string(), want.to_string(), "{request}");
    }
    // In one write, and with a client that is in RESP3 and begins elsewhere.
    let (mut client, mut modelled) = (keyway.client_resp3(), model.client());
    modelled.call("HELLO 3");
    for client in [&mut client, &mut modelled] {
        client.expect("SELECT 7", "+OK");
    }
    // What `HELLO` says of the server, and the version it sets, are compared elsewhere.
    let requests: Vec<_> = REQUESTS
        .iter()
        .filter(|r| !r.starts_with("HELLO"))
        .collect();
    let (got, want) = (client.pipeline(&requests), modelled.pipeline(&requests));
    for ((request, got), want) in requests.iter().zip(got).zip(want) {
        assert_eq!(got.to_string(), want.to_string(), "{request}, in one write");
    }
}

/// contract: C5 P2
fn a_pipeline_goes_from_one_to_another(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = keyway.client();
    let (mut commands, mut expected) = (Vec::new(), Vec::new());
    let mut say = |command: String, reply: String| {
        commands.push(command);
        expected.push(reply);
    };
    for round in 0..20 {
        for database in [1, 0, 2, 15] {
            say(format!("SELECT {database}"), "+OK".to_owned());
            let value = format!("{database}:{round}");
            say(format!("SET a {value}"), "+OK".to_owned());
            say("GET a".to_owned(), format!("'{value}'"));
            say(
                "SELECT 99".to_owned(),
                "-ERR DB index is out of range".to_owned(),
            );
            say("GET a".to_owned(), format!("'{value}'"));
        }
    }
    let replies = client.pipeline(&commands);
    for ((command, reply), expected) in commands.iter().zip(&replies).zip(&expected) {
        assert_eq!(reply.to_string(), *expected, "{command}");
    }
    for database in [0, 1, 2, 15] {
        client_in(&keyway, database).expect("GET a", &format!("'{database}:19'"));
    }
    let keyspace = server.ok("INFO keyspace").text();
    assert_eq!(keyspace.matches("keys=1,").count(), 4, "{keyspace}");
}

/// Cut at any byte, without replies, and with the end of its input behind.
///
/// contract: P3 P4 P7
fn what_it_sends_behind_goes_along(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let bytes = b"SELECT 1\r\nSET a 1\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\nSET a 2\r\n";
    let mut client = keyway.client();
    for byte in bytes {
        client.send_raw([*byte]);
    }
    for _ in 0..4 {
        client.expect_next("+OK");
    }
    let mut client = keyway.client();
    client.send_raw(bytes.repeat(50));
    client.finish_sending();
    let replies = client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&replies), "+OK\r\n".repeat(200));
    let mut client = keyway.client();
    client.send("CLIENT REPLY OFF");
    client.send("SELECT 3");
    client.send("SET a 3");
    client.send("SELECT 16");
    client.send("INCR a");
    client.send("CLIENT REPLY ON");
    client.expect_next("+OK");
    client.expect("GET a", "'4'");
    client.send("CLIENT REPLY SKIP");
    client.send("SELECT 4");
    client.expect("SET a 5", "+OK");
    for (database, value) in [(1, "'1'"), (2, "'2'"), (3, "'4'"), (4, "'5'"), (0, "nil")] {
        client_in(&keyway, database).expect("GET a", value);
    }
}

/// contract: P8
fn large_values_go_where_they_belong(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = keyway.client();
    let value = |database: u8| vec![b'a' + database; 3 << 20];
    let mut bytes = Vec::new();
    for database in [1, 2] {
        let index = database.to_string();
        let set = [&b"SET"[..], b"large", &value(database)];
        bytes.extend(super::support::client::encode(&[
            b"SELECT",
            index.as_bytes(),
        ]));
        bytes.extend(super::support::client::encode(&set));
    }
    client.send_raw(&bytes);
    for _ in 0..4 {
        client.expect_next("+OK");
    }
    client.expect("SELECT 0", "+OK");
    client.expect("GET large", "nil");
    for database in [1, 2, 1] {
        client.expect(&format!("SELECT {database}"), "+OK");
        let got = client.call("GET large");
        assert!(got.bytes() == Some(&value(database)), "{database}");
    }
}

/// As on the server: a script's `SELECT` is its own.
///
/// contract: C1 T4
fn a_script_selects_for_itself(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = client_in(&keyway, 1);
    client.expect("SET a one", "+OK");
    let script = "redis.call('select', 4) return redis.call('incr', KEYS[1])";
    let words = ["EVAL", script, "1", "n"];
    for count in 1..4 {
        assert_eq!(client.call_args(&words).to_string(), format!(":{count}"));
        client.expect("GET a", "'one'");
        client.expect("GET n", "nil");
    }
    keyway.client().expect("GET n", "nil");
    client_in(&keyway, 4).expect("GET n", "'3'");
    let sha = client.call_args(&["SCRIPT", "LOAD", "return redis.call('get', KEYS[1])"]);
    let call = format!("EVALSHA {} 1 a", sha.text());
    server.ok("SCRIPT FLUSH");
    client.expect(&call, "'one'");
    client.expect("SELECT 0", "+OK");
    client.expect(&call, "nil");
}

/// contract: T5
fn blocking_is_for_one_database(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut waiting: Vec<_> = (0..3)
        .map(|database| client_in(&keyway, database))
        .collect();
    for client in &mut waiting {
        client.send("BLPOP list 0");
    }
    for database in [2, 0, 1] {
        // Behind whoever is not blocked yet it would be taken as well; in another database never.
        let mut pusher = client_in(&keyway, database);
        pusher.expect(&format!("RPUSH list {database}"), ":1");
        waiting[database].expect_next(&format!("['list' '{database}']"));
    }
    // Behind a request that blocks.
    let client = &mut waiting[1];
    client.send("BLPOP list 0");
    client.send("SELECT 2");
    client.send("DBSIZE");
    client_in(&keyway, 1).expect("RPUSH list x", ":1");
    client.expect_next("['list' 'x']");
    client.expect_next("+OK");
    client.expect_next(":0");
    client.expect("WAIT 0 10", ":0");
}

/// contract: T1 T3
fn transactions_are_of_one_database(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let (mut one, mut other) = (client_in(&keyway, 1), client_in(&keyway, 2));
    let mut first = keyway.client();
    // The same key elsewhere is another key.
    one.expect("WATCH a", "+OK");
    other.expect("SET a 2", "+OK");
    first.expect("SET a 0", "+OK");
    one.expect("MULTI", "+OK");
    one.expect("GET a", "+QUEUED");
    one.expect("SET a 1", "+QUEUED");
    // Where it is, it may stay.
    one.expect("SELECT 1", "+QUEUED");
    one.expect("SELECT x", "+QUEUED");
    one.expect("MOVE a 3", "+QUEUED");
    one.expect("DBSIZE", "+QUEUED");
    one.expect(
        "EXEC",
        "[nil +OK +OK -ERR value is not an integer or out of range :1 :0]",
    );
    one.expect("WATCH a", "+OK");
    client_in(&keyway, 1).expect("SET a changed", "+OK");
    one.expect("MULTI", "+OK");
    one.expect("SET a 1", "+QUEUED");
    one.expect("EXEC", "nil-array");
    one.expect("GET a", "'changed'");
    client_in(&keyway, 3).expect("GET a", "'1'");
}
