//! How the topology is found and kept fresh, with the refresher alone before scripted nodes: seeds,
//! lagging nodes, minorities, nodes that refuse or hang, deployments that become others.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyway::cluster::{AddressMap, Endpoint, Health, Mode, Role, Slot, Topology};
use keyway::control::refresh::{RefreshParts, RefreshSettings, run};
use keyway::net::Lifecycle;
use keyway::telemetry::{ControlTallies, clock};
use keyway::upstream::handshake;
use keyway::worker::{RefreshReason, RefreshRequests, TopologyCell};
use support::fake_view::Layout;
use support::{Action, FakeCluster, FakeNode, Gate, eventually};
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(10);

/// A refresher on a thread of its own, as control runs it.
struct Discovery {
    cell: Arc<TopologyCell>,
    requests: Arc<RefreshRequests>,
    tallies: Arc<ControlTallies>,
    lifecycle: watch::Sender<Lifecycle>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// As it is used by default, but with an interval that never ends within a test: what happens,
/// happens for another reason.
fn settings(seeds: &[String]) -> RefreshSettings {
    let endpoint = |seed: &String| seed.parse::<Endpoint>().expect("an endpoint");
    RefreshSettings {
        seeds: seeds.iter().map(endpoint).collect(),
        address_map: Arc::new(AddressMap::default()),
        upstream: handshake::Settings {
            timeout: Duration::from_secs(1),
            keepalive: Duration::ZERO,
            credentials: handshake::Credentials::default(),
        },
        interval: Duration::from_secs(3600),
        response_timeout: Duration::from_secs(1),
    }
}

fn seeds(nodes: &[&FakeNode]) -> Vec<String> {
    nodes.iter().map(|node| node.addr().to_string()).collect()
}

impl Discovery {
    fn of(nodes: &[&FakeNode]) -> Discovery {
        Discovery::start(settings(&seeds(nodes)))
    }

    fn start(settings: RefreshSettings) -> Discovery {
        let cell = Arc::new(TopologyCell::default());
        let requests = Arc::new(RefreshRequests::default());
        let tallies = Arc::new(ControlTallies::default());
        let (lifecycle, receiver) = watch::channel(Lifecycle::Starting);
        let parts = RefreshParts {
            cell: Arc::clone(&cell),
            requests: Arc::clone(&requests),
            tallies: Arc::clone(&tallies),
            now_us: clock::now_us,
        };
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(run(settings, parts, receiver));
        });
        Discovery {
            cell,
            requests,
            tallies,
            lifecycle,
            thread: Some(thread),
        }
    }

    /// Waits for a snapshot of which this holds.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Topology) -> bool) -> Arc<Topology> {
        let mut found = None;
        eventually(what, DEADLINE, || {
            found = self.cell.load().filter(|topology| holds(topology));
            found.is_some()
        });
        found.expect("just seen")
    }

    /// Asks for a refresh in calm times, and waits for its end.
    #[track_caller]
    fn refreshed(&self, reason: RefreshReason) -> Arc<Topology> {
        let until = self.tallies.refreshes.value() + 1;
        self.requests.request(reason);
        eventually("a refresh ends", DEADLINE, || {
            self.tallies.refreshes.value() >= until
        });
        self.cell.load().expect("a refresh ended well")
    }

    /// Waits until that many more refreshes have ended, however they ended.
    #[track_caller]
    fn refreshes(&self, more: u64) {
        let count = || self.tallies.refreshes.value() + self.tallies.refresh_failures.value();
        let until = count() + more;
        eventually("refreshes end", DEADLINE, || count() >= until);
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.lifecycle.send_replace(Lifecycle::Stopped);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the refresher panicked");
        }
    }
}

/// The port of the owner of a slot; 0 for nobody.
fn owner(topology: &Topology, slot: u16) -> u16 {
    let slot = Slot::new(slot).expect("a slot");
    let owner = topology.owner(slot).and_then(|owner| topology.node(owner));
    owner.map_or(0, |node| node.endpoint.port)
}

/// Three primaries and their replicas. 0, 1, 2 own a third each; 3, 4, 5 follow them.
fn six() -> FakeCluster {
    FakeCluster::start_with_replicas(3, 1)
}

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
