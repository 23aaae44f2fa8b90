//! Keyspace notifications: each node speaks of its own keys.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::listener::{read_many, subscribe, until_pong};
use crate::support::{
    Client, Cluster, Flavor, Keyway, Scene, each_flavor, eventually, eventually_none,
};

each_flavor!(
    keys_of_all_primaries_expire,
    general_patterns_hear_messages_once,
    exact_channels_of_notifications,
    a_new_primary_is_listened_to,
);

/// A key of each primary.
fn keys(cluster: &Cluster, prefix: &str) -> Vec<String> {
    let keys = (0..).map(|number| format!("{prefix}:{number}"));
    let mut seen = BTreeSet::new();
    keys.filter(|key| seen.insert(cluster.primary_of_key(key)))
        .take(cluster.primaries().len())
        .collect()
}

fn switch_on(keyway: &Keyway) -> Client {
    let mut client = keyway.client();
    client.expect("CONFIG SET notify-keyspace-events KEA", "+OK");
    client
}

/// "Expiry notifications of keys on all three primaries arrive through one PSUBSCRIBE."
/// contract: S3
fn keys_of_all_primaries_expire(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = switch_on(&scene.keyway);
    let mut listener = scene.keyway.client();
    subscribe(&mut listener, "PSUBSCRIBE __keyevent@*__:expired");
    let keys = keys(&scene.cluster, "ex");
    assert_eq!(keys.len(), 3);
    for key in &keys {
        client.expect(&format!("SET {key} v PX 50"), "+OK");
    }
    let mut expected: Vec<String> = keys
        .iter()
        .map(|key| {
            format!("['pmessage' '__keyevent@*__:expired' '__keyevent@0__:expired' '{key}']")
        })
        .collect();
    let mut got = read_many(&mut listener, 3);
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(until_pong(&mut listener, "no-more"), [""; 0]);
}

/// `*` may be a notification, so that it is subscribed at every primary; other messages come once all
/// the same. contract: S3 S4
fn general_patterns_hear_messages_once(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = switch_on(&scene.keyway);
    let mut listener = scene.keyway.client();
    subscribe(&mut listener, "PSUBSCRIBE *{gp}*");
    for number in 0..10 {
        client.expect(&format!("PUBLISH {{gp}}{number} m"), ":1");
        listener.expect_next(&format!("['pmessage' '*{{gp}}*' '{{gp}}{number}' 'm']"));
    }
    client.call("SET {gp}k v");
    listener.expect_next("['pmessage' '*{gp}*' '__keyspace@0__:{gp}k' 'set']");
    for node in scene.cluster.nodes() {
        node.ok("PUBLISH x{gp} direct");
        listener.expect_next("['pmessage' '*{gp}*' 'x{gp}' 'direct']");
    }
    assert_eq!(until_pong(&mut listener, "no-more"), [""; 0]);
    client.expect("PUBSUB CHANNELS *{gp}*", "[]");
}

/// contract: S3
fn exact_channels_of_notifications(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = switch_on(&scene.keyway);
    let keys = keys(&scene.cluster, "ec");
    let mut listener = scene.keyway.client();
    for key in &keys {
        subscribe(&mut listener, &format!("SUBSCRIBE __keyspace@0__:{key}"));
    }
    for key in &keys {
        client.call(&format!("SET {key} v"));
        listener.expect_next(&format!("['message' '__keyspace@0__:{key}' 'set']"));
        client.call(&format!("DEL {key}"));
        listener.expect_next(&format!("['message' '__keyspace@0__:{key}' 'del']"));
    }
    let channel = format!("__keyspace@0__:{}", keys[0]);
    client.expect(
        &format!("PUBSUB NUMSUB {channel}"),
        &format!("['{channel}' :1]"),
    );
}

/// A node gets its first slots: what happens to their keys is heard. contract: S3
fn a_new_primary_is_listened_to(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = switch_on(&keyway);
    for node in cluster.nodes() {
        let setting = node.ok("CONFIG GET notify-keyspace-events").to_string();
        assert!(setting.contains("AKE"), "{setting}");
    }
    let mut listener = keyway.client();
    subscribe(&mut listener, "PSUBSCRIBE __keyspace@*");
    let key = keys(&cluster, "np").swap_remove(0);
    let from = cluster.primary_of_key(&key).expect("somebody owns it");
    let replica = cluster.replicas_of(from)[0];
    cluster.failover(replica, crate::support::Takeover::Planned);
    let expected = format!("['pmessage' '__keyspace@*' '__keyspace@0__:{key}' 'set']");
    eventually("the new primary is heard", Duration::from_secs(20), || {
        client.call(&format!("SET {key} v"));
        let next = listener.read_within(Duration::from_millis(100));
        next.is_some_and(|next| next.to_string() == expected)
    });
    // What is published while the nodes still disagree may be missed, or come from both.
    eventually_none("each is heard once", Duration::from_secs(20), || {
        crate::listener::wait_until_quiet(&keyway);
        until_pong(&mut listener, "settled");
        let began = Instant::now();
        let said = client.call(&format!("SET {key} v"));
        let took = began.elapsed();
        let next = listener.read_within(Duration::from_secs(1));
        let mut heard: Vec<String> = next.iter().map(ToString::to_string).collect();
        heard.extend(until_pong(&mut listener, "no-more"));
        (heard != [expected.as_str()])
            .then(|| format!("SET said {said} after {took:?}, heard {heard:?}"))
    });
}
