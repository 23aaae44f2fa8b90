//! Monitors that do not read.

use std::time::Duration;

use super::support::{Client, FakeCluster, Keyway, eventually};
use super::{SOON, clients};

/// It is closed at the limit; the others are not slowed down, and other monitors see everything.
/// contract: S7 F6
#[test]
fn a_monitor_that_does_not_read_is_closed() {
    let fake = FakeCluster::start(1);
    for workers in ["1", "2"] {
        let keyway = Keyway::before(&fake.seeds())
            .set("proxy.workers", workers)
            .start();
        let mut idle: [Client; 2] = clients(&keyway);
        for monitor in &mut idle {
            monitor.expect("MONITOR", "+OK");
        }
        let mut writer = keyway.client();
        let value = "v".repeat(1 << 20);
        let before = keyway.resident_bytes();
        let mut sent = 0;
        eventually("both are closed", SOON, || {
            for _ in 0..8 {
                let reply = writer.call_args(&["ECHO", &value]).text();
                assert_eq!(reply.len(), value.len());
            }
            sent += 8;
            keyway.metric("keyway_monitor_clients") == 0.0
        });
        assert!(sent >= 32, "closed after {sent} MB");
        let grown = keyway.resident_bytes().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes");
        assert!(keyway.log().contains("MONITOR"), "{}", keyway.log());
        // Nobody is shown anything any more.
        writer.expect("PING", "+PONG");
        assert_eq!(keyway.metric("keyway_clients"), 1.0);
    }
}

/// What is too long for any monitor closes them, and is carried out. contract: S7 F6
#[test]
fn a_request_that_is_too_long_to_be_shown_closes_monitors() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut monitors: [Client; 2] = clients(&keyway);
    for monitor in &mut monitors {
        monitor.expect("MONITOR", "+OK");
    }
    let mut writer = keyway.client();
    let value = "v".repeat(40 << 20);
    let reply = writer.call_args(&["SET", "a", &value]).to_string();
    assert_eq!(reply, "+OK");
    for monitor in &mut monitors {
        monitor.expect_closed();
    }
}

/// Monitors come and go while others write: no line goes to anybody who did not ask, and each one's
/// first line is of a request after its OK. contract: S7
#[test]
fn monitors_come_and_go_under_load() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.workers", "2")
        .start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (keyway, stop) = (&keyway, &stop);
            scope.spawn(move || {
                let mut writer = keyway.client();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.expect(&format!("GET key:{number}"), "'node-0'");
                }
            });
        }
        for round in 0..40 {
            let mut monitor = keyway.client();
            monitor.send_raw("PING\r\nMONITOR\r\n");
            monitor.expect_next("+PONG");
            monitor.expect_next("+OK");
            for _ in 0..20 {
                let line = monitor.read().text();
                assert!(line.contains("\"GET\" \"key:"), "{line}");
            }
            if round % 2 == 0 {
                monitor.send("RESET");
                while monitor.read().to_string() != "+RESET" {}
                monitor.expect("PING", "+PONG");
                monitor.expect_silence(Duration::from_millis(5));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    eventually("nobody monitors", SOON, || {
        keyway.metric("keyway_monitor_clients") == 0.0
    });
}
