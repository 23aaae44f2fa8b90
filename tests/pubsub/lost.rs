//! Nodes die and slots move while clients listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use keyway::cluster::Slot;

use crate::listener::{metric, subscribe};
use crate::support::{Client, Cluster, Flavor, Keyway, Takeover, Value, each_flavor};

each_flavor!(
    the_home_node_is_killed,
    the_home_node_hangs,
    a_shard_channel_moves,
    a_shard_channel_fails_over,
    a_planned_failover,
    the_home_node_comes_back_elsewhere,
);

/// Publishes 0, 1, 2 ... one after the other until it is told to stop.
struct Publisher {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Publisher {
    fn start(mut client: Client, command: &str) -> Publisher {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, command) = (Arc::clone(&is_over), command.to_owned());
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                let reply = client.call(&format!("{command} {number}"));
                assert!(!reply.is_error(), "{reply}");
                number += 1;
            }
            number
        });
        Publisher {
            is_over,
            thread: Some(thread),
        }
    }

    /// The number of messages that were published.
    fn stop(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it was started");
        thread.join().expect("every PUBLISH is answered")
    }
}

/// The number of the next message.
#[track_caller]
fn number(client: &mut Client, kind: &str) -> u64 {
    let value = client.read();
    let items = value.items();
    assert_eq!(items[0].text(), kind, "{value}");
    let number = items.last().map(Value::text).unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{value}"))
}

/// Reads messages up to the last, whose numbers must grow by one but for gaps; returns how many are
/// missing and in how many gaps. So often as `repeats_max` the numbers may go back: a node that is
/// subscribed at instead of one that was lost may hear over the bus later what that one had told already.
#[track_caller]
fn read_to(
    client: &mut Client,
    kind: &str,
    mut before: u64,
    last: u64,
    repeats_max: u64,
) -> (u64, u64) {
    let (mut missing, mut gaps, mut repeats) = (0, 0, 0);
    while before < last {
        let next = number(client, kind);
        if next <= before {
            repeats += 1;
            assert!(repeats <= repeats_max, "{next} after {before}");
        } else {
            missing += next - before - 1;
            gaps += u64::from(next > before + 1);
        }
        before = next;
    }
    (missing, gaps)
}

fn index_of_home(cluster: &Cluster, channel: &str) -> usize {
    cluster.primary_of_key(channel).expect("somebody owns it")
}

/// Publishes through another node while `trouble` is made for the channel's home; the stream goes on.
fn home_in_trouble(flavor: Flavor, trouble: impl FnOnce(&Cluster, usize)) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut listener = keyway.client();
    subscribe(&mut listener, "SUBSCRIBE hk:c");
    let home = index_of_home(&cluster, "hk:c");
    let at_home = cluster.node(home).ok("PUBSUB NUMSUB hk:c");
    assert_eq!(at_home.to_string(), "['hk:c' :1]");
    let mut others = cluster.primaries().into_iter().filter(|node| *node != home);
    let other = others.next().expect("there are three");
    let publisher = Publisher::start(cluster.node(other).client(), "PUBLISH hk:c");
    let mut before = 0;
    while before < 100 {
        before = number(&mut listener, "message");
    }
    trouble(&cluster, home);
    // Behind the trouble: what is published from now on arrives.
    let slot = Slot::of_key(b"hk:c").number();
    cluster.wait_for_new_primary(slot, home);
    crate::support::eventually("it is subscribed again", Duration::from_secs(20), || {
        metric(&keyway, "keyway_subscription_gaps_total") >= 1.0
            && metric(&keyway, "keyway_upstream_subscriptions") >= 1.0
            && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
    });
    let last = publisher.stop() - 1;
    let (missing, gaps) = read_to(&mut listener, "message", before, last, 1);
    println!("{flavor:?}: {missing} of {last} messages are missing, in {gaps} gaps");
    assert!(gaps <= 1, "one loss, {gaps} gaps");
    assert_eq!(metric(&keyway, "keyway_subscription_gaps_total"), 1.0);
    let log = keyway.log();
    assert_eq!(log.matches("lost subscriptions").count(), 1, "{log}");
    assert_eq!(log.matches("in effect again").count(), 1, "{log}");
    // Keyway's own publishers are heard as before, and counted.
    keyway.client().expect("PUBLISH hk:c end", ":1");
    listener.expect_next("['message' 'hk:c' 'end']");
}

/// contract: S2 S4
fn the_home_node_is_killed(flavor: Flavor) {
    home_in_trouble(flavor, Cluster::kill);
}

/// contract: S2
fn the_home_node_hangs(flavor: Flavor) {
    home_in_trouble(flavor, Cluster::pause);
}

