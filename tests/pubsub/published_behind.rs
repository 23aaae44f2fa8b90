//! A `SUBSCRIBE` is sent and its reply not waited for; then somebody publishes over another connection. One server
//! never loses that message, and programs count on it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fakes::{channel_of, confirm, scene, serves};
use crate::listener::{metric, subscribe};
use crate::support::{
    Action, Client, Cluster, FakeCluster, Flavor, Gate, Keyway, Server, each_flavor, eventually,
};

each_flavor!(
    before_a_cluster,
    before_one_server,
    also_when_connections_are_opened,
);

/// What subscribes, and what publishes to it.
const PAIRS: [(&str, &str, &str); 3] = [
    ("SUBSCRIBE", "", "PUBLISH"),
    ("PSUBSCRIBE", "*", "PUBLISH"),
    ("SSUBSCRIBE", "", "SPUBLISH"),
];

/// Waits until Keyway, which has one worker, has finished what it does for other clients. While it writes to a socket
/// the kernel puts aside what comes from there; a process that is interrupted at that moment reads what was sent over
/// another connection afterwards first, and a server does as well.
fn rest(publisher: &mut Client) {
    publisher.expect("PING", "+PONG");
}

/// Subscribes with several requests, and publishes to the last at once.
fn nothing_behind_others_is_lost(keyway: &Keyway, rounds: usize) {
    let (mut listener, mut publisher) = (keyway.client(), keyway.client());
    for round in 0..rounds {
        rest(&mut publisher);
        let requests = ["a", "b", "c"].map(|name| format!("SUBSCRIBE pm:{round}:{name}\r\n"));
        listener.send_raw(requests.concat());
        publisher.send(&format!("PUBLISH pm:{round}:c hello"));
        for _ in requests {
            listener.read();
        }
        listener.expect_next(&format!("['message' 'pm:{round}:c' 'hello']"));
        publisher.expect_next(":1");
    }
}

/// Subscribes to new channels again and again, and publishes at once.
fn nothing_is_lost(keyway: &Keyway, rounds: usize) {
    let (mut listener, mut publisher) = (keyway.client(), keyway.client());
    for round in 0..rounds {
        rest(&mut publisher);
        let (join, end, publish) = PAIRS[round % PAIRS.len()];
        let channel = format!("pb:{round}:");
        listener.send(&format!("{join} {channel}{end}"));
        publisher.send(&format!("{publish} {channel} hello"));
        let confirmed = listener.read().to_string();
        assert!(confirmed.contains("subscribe'"), "{confirmed}");
        let message = listener.read().to_string();
        assert!(message.ends_with("'hello']"), "{message}");
        publisher.expect_next(":1");
    }
}

/// contract: S1
fn before_a_cluster(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    nothing_is_lost(&keyway, 600);
    nothing_behind_others_is_lost(&keyway, 200);
}

/// contract: S1
fn before_one_server(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    nothing_is_lost(&keyway, 600);
    nothing_behind_others_is_lost(&keyway, 200);
}

/// The first subscription of all, for which a connection has to be opened first. contract: S1
fn also_when_connections_are_opened(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start(flavor);
    for _ in 0..10 {
        nothing_is_lost(&Keyway::start(&cluster.seeds()), 3);
    }
}

/// Lets a node confirm no subscription before the gate is open.
fn confirms_behind(fake: &FakeCluster, gate: &Gate) {
    for word in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let gate = gate.clone();
        fake.node(0).on(word, move |request| {
            Action::After(gate.clone(), Box::new(Action::Reply(confirm(request))))
        });
    }
    serves(fake.node(0));
}

/// A scene in which a client has sent this and the node has not confirmed it.
fn pending(command: &str) -> (FakeCluster, Keyway, Client, Gate) {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    confirms_behind(&fake, &gate);
    let mut listener = keyway.client();
    listener.send(command);
    fake.node(0).wait_for(1, command);
    (fake, keyway, listener, gate)
}

/// contract: S1 R13
#[test]
fn it_waits_until_the_node_has_confirmed() {
    for (join, end, publish) in PAIRS {
        let (fake, keyway, mut listener, gate) = pending(&format!("{join} c{end}"));
        let (mut publisher, mut other) = (keyway.client(), keyway.client());
        publisher.send(&format!("{publish} c hello"));
        publisher.send("GET a");
        // Nobody is held for another channel, nor by what only looks like the same.
        other.expect("PUBLISH other m", ":1");
        other.expect("SPUBLISH other m", ":1");
        other.expect("GET a", "'node-0'");
        publisher.expect_silence(Duration::from_millis(50));
        assert_eq!(fake.node(0).received(&format!("{publish} c")), [""; 0]);
        gate.open();
        listener.expect_next(&format!("['{}' 'c{end}' :1]", join.to_lowercase()));
        publisher.expect_next(":1");
        publisher.expect_next("'node-0'");
    }
}

