//! Clients that end their side while replies are still to come, some of them from a node that hangs.

use std::time::{Duration, Instant};

use super::GRACE;
use super::support::{Action, FakeCluster, Keyway};
use keyway::cluster::Slot;

/// contract: P3 F5
#[test]
fn all_earlier_requests_are_answered_before_the_close() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", "\"2s\"")
        .start();
    fake.node(0).always("GET", Action::Silence);
    let mut client = keyway.client();
    let mut expected = Vec::new();
    let began = Instant::now();
    for number in 0..40 {
        let key = format!("half:{number}");
        client.send(&format!("GET {key}"));
        let is_stuck = Slot::of_key(key.as_bytes()).index() < 8192;
        expected.push(if is_stuck { "-" } else { "'node-1'" });
    }
    assert!(expected.contains(&"-") && expected.contains(&"'node-1'"));
    client.finish_sending();
    for beginning in expected {
        let reply = client.read().to_string();
        assert!(reply.starts_with(beginning), "{reply}, not {beginning}");
    }
    client.expect_closed();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2) + GRACE, "{took:?}");
}
