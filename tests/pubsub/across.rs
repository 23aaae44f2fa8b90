//! Several workers, several Keyways, clients of the nodes themselves.

use std::time::Duration;

use crate::listener::{metric, subscribe, subscribe_amid_messages, until_pong, wait_until_quiet};
use crate::support::{Client, Cluster, Flavor, Keyway, Scene, Server, each_flavor, eventually};

each_flavor!(
    everybody_hears_everybody,
    one_subscription_for_all_clients,
    receivers_are_counted_as_on_one_server,
    patterns_and_channels_of_one_client,
    client_list_and_kill,
    before_one_standalone_server,
    a_draining_keyway_lets_subscribers_go,
);

/// Two Keyways of two workers each, and clients at each node. contract: S4
fn everybody_hears_everybody(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let second = Keyway::before(&scene.cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut listeners: Vec<Client> = (0..4).map(|_| second.client()).collect();
    listeners.push(scene.keyway.client());
    listeners.extend(scene.cluster.nodes().iter().map(|node| node.client()));
    for listener in &mut listeners {
        subscribe(listener, "SUBSCRIBE eh:c");
    }
    let mut publishers: Vec<Client> = (0..2).map(|_| second.client()).collect();
    publishers.push(scene.keyway.client());
    publishers.extend(scene.cluster.nodes().iter().map(|node| node.client()));
    for (number, publisher) in publishers.iter_mut().enumerate() {
        publisher.call(&format!("PUBLISH eh:c {number}"));
        for listener in &mut listeners {
            listener.expect_next(&format!("['message' 'eh:c' '{number}']"));
        }
    }
    // Shard channels: at the slot's owner and through any Keyway.
    let mut listeners = [second.client(), scene.keyway.client()];
    for listener in &mut listeners {
        subscribe(listener, "SSUBSCRIBE eh:s");
    }
    let owner = scene.cluster.client_of_key("eh:s");
    for (number, mut publisher) in [second.client(), scene.keyway.client(), owner]
        .into_iter()
        .enumerate()
    {
        publisher.call(&format!("SPUBLISH eh:s {number}"));
        for listener in &mut listeners {
            listener.expect_next(&format!("['smessage' 'eh:s' '{number}']"));
        }
    }
}

/// contract: S1
fn one_subscription_for_all_clients(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut listeners: Vec<Client> = (0..100).map(|_| keyway.client()).collect();
    for listener in &mut listeners {
        subscribe(listener, "SUBSCRIBE os:c");
    }
    assert_eq!(metric(&keyway, "keyway_upstream_subscriptions"), 2.0);
    assert_eq!(metric(&keyway, "keyway_subscribers"), 100.0);
    let at_nodes = || -> i64 {
        let nodes = cluster.nodes().iter();
        nodes
            .map(|node| node.ok("PUBSUB NUMSUB os:c").items()[1].integer())
            .sum()
    };
    assert_eq!(at_nodes(), 2, "one for each worker");
    keyway.client().expect("PUBLISH os:c x", ":100");
    for listener in &mut listeners {
        listener.expect_next("['message' 'os:c' 'x']");
    }
    // The last one that leaves ends it, and the connection after a while.
    let last = listeners.pop();
    drop(listeners);
    eventually("others are gone", Duration::from_secs(5), || {
        metric(&keyway, "keyway_subscribers") == 1.0
    });
    wait_until_quiet(&keyway);
    assert_eq!(at_nodes(), 1);
    drop(last);
    eventually("nothing is subscribed", Duration::from_secs(5), || {
        at_nodes() == 0
    });
    let hubs = || -> usize {
        let nodes = cluster.nodes().iter();
        let lists = nodes.map(|node| node.ok("CLIENT LIST").text());
        let hubs = lists.map(|list| list.matches("cmd=unsubscribe ").count());
        hubs.sum()
    };
    eventually(
        "idle connections are closed",
        Duration::from_secs(20),
        || hubs() == 0,
    );
    keyway.client().expect("PUBLISH os:c x", ":0");
}

/// contract: S4
fn receivers_are_counted_as_on_one_server(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let mut publisher = keyway.client();
    publisher.expect("PUBLISH rc:c x", ":0");
    let mut listeners: Vec<Client> = (0..6).map(|_| keyway.client()).collect();
    for (number, listener) in listeners.iter_mut().enumerate() {
        subscribe(listener, "SUBSCRIBE rc:c");
        publisher.expect("PUBLISH rc:c x", &format!(":{}", number + 1));
    }
    for listener in &mut listeners[..3] {
        subscribe_amid_messages(listener, "PSUBSCRIBE rc:*");
    }
    subscribe_amid_messages(&mut listeners[3], "PSUBSCRIBE other:*");
    publisher.expect("PUBLISH rc:c x", ":9");
    publisher.expect("PUBLISH rc:d x", ":3");
    publisher.expect("PUBLISH other:1 x", ":1");
    publisher.expect("PUBSUB NUMSUB rc:c rc:d", "['rc:c' :6 'rc:d' :0]");
    publisher.expect("PUBSUB CHANNELS rc:*", "['rc:c']");
    // Clients of the nodes count where the message is published.
    let mut direct = scene.cluster.client_of_key("rc:c");
    subscribe(&mut direct, "SUBSCRIBE rc:c");
    publisher.expect("PUBLISH rc:c x", ":10");
    publisher.expect("PUBSUB NUMSUB rc:c", "['rc:c' :7]");
    for listener in &mut listeners {
        listener.send("SSUBSCRIBE rc:s");
        until_pong(listener, "all");
    }
    publisher.expect("SPUBLISH rc:s x", ":6");
    publisher.expect("PUBSUB SHARDNUMSUB rc:s", "['rc:s' :6]");
    publisher.expect("PUBSUB SHARDCHANNELS rc:*", "['rc:s']");
    drop(listeners);
    eventually("they are gone", Duration::from_secs(5), || {
        metric(&keyway, "keyway_subscribers") == 0.0
    });
    wait_until_quiet(&keyway);
    publisher.expect("PUBLISH rc:c x", ":1");
    publisher.expect("SPUBLISH rc:s x", ":0");
    publisher.expect("PUBSUB SHARDCHANNELS rc:*", "[]");
}

/// One message for the channel and one for each pattern, in the order of what is published.
/// contract: S1
fn patterns_and_channels_of_one_client(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut listener = scene.keyway.client();
    subscribe(&mut listener, "SUBSCRIBE pa:news");
    subscribe(&mut listener, "PSUBSCRIBE pa:*");
    subscribe(&mut listener, "PSUBSCRIBE pa:n?ws");
    let mut publisher = scene.keyway.client();
    for number in 0..20 {
        publisher.expect(&format!("PUBLISH pa:news {number}"), ":3");
    }
    let mut got: [Vec<String>; 3] = Default::default();
    for _ in 0..60 {
        let message = listener.read().to_string();
        let kinds = ["['message'", "['pmessage' 'pa:*'", "['pmessage' 'pa:n?ws'"];
        let kind = kinds.iter().position(|kind| message.starts_with(kind));
        let text = message.rsplit('\'').nth(1).unwrap_or_default().to_owned();
        got[kind.unwrap_or_else(|| panic!("{message}"))].push(text);
    }
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(got, [expected.clone(), expected.clone(), expected]);
}

/// contract: C2
fn client_list_and_kill(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Scene::shared(flavor).cluster.seeds();
    let keyway = Keyway::before(&cluster).set("proxy.workers", "2").start();
    let mut listener = keyway.client();
    for command in [
        "SUBSCRIBE cl:1",
        "SUBSCRIBE cl:2",
        "PSUBSCRIBE cl:*",
        "SSUBSCRIBE cl:s",
    ] {
        subscribe(&mut listener, command);
    }
    let mut other = keyway.client();
    let list = other.call("CLIENT LIST TYPE pubsub").text();
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains(" flags=P "), "{list}");
    assert!(list.contains(" sub=2 psub=1 ssub=1 "), "{list}");
    let list = other.call("CLIENT LIST TYPE normal").text();
    assert!(list.contains(" sub=0 psub=0 ssub=0 "), "{list}");
    assert_eq!(list.lines().count(), 1, "{list}");
    other.expect("CLIENT KILL TYPE pubsub", ":1");
    listener.expect_closed();
    other.expect("PING", "+PONG");
    eventually("its subscriptions end", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
    });
}