/// Of a `SUBSCRIBE` of two channels, of which one is in effect already, the client has neither yet. contract: S1
#[test]
fn it_waits_for_all_that_the_request_names() {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    fake.node(0)
        .on("SUBSCRIBE a", |request| Action::Reply(confirm(request)));
    confirms_behind(&fake, &gate);
    let (mut first, mut second) = (keyway.client(), keyway.client());
    subscribe(&mut first, "SUBSCRIBE a");
    second.send("SUBSCRIBE a b");
    fake.node(0).wait_for(1, "SUBSCRIBE b");
    let mut publisher = keyway.client();
    publisher.send("PUBLISH a hello");
    publisher.expect_silence(Duration::from_millis(50));
    gate.open();
    publisher.expect_next(":2");
}

/// Several one after another, as a program with several channels sends them: each is waited for, and they are
/// confirmed in their order. contract: S1
#[test]
fn it_waits_for_each_of_several_requests() {
    let (fake, keyway, mut listener, gate) = pending("SUBSCRIBE a");
    for command in ["PSUBSCRIBE b*", "SUBSCRIBE c a", "SSUBSCRIBE s", "PING"] {
        listener.send(command);
    }
    eventually("they are read", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscription_changes") == 4.0
    });
    let mut publishers: Vec<Client> = Vec::new();
    for command in ["PUBLISH b m", "PUBLISH c m", "SPUBLISH s m"] {
        let mut publisher = keyway.client();
        publisher.send(command);
        publisher.expect_silence(Duration::from_millis(20));
        publishers.push(publisher);
    }
    gate.open();
    for confirmation in [
        "['subscribe' 'a' :1]",
        "['psubscribe' 'b*' :2]",
        "['subscribe' 'c' :3]",
        "['subscribe' 'a' :3]",
        "['ssubscribe' 's' :1]",
        "['pong' '']",
    ] {
        listener.expect_next(confirmation);
    }
    for publisher in &mut publishers {
        publisher.expect_next(":1");
    }
    listener.expect("UNSUBSCRIBE c", "['unsubscribe' 'c' :2]");
    assert_eq!(fake.node(0).received("SUBSCRIBE a").len(), 1);
}

/// One that is refused takes nothing with it, and what was confirmed by its node behind it comes in its turn.
/// contract: S1
#[test]
fn one_of_several_is_refused() {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    let noperm = "-NOPERM this user has no permissions";
    fake.node(0).on("SUBSCRIBE", {
        let gate = gate.clone();
        move |request| {
            let is_bad = (1..request.arguments.len()).any(|index| request.text(index) == "bad");
            let action = match is_bad {
                true => Action::line(noperm),
                false => Action::Reply(confirm(request)),
            };
            Action::After(gate.clone(), Box::new(action))
        }
    });
    serves(fake.node(0));
    let mut listener = keyway.client();
    listener.send("SUBSCRIBE a");
    fake.node(0).wait_for(1, "SUBSCRIBE a");
    for command in [
        "SUBSCRIBE bad x",
        "SUBSCRIBE b",
        "SUBSCRIBE a bad",
        "SUBSCRIBE a b",
    ] {
        listener.send(command);
    }
    eventually("they are read", Duration::from_secs(5), || {
        metric(&keyway, "keyway_requests_total") == 5.0
    });
    gate.open();
    for reply in [
        "['subscribe' 'a' :1]",
        noperm,
        "['subscribe' 'b' :2]",
        noperm,
        "['subscribe' 'a' :2]",
        "['subscribe' 'b' :2]",
    ] {
        listener.expect_next(reply);
    }
    listener.send("UNSUBSCRIBE");
    listener.expect_next("['unsubscribe' 'a' :1]");
    listener.expect_next("['unsubscribe' 'b' :0]");
    eventually("nothing is left", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
            && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
    });
}

/// In a transaction nothing is held. contract: S1 T1
#[test]
fn a_transaction_does_not_wait() {
    let (_fake, keyway, _listener, _gate) = pending("SUBSCRIBE c");
    let mut publisher = keyway.client();
    publisher.expect("MULTI", "+OK");
    publisher.expect("PUBLISH c m", "+QUEUED");
    let began = Instant::now();
    publisher.expect("EXEC", "[:1]");
    assert!(began.elapsed() < Duration::from_millis(500));
}

