//! Deployments that become others: rebuilt clusters, standalone servers, addresses given away.

use std::time::Duration;

use keyway::cluster::Mode;
use keyway::worker::RefreshReason;

use crate::scene::{Discovery, owner, seeds, settings, six};
use crate::support::fake_view::Layout;
use crate::support::{Action, FakeCluster};

/// contract: R11
#[test]
fn a_rebuilt_cluster_is_found_by_its_seed() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    fake.change(rebuild);
    for node in fake.nodes() {
        node.cut_connections();
    }
    discovery.requests.request(RefreshReason::ConnectionLost);
    let topology = discovery.until("the new ids", |topology| {
        topology
            .nodes
            .iter()
            .all(|node| node.id.starts_with("beef"))
    });
    assert_eq!(topology.unowned(), 0);
    assert_eq!(owner(&topology, 0), fake.node(2).port());
}

/// New ids, low epochs, other owners.
fn rebuild(layout: &mut Layout) {
    for (index, node) in layout.nodes.iter_mut().enumerate() {
        node.id = format!("beef{index:036x}");
        node.epoch = 0;
    }
    let ranges: Vec<_> = (0..3)
        .map(|node| std::mem::take(&mut layout.nodes[node].slots))
        .collect();
    for (ranges, node) in ranges.into_iter().zip([2, 0, 1]) {
        layout.nodes[node].slots = ranges;
    }
}

/// contract: R9
#[test]
fn the_cluster_goes_on_while_an_address_belongs_to_another() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    let known = discovery.until("a topology", |_| true);
    fake.node(4).sees(rebuild);
    fake.node(0).sees(rebuild);
    discovery.requests.request(RefreshReason::ConnectionLost);
    discovery.refreshes(3);
    assert!(discovery.cell.load().expect("known").same_routes(&known));
}

#[test]
fn standalone_becomes_a_cluster_and_back() {
    let fake = FakeCluster::standalone();
    let mut settings = settings(&seeds(&[fake.node(0)]));
    settings.interval = Duration::from_millis(100);
    let discovery = Discovery::start(settings);
    let topology = discovery.until("one server", |topology| topology.mode == Mode::Standalone);
    assert_eq!((topology.nodes.len(), topology.unowned()), (1, 0));
    assert_eq!(owner(&topology, 0), fake.node(0).port());
    fake.change(|layout| layout.cluster_enabled = true);
    let topology = discovery.until("a cluster", |topology| topology.mode == Mode::Cluster);
    assert_eq!(topology.unowned(), 0);
    fake.change(|layout| layout.cluster_enabled = false);
    discovery.until("one server", |topology| topology.mode == Mode::Standalone);
}

#[test]
fn a_standalone_replica_leads_to_its_primary() {
    let (primary, replica) = (FakeCluster::standalone(), FakeCluster::standalone());
    let role = |port: u16| {
        let port = port.to_string();
        let reply =
            format!("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:{port}\r\n+connected\r\n:1\r\n");
        Action::Reply(reply.into_bytes())
    };
    replica.node(0).always("ROLE", role(primary.node(0).port()));
    let mut settings = settings(&seeds(&[replica.node(0)]));
    settings.interval = Duration::from_millis(100);
    let discovery = Discovery::start(settings);
    let (first, second) = (primary.node(0).port(), replica.node(0).port());
    discovery.until("the primary", |topology| owner(topology, 0) == first);
    // Its primary is gone: reads at least work, and it may be promoted.
    primary.node(0).go_down();
    discovery.until("the replica", |topology| owner(topology, 0) == second);
    primary.node(0).come_back();
    discovery.until("the primary", |topology| owner(topology, 0) == first);
}

#[test]
fn of_several_standalone_seeds_one_is_used() {
    let (one, two) = (FakeCluster::standalone(), FakeCluster::standalone());
    let mut settings = settings(&seeds(&[one.node(0), two.node(0)]));
    settings.interval = Duration::from_millis(100);
    let discovery = Discovery::start(settings);
    let topology = discovery.until("one server", |_| true);
    assert_eq!(owner(&topology, 0), one.node(0).port());
    one.node(0).go_down();
    let other = two.node(0).port();
    discovery.until("the other", |topology| owner(topology, 0) == other);
    one.node(0).come_back();
    discovery.refreshes(3);
    assert_eq!(owner(&discovery.cell.load().expect("known"), 0), other);
}
