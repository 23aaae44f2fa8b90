//! The scene itself works: clusters start, fail over, move slots, lose nodes and get them back.
//! When one of these fails, look here before you look at Keyway.

mod support;

use std::time::{Duration, Instant};

use keyway::cluster::Slot;
use support::view::View;
use support::{Action, Client, Cluster, ClusterOptions, FakeCluster, Flavor, Gate};
use support::{Load, LoadPlan, Server, Takeover, Value};

#[test]
fn redis_cluster_starts_and_changes() {
    cluster_starts_and_changes(Flavor::Redis);
}

#[test]
fn valkey_cluster_starts_and_changes() {
    cluster_starts_and_changes(Flavor::Valkey);
}

fn cluster_starts_and_changes(flavor: Flavor) {
    let mut stage = Stages::begin(flavor);
    let cluster = Cluster::start(flavor);
    stage.done("start");
    let slot = Slot::of_key(b"foo").number();
    let owner = cluster.primary_of(slot).expect("somebody owns the slot");
    let mut client = cluster.client_of_key("foo");
    client.expect("SET foo bar", "+OK");

    let replica = cluster.replicas_of(owner)[0];
    cluster.failover(replica, Takeover::Planned);
    stage.done("planned failover");
    assert_eq!(cluster.primary_of(slot), Some(replica));
    client.expect_error("SET foo again", "MOVED 12182");

    let other = cluster.primaries().into_iter().find(|&one| one != replica);
    let other = other.expect("there are three primaries");
    cluster.move_slot(slot, other);
    stage.done("slot moved");
    cluster.client_of_key("foo").expect("GET foo", "'bar'");
    assert_eq!(cluster.primary_of(slot), Some(other));

    let half = cluster.begin_move(slot, replica);
    let mut source = cluster.node(other).client();
    source.expect_error("GET gone{foo}", "ASK 12182");
    half.migrate(&["foo"]);
    source.expect_error("GET foo", "ASK 12182");
    half.finish();
    cluster.client_of_key("foo").expect("GET foo", "'bar'");
    stage.done("half move finished");
    cluster.begin_move(slot, other).abandon();
    assert_eq!(cluster.primary_of(slot), Some(replica));
    stage.done("half move abandoned");

    cluster.wait_until_settled();
    let before = Instant::now();
    cluster.kill(replica);
    let heir = cluster.wait_for_new_primary(slot, replica);
    stage.done(&format!("kill, elected after {:?}", before.elapsed()));
    cluster.node(heir).client().expect("GET foo", "'bar'");
    cluster.restart(replica);
    cluster.wait_until_settled();
    assert_eq!(cluster.replicas_of(heir), [replica]);
    stage.done("killed node is back");
}

/// All slots of a primary, one way and back.
#[test]
fn many_slots_move() {
    let mut stage = Stages::begin(Flavor::Redis);
    let cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        password: Some("secret".to_owned()),
        ..ClusterOptions::default()
    });
    stage.done("start with a password, without replicas");
    cluster.client_of_key("foo").expect("SET foo bar", "+OK");
    let all: Vec<u16> = (0..Slot::COUNT as u16).collect();
    for to in [0, 2] {
        cluster.move_slots(&all, to).expect("nothing disturbs it");
        stage.done("all slots moved to one node");
    }
    cluster.node(2).client().expect("GET foo", "'bar'");
}

#[test]
fn paused_node_keeps_its_sockets_and_answers_later() {
    let server = Server::start(Flavor::Redis);
    let mut client = Client::connect(server.addr());
    client.expect("PING", "+PONG");
    server.pause();
    client.send("PING");
    client.expect_silence(Duration::from_millis(50));
    server.resume();
    client.expect_next("+PONG");
    server.terminate();
    client.expect_closed();
}

#[test]
fn nodes_join_disagree_are_mended_and_leave() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        ..ClusterOptions::default()
    });
    let joined = cluster.join();
    cluster.move_slots(&[0, 1], joined).expect("all is calm");
    cluster.wait_until_settled();
    // Its owner alone takes the slot for another's: nobody claims it.
    let command = format!("CLUSTER SETSLOT 0 NODE {}", cluster.id(1));
    cluster.node(joined).ok(&command);
    assert!(!cluster.is_settled());
    cluster.mend();
    cluster.wait_until_settled();
    assert_eq!(cluster.primary_of(0), Some(joined));
    cluster.move_slots(&[0, 1], 0).expect("all is calm");
    cluster.leave(joined);
    assert_eq!(cluster.primaries().len(), 3);
}