/// A node that does not confirm holds nobody for long, and for each subscription only once. contract: S1 F1
#[test]
fn a_subscription_that_does_not_come_holds_nobody_for_long() {
    let (_fake, keyway, _listener, _gate) = pending("SUBSCRIBE c");
    let began = Instant::now();
    let (mut publisher, mut second) = (keyway.client(), keyway.client());
    for client in [&mut publisher, &mut second] {
        client.send("PUBLISH c m");
    }
    publisher.expect_next(":1");
    second.expect_next(":1");
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(500), "{waited:?}");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    let began = Instant::now();
    for _ in 0..20 {
        publisher.expect("PUBLISH c m", ":1");
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "not a second each"
    );
}

/// Time in which the whole process stands still does not count: nobody could have answered. contract: S1 F1
#[test]
fn time_that_stood_still_lets_nobody_through() {
    let (fake, keyway, mut listener, gate) = pending("SUBSCRIBE c");
    let (mut early, mut late) = (keyway.client(), keyway.client());
    early.expect("PING", "+PONG");
    late.expect("PING", "+PONG");
    early.send("PUBLISH c m");
    early.expect_silence(Duration::from_millis(20));
    keyway.signal(Signal::STOP);
    late.send("PUBLISH c m");
    late.expect_silence(Duration::from_millis(1500));
    keyway.signal(Signal::CONT);
    // Both are looked at again: this one is answered behind them.
    keyway.client().expect("GET a", "'node-0'");
    early.expect_silence(Duration::from_millis(50));
    late.expect_silence(Duration::from_millis(50));
    assert_eq!(fake.node(0).received("PUBLISH c"), [""; 0]);
    gate.open();
    listener.expect_next("['subscribe' 'c' :1]");
    early.expect_next(":1");
    late.expect_next(":1");
}

/// The same where the node of the subscription is down. contract: S1 S3 F1
#[test]
fn a_subscription_that_cannot_be_made_holds_nobody_for_long() {
    let (fake, keyway) = scene(2, "10s");
    serves(fake.node(1));
    let mut publisher = keyway.client();
    let channel = channel_of(1, 2);
    publisher.expect(&format!("PUBLISH {channel} m"), ":1");
    fake.node(0).go_down();
    let mut listener = keyway.client();
    // What may be a notification has to be subscribed at every primary.
    listener.send("PSUBSCRIBE *");
    fake.node(1).wait_for(1, "PSUBSCRIBE");
    let began = Instant::now();
    publisher.expect(&format!("PUBLISH {channel} m"), ":1");
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

/// Who gives up, on either side, leaves nobody behind. contract: S1
#[test]
fn who_leaves_holds_nobody() {
    let (fake, keyway, listener, gate) = pending("SUBSCRIBE c");
    let (mut publisher, mut leaving) = (keyway.client(), keyway.client());
    leaving.send("PUBLISH c gone");
    publisher.send("PUBLISH c m");
    publisher.expect_silence(Duration::from_millis(50));
    drop(leaving);
    drop(listener);
    // Nobody would hear it.
    publisher.expect_next(":1");
    gate.open();
    eventually("nothing is left", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
            && metric(&keyway, "keyway_clients") == 1.0
    });
    assert_eq!(fake.node(0).received("PUBLISH c m").len(), 1);
}

/// Another worker's `SUBSCRIBE` is waited for as well, once it was read. contract: S1
#[test]
fn other_workers_wait_too() {
    let fake = FakeCluster::start(1);
    let gate = Gate::new();
    confirms_behind(&fake, &gate);
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.workers", "3")
        .set("cluster.refresh_interval", "\"1h\"")
        .start();
    let mut listener = keyway.client();
    listener.send("SUBSCRIBE c");
    fake.node(0).wait_for(1, "SUBSCRIBE");
    // Clients are spread over the workers.
    let mut publishers: Vec<Client> = (0..6).map(|_| keyway.client()).collect();
    for publisher in &mut publishers {
        publisher.send("PUBLISH c m");
    }
    for publisher in &mut publishers {
        publisher.expect_silence(Duration::from_millis(10));
    }
    gate.open();
    for publisher in &mut publishers {
        publisher.expect_next(":1");
    }
    assert_eq!(
        crate::listener::read_many(&mut listener, 1),
        ["['subscribe' 'c' :1]"]
    );
}
