//! How the topology is found and kept fresh.

mod merge_cost;
mod other_deployments;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyway::cluster::{AddressMap, Mode, Role, Slot};
use keyway::worker::RefreshReason;
use scene::{DEADLINE, Discovery, owner, seeds, settings, six};
use support::{Action, eventually};

#[test]
fn one_seed_is_enough() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(4)]);
    let topology = discovery.until("all six", |topology| topology.nodes.len() == 6);
    assert_eq!(topology.mode, Mode::Cluster);
    assert_eq!(topology.unowned(), 0);
    assert_eq!(topology.version, 1);
    assert_eq!(&*topology.server_version, "7.0.15");
    for (slot, node) in [(0, 0), (6000, 1), (16383, 2)] {
        assert_eq!(owner(&topology, slot), fake.node(node).port());
    }
    let replica = |port| {
        topology
            .nodes
            .iter()
            .find(|node| node.endpoint.port == port)
    };
    let replica = replica(fake.node(3).port()).expect("it is known");
    let Role::Replica(primary) = replica.role else {
        panic!("not a replica");
    };
    let primary = topology.node(primary).expect("in range");
    assert_eq!(primary.endpoint.port, fake.node(0).port());
}

/// Before Redis 7 there is no `CLUSTER SHARDS`; some services hide `CLUSTER NODES`.
#[test]
fn slots_alone_or_nodes_alone_are_enough() {
    for hidden in [["SHARDS", "NODES"], ["SHARDS", "SLOTS"], ["SLOTS", "NODES"]] {
        let fake = six();
        for node in fake.nodes() {
            for command in hidden {
                let error = format!("-ERR unknown subcommand '{command}'. Try CLUSTER HELP.");
                node.always(&format!("CLUSTER {command}"), Action::line(&error));
            }
        }
        let discovery = Discovery::of(&[fake.node(0)]);
        let topology = discovery.until("six nodes", |topology| topology.nodes.len() == 6);
        assert_eq!(topology.unowned(), 0, "{hidden:?}");
        assert_eq!(owner(&topology, 6000), fake.node(1).port());
    }
}

/// contract: R3, R8
#[test]
fn a_moved_slot_is_learnt_on_request() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    let first = discovery.until("a topology", |_| true);
    eventually("the first refresh ends", DEADLINE, || {
        discovery.tallies.refreshes.value() == 1
    });
    fake.change(|layout| layout.assign(5, 5, 1));
    let second = discovery.refreshed(RefreshReason::Moved);
    assert_eq!(owner(&second, 5), fake.node(1).port());
    assert!(second.as_of_us > first.as_of_us);
    // Nothing moved: it is published all the same, since it is newer than the MOVED.
    let third = discovery.refreshed(RefreshReason::Moved);
    assert!(third.version > second.version && third.as_of_us > second.as_of_us);
    // Other reasons do not publish what is known.
    let fourth = discovery.refreshed(RefreshReason::Timeout);
    assert_eq!(fourth.version, third.version);
}

/// contract: R8
#[test]
fn a_thousand_requests_make_few_refreshes() {
    let fake = six();
    let discovery = Discovery::of(&[fake.node(0)]);
    discovery.until("a topology", |_| true);
    let (began, before) = (Instant::now(), discovery.tallies.refreshes.value());
    eventually("300 ms pass", DEADLINE, || {
        for _ in 0..1000 {
            discovery.requests.request(RefreshReason::Moved);
        }
        began.elapsed() > Duration::from_millis(300)
    });
    let made = discovery.tallies.refreshes.value() - before;
    let most = began.elapsed().as_millis() as u64 / 20 + 1;
    assert!((1..=most).contains(&made), "{made} refreshes in 300 ms");
}

/// contract: R12
#[test]
fn addresses_that_cannot_be_reached_are_mapped() {
    let fake = six();
    fake.change(|layout| {
        for (index, node) in layout.nodes.iter_mut().enumerate() {
            node.host = format!("172.28.0.{}", 101 + index);
        }
    });
    let mut settings = settings(&seeds(&[fake.node(0)]));
    let rules = [("172.28.0.0/24".to_owned(), "127.0.0.1".to_owned())];
    settings.address_map = Arc::new(AddressMap::parse(&rules).expect("a good rule"));
    let discovery = Discovery::start(settings);
    let topology = discovery.until("a topology", |_| true);
    assert!(
        topology
            .nodes
            .iter()
            .all(|node| &*node.endpoint.host == "127.0.0.1")
    );
    assert!(
        topology
            .nodes
            .iter()
            .any(|node| &*node.announced.host == "172.28.0.103")
    );
    // The mapped addresses are those that are asked.
    fake.change(|layout| layout.assign(0, 0, 2));
    fake.node(0).go_down();
    discovery.requests.request(RefreshReason::Moved);
    let to = fake.node(2).port();
    discovery.until("the news", |topology| owner(topology, 0) == to);
}

/// A slot without owner, or a server that has lost its cluster, is asked about until it is well.
#[test]
fn a_cluster_in_the_making_is_watched() {
    let fake = six();
    fake.change(|layout| {
        for node in &mut layout.nodes {
            node.slots.clear();
        }
    });
    let discovery = Discovery::of(&[fake.node(0)]);
    let topology = discovery.until("nodes", |_| true);
    assert_eq!(topology.unowned(), Slot::COUNT);
    fake.change(|layout| layout.nodes[1].slots = vec![(0, 16383)]);
    discovery.until("slots", |topology| topology.unowned() == 0);
}
