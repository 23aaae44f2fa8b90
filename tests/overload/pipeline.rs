//! A client that sends a million commands and reads nothing.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::neighbors::Neighbors;
use super::support::{Client, Keyway, eventually};
use super::{SOON, cluster, mib, sized, turn};

/// What a client that does not read may cost beside the nodes' outboxes: what it may leave unread, the
/// requests it may have in flight and their replies, and what the allocator keeps.
const GROWTH_MAX: u64 = 64 << 20;

/// contract: P9 F6
#[test]
fn a_million_commands_and_nothing_read() {
    let _turn = turn();
    let count: u64 = sized(1_000_000, 200_000);
    let cluster = cluster();
    let keyway = Keyway::start(&cluster.seeds());
    let mut setting = keyway.client();
    let value = "v".repeat(1_000);
    // Long names: the kernel's own buffers must not hold all of it.
    let key = |number: u64| format!("million:{}:{}", number % 100, "k".repeat(150));
    for number in 0..100 {
        setting.expect(&format!("SET {} {value}", key(number)), "+OK");
    }
    let neighbors = Neighbors::start(keyway.addr());
    let time = sized(Duration::from_secs(5), Duration::from_secs(1));
    let alone = neighbors.figures(time);
    let before = keyway.resident_bytes();
    let client = Client::connect(keyway.addr());
    let sent = AtomicU64::new(0);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..count {
                let command = format!("GET {}\r\n", key(number));
                if client.stream().write_all(command.as_bytes()).is_err() {
                    break;
                }
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // It comes to a stop, because nobody takes its bytes any more.
        let mut last = (0, 0);
        eventually("the client is not read any more", SOON, || {
            let now = sent.load(Ordering::Relaxed);
            last = if now == last.0 {
                (now, last.1 + 1)
            } else {
                (now, 0)
            };
            now > 0 && last.1 > 100
        });
        let beside = neighbors.figures(time);
        let held = sent.load(Ordering::Relaxed);
        assert!(held < count, "all of it was read");
        let grown = keyway.resident_bytes().saturating_sub(before);
        println!(
            "{count} commands and nothing read: stopped after {held}, {} more memory; neighbors alone: {alone}; meanwhile: {beside}",
            mib(grown)
        );
        assert!(grown < GROWTH_MAX, "{grown} bytes");
        // The writer ends when the connection does.
        let _ = client.stream().shutdown(std::net::Shutdown::Both);
        beside
    });
    assert!(beside.rate > 0.0);
    neighbors.leave();
}
