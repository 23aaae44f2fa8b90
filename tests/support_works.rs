//! The scene itself works: clusters start, fail over, move slots, lose nodes and get them back.
//! When one of these fails, look here before you look at Keyway.

mod support;

use std::time::{Duration, Instant};

use keyway::cluster::Slot;
use support::{Client, Cluster, ClusterOptions, Flavor, Server, Takeover};

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