/// contract: S2
fn a_shard_channel_moves(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut listeners = [keyway.client(), keyway.client_resp3()];
    for listener in &mut listeners {
        subscribe(listener, "SSUBSCRIBE {sm}1");
        subscribe(listener, "SSUBSCRIBE {sm}2");
    }
    let publisher = Publisher::start(keyway.client(), "SPUBLISH {sm}1");
    let mut before = [0, 0];
    let slot = Slot::of_key(b"sm").number();
    for round in 0..3 {
        for (listener, before) in listeners.iter_mut().zip(&mut before) {
            let until = *before + 50;
            while *before < until {
                *before = number(listener, "smessage");
            }
        }
        let from = cluster.primary_of(slot).expect("somebody owns it");
        cluster.move_slot(slot, (from + 1) % 3);
        let wanted = f64::from(4 * (round + 1));
        crate::support::eventually("it moved", Duration::from_secs(20), || {
            metric(&keyway, "keyway_subscription_gaps_total") >= wanted
                && metric(&keyway, "keyway_upstream_subscriptions") == 4.0
                && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
        });
    }
    let last = publisher.stop() - 1;
    for (listener, before) in listeners.iter_mut().zip(before) {
        // Nothing but messages has come: no `sunsubscribe`.
        let (missing, gaps) = read_to(listener, "smessage", before, last, 0);
        println!("{flavor:?}: {missing} of {last} messages are missing, in {gaps} gaps");
        assert!(gaps <= 3, "{gaps} gaps");
    }
    keyway.client().expect("SPUBLISH {sm}2 end", ":2");
    for listener in &mut listeners {
        let last = listener.read();
        assert_eq!(last.items()[2].text(), "end");
    }
}

/// contract: S2
fn a_shard_channel_fails_over(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut listener = keyway.client();
    subscribe(&mut listener, "SSUBSCRIBE sf:c");
    let home = index_of_home(&cluster, "sf:c");
    keyway.client().expect("SPUBLISH sf:c before", ":1");
    listener.expect_next("['smessage' 'sf:c' 'before']");
    cluster.kill(home);
    cluster.wait_for_new_primary(Slot::of_key(b"sf:c").number(), home);
    let mut publisher = keyway.client();
    crate::support::eventually("it is heard again", Duration::from_secs(20), || {
        publisher.call("SPUBLISH sf:c after");
        listener.read_within(Duration::from_millis(50)).is_some()
    });
    listener.send("PING");
    loop {
        let next = listener.read();
        match next.items()[0].text().as_str() {
            "pong" => break,
            kind => assert_eq!(kind, "smessage", "{next}"),
        }
    }
    assert_eq!(metric(&keyway, "keyway_subscription_gaps_total"), 1.0);
}

/// A primary becomes a replica: its ordinary channels stay, its shard channels and notifications go to
/// the new one. contract: S2 S3
fn a_planned_failover(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut listener = keyway.client();
    for command in [
        "SUBSCRIBE {pf}c",
        "SSUBSCRIBE {pf}s",
        "PSUBSCRIBE __keyevent@*:set",
    ] {
        subscribe(&mut listener, command);
    }
    let mut client = keyway.client();
    client.expect("CONFIG SET notify-keyspace-events KEA", "+OK");
    let home = index_of_home(&cluster, "{pf}c");
    for round in 0..2 {
        let primary = index_of_home(&cluster, "{pf}c");
        cluster.failover(cluster.replicas_of(primary)[0], Takeover::Planned);
        crate::support::eventually("all three are heard", Duration::from_secs(20), || {
            client.call(&format!("PUBLISH {{pf}}c {round}"));
            client.call(&format!("SPUBLISH {{pf}}s {round}"));
            client.call(&format!("SET {{pf}}k {round}"));
            let mut kinds = std::collections::BTreeSet::new();
            while let Some(next) = listener.read_within(Duration::from_millis(50)) {
                kinds.insert(next.items()[0].text());
            }
            kinds.len() == 3
        });
        // Once settled, each comes exactly once.
        cluster.wait_until_settled();
        crate::listener::wait_until_quiet(&keyway);
        crate::listener::until_pong(&mut listener, "settled");
        client.call("PUBLISH {pf}c once");
        client.call("SPUBLISH {pf}s once");
        client.call("SET {pf}k once");
        let mut got = crate::listener::read_many(&mut listener, 3);
        got.extend(crate::listener::until_pong(&mut listener, "no-more"));
        got.sort();
        assert_eq!(
            got,
            [
                "['message' '{pf}c' 'once']",
                "['pmessage' '__keyevent@*:set' '__keyevent@0__:set' '{pf}k']",
                "['smessage' '{pf}s' 'once']",
            ]
        );
    }
    let stays = cluster.node(home).ok("PUBSUB NUMSUB {pf}c");
    assert_eq!(stays.to_string(), "['{pf}c' :1]", "it stayed where it was");
}

/// A node that was lost and is back is used again for what is new, and nothing comes twice.
/// contract: S2
fn the_home_node_comes_back_elsewhere(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut listener = keyway.client();
    subscribe(&mut listener, "SUBSCRIBE hb:c");
    let home = index_of_home(&cluster, "hb:c");
    cluster.kill(home);
    cluster.wait_for_new_primary(Slot::of_key(b"hb:c").number(), home);
    cluster.restart(home);
    cluster.wait_until_settled();
    crate::listener::wait_until_quiet(&keyway);
    let mut publisher = keyway.client();
    for node in cluster.nodes() {
        node.ok("PUBLISH hb:c direct");
        listener.expect_next("['message' 'hb:c' 'direct']");
    }
    for number in 0..10 {
        publisher.expect(&format!("PUBLISH hb:c {number}"), ":1");
        listener.expect_next(&format!("['message' 'hb:c' '{number}']"));
    }
    publisher.expect("PUBSUB NUMSUB hb:c", "['hb:c' :1]");
}
