//! Two workers, one set of clients (contract: C2).

use super::DEADLINE;
use super::support::{Client, FakeCluster, Keyway, eventually};

/// A Keyway with two workers and six clients, three for each.
fn scene() -> (FakeCluster, Keyway, Vec<Client>) {
    let fake = FakeCluster::start(3);
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.workers", "2")
        .start();
    let clients = (0..6)
        .map(|number| {
            let mut client = keyway.client();
            client.expect(&format!("CLIENT SETNAME number-{number}"), "+OK");
            client
        })
        .collect();
    (fake, keyway, clients)
}

/// One field of each line.
fn field(list: &str, name: &str) -> Vec<String> {
    let start = format!("{name}=");
    let mut found: Vec<String> = list
        .lines()
        .filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix(&start)))
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

#[test]
fn both_workers_serve() {
    let (_fake, keyway, mut clients) = scene();
    for worker in 0..2 {
        let name = format!("keyway_worker_clients{{worker=\"{worker}\"}}");
        assert!((keyway.metric(&name) - 3.0).abs() < 0.1, "{name}");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("ECHO {number}"), &format!("'{number}'"));
        assert!(!client.call(&format!("GET {number}")).is_error());
    }
    for worker in 0..2 {
        let name = format!("keyway_worker_requests_total{{worker=\"{worker}\"}}");
        assert!(keyway.metric(&name) >= 3.0, "{name}");
    }
}

/// contract: C2
#[test]
fn every_client_sees_all_clients() {
    let (_fake, keyway, mut clients) = scene();
    let names: Vec<String> = (0..6).map(|number| format!("number-{number}")).collect();
    let mut addrs: Vec<String> = clients
        .iter()
        .map(|client| client.local_addr().to_string())
        .collect();
    addrs.sort();
    for client in &mut clients {
        let list = client.call("CLIENT LIST").text();
        assert_eq!(field(&list, "name"), names);
        assert_eq!(field(&list, "addr"), addrs);
        let mut ids = field(&list, "id");
        ids.dedup();
        assert_eq!(ids.len(), 6, "an id is given once: {list}");
        let own = client.call("CLIENT ID").integer();
        assert!(ids.contains(&own.to_string()), "{own} in {list}");
        let one = client.call(&format!("CLIENT LIST ID {own}")).text();
        assert_eq!(field(&one, "addr"), [client.local_addr().to_string()]);
    }
    let mut resp3 = keyway.client_resp3();
    let list = resp3.call("CLIENT LIST").text();
    assert_eq!(field(&list, "name").len(), 7);
    assert_eq!(clients[0].call("CLIENT LIST TYPE pubsub").text(), "");
}

/// contract: C2
#[test]
fn every_client_can_kill_every_other() {
    let (_fake, keyway, mut clients) = scene();
    // The first two are at different workers, whichever comes first.
    let mut killer = clients.remove(0);
    for mut victim in clients.drain(..2) {
        let id = victim.call("CLIENT ID").integer();
        killer.expect(&format!("CLIENT KILL ID {id}"), ":1");
        victim.expect_closed();
        killer.expect(&format!("CLIENT KILL ID {id}"), ":0");
    }
    for mut victim in clients.drain(..2) {
        let addr = victim.local_addr();
        killer.expect(&format!("CLIENT KILL {addr}"), "+OK");
        victim.expect_closed();
        killer.expect(&format!("CLIENT KILL {addr}"), "-ERR No such client");
    }
    // One other is left, then the killer itself: its own reply comes before the close.
    killer.expect("CLIENT KILL TYPE normal", ":1");
    clients.remove(0).expect_closed();
    let mut last = keyway.client();
    last.expect("PING", "+PONG");
    killer.expect("CLIENT KILL TYPE normal SKIPME no", ":2");
    killer.expect_closed();
    last.expect_closed();
    eventually("nobody is counted any more", DEADLINE, || {
        keyway.metric("keyway_clients") < 0.5
    });
}

/// A killed client's requests are on their way already: they happen, and nobody else gets their
/// replies.
/// contract: C2 F3
#[test]
fn killing_a_client_with_requests_in_flight_disturbs_nobody() {
    let (_fake, _keyway, mut clients) = scene();
    let mut killer = clients.remove(0);
    for mut victim in clients.drain(..4) {
        let id = victim.call("CLIENT ID").integer();
        victim.send_raw("GET victim\r\n".repeat(500));
        killer.send_raw(format!(
            "ECHO before\r\nCLIENT KILL ID {id}\r\nGET own\r\nECHO after\r\n"
        ));
        killer.expect_next("'before'");
        killer.expect_next(":1");
        assert!(!killer.read().is_error());
        killer.expect_next("'after'");
    }
}
