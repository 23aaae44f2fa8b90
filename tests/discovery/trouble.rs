//! Nodes that refuse, hang, lag, answer late, or answer nonsense.

use std::time::{Duration, Instant};

use keyway::cluster::Health;
use keyway::worker::RefreshReason;

use crate::scene::{DEADLINE, Discovery, owner, six};
use crate::support::{Action, FakeNode, Gate, eventually};

/// contract: R11
#[test]
fn seeds_that_refuse_or_hang_hold_nobody_up() {
    let fake = six();
    fake.node(0).go_down();
    fake.node(1).always("CLUSTER", Action::Silence);
    fake.node(1).always("HELLO", Action::Silence);
    let began = Instant::now();
    let discovery = Discovery::of(&[fake.node(0), fake.node(1), fake.node(2)]);
    discovery.until("a topology", |topology| topology.unowned() == 0);
    assert!(began.elapsed() < Duration::from_millis(700));
}

/// contract: R11
#[test]
fn it_tries_on_until_a_seed_answers() {
    let fake = six();
    for node in fake.nodes() {
        node.go_down();
    }
    let discovery = Discovery::of(&[fake.node(0), fake.node(1)]);
    discovery.refreshes(4);
    assert!(discovery.cell.load().is_none());
    fake.node(1).come_back();
    discovery.until("a topology", |topology| topology.unowned() == 0);
    // And with every node gone again.
    fake.node(1).go_down();
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(4);
    assert!(discovery.tallies.refresh_failures.value() >= 4);
    fake.change(|layout| layout.assign(0, 16383, 2));
    fake.node(2).come_back();
    let to = fake.node(2).port();
    discovery.until("the news", |topology| owner(topology, 0) == to);
}

/// contract: R9
#[test]
fn a_lagging_node_does_not_roll_the_map_back() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    // All but node 1 lag, for good.
    for node in fake
        .nodes()
        .iter()
        .filter(|node| node.port() != fake.node(1).port())
    {
        node.sees(|_| {});
    }
    fake.change(|layout| layout.assign(0, 100, 1));
    discovery.requests.request(RefreshReason::Moved);
    let to = fake.node(1).port();
    discovery.until("the news", |topology| owner(topology, 50) == to);
    fake.node(1).go_down();
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(5);
    assert_eq!(owner(&discovery.cell.load().expect("known"), 50), to);
}

/// The old primary is cut off and believes itself in charge. contract: R9
#[test]
fn a_minority_does_not_roll_the_map_back() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    fake.node(0).sees(|layout| {
        for node in [1, 2, 4, 5] {
            layout.nodes[node].health = "fail".to_owned();
        }
    });
    fake.change(|layout| {
        layout.promote(3);
        layout.nodes[0].health = "fail".to_owned();
    });
    discovery.requests.request(RefreshReason::ReadOnly);
    let heir = fake.node(3).port();
    discovery.until("the heir", |topology| owner(topology, 0) == heir);
    for node in [1, 2, 3, 4, 5] {
        fake.node(node).go_down();
    }
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(5);
    assert_eq!(owner(&discovery.cell.load().expect("known"), 0), heir);
}

/// contract: R8
#[test]
fn a_failover_is_seen_soon() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(1)]);
    discovery.until("a topology", |_| true);
    fake.node(0).go_down();
    discovery.requests.request(RefreshReason::ConnectionLost);
    // While the cluster has not noticed, it is asked again and again, and nothing changes.
    discovery.refreshes(4);
    assert_eq!(
        owner(&discovery.cell.load().expect("known"), 0),
        fake.node(0).port()
    );
    fake.change(|layout| layout.nodes[0].health = "fail".to_owned());
    discovery.until("the failure", |topology| {
        topology
            .nodes
            .iter()
            .any(|node| node.health == Health::Failed)
    });
    fake.change(|layout| layout.promote(3));
    let elected = Instant::now();
    let heir = fake.node(3).port();
    discovery.until("the heir", |topology| owner(topology, 0) == heir);
    assert!(
        elected.elapsed() < Duration::from_millis(200),
        "{:?}",
        elected.elapsed()
    );
}

/// A node that was stopped accepts connections and never answers. contract: R8
#[test]
fn a_node_that_hangs_does_not_delay_the_news() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(1)]);
    discovery.until("a topology", |_| true);
    for node in [0, 5] {
        fake.node(node).always("CLUSTER", Action::Silence);
        fake.node(node).always("HELLO", Action::Silence);
    }
    discovery.requests.request(RefreshReason::Timeout);
    discovery.refreshes(3);
    fake.change(|layout| {
        layout.promote(3);
        layout.nodes[0].health = "fail".to_owned();
    });
    let elected = Instant::now();
    let heir = fake.node(3).port();
    discovery.until("the heir", |topology| owner(topology, 0) == heir);
    assert!(
        elected.elapsed() < Duration::from_millis(200),
        "{:?}",
        elected.elapsed()
    );
}

/// contract: R8
#[test]
fn a_late_answer_is_used_when_it_comes() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    let gate = Gate::new();
    for node in fake.nodes() {
        node.sees(|_| {});
    }
    fake.node(3).sees(|layout| layout.promote(3));
    for command in ["CLUSTER", "HELLO", "INFO"] {
        let held = Action::After(gate.clone(), Box::new(Action::Default));
        fake.node(3).times(4, command, held);
    }
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(2);
    assert_eq!(
        owner(&discovery.cell.load().expect("known"), 0),
        fake.node(0).port()
    );
    gate.open();
    let heir = fake.node(3).port();
    discovery.until("the late news", |topology| owner(topology, 0) == heir);
}

/// contract: R8
#[test]
fn calm_comes_back() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    fake.node(0).go_down();
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(4);
    fake.node(0).come_back();
    // Restarted before anybody noticed: asked until it answers, and then no more.
    let count = || discovery.tallies.refreshes.value();
    let mut seen = (count(), Instant::now());
    eventually("refreshes end", DEADLINE, || {
        if count() != seen.0 {
            seen = (count(), Instant::now());
        }
        seen.1.elapsed() > Duration::from_millis(500)
    });
}

/// contract: F8
#[test]
fn odd_replies_are_failures_and_no_more() {
    let fake = six();
    for (reply, node) in [
        ("*1\r\n".repeat(100_000), 0),
        ("$99999999999\r\n".to_owned(), 1),
        ("+what\r\n".to_owned(), 2),
        ("*-1\r\n".to_owned(), 3),
        ("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), 4),
    ] {
        fake.node(node)
            .always("CLUSTER", Action::Reply(reply.into_bytes()));
    }
    let nodes: Vec<&FakeNode> = fake.nodes().iter().collect();
    let discovery = Discovery::of(&nodes);
    let topology = discovery.until("what the sixth says", |_| true);
    assert_eq!(topology.nodes.len(), 6);
    assert_eq!(topology.unowned(), 0);
}
