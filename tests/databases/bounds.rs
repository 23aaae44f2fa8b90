//! How many databases have connections.

use super::support::{Flavor, Keyway, Server, eventually};
use super::{SOON, client_in};

fn databases(keyway: &Keyway) -> f64 {
    keyway.metric("keyway_databases")
}

/// contract: F6
#[test]
fn one_too_many_is_refused_until_another_is_deserted() {
    let server = Server::start(Flavor::Redis);
    let keyway = Keyway::before(&[server.addr()])
        .set("limits.databases", "2")
        .start();
    let (one, mut two) = (client_in(&keyway, 1), client_in(&keyway, 2));
    two.expect("SET where two", "+OK");
    let mut third = keyway.client();
    third.expect("SET where zero", "+OK");
    let refusal = third.call("SELECT 3").to_string();
    assert!(
        refusal.starts_with("-ERR") && refusal.contains("limits.databases"),
        "{refusal}"
    );
    assert_eq!(third.read_to_end(), b"", "nothing is carried out elsewhere");
    let mut third = keyway.client();
    third.expect("GET where", "'zero'");
    // That there is none is said first, and where others are there is room.
    third.expect("SELECT 16", "-ERR DB index is out of range");
    third.expect("SELECT 2", "+OK");
    third.expect("GET where", "'two'");
    assert_eq!(keyway.metric("keyway_databases_refused_total"), 1.0);
    assert_eq!(databases(&keyway), 2.0);
    drop(one);
    // At once, although they may idle for longer.
    eventually("another makes room", SOON, || {
        let mut third = keyway.client();
        third.call("SELECT 3").to_string() == "+OK" && third.call("GET where").to_string() == "nil"
    });
    two.expect("GET where", "'two'");
    assert_eq!(databases(&keyway), 2.0);
}

#[test]
fn none_but_the_first_if_that_is_wanted() {
    let server = Server::start(Flavor::Redis);
    let keyway = Keyway::before(&[server.addr()])
        .set("limits.databases", "0")
        .start();
    let mut client = keyway.client();
    client.expect("SELECT 0", "+OK");
    client.expect("SET where zero", "+OK");
    client.expect_error("SELECT 1", "ERR the server has this database");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn connections_nobody_needs_are_closed() {
    let server = Server::start(Flavor::Redis);
    let keyway = Keyway::before(&[server.addr()])
        .set("upstream.identity_idle", "\"1s\"")
        .start();
    let in_database = |database: usize| {
        let list = server.ok("CLIENT LIST").text();
        list.matches(&format!(" db={database} ")).count()
    };
    for _ in 0..2 {
        let mut client = client_in(&keyway, 3);
        client.expect("SET a 1", "+OK");
        assert!(in_database(3) > 0);
        assert_eq!(databases(&keyway), 1.0);
        // Whoever goes elsewhere has left as well.
        client.expect("SELECT 4", "+OK");
        client.expect("SET a 1", "+OK");
        eventually("those of the first are closed", SOON, || {
            in_database(3) == 0 && databases(&keyway) == 1.0
        });
        assert!(in_database(4) > 0);
        drop(client);
        eventually("those of the second as well", SOON, || {
            in_database(4) == 0 && databases(&keyway) == 0.0
        });
    }
}
