//! Clients are whom they say to be, if the nodes agree.

use std::thread;

use crate::scene::{DEADLINE, connections_of, own, passing_through, shared};
use crate::support::{Client, Flavor, Keyway, each_flavor, eventually, eventually_none};

each_flavor!(
    each_command_goes_as_its_user,
    the_nodes_say_who_comes_in,
    nobody_does_anything_before,
    hello_that_fails_changes_nothing,
    in_the_middle_of_a_pipeline,
    users_see_their_own,
    what_is_about_users_is_the_nodes,
    wrong_passwords_are_slowed_and_counted,
    only_so_many_users,
    under_load_nothing_crosses,
    a_password_that_is_changed_at_the_nodes,
    no_node_to_ask,
);

fn client(keyway: &Keyway, user: &str) -> Client {
    let mut client = keyway.client();
    client.expect(&format!("AUTH up-{user} p{user}"), "+OK");
    client
}

fn keyway(flavor: Flavor) -> Keyway {
    passing_through(shared(flavor))
        .set("proxy.workers", "2")
        .start()
}

/// contract: C1
fn each_command_goes_as_its_user(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    for (client, own, other) in [(&mut a, "a", "b"), (&mut b, "b", "a")] {
        client.expect("ACL WHOAMI", &format!("'up-{own}'"));
        client.expect(&format!("MSET {own}:pt:1 x {own}:pt:2 y"), "+OK");
        client.expect(&format!("MGET {own}:pt:1 {own}:pt:2"), "['x' 'y']");
        client.expect_error(&format!("GET {other}:pt:1"), "NOPERM");
        client.expect_error("GET service:pt", "NOPERM");
        client.expect(&format!("BLPOP {own}:pt:nothing 0.01"), "nil-array");
        client.expect_error(&format!("BLPOP {other}:pt:nothing 0.01"), "NOPERM");
        client.expect("MULTI", "+OK");
        client.expect(&format!("GET {own}:pt:1"), "+QUEUED");
        client.expect("EXEC", "['x']");
        client.expect_error(&format!("SUBSCRIBE {other}:pt"), "NOPERM");
        client.expect(
            &format!("SUBSCRIBE {own}:pt"),
            &format!("['subscribe' '{own}:pt' :1]"),
        );
    }
    client(&keyway, "a").expect("PUBLISH a:pt m", ":1");
    a.expect_next("['message' 'a:pt' 'm']");
    assert!(!connections_of(shared(flavor), "up-b").is_empty());
}

/// contract: P7
fn the_nodes_say_who_comes_in(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut client = keyway.client();
    for wrong in [
        "AUTH up-a wrong",
        "AUTH nobody p",
        "AUTH up-a pb",
        "AUTH up-a \"\"",
    ] {
        client.expect_error(wrong, "WRONGPASS");
        client.expect_error("GET a:x", "NOAUTH");
    }
    client.expect_error("AUTH a b c", "ERR syntax error");
    client.expect("AUTH up-a pa", "+OK");
    // The nodes' default user needs no password, so any is right.
    let mut default = keyway.client();
    default.expect("AUTH default anything", "+OK");
    default.expect("ACL WHOAMI", "'default'");
    default.expect("SET any:thing 1", "+OK");
    client.expect("SET a:in 1", "+OK");
    client.expect_error("SET any:thing 2", "NOPERM");
}

/// contract: P5 P7
fn nobody_does_anything_before(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut client = keyway.client();
    for command in [
        "PING",
        "GET a:x",
        "CLIENT LIST",
        "MONITOR",
        "SUBSCRIBE x",
        "MULTI",
        "INFO",
    ] {
        client.expect_error(command, "NOAUTH");
    }
    client.expect_error("HELLO 3", "NOAUTH");
    client.expect("AUTH up-a pa", "+OK");
    client.expect("SET a:x 1", "+OK");
    client.expect("RESET", "+RESET");
    client.expect_error("GET a:x", "NOAUTH");
    client.expect("AUTH up-b pb", "+OK");
    client.expect_error("GET a:x", "NOPERM");
}