#[test]
fn fake_cluster_plays_its_part() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    let mut client = Client::connect(fake.node(0).addr());
    let redirect = format!("-MOVED 12182 {}", fake.node(1).addr());
    fake.node(0)
        .once("get foo", Action::moved(12182, fake.node(1)));
    client.expect("GET foo", &redirect);
    client.expect("GET foo", "'node-0'");

    let gate = Gate::new();
    let held = Action::After(gate.clone(), Box::new(Action::line(":5")));
    fake.node(0).once("INCR", held);
    client.send("INCR n");
    client.send("MGET a b");
    fake.node(0).wait_for(1, "MGET");
    client.expect_silence(Duration::from_millis(20));
    gate.open();
    client.expect_next(":5");
    client.expect_next("['node-0' 'node-0']");

    fake.node(0)
        .once("SET", Action::ReplyAndClose(b"$5\r\nab".to_vec()));
    client.send("SET k v");
    assert_eq!(client.read_to_end(), b"$5\r\nab");
    fake.node(0).go_down();
    assert!(Client::try_connect(fake.node(0).addr()).is_err());
    fake.node(0).come_back();
    Client::connect(fake.node(0).addr()).expect("PING", "+PONG");
}

/// What fake nodes say of their cluster is read as a real node's word is.
#[test]
fn fake_cluster_describes_itself() {
    let fake = FakeCluster::start_with_replicas(2, 1);
    fake.change(|layout| layout.assign(100, 199, 1));
    fake.node(1).sees(|layout| layout.promote(2));
    let view = |node: usize| {
        let reply = Client::connect(fake.node(node).addr()).call("CLUSTER NODES");
        View::parse(&reply.text())
    };
    let slots = |view: &View| view.0.iter().map(|l| l.slots.clone()).collect::<Vec<_>>();
    let (first, second) = (vec![(0, 99), (200, 8191)], vec![(100, 199), (8192, 16383)]);
    assert_eq!(
        slots(&view(0)),
        [first.clone(), second.clone(), vec![], vec![]]
    );
    assert_eq!(slots(&view(1)), [vec![], second, first, vec![]]);

    let mut client = Client::connect(fake.node(0).addr());
    let resp2 = client.call("CLUSTER SHARDS");
    assert_eq!(
        client.call("HELLO 3").field("proto"),
        Some(&Value::Integer(3))
    );
    let resp3 = client.call("CLUSTER SHARDS");
    assert!(matches!(resp3.items()[0], Value::Map(_)));
    for shards in [resp2, resp3] {
        let nodes = shards.items()[0].field("nodes").expect("a shard has nodes");
        let role = |node: &Value| node.field("role").map(Value::text);
        let roles: Vec<_> = nodes.items().iter().filter_map(role).collect();
        assert_eq!(roles, ["master", "replica"]);
    }
    assert_eq!(client.call("CLUSTER SLOTS").items().len(), 4);
}

/// One server gives only right replies, and is caught when it does not.
#[test]
fn load_sees_what_is_wrong() {
    let server = Server::start(Flavor::Valkey);
    let plan = LoadPlan {
        clients: 4,
        pipeline: 3,
        resp3: true,
        ..LoadPlan::default()
    };
    let load = Load::start(server.addr(), plan.clone());
    load.wait_for(2_000);
    let report = load.stop();
    report.assert_flawless();

    let load = Load::start(server.addr(), plan.clone());
    load.wait_for(500);
    server.ok("FLUSHALL");
    load.wait_for(500);
    let report = load.stop();
    assert!(report.stale > 0, "a flush is noticed: {report}");

    let load = Load::start(server.addr(), plan);
    load.wait_for(500);
    let names = server.ok("KEYS load:1:0:*");
    for name in names.items() {
        server.ok(&format!("SET {} intruder", name.text()));
    }
    load.wait_for(500);
    server.restart();
    load.wait_for(500);
    let report = load.stop();
    assert!(report.wrong > 0, "a strange value is noticed: {report}");
    assert!(report.disconnects >= 4, "{report}");
}

/// Prints how long each step of a test took.
struct Stages {
    flavor: Flavor,
    began: Instant,
    last: Instant,
}

impl Stages {
    fn begin(flavor: Flavor) -> Stages {
        Stages {
            flavor,
            began: Instant::now(),
            last: Instant::now(),
        }
    }

    fn done(&mut self, what: &str) {
        let took = self.last.elapsed();
        println!("{:?} {:>8.2?}  {what}", self.flavor, took);
        self.last = Instant::now();
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let total = self.began.elapsed();
        println!("{:?} {total:>8.2?}  in all", self.flavor);
    }
}