/// The server is restarted: what was subscribed is subscribed again. contract: S1 S2
fn before_one_standalone_server(flavor: Flavor) {
    // Redis 6.2 has no shard channels.
    if !flavor.is_since(7, 0) {
        return;
    }
    let server = Server::start(flavor);
    let keyway = Keyway::start(&[server.addr()]);
    let (mut listener, mut publisher) = (keyway.client(), keyway.client());
    for command in ["SUBSCRIBE so:c", "PSUBSCRIBE so:p*", "SSUBSCRIBE so:s"] {
        subscribe(&mut listener, command);
    }
    let mut round = |name: &str| {
        publisher.expect(&format!("PUBLISH so:c {name}"), ":1");
        listener.expect_next(&format!("['message' 'so:c' '{name}']"));
        publisher.expect(&format!("PUBLISH so:p1 {name}"), ":1");
        listener.expect_next(&format!("['pmessage' 'so:p*' 'so:p1' '{name}']"));
        publisher.expect(&format!("SPUBLISH so:s {name}"), ":1");
        listener.expect_next(&format!("['smessage' 'so:s' '{name}']"));
        publisher.expect("PUBSUB NUMSUB so:c", "['so:c' :1]");
        publisher.expect("PUBSUB NUMPAT", ":1");
        publisher.expect("PUBSUB CHANNELS", "['so:c']");
    };
    round("before");
    server.kill();
    server.restart();
    eventually("it is subscribed again", Duration::from_secs(20), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 3.0
            && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
            && metric(&keyway, "keyway_subscription_gaps_total") == 3.0
    });
    round("after");
}

/// contract: F7
fn a_draining_keyway_lets_subscribers_go(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::start(&scene.cluster.seeds());
    let mut listeners = [keyway.client(), keyway.client_resp3()];
    for listener in &mut listeners {
        subscribe(listener, "SUBSCRIBE dk:c");
    }
    let began = std::time::Instant::now();
    assert!(keyway.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(5));
    for listener in &mut listeners {
        listener.expect_closed();
    }
}
