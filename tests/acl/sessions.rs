//! Who a client is: `AUTH`, `HELLO`, `RESET`, and what is shown of it.

use crate::scene::Pair;
use crate::support::{Client, Flavor, Keyway, Scene, Server, each_flavor, eventually};

each_flavor!(
    becoming_somebody,
    a_default_user_that_needs_a_password,
    denials_are_logged,
    clients_are_shown_and_killed_by_user,
    keys_that_only_a_node_can_tell,
);

/// The same talk with Keyway and with a server.
fn alike(pair: &Pair, talk: &[&str]) {
    let mut clients = [pair.keyway.client(), pair.server.client()];
    for line in talk {
        let replies = clients
            .each_mut()
            .map(|client| client.call(line).to_string());
        assert_eq!(replies[0], replies[1], "{line}");
    }
}

/// contract: P7, C1
fn becoming_somebody(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    alike(
        pair,
        &[
            "ACL WHOAMI",
            "AUTH p",
            "AUTH reader wrong",
            "AUTH nobody p",
            "AUTH off p",
            "AUTH READER p",
            "AUTH reader",
            "AUTH reader p x",
            "ACL WHOAMI",
            "AUTH reader p",
            "ACL WHOAMI",
            "SET sessions:a 1",
            // A failing AUTH leaves one who one was.
            "AUTH reader wrong",
            "AUTH cache p",
            "ACL WHOAMI",
            "SET sessions:a 1",
            "SET cache:sessions 1",
            "AUTH nothing p",
            "ACL WHOAMI",
            "PING",
            "AUTH all p",
            "MULTI",
            "AUTH nothing p",
            "EXEC",
            "PING",
            "RESET",
            "ACL WHOAMI",
            "PING",
        ],
    );
    for hello in ["HELLO 3 AUTH off p", "HELLO 3 AUTH reader wrong SETNAME x"] {
        alike(pair, &[hello, "ACL WHOAMI", "CLIENT GETNAME"]);
    }
    let [own, server] = [pair.keyway.client(), pair.server.client()].map(|mut client| {
        assert!(!client.call("HELLO 3 AUTH channels p SETNAME x").is_error());
        ["ACL WHOAMI", "CLIENT GETNAME", "PUBLISH other m"]
            .map(|line| client.call(line).to_string())
    });
    assert_eq!(own, server);
}

/// contract: P5, P7
fn a_default_user_that_needs_a_password(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let server = Server::start(flavor);
    server.ok("ACL SETUSER reader on >p ~* +@read");
    let mut admin = server.client();
    server.ok("CONFIG SET requirepass sesame");
    let keyway = Keyway::before(&Scene::shared(flavor).cluster.seeds())
        .set("listen.password", "\"sesame\"")
        .env("KEYWAY_USERS_1_NAME", "reader")
        .env("KEYWAY_USERS_1_RULES", "on ~* +@read")
        .env("KEYWAY_USERS_1_PASSWORD", "p")
        .start();
    let mut clients = [keyway.client(), Client::connect(server.addr())];
    for line in [
        "PING",
        "GET a",
        "MULTI",
        "EXEC",
        "DISCARD",
        "SUBSCRIBE a",
        "ACL WHOAMI",
        "CLIENT ID",
        "NOSUCH",
        "GET",
        "HELLO 3",
        "AUTH wrong",
        "AUTH default p",
        "AUTH reader p",
        "ACL WHOAMI",
        "SET a 1",
        "RESET",
        "GET a",
        "AUTH sesame",
        "ACL WHOAMI",
        "SET a 1",
        "RESET",
        "SET a 1",
    ] {
        let replies = clients
            .each_mut()
            .map(|client| client.call(line).to_string());
        // Valkey 9 asks who it is before it says what is wrong with a request.
        if replies[1].starts_with("-NOAUTH") && replies[0].starts_with("-ERR") {
            assert!(flavor == Flavor::Valkey && flavor.is_since(9, 0), "{line}");
            continue;
        }
        assert_eq!(replies[0], replies[1], "{line}");
    }
    admin.expect("AUTH sesame", "+OK");
    assert!(keyway.metric("keyway_auth_failures_total") >= 2.0);
    assert!(!keyway.log().contains("sesame"));
}

fn denials_are_logged(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let server = Server::start(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .env("KEYWAY_USERS_1_NAME", "app")
        .env("KEYWAY_USERS_1_RULES", "on >p ~app:* &app +@all -flushall")
        .start();
    server.ok("ACL SETUSER app on >p ~app:* &app +@all -flushall");
    let logs = [keyway.addr(), server.addr()].map(|addr| {
        let mut client = Client::connect(addr);
        client.expect_error("AUTH app wrong", "WRONGPASS");
        client.expect_error("AUTH app wrong", "WRONGPASS");
        client.expect("AUTH app p", "+OK");
        for line in [
            "FLUSHALL",
            "GET other",
            "GET other",
            "PUBLISH other m",
            "SUBSCRIBE x",
        ] {
            client.expect_error(line, "NOPERM");
        }
        client.expect("MULTI", "+OK");
        client.expect_error("GET other", "NOPERM");
        client.expect_error("EXEC", "EXECABORT");
        let mut admin = Client::connect(addr);
        let log = admin.call("ACL LOG");
        let shown: Vec<String> = log
            .items()
            .iter()
            .map(|entry| {
                let field = |name: &str| {
                    entry
                        .field(name)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                };
                assert!(field("client-info").contains("addr="), "{entry}");
                ["count", "reason", "context", "object", "username"]
                    .map(field)
                    .join(" ")
            })
            .collect();
        assert_eq!(admin.call("ACL LOG 1").items().len(), 1);
        admin.expect("ACL LOG -5", "[]");
        admin.expect_error("ACL LOG x", "ERR value is not an integer");
        admin.expect("ACL LOG RESET", "+OK");
        admin.expect("ACL LOG", "[]");
        shown
    });
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0].len(), 6, "{logs:?}");
}

/// contract: C2
fn clients_are_shown_and_killed_by_user(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    let keyway = &pair.keyway;
    let mut admin = keyway.client();
    let mut victim = keyway.client();
    victim.expect("AUTH writer p", "+OK");
    let mine = victim.call("SET sessions:kill 1").to_string();
    assert_eq!(mine, "+OK");
    let list = admin.call("CLIENT LIST").text();
    assert!(
        list.lines().any(|line| line.contains(" user=writer ")),
        "{list}"
    );
    admin.expect_error("CLIENT KILL USER nobody", "ERR No such user 'nobody'");
    let killed = admin.call("CLIENT KILL USER writer").integer();
    assert!(killed >= 1);
    eventually("it is closed", std::time::Duration::from_secs(20), || {
        victim.try_call(&["PING"]).is_err()
    });
}

/// Keys that are told by a node (`EVAL`-like commands of modules) are judged like any others; here by what the table
/// says of `COMMAND GETKEYS`, which needs a permission of its own.
fn keys_that_only_a_node_can_tell(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    let [mut own, mut server] = pair.clients("cache");
    for line in [
        "COMMAND GETKEYSANDFLAGS SET cache:a v",
        "COMMAND GETKEYSANDFLAGS SET other v",
        "COMMAND GETKEYS SET other v",
    ] {
        assert_eq!(
            own.call(line).to_string(),
            server.call(line).to_string(),
            "{line}"
        );
    }
}
