//! What real nodes do rarely: refusals, redirects, silence, pushes that nobody asked for.

use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use crate::listener::{metric, subscribe, until_pong};
use crate::support::{Action, FakeCluster, FakeNode, Gate, Keyway, Request, eventually};

/// A RESP3 push of words and a number.
fn push(words: &[&str], number: Option<i64>) -> Vec<u8> {
    let mut out = format!(">{}\r\n", words.len() + usize::from(number.is_some())).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    out.extend(
        number
            .map(|number| format!(":{number}\r\n"))
            .unwrap_or_default()
            .bytes(),
    );
    out
}

/// Confirms every channel of the request.
pub fn confirm(request: &Request) -> Vec<u8> {
    let word = request.text(0).to_lowercase();
    let names = (1..request.arguments.len()).map(|index| request.text(index));
    let pushes = names.map(|name| push(&[&word, &name], Some(1)));
    pushes.flatten().collect()
}

/// Lets a node serve subscriptions as a real one does.
pub fn serves(node: &FakeNode) {
    for word in [
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
    ] {
        node.on(word, |request| Action::Reply(confirm(request)));
    }
}

pub fn scene(nodes: usize, timeout: &str) -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(nodes);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request", &format!("\"{timeout}\""))
        // Only what a test does leads to a look at the cluster.
        .set("cluster.refresh_interval", "\"1h\"")
        .start();
    (fake, keyway)
}

/// A channel whose slot belongs to this node.
pub fn channel_of(node: usize, nodes: usize) -> String {
    let share = Slot::COUNT / nodes;
    let mut names = (0..).map(|number| format!("channel-{number}"));
    let is_of = |name: &String| {
        let slot = Slot::of_key(name.as_bytes()).index();
        (node * share..(node + 1) * share).contains(&slot)
    };
    names.find(is_of).expect("there are names for every slot")
}

/// The channels of one client go out as one command, whatever their number.
/// contract: S1
#[test]
fn channels_of_one_request_go_out_together() {
    let (fake, keyway) = scene(1, "10s");
    serves(fake.node(0));
    let mut client = keyway.client();
    let names: Vec<String> = (0..2_500).map(|number| format!("c{number}")).collect();
    client.send(&format!("SUBSCRIBE {}", names.join(" ")));
    for (index, name) in names.iter().enumerate() {
        client.expect_next(&format!("['subscribe' '{name}' :{}]", index + 1));
    }
    assert_eq!(
        fake.node(0).received("SUBSCRIBE").len(),
        3,
        "a thousand each"
    );
    client.send("UNSUBSCRIBE");
    for left in (0..2_500).rev() {
        let value = client.read();
        assert_eq!(value.items()[2].integer(), left);
    }
    eventually("all is ended", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
    });
}

/// A rule of the server's for one channel must not hurt the others of the same command.
/// contract: S1
#[test]
fn a_refused_channel_is_refused_alone() {
    let (fake, keyway) = scene(1, "10s");
    let noperm =
        "-NOPERM this user has no permissions to access one of the channels used as arguments";
    fake.node(0).on("SUBSCRIBE", move |request| {
        let names = 1..request.arguments.len();
        match names
            .into_iter()
            .any(|index| request.text(index) == "secret")
        {
            true => Action::line(noperm),
            false => Action::Reply(confirm(request)),
        }
    });
    serves(fake.node(0));
    let mut warm = keyway.client();
    subscribe(&mut warm, "SUBSCRIBE warm");
    // The batch's own PING may still be on its way.
    eventually("the first batch is over", Duration::from_secs(5), || {
        fake.node(0).received("PING").len() == 1
    });
    // Held back, so that those of all three go out in one command.
    let gate = Gate::new();
    fake.node(0).once(
        "PING",
        Action::After(gate.clone(), Box::new(Action::Default)),
    );
    let mut first = keyway.client();
    first.send("SUBSCRIBE first");
    fake.node(0).wait_for(1, "SUBSCRIBE first");
    let (mut good, mut bad) = (keyway.client(), keyway.client());
    good.send("SUBSCRIBE good");
    bad.send("SUBSCRIBE secret other");
    eventually("they wait for the node", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscription_changes") == 3.0
    });
    gate.open();
    first.expect_next("['subscribe' 'first' :1]");
    good.expect_next("['subscribe' 'good' :1]");
    bad.expect_next(noperm);
    // Nothing of it is left.
    bad.expect("GET a", "'node-0'");
    bad.expect("UNSUBSCRIBE", "['unsubscribe' nil :0]");
    eventually("nobody wants the other", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 3.0
            && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
    });
}

