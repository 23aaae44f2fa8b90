//! A cable that is cut: packets vanish, nobody is told, and every connection stays half open.
//!
//! ```text
//!          near                                far
//!   client, Keyway, two primaries,   cable   the third primary, or a client
//!   a replica of the third one      -------
//! ```
//!
//! Needs root and Linux; where a network namespace cannot be made, the tests say so and do nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::support::namespace::Namespace;
use super::support::process::{Folder, Process};
use super::support::{Client, Keyway, eventually};
use super::watcher::Watcher;
use super::{GRACE, SOON};
use keyway::cluster::Slot;

const NEAR: &str = "10.99.0.1";
const FAR: &str = "10.99.0.2";
/// The nodes: two primaries, the one behind the cable, its replica.
const NODES: [(&str, u16); 4] = [(NEAR, 7001), (NEAR, 7002), (FAR, 7003), (NEAR, 7004)];
const BEHIND: usize = 2;
const DEADLINE: Duration = Duration::from_secs(5);

struct Site {
    near: Namespace,
    far: Namespace,
}

impl Site {
    /// Two networks and a cable; `None`, with a word about it, where that cannot be.
    fn new() -> Option<Site> {
        if let Some(why) = Namespace::refusal() {
            println!("skipped: no network namespace can be made here: {why}");
            return None;
        }
        let site = Site {
            near: Namespace::new("near"),
            far: Namespace::new("far"),
        };
        let end = |address: &str| format!("{address}/24");
        site.near.connect(&site.far, &end(NEAR), &end(FAR));
        Some(site)
    }

    fn cut(&self) {
        self.near.cut(FAR);
        self.far.cut(NEAR);
    }

    fn mend(&self) {
        self.near.mend(FAR);
        self.far.mend(NEAR);
    }
}

/// A node's process and its folder.
type Node = (Process, Folder);

fn addr(node: usize) -> SocketAddr {
    let (host, port) = NODES[node];
    format!("{host}:{port}").parse().expect("an address")
}

