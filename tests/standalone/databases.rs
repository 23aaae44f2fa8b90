//! One server has several databases; through Keyway it has one.

use super::support::{Flavor, Keyway, Server, ServerOptions};

/// Every command that names a database, with every kind of index.
const REQUESTS: &[&str] = &[
    "SELECT 0",
    "SELECT 1",
    "SELECT 99999",
    "SELECT -1",
    "SELECT x",
    "SELECT 99999999999",
    "SELECT",
    "SELECT 0 0",
    "MOVE k 0",
    "MOVE k 3",
    "MOVE missing 3",
    "MOVE k -1",
    "MOVE k x",
    "MOVE k 99999999999",
    "MOVE k",
    "SWAPDB 0 0",
    "SWAPDB 0 5",
    "SWAPDB 5 0",
    "SWAPDB 3 3",
    "SWAPDB x 3",
    "SWAPDB 3 x",
    "SWAPDB 0 99999999999",
    "SWAPDB 0",
    "COPY k copy DB 0",
    "COPY k copy DB 2",
    "COPY k copy db 2 REPLACE",
    "COPY k copy REPLACE DB 2",
    "COPY k copy DB 0 DB 2",
    "COPY k copy DB 2 DB 0",
    "COPY k copy DB 2 DB x",
    "COPY k copy DB x",
    "COPY k copy DB 2 FOO",
    "COPY k copy FOO DB 2",
    "COPY k copy DB",
    "COPY missing copy DB 2",
    "COPY DB copy2 REPLACE",
    "COPY k k DB 2",
    "GET k",
    "GET copy",
    "DBSIZE",
];

/// Every reply is that of a server started with `databases 1`, also inside `MULTI`, and nothing leaves the database
/// that clients can reach.
///
/// contract: C5
#[test]
fn it_looks_like_a_server_with_one_database() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let model = Server::start_with(ServerOptions {
            flavor,
            config: vec!["databases 1".to_owned()],
            ..ServerOptions::default()
        });
        let keyway = Keyway::start(&[server.addr()]);
        let (mut client, mut modelled) = (keyway.client(), model.client());
        for request in ["MSET k v DB w"].iter().chain(REQUESTS) {
            let (got, want) = (client.call(request), modelled.call(request));
            assert_eq!(got.to_string(), want.to_string(), "{flavor:?}: {request}");
        }
        for request in REQUESTS {
            for line in ["MULTI", "SET before 1", request, "SET behind 1", "EXEC"] {
                let (got, want) = (client.call(line), modelled.call(line));
                assert_eq!(
                    got.to_string(),
                    want.to_string(),
                    "{flavor:?}: {line}, for {request} inside MULTI"
                );
            }
        }
        let keyspace = server.ok("INFO keyspace").to_string();
        assert!(
            keyspace.contains("db0:") && !keyspace.contains("db2:") && !keyspace.contains("db3:"),
            "{keyspace}"
        );
    }
}

/// Also when it is not known yet what answers.
///
/// contract: C5
#[test]
fn nothing_is_moved_before_the_server_is_known() {
    let server = Server::start(Flavor::Redis);
    server.ok("SET k v");
    server.pause();
    let keyway = Keyway::before(&[server.addr()]).start_unready();
    let mut client = keyway.client();
    client.send("MOVE k 3");
    keyway.client().expect("PING", "+PONG");
    server.resume();
    client.expect_next("-ERR DB index is out of range");
    client.expect("GET k", "'v'");
}
