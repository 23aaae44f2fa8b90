//! Subscribers that do not read, and too many subscriptions.

use std::time::{Duration, Instant};

use crate::listener::{metric, subscribe, until_pong};
use crate::support::{Client, Flavor, Keyway, Scene, each_flavor, eventually};

each_flavor!(
    a_subscriber_that_does_not_read_is_closed,
    a_subscriber_above_the_soft_limit_has_some_time,
    subscriptions_are_counted,
);

/// The others hear everything meanwhile. contract: S5
fn a_subscriber_that_does_not_read_is_closed(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("limits.subscriber_output_hard_bytes", "\"4mb\"")
        .set("limits.subscriber_output_soft_bytes", "\"2mb\"")
        .start();
    let (mut deaf, mut reads) = (keyway.client(), keyway.client());
    subscribe(&mut deaf, "SUBSCRIBE nr:c");
    subscribe(&mut reads, "SUBSCRIBE nr:c");
    let mut publisher = keyway.client();
    let text = "x".repeat(100_000);
    let before = keyway.resident_bytes();
    let mut sent = 0;
    while metric(&keyway, "keyway_subscribers") > 1.0 {
        for _ in 0..20 {
            publisher.call_args(&["PUBLISH", "nr:c", &text]);
            assert_eq!(reads.read().items()[2].text().len(), text.len());
            sent += 1;
        }
        assert!(sent < 2_000, "200 MB, and it was not closed");
    }
    let grown = keyway.resident_bytes().saturating_sub(before);
    println!("{flavor:?}: closed after {sent} messages of 100 kB; memory grew by {grown} bytes");
    assert!(grown < 64 << 20, "grew by {grown} bytes");
    let came = read_what_is_left(&mut deaf);
    assert!(came < sent, "{came} of {sent}");
    assert_eq!(metric(&keyway, "keyway_subscribers_closed_total"), 1.0);
    assert!(
        keyway
            .log()
            .contains("closed a subscriber that does not read")
    );
    publisher.expect("PUBLISH nr:c end", ":1");
    reads.expect_next("['message' 'nr:c' 'end']");
}

/// How many messages come before the end.
fn read_what_is_left(client: &mut Client) -> usize {
    let mut count = 0;
    while client.try_read().is_ok() {
        count += 1;
    }
    count
}

/// contract: S5
fn a_subscriber_above_the_soft_limit_has_some_time(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("limits.subscriber_output_soft_bytes", "\"64kb\"")
        .set("limits.subscriber_output_soft_time", "\"3s\"")
        .start();
    let (mut pauses, mut deaf) = (keyway.client(), keyway.client());
    subscribe(&mut pauses, "SUBSCRIBE sl:c");
    subscribe(&mut deaf, "SUBSCRIBE sl:c");
    let mut publisher = keyway.client();
    let text = "x".repeat(100_000);
    // More than the sockets' own buffers take.
    let count = 150;
    let began = Instant::now();
    for _ in 0..count {
        publisher.call_args(&["PUBLISH", "sl:c", &text]);
    }
    for _ in 0..count {
        pauses.read();
    }
    eventually("one is closed", Duration::from_secs(20), || {
        metric(&keyway, "keyway_subscribers") == 1.0
    });
    assert!(began.elapsed() >= Duration::from_secs(3));
    // Nothing was published meanwhile: it was time that closed it.
    assert!(read_what_is_left(&mut deaf) < count);
    publisher.expect("PUBLISH sl:c end", ":1");
    pauses.expect_next("['message' 'sl:c' 'end']");
}

/// contract: F6
fn subscriptions_are_counted(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("limits.subscriptions_per_client", "3")
        .start();
    let mut client = keyway.client();
    subscribe(&mut client, "SUBSCRIBE sc:1");
    subscribe(&mut client, "PSUBSCRIBE sc:p");
    client.expect_error(
        "SSUBSCRIBE sc:s1 sc:s2",
        "ERR Keyway allows 3 subscriptions",
    );
    client.expect("SSUBSCRIBE sc:s1", "['ssubscribe' 'sc:s1' :1]");
    client.expect_error("SUBSCRIBE sc:2", "ERR Keyway allows 3 subscriptions");
    client.expect("UNSUBSCRIBE sc:1", "['unsubscribe' 'sc:1' :1]");
    client.expect("SUBSCRIBE sc:2", "['subscribe' 'sc:2' :2]");
    assert_eq!(until_pong(&mut client, "no-more"), [""; 0]);
}