/// Three primaries of which the last is behind the cable, and a replica of that.
fn start_cluster(site: &Site) -> Vec<Node> {
    let nodes = NODES.iter().map(|&(host, port)| {
        let folder = Folder::new("node");
        let place = if host == NEAR { &site.near } else { &site.far };
        let options = format!(
            "redis-server --port {port} --bind {host} --cluster-enabled yes --cluster-node-timeout 1500 \
             --cluster-replica-validity-factor 0 --cluster-require-full-coverage no --protected-mode no \
             --repl-diskless-sync-delay 0 --dir"
        );
        let mut program = place.wrapper();
        program.extend(options.split_whitespace().map(str::to_owned));
        program.push(folder.path().display().to_string());
        program.extend(["--save".to_owned(), String::new()]);
        let log = folder.path().join("node.log");
        let process = Process::start(&program, &log).expect("redis-server is installed");
        (process, folder)
    });
    let nodes: Vec<Node> = nodes.collect();
    let mut clients: Vec<Client> = (0..NODES.len()).map(wait_for_node).collect();
    for (node, client) in clients.iter_mut().take(3).enumerate() {
        let (first, last) = (node * 16384 / 3, (node + 1) * 16384 / 3 - 1);
        client.expect(&format!("CLUSTER SET-CONFIG-EPOCH {}", node + 1), "+OK");
        client.expect(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"), "+OK");
    }
    for (host, port) in &NODES[1..] {
        clients[0].expect(&format!("CLUSTER MEET {host} {port}"), "+OK");
    }
    let primary = clients[BEHIND].call("CLUSTER MYID").text();
    eventually("the replica knows its primary", SOON, || {
        let reply = clients[3].call(&format!("CLUSTER REPLICATE {primary}"));
        !reply.is_error()
    });
    eventually("the cluster is whole", SOON, || {
        clients.iter_mut().all(|client| {
            let state = client.call("CLUSTER INFO").text();
            let nodes = client.call("CLUSTER NODES").text();
            state.contains("cluster_state:ok")
                && nodes.lines().count() == NODES.len()
                && nodes.matches("slave").count() == 1
        }) && clients[3]
            .call("INFO replication")
            .text()
            .contains("master_link_status:up")
    });
    nodes
}

fn wait_for_node(node: usize) -> Client {
    super::support::eventually::eventually_some("a node answers", SOON, || {
        let mut client = Client::try_connect(addr(node)).ok()?;
        let reply = client.try_call(&["PING"]).ok()?;
        (reply.to_string() == "+PONG").then_some(client)
    })
}

fn keys(node: usize, count: usize) -> Vec<String> {
    let names = (0..).map(|salt| format!("cable:{salt}"));
    let is_its = |name: &String| Slot::of_key(name.as_bytes()).index() * 3 / 16384 == node;
    names.filter(is_its).take(count).collect()
}

fn before(site: &Site) -> super::support::keyway::KeywayOptions {
    Keyway::before(&[addr(0), addr(1), addr(2)])
        .set("timeouts.request", "\"5s\"")
        .through(site.near.wrapper())
}

/// contract: F2 F4 F5 R8 T6
#[test]
fn a_node_behind_a_cut_cable_costs_only_its_own_shard() {
    let Some(site) = Site::new() else { return };
    site.near.within(|| {
        let nodes = start_cluster(&site);
        let keyway = before(&site).start();
        let far = keys(BEHIND, 20);
        let mut client = keyway.client();
        for key in &far {
            client.expect(&format!("SET {key} {key}"), "+OK");
        }
        let mut blocked = keyway.client();
        let list = format!("{{{}}}:list", far[0]);
        blocked.send(&format!("BLPOP {list} 0"));
        eventually("it waits", SOON, || {
            keyway.metric("keyway_blocked_clients") > 0.5
        });
        let watcher = Watcher::start(keyway.addr(), [keys(0, 3), keys(1, 3)].concat());
        site.cut();
        let began = Instant::now();
        let (mut reading, mut writing) = (keyway.client(), keyway.client());
        reading.send(&format!("GET {}", far[1]));
        writing.send(&format!("SET {} new", far[2]));
        // A read is done again when the replica has taken over; a write that was sent is not.
        let read = reading.read().to_string();
        let write = writing.read().to_string();
        let took = began.elapsed();
        println!("after {took:.1?}: {read} and {write}");
        assert!(took < DEADLINE + GRACE, "{took:?}");
        assert!(
            read == format!("'{}'", far[1]) || read.starts_with('-'),
            "{read}"
        );
        assert!(
            write == "+OK" || write.contains("outcome unknown"),
            "{write}"
        );
        eventually("the shard is served again", SOON, || {
            !client.call(&format!("SET {} again", far[3])).is_error()
        });
        println!("served again after {:.1?}", began.elapsed());
        client.expect(&format!("RPUSH {list} element"), ":1");
        blocked.expect_next(&format!("['{list}' 'element']"));
        site.mend();
        eventually("the old primary follows", SOON, || {
            let role = Client::try_connect(addr(BEHIND))
                .and_then(|mut client| client.try_call(&["INFO", "replication"]));
            role.is_ok_and(|reply| reply.text().contains("role:slave"))
        });
        for key in far[4..].iter().cycle().take(100) {
            client.expect(&format!("GET {key}"), &format!("'{key}'"));
        }
        watcher.assert_undisturbed();
        drop(nodes);
    });
}

/// Keyway's own address for clients that come over the cable.
const OUTER: &str = "10.99.0.1:7900";

/// contract: F5
#[test]
fn clients_behind_a_cut_cable_are_let_go() {
    let Some(site) = Site::new() else { return };
    site.near.within(|| {
        let nodes = start_cluster(&site);
        let keyway = before(&site)
            .env("KEYWAY_LISTENERS_1_ADDRESS", OUTER)
            .set("listen.tcp_keepalive", "\"3s\"")
            .set("listen.tcp_user_timeout", "\"3s\"")
            .start();
        let near = keys(0, 1);
        let outer = OUTER.parse().expect("an address");
        let (mut idle, mut blocked) = site.far.within(|| {
            let connect = || Client::connect(outer);
            (connect(), connect())
        });
        idle.expect("PING", "+PONG");
        blocked.send(&format!("BLPOP {} 0", near[0]));
        eventually("it waits", SOON, || {
            keyway.metric("keyway_blocked_clients") > 0.5
        });
        site.cut();
        // A reply goes out to nobody, and is not acknowledged.
        let mut client = keyway.client();
        client.expect(&format!("RPUSH {} element", near[0]), ":1");
        let gone = eventually("both are let go", SOON, || {
            keyway.metric("keyway_clients") < 1.5
        });
        println!("let go after {gone:.1?}");
        client.expect("PING", "+PONG");
        drop(nodes);
    });
}