/// contract: P7
fn hello_that_fails_changes_nothing(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut client = client(&keyway, "a");
    client.expect_error("HELLO 3 AUTH up-b wrong SETNAME x", "WRONGPASS");
    client.expect_error("HELLO 4 AUTH up-b pb", "NOPROTO");
    client.expect_error("HELLO 3 AUTH up-b pb NOSUCH", "ERR Syntax error in HELLO");
    client.expect("CLIENT GETNAME", "nil");
    client.expect("ACL WHOAMI", "'up-a'");
    client.expect("SET a:hello 1", "+OK");
    let hello = client.call("HELLO 3 AUTH up-b pb SETNAME x");
    assert!(!hello.is_error(), "{hello}");
    client.expect("CLIENT GETNAME", "'x'");
    client.expect("SET b:hello 1", "+OK");
}

/// contract: P2 C1
fn in_the_middle_of_a_pipeline(flavor: Flavor) {
    let keyway = passing_through(shared(flavor))
        .set("acl.auth_failures", "0")
        .start();
    let mut commands = Vec::new();
    let mut expected = Vec::new();
    for round in 0..10 {
        for (command, reply) in [
            ("AUTH up-a pa".to_owned(), "+OK"),
            (format!("SET a:pipe:{round} a"), "+OK"),
            ("AUTH up-b wrong".to_owned(), "-WRONGPASS"),
            (format!("GET a:pipe:{round}"), "'a'"),
            ("HELLO 2 AUTH up-b pb".to_owned(), ""),
            (format!("GET a:pipe:{round}"), "-NOPERM"),
            (format!("SET b:pipe:{round} b"), "+OK"),
            ("RESET".to_owned(), "+RESET"),
            (format!("GET b:pipe:{round}"), "-NOAUTH"),
        ] {
            commands.push(command);
            expected.push(reply);
        }
    }
    let replies = keyway.client().pipeline(&commands);
    for ((command, reply), expected) in commands.iter().zip(&replies).zip(expected) {
        let reply = reply.to_string();
        assert!(
            reply.starts_with(expected),
            "{command}: {reply} and not {expected}"
        );
    }
}

/// contract: C2 S7
fn users_see_their_own(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut other_a, mut b) = (
        client(&keyway, "a"),
        client(&keyway, "a"),
        client(&keyway, "b"),
    );
    other_a.expect("SET a:own 1", "+OK");
    b.expect("SET b:own 1", "+OK");
    let list = a.call("CLIENT LIST").text();
    assert_eq!(list.matches(" user=up-a ").count(), 2, "{list}");
    assert_eq!(list.matches(" user=").count(), 2, "{list}");
    a.expect("CLIENT KILL USER up-b", ":0");
    a.expect_error("CLIENT PAUSE 1000", "ERR this is refused by Keyway");
    let mut monitor = client(&keyway, "a");
    monitor.expect("MONITOR", "+OK");
    b.expect("SET b:secret 1", "+OK");
    a.expect("SET a:shown 1", "+OK");
    let line = monitor.read().to_string();
    assert!(line.contains("a:shown"), "{line}");
}

/// contract: C6
fn what_is_about_users_is_the_nodes(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut a = client(&keyway, "a");
    let users = a.call("ACL USERS").to_string();
    assert!(
        users.contains("'up-b'") && users.contains("'service'"),
        "{users}"
    );
    a.expect("MULTI", "+OK");
    a.expect("ACL USERS", "+QUEUED");
    let reply = a.call("EXEC").to_string();
    assert!(reply.contains("not possible inside MULTI"), "{reply}");
}

fn wrong_passwords_are_slowed_and_counted(flavor: Flavor) {
    let keyway = passing_through(shared(flavor))
        .set("acl.auth_failures", "3")
        .start();
    let mut guesser = keyway.client();
    for _ in 0..4 {
        guesser.expect_error("AUTH up-a guess", "WRONGPASS");
    }
    let asked = std::time::Instant::now();
    // The right one has to wait as well.
    guesser.expect("AUTH up-a pa", "+OK");
    assert!(asked.elapsed().as_millis() >= 500, "{:?}", asked.elapsed());
    assert_eq!(keyway.metric("keyway_auth_failures_total"), 4.0);
    assert!(
        keyway.log().contains("a wrong password"),
        "{}",
        keyway.log()
    );
    assert!(!keyway.log().contains("guess"), "{}", keyway.log());
}