/// contract: S2 R3
#[test]
fn a_shard_channel_follows_moved() {
    let (fake, keyway) = scene(2, "10s");
    let name = channel_of(0, 2);
    let slot = Slot::of_key(name.as_bytes()).number();
    fake.change(|layout| layout.assign(slot, slot, 1));
    fake.node(0)
        .always("SSUBSCRIBE", Action::moved(slot, fake.node(1)));
    serves(fake.node(1));
    let mut client = keyway.client();
    subscribe(&mut client, &format!("SSUBSCRIBE {name}"));
    assert_eq!(fake.node(1).received("SSUBSCRIBE").len(), 1);
}

/// Two nodes that name each other are not asked thousands of times a second. contract: R7
#[test]
fn nodes_that_name_each_other_are_asked_now_and_then() {
    let (fake, keyway) = scene(2, "1s");
    let name = channel_of(0, 2);
    let slot = Slot::of_key(name.as_bytes()).number();
    fake.node(0)
        .always("SSUBSCRIBE", Action::moved(slot, fake.node(1)));
    fake.node(1)
        .always("SSUBSCRIBE", Action::moved(slot, fake.node(0)));
    let mut client = keyway.client();
    let began = Instant::now();
    client.expect_error(
        &format!("SSUBSCRIBE {name}"),
        "CLUSTERDOWN the subscription could not be made",
    );
    assert!(began.elapsed() >= Duration::from_secs(1));
    let asked =
        fake.node(0).received("SSUBSCRIBE").len() + fake.node(1).received("SSUBSCRIBE").len();
    assert!(asked < 200, "asked {asked} times");
    // Once they agree it works, and nothing is left of the first try.
    fake.node(1).forget_rules();
    serves(fake.node(1));
    subscribe(&mut client, &format!("SSUBSCRIBE {name}"));
}

/// The slot leaves without a word of the client's: the node ends the subscription by itself.
/// contract: S2
#[test]
fn no_stray_sunsubscribe_reaches_a_client() {
    let (fake, keyway) = scene(2, "10s");
    let name = channel_of(0, 2);
    let slot = Slot::of_key(name.as_bytes()).number();
    serves(fake.node(0));
    serves(fake.node(1));
    let mut client = keyway.client_resp3();
    subscribe(&mut client, &format!("SSUBSCRIBE {name}"));
    fake.change(|layout| layout.assign(slot, slot, 1));
    fake.node(0).forget_rules();
    fake.node(0)
        .always("SSUBSCRIBE", Action::moved(slot, fake.node(1)));
    let ended = push(&["sunsubscribe", &name], Some(0));
    // With the next word that this node says to the hub.
    fake.node(0).on("PING", move |_| {
        Action::Reply([&ended[..], b"+PONG\r\n"].concat())
    });
    fake.node(1).wait_for(1, "SSUBSCRIBE");
    eventually("the gap is counted", Duration::from_secs(5), || {
        metric(&keyway, "keyway_subscription_gaps_total") == 1.0
    });
    assert_eq!(until_pong(&mut client, "nothing"), [""; 0]);
    client.expect("SUNSUBSCRIBE", &format!(">['sunsubscribe' '{name}' :0]"));
}

/// Confirmed is what the node has confirmed. contract: S1
#[test]
fn a_confirmation_waits_for_the_node() {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    let held = gate.clone();
    fake.node(0).on("SUBSCRIBE", move |request| {
        Action::After(held.clone(), Box::new(Action::Reply(confirm(request))))
    });
    serves(fake.node(0));
    let (mut first, mut second) = (keyway.client(), keyway.client());
    first.send("SUBSCRIBE c");
    second.send("SUBSCRIBE c");
    fake.node(0).wait_for(1, "SUBSCRIBE");
    first.expect_silence(Duration::from_millis(50));
    // One that leaves meanwhile takes nothing with it.
    drop(first);
    gate.open();
    second.expect_next("['subscribe' 'c' :1]");
    assert_eq!(fake.node(0).received("SUBSCRIBE").len(), 1);
    eventually("only one is left", Duration::from_secs(5), || {
        metric(&keyway, "keyway_subscribers") == 1.0
    });
}

