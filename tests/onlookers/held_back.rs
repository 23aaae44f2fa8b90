//! Requests that wait for the end of a pause: those who leave, those who stay.

use std::time::Duration;

use super::support::{Client, FakeCluster, Flavor, Keyway, each_flavor, eventually};
use super::{SOON, clients, keyway};

each_flavor!(
    who_leaves_has_asked_for_nothing,
    earlier_requests_are_answered
);

fn wait_for(keyway: &Keyway, count: usize) {
    eventually("clients are held back", SOON, || {
        keyway.metric("keyway_paused_clients") as usize == count
    });
}

/// As on one server. contract: C2
fn who_leaves_has_asked_for_nothing(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let [mut pauser, mut stays, mut leaves, mut is_killed] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    leaves.send("SET held:left 1");
    is_killed.send("SET held:killed 1");
    wait_for(&keyway, 2);
    drop(leaves);
    wait_for(&keyway, 1);
    let id = is_killed.local_addr();
    pauser.expect(&format!("CLIENT KILL ADDR {id}"), ":1");
    is_killed.expect_closed();
    stays.send("SET held:stayed 1");
    wait_for(&keyway, 1);
    pauser.expect("CLIENT UNPAUSE", "+OK");
    stays.expect_next("+OK");
    pauser.expect("EXISTS held:left held:killed held:stayed", ":1");
    pauser.expect("DEL held:stayed", ":1");
}

/// A half-closed client gets what it asked for before. contract: C2 P3
fn earlier_requests_are_answered(flavor: Flavor) {
    let keyway = keyway(flavor, 1);
    let [mut pauser, mut half_closed] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    half_closed.send_raw("PING\r\nGET held:none\r\nSET held:none 1\r\nPING\r\n");
    wait_for(&keyway, 1);
    half_closed.finish_sending();
    assert_eq!(half_closed.read_to_end(), b"+PONG\r\n$-1\r\n");
    pauser.expect("CLIENT UNPAUSE", "+OK");
    pauser.expect("GET held:none", "nil");
}

/// The time of a request begins when it is taken on. contract: C2 F5
#[test]
fn a_pause_is_no_part_of_the_deadline() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"500ms\"")
        .start();
    let [mut pauser, mut other] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 1500 WRITE", "+OK");
    other.expect("SET a 1", "+OK");
}

/// Ten thousand requests of one client wait in its socket, not here. contract: C2 F6
#[test]
fn what_waits_is_not_read_without_end() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let [mut pauser, flood]: [Client; 2] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    let before = keyway.resident_bytes();
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n".repeat(10_000);
    let stream = flood.stream().try_clone().expect("a socket can be shared");
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a socket has a timeout");
    let mut sent = 0;
    while sent < 100 {
        match std::io::Write::write(&mut &stream, &request) {
            Ok(_) => sent += 1,
            Err(_) => break,
        }
    }
    assert!(sent < 100, "everything was taken");
    let grown = keyway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    pauser.expect("CLIENT UNPAUSE", "+OK");
}
