//! A node's address where somebody takes connections and resets them at once.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::support::{FakeCluster, Keyway, eventually};
use super::{GRACE, SOON};
use keyway::cluster::Slot;

/// contract: F1 F4 F5
#[test]
fn each_request_ends_although_every_connection_is_reset() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"4s\"")
        .start();
    let key_of = |node: usize| {
        let mut names = (0..).map(|salt| format!("reset:{salt}"));
        let is_its = |name: &String| Slot::of_key(name.as_bytes()).index() / 8192 == node;
        names.find(is_its).expect("some name is its")
    };
    let (dead, alive) = (key_of(0), key_of(1));
    let mut client = keyway.client();
    let mut other = keyway.client();
    client.expect(&format!("GET {dead}"), "'node-0'");
    fake.node(0).go_down();
    let resets = reset_everybody(fake.node(0).addr());
    for command in [format!("GET {dead}"), format!("SET {dead} 1")] {
        let began = Instant::now();
        client.send(&command);
        for _ in 0..50 {
            let asked = Instant::now();
            other.expect(&format!("GET {alive}"), "'node-1'");
            assert!(
                asked.elapsed() < super::UNDISTURBED,
                "{:?}",
                asked.elapsed()
            );
        }
        let reply = client.read().to_string();
        let took = began.elapsed();
        assert!(reply.contains("was not executed"), "{reply}");
        assert!(took < Duration::from_secs(4) + GRACE, "{took:?}");
    }
    let attempts = resets.load(Ordering::Relaxed);
    println!("{attempts} connections were reset");
    assert!(attempts > 1, "Keyway keeps trying");
    assert!(attempts < 1_000, "Keyway does not spin: {attempts}");
    // Resets end: requests go on.
    resets.store(u64::MAX / 2, Ordering::Relaxed);
    let _ = TcpStream::connect(fake.node(0).addr());
    eventually("the port is free again", SOON, || {
        TcpListener::bind(fake.node(0).addr()).is_ok()
    });
    fake.node(0).come_back();
    eventually("the shard is back", SOON, || {
        client.call(&format!("GET {dead}")).to_string() == "'node-0'"
    });
}

/// Takes connections and resets them, and counts; ends after a connection that finds a great number.
fn reset_everybody(addr: std::net::SocketAddr) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let listener = TcpListener::bind(addr).expect("the fake node has left it");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if counted.fetch_add(1, Ordering::Relaxed) >= u64::MAX / 2 {
                return;
            }
            // Closing it then is a reset.
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket takes the option");
        }
    });
    count
}
