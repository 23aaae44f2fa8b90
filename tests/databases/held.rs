//! Whoever holds something of a connection ends that before it selects another database.

use super::support::{Flavor, Keyway, Server, each_flavor};
use super::{client_in, client_resp3_in};

each_flavor!(
    who_holds_a_connection_ends_that_first,
    nothing_of_such_a_transaction_is_carried_out,
    whoever_becomes_another_user_stays,
);

/// contract: C1
fn who_holds_a_connection_ends_that_first(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = client_resp3_in(&keyway, 3);
    client.expect("SET where three", "+OK");
    for (begin, end, words) in [
        ("WATCH bound", "UNWATCH", "watches keys"),
        ("CLIENT TRACKING on", "CLIENT TRACKING off", "tracks keys"),
        ("SUBSCRIBE bound", "UNSUBSCRIBE bound", "is subscribed"),
    ] {
        assert!(!client.call(begin).is_error(), "{begin}");
        client.expect("SELECT 99", "-ERR DB index is out of range");
        for other in ["SELECT 0", "SELECT 1"] {
            let refusal = client.call(other).to_string();
            assert!(
                refusal.starts_with("-ERR") && refusal.contains(words),
                "{begin}: {refusal}"
            );
        }
        client.expect("GET where", "'three'");
        client.expect("SELECT 3", "+OK");
        assert!(!client.call(end).is_error(), "{end}");
    }
    client.expect("SELECT 1", "+OK");
    client.expect("GET where", "null");
    // `RESET` ends all of it, and leads to where every connection begins.
    keyway.client().expect("SET where zero", "+OK");
    for begin in [
        "WATCH bound",
        "CLIENT TRACKING on",
        "SUBSCRIBE bound",
        "MULTI",
        "MONITOR",
    ] {
        client.call("HELLO 3");
        client.expect("SELECT 3", "+OK");
        assert!(!client.call(begin).is_error(), "{begin}");
        // What a monitor is shown comes in between.
        client.send("RESET");
        while client.read().to_string() != "+RESET" {}
        client.expect("GET where", "'zero'");
    }
}

/// contract: C1 T1
fn nothing_of_such_a_transaction_is_carried_out(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let mut client = keyway.client();
    for other in ["SELECT 1", "SELECT 99", "SELECT -1"] {
        client.expect("MULTI", "+OK");
        client.expect("SET before 1", "+QUEUED");
        let refusal = client.call(other).to_string();
        assert!(refusal.contains("send EXEC or DISCARD first"), "{refusal}");
        client.expect("SET behind 1", "+QUEUED");
        client.expect_error("EXEC", "EXECABORT");
        client.expect("EXISTS before behind", ":0");
    }
    assert_eq!(server.ok("INFO keyspace").text().matches("db").count(), 0);
}

/// contract: P7
fn whoever_becomes_another_user_stays(flavor: Flavor) {
    let server = Server::start(flavor);
    let keyway = Keyway::before(&[server.addr()])
        .env("KEYWAY_USERS_1_NAME", "a")
        .env("KEYWAY_USERS_1_RULES", "on ~* &* +@all")
        .env("KEYWAY_USERS_1_PASSWORD", "p")
        .start();
    client_in(&keyway, 2).expect("SET where two", "+OK");
    let mut client = client_in(&keyway, 2);
    client.expect("AUTH a p", "+OK");
    client.expect("GET where", "'two'");
    assert!(!client.call("HELLO 3 AUTH default any").is_error());
    client.expect("GET where", "'two'");
    client.expect("RESET", "+RESET");
    client.expect("GET where", "nil");
}
