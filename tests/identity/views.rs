//! What speaks of all clients of this Keyway speaks of those of every user.

use crate::scene::{DEADLINE, client, mapped, shared};
use crate::support::{Client, Flavor, Keyway, each_flavor, eventually};

each_flavor!(
    client_list_and_kill,
    client_unblock,
    pauses_hold_everybody,
    monitors_see_everybody,
    draining_ends_everybody,
);

fn keyway(flavor: Flavor) -> Keyway {
    mapped(shared(flavor)).set("proxy.workers", "2").start()
}

fn id(client: &mut Client) -> String {
    client
        .call("CLIENT ID")
        .to_string()
        .trim_start_matches(':')
        .to_owned()
}

/// contract: C2
fn client_list_and_kill(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b, mut nobody) = (client(&keyway, "a"), client(&keyway, "b"), keyway.client());
    nobody.expect("PING", "+PONG");
    for asks in [&mut a, &mut b, &mut nobody] {
        let list = asks.call("CLIENT LIST").text();
        for user in ["a", "b", "default"] {
            let word = format!(" user={user} ");
            assert_eq!(list.matches(&word).count(), 1, "{user}: {list}");
        }
    }
    nobody.expect("CLIENT KILL USER a", ":1");
    eventually("it is closed", DEADLINE, || a.try_call(&["PING"]).is_err());
    let own = id(&mut b);
    b.expect(&format!("CLIENT KILL ID {own} SKIPME no"), ":1");
    b.expect_closed();
    eventually("one is left", DEADLINE, || {
        keyway.metric("keyway_clients") == 1.0
    });
}

/// contract: C2
fn client_unblock(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    let blocked = id(&mut a);
    a.send("BLPOP a:unblock 0");
    eventually("it is blocked", DEADLINE, || {
        b.call(&format!("CLIENT UNBLOCK {blocked}")).to_string() == ":1"
    });
    a.expect_next("nil-array");
}

/// contract: C2
fn pauses_hold_everybody(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    b.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    a.send("SET a:pause 1");
    // Nor does one get by who comes later.
    let mut late = client(&keyway, "a");
    late.send("SET a:late 1");
    for client in [&mut a, &mut late] {
        client.expect_silence(std::time::Duration::from_millis(200));
    }
    b.expect("CLIENT UNPAUSE", "+OK");
    a.expect_next("+OK");
    late.expect_next("+OK");
}

/// contract: S7
fn monitors_see_everybody(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut monitor = client(&keyway, "a");
    monitor.expect("MONITOR", "+OK");
    // The connections of b are made only now.
    let mut b = client(&keyway, "b");
    b.expect("SET b:monitored 1", "+OK");
    let mut nobody = keyway.client();
    nobody.expect("SET service:monitored 1", "+OK");
    let mut missing = vec!["b:monitored", "service:monitored"];
    while !missing.is_empty() {
        let line = monitor.read().to_string();
        missing.retain(|key| !line.contains(key));
    }
}

/// contract: F7
fn draining_ends_everybody(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut clients = [client(&keyway, "a"), client(&keyway, "b"), keyway.client()];
    for (client, key) in clients
        .iter_mut()
        .zip(["a:drain", "b:drain", "service:drain"])
    {
        client.expect(&format!("SET {key} 1"), "+OK");
    }
    keyway.signal(rustix::process::Signal::TERM);
    for client in &mut clients {
        client.expect_closed();
    }
    assert!(keyway.wait(DEADLINE).success());
}
