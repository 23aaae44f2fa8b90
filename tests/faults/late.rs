//! A node that answers after ten seconds.

use std::time::{Duration, Instant};

use super::support::client::encode;
use super::support::{Cluster, ClusterOptions, Flavor, Keyway, each_flavor};
use super::watcher::Watcher;
use super::{GRACE, keys_of};

each_flavor!(patient_clients_get_it_and_others_an_error);

/// contract: F3 F4 F5
fn patient_clients_get_it_and_others_an_error(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        node_timeout_ms: 60_000,
        ..ClusterOptions::of(flavor)
    });
    let patient = Keyway::start(&cluster.seeds());
    let hasty = Keyway::before(&cluster.seeds())
        .set("timeouts.request", "\"3s\"")
        .start();
    let slow = keys_of(&cluster, 0, 20, "late");
    let watchers = [&patient, &hasty].map(|keyway| {
        let prefix = format!("late:{}", keyway.addr().port());
        let mut keys = keys_of(&cluster, 1, 3, &prefix);
        keys.extend(keys_of(&cluster, 2, 3, &prefix));
        Watcher::start(keyway.addr(), keys)
    });
    let mut waiting = patient.client();
    let mut giving_up = hasty.client();
    for key in &slow {
        waiting.expect(&format!("SET {key} {key}"), "+OK");
    }
    giving_up.expect(&format!("GET {}", slow[0]), &format!("'{}'", slow[0]));
    let mut direct = cluster.node(0).client();
    let began = Instant::now();
    direct.send("DEBUG SLEEP 10");
    // It sleeps when it answers no more; what is sent from then on waits for it.
    while direct_answers(&cluster) {}
    let requests: Vec<u8> = slow
        .iter()
        .flat_map(|key| {
            let read = encode(&["GET", key]);
            let write = encode(&["APPEND", &format!("{{{key}}}:log"), "x"]);
            [read, write].concat()
        })
        .collect();
    let asked = Instant::now();
    waiting.send_raw(&requests);
    giving_up.send_raw(&requests);
    for _ in 0..slow.len() * 2 {
        let reply = giving_up.read();
        assert!(reply.is_error(), "{reply}");
    }
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3) + GRACE, "{took:?}");
    // Each of these has a log of its own to write, and is told what became of it.
    for key in &slow {
        waiting.expect_next(&format!("'{key}'"));
        let length = waiting.read().integer();
        assert!((1..=2).contains(&length), "APPEND: {length}");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9), "it did not sleep: {took:?}");
    // The late replies came, or their connection is gone: none answers another request.
    for key in slow.iter().cycle().take(slow.len() * 5) {
        giving_up.expect(&format!("GET {key}"), &format!("'{key}'"));
    }
    for watcher in watchers {
        watcher.assert_undisturbed();
    }
}

/// Whether the first node answers within a moment.
fn direct_answers(cluster: &Cluster) -> bool {
    let mut client = cluster.node(0).client();
    client.send("PING");
    client.read_within(Duration::from_millis(300)).is_some()
}
