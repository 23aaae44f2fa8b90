//! Keys by where they live, and nodes that say what they were asked for.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use keyway::cluster::Slot;

use super::support::{Action, FakeCluster, FakeNode, Keyway};

/// The slot of a key.
pub fn slot(key: &str) -> u16 {
    Slot::of_key(key.as_bytes()).number()
}

/// Some keys that belong to a node of so many primaries, each in a slot of its own.
pub fn keys_of(node: usize, primaries: usize, count: usize) -> Vec<String> {
    let share = |index: usize| (index * Slot::COUNT / primaries) as u16;
    let range = share(node)..share(node + 1);
    let mut slots = std::collections::BTreeSet::new();
    let names = (0..).map(|number: u32| format!("key-{number}"));
    names
        .filter(|name| range.contains(&slot(name)) && slots.insert(slot(name)))
        .take(count)
        .collect()
}

/// A key of a node.
pub fn key_of(node: usize, primaries: usize) -> String {
    keys_of(node, primaries, 1).remove(0)
}

/// Primaries, and a Keyway before them with one worker and a deadline of `seconds`.
pub fn scene(primaries: usize, seconds: &str) -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(primaries);
    let keyway = before(&fake, seconds);
    (fake, keyway)
}

/// A Keyway with one worker and this deadline (`1s`).
pub fn before(fake: &FakeCluster, deadline: &str) -> Keyway {
    Keyway::before(&fake.seeds())
        .set("timeouts.request", &format!("\"{deadline}\""))
        .start()
}

/// From now on `GET key` is answered `key@node-N`.
pub fn tells_its_keys(node: &FakeNode, name: &str) {
    let name = name.to_owned();
    node.on("GET", move |request| {
        Action::bulk(&format!("{}@{name}", request.text(1)))
    });
}

/// The requests of a connection that stand right behind each `ASKING`, and whether anything else does.
pub fn asked(node: &FakeNode) -> Vec<String> {
    let all = node.requests("");
    let mut connections: Vec<u64> = all.iter().map(|request| request.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    let mut asked = Vec::new();
    for connection in connections {
        let mine: Vec<_> = all
            .iter()
            .filter(|request| request.connection == connection)
            .map(|request| request.line())
            .collect();
        for pair in mine.windows(2) {
            if pair[0] == "ASKING" {
                asked.push(pair[1].clone());
            }
        }
    }
    asked
}

/// Forwards a port of the IPv6 loopback to an address, until the test ends.
pub fn forward_v6(to: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Ok(node) = TcpStream::connect(to) {
                join(client, node);
            }
        }
    });
    port
}

fn join(one: TcpStream, other: TcpStream) {
    let (Ok(one_too), Ok(other_too)) = (one.try_clone(), other.try_clone()) else {
        return;
    };
    for (mut from, mut to) in [(one, other_too), (other, one_too)] {
        std::thread::spawn(move || {
            // Either side may go at any time.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}