/// The node of the channel is down when it is asked for: another one serves it at once.
/// contract: S2
#[test]
fn another_node_stands_in() {
    let (fake, keyway) = scene(2, "10s");
    serves(fake.node(0));
    serves(fake.node(1));
    fake.node(0).go_down();
    let mut client = keyway.client();
    let began = Instant::now();
    subscribe(&mut client, &format!("SUBSCRIBE {}", channel_of(0, 2)));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    // It was asked in vain, and that is no gap.
    assert_eq!(metric(&keyway, "keyway_subscription_gaps_total"), 0.0);
    // Half a confirmation, and the connection ends: elsewhere again.
    fake.node(0).come_back();
    fake.node(1).forget_rules();
    fake.node(1).once(
        "SUBSCRIBE",
        Action::ReplyAndClose(b">3\r\n$9\r\nsubscr".to_vec()),
    );
    serves(fake.node(1));
    let mut other = keyway.client();
    subscribe(&mut other, &format!("SUBSCRIBE {}", channel_of(1, 2)));
    assert!(metric(&keyway, "keyway_subscription_gaps_total") >= 1.0);
}

/// What cannot be placed gets an error that says so, and leaves nothing. contract: F1 F5 S2
#[test]
fn a_subscription_that_cannot_be_made_says_so() {
    let (fake, keyway) = scene(2, "1s");
    for node in fake.nodes() {
        serves(node);
    }
    let mut client = keyway.client();
    subscribe(&mut client, &format!("SUBSCRIBE {}", channel_of(1, 2)));
    fake.node(0).go_down();
    let shard = channel_of(0, 2);
    client.expect_error(
        &format!("SSUBSCRIBE {shard}"),
        "CLUSTERDOWN the subscription could not be made",
    );
    client.expect("SUNSUBSCRIBE", "['sunsubscribe' nil :0]");
    client.expect(
        "UNSUBSCRIBE",
        &format!("['unsubscribe' '{}' :0]", channel_of(1, 2)),
    );
    eventually("nothing is left", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
            && metric(&keyway, "keyway_subscribers") == 0.0
    });
}

/// A server that does not know the command (Redis 6.2 has no shard channels). contract: S1
#[test]
fn a_command_that_the_server_does_not_know() {
    let (fake, keyway) = scene(1, "10s");
    let unknown = "-ERR unknown command `SSUBSCRIBE`, with args beginning with: `s`, ";
    fake.node(0).always("SSUBSCRIBE", Action::line(unknown));
    let mut client = keyway.client();
    client.expect("SSUBSCRIBE s", unknown);
    client.expect("GET a", "'node-0'");
}

/// Nobody is subscribed twice, and nobody forgets: subscriptions that come and go faster than the node
/// answers. contract: S1
#[test]
fn coming_and_going_faster_than_the_node_answers() {
    let (fake, keyway) = scene(1, "10s");
    serves(fake.node(0));
    let mut clients: Vec<_> = (0..5).map(|_| keyway.client()).collect();
    for round in 0..200 {
        let client = &mut clients[round % 5];
        match round % 3 {
            0 => client.send("UNSUBSCRIBE c"),
            _ => client.send("SUBSCRIBE c"),
        }
    }
    for client in &mut clients {
        until_pong(client, "done");
        client.send("UNSUBSCRIBE");
        until_pong(client, "over");
    }
    eventually("nothing is left", Duration::from_secs(5), || {
        metric(&keyway, "keyway_upstream_subscriptions") == 0.0
            && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
    });
    // The node was never asked for what it had.
    let mut is_on = false;
    for request in fake.node(0).requests("") {
        match request.text(0).as_str() {
            "SUBSCRIBE" => assert!(!std::mem::replace(&mut is_on, true), "subscribed twice"),
            "UNSUBSCRIBE" => assert!(std::mem::replace(&mut is_on, false), "ended twice"),
            _ => {}
        }
    }
}