fn only_so_many_users(flavor: Flavor) {
    let keyway = passing_through(shared(flavor))
        .set("limits.identities", "1")
        .start();
    let mut a = client(&keyway, "a");
    a.expect("SET a:limit 1", "+OK");
    let mut b = keyway.client();
    b.expect_error("AUTH up-b pb", "ERR the password is right, but 1 users");
    b.expect_error("GET b:limit", "NOAUTH");
    b.expect_error("AUTH up-b wrong", "WRONGPASS");
    client(&keyway, "a").expect("GET a:limit", "'1'");
    assert_eq!(keyway.metric("keyway_identities_refused_total"), 1.0);
    assert_eq!(keyway.metric("keyway_identities"), 1.0);
    drop(a);
    eventually("there is room again", DEADLINE, || {
        b.call("AUTH up-b pb").to_string() == "+OK"
    });
    b.expect("SET b:limit 1", "+OK");
}

/// contract: C1
fn under_load_nothing_crosses(flavor: Flavor) {
    let keyway = passing_through(shared(flavor))
        .set("proxy.workers", "2")
        .start();
    let keyway = &keyway;
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let (user, other) = [("a", "b"), ("b", "a")][number % 2];
                for round in 0..20 {
                    let mut client = client(keyway, user);
                    let value = format!("'{user}-{number}-{round}'");
                    for _ in 0..10 {
                        client.expect(
                            &format!("SET {user}:ptl:{number} {user}-{number}-{round}"),
                            "+OK",
                        );
                        client.expect(&format!("GET {user}:ptl:{number}"), &value);
                        client.expect_error(&format!("GET {other}:ptl:{number}"), "NOPERM");
                    }
                }
            });
        }
    });
}

/// The connections that are open go on, as on one server; when they are lost, clients hear at once what to do, and
/// the nodes are not asked again and again.
fn a_password_that_is_changed_at_the_nodes(flavor: Flavor) {
    let cluster = own(flavor);
    let keyway = passing_through(&cluster).start();
    let mut a = client(&keyway, "a");
    a.expect("SET a:rotated 1", "+OK");
    for node in cluster.nodes() {
        node.ok("ACL SETUSER up-a >new <pa");
        node.ok("ACL LOG RESET");
    }
    a.expect("GET a:rotated", "'1'");
    keyway.client().expect_error("AUTH up-a pa", "WRONGPASS");
    for node in cluster.nodes() {
        node.call("CLIENT KILL USER up-a");
    }
    eventually("it is told", DEADLINE, || {
        let reply = a.call("GET a:rotated").to_string();
        reply.starts_with("-NOAUTH") && reply.contains("authenticate again")
    });
    for _ in 0..500 {
        a.expect_error("GET a:rotated", "NOAUTH");
    }
    a.expect_error("BLPOP a:nothing 0", "NOAUTH");
    a.expect_error("SUBSCRIBE a:news", "NOAUTH");
    // Entries that are alike are one with a count.
    let attempts = |log: &str| -> usize {
        let counts = log.split("'count' :").skip(1);
        let digits = counts.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits
            .filter_map(|digits| digits.parse::<usize>().ok())
            .sum()
    };
    let logs = cluster.nodes().iter().map(|node| node.ok("ACL LOG 1000"));
    let attempts: usize = logs.map(|log| attempts(&log.to_string())).sum();
    assert!((3..100).contains(&attempts), "{attempts} attempts");
    a.expect_error("AUTH up-a pa", "WRONGPASS");
    a.expect("AUTH up-a new", "+OK");
    a.expect("GET a:rotated", "'1'");
    a.expect("BLPOP a:nothing 0.01", "nil-array");
}

fn no_node_to_ask(flavor: Flavor) {
    let cluster = own(flavor);
    let keyway = passing_through(&cluster)
        .set("upstream.connect_timeout", "\"200ms\"")
        .set("timeouts.handshake", "\"200ms\"")
        .set("timeouts.request", "\"1s\"")
        .start();
    for index in 0..cluster.nodes().len() {
        cluster.pause(index);
    }
    let mut client = keyway.client();
    client.expect_error("AUTH up-a pa", "ERR the password cannot be verified");
    client.expect_error("GET a:x", "NOAUTH");
    for index in 0..cluster.nodes().len() {
        cluster.resume(index);
    }
    eventually_none("it is let in", DEADLINE, || {
        let reply = client.call("AUTH up-a pa").to_string();
        (reply != "+OK").then_some(reply)
    });
    eventually("it is served", DEADLINE, || {
        client.call("SET a:x 1").to_string() == "+OK"
    });
}
