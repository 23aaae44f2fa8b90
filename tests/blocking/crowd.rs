//! A thousand blocked clients, their slots on the move, their primary killed: no element is lost, none
//! is given twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::support::{Client, Cluster, Flavor, Keyway, each_flavor, eventually_none};
use super::wait_for_blocked;
use keyway::cluster::Slot;

each_flavor!(every_element_is_delivered_once, too_many_are_told_so);

/// So many clients for each of the keys.
const CLIENTS: usize = 100;
const KEYS: usize = 10;

/// contract: T5 T6
fn every_element_is_delivered_once(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .set("timeouts.request", "\"60s\"")
        .start();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("crowd:{number}")).collect();
    let before = keyway.resident_bytes();
    let mut waiting: Vec<Client> = keys
        .iter()
        .flat_map(|key| std::iter::repeat_n(key, CLIENTS))
        .map(|key| {
            let mut client = keyway.client().with_patience(Duration::from_secs(60));
            client.send(&format!("BLPOP {key} 0"));
            client
        })
        .collect();
    wait_for_blocked(&keyway, CLIENTS * KEYS);
    println!(
        "{flavor:?}: {} bytes for each blocked client",
        (keyway.resident_bytes() - before) / (CLIENTS * KEYS) as u64
    );
    // A quarter of them leave: they must not take anything.
    let leaving = CLIENTS * KEYS / 4;
    for index in 0..leaving {
        drop(waiting.remove(index * 3));
    }
    wait_for_blocked(&keyway, waiting.len());
    // Half of the slots go elsewhere and come back.
    let homes: Vec<usize> = keys
        .iter()
        .map(|key| cluster.primary_of_key(key).expect("owned"))
        .collect();
    for (key, home) in keys.iter().zip(&homes).take(KEYS / 2) {
        let slot = Slot::of_key(key.as_bytes()).number();
        let away = cluster
            .primaries()
            .into_iter()
            .find(|to| to != home)
            .expect("three");
        for to in [away, *home] {
            cluster.move_slot(slot, to);
            settle(&cluster, slot, to);
        }
    }
    wait_for_blocked(&keyway, waiting.len());
    cluster.kill(homes[0]);
    let killed = Instant::now();
    // Exactly as many elements as clients, under way while the failover is.
    let mut pushing = keyway.client().with_patience(Duration::from_secs(60));
    let mut pushed = BTreeMap::new();
    for key in &keys {
        let count = CLIENTS;
        for number in 0..count {
            let element = format!("{key}/{number}");
            let reply = pushing.call(&format!("RPUSH {key} {element}"));
            assert!(!reply.is_error(), "{reply}");
            pushed.insert(element, 0);
        }
    }
    println!("pushed after {:?}", killed.elapsed());
    let mut delivered = 0;
    let mut left_over = 0;
    // First those who waited, then what is left: nobody takes it any more.
    for client in &mut waiting {
        let reply = client.read();
        let element = reply.items().get(1).expect("key and element").text();
        *pushed.get_mut(&element).expect("it was pushed") += 1;
        delivered += 1;
    }
    for key in &keys {
        let left = pushing.call(&format!("LRANGE {key} 0 -1"));
        for element in left.items() {
            *pushed.get_mut(&element.text()).expect("it was pushed") += 1;
            left_over += 1;
        }
    }
    println!(
        "{flavor:?}: {} pushed, {delivered} delivered, {left_over} left",
        pushed.len()
    );
    assert_eq!(delivered, CLIENTS * KEYS - leaving);
    let wrong: Vec<_> = pushed.iter().filter(|(_, times)| **times != 1).collect();
    assert!(wrong.is_empty(), "not exactly once: {wrong:?}");
}

/// Waits until all nodes know the slot's new owner. Gossip that is older than a move may reach its target
/// later, and leave a slot that each of two nodes believes the other's: as `redis-cli --cluster fix` does,
/// they are told again.
fn settle(cluster: &Cluster, slot: u16, to: usize) {
    let mut told_at = Instant::now();
    eventually_none("the cluster's nodes agree", Duration::from_secs(60), || {
        let lack = cluster.unsettled()?;
        if told_at.elapsed() > Duration::from_secs(2) {
            told_at = Instant::now();
            let command = format!("CLUSTER SETSLOT {slot} NODE {}", cluster.id(to));
            let said = [to].into_iter().chain(cluster.primaries()).map(|node| {
                // A node that has keys of the slot refuses to give it away; then it is asked again.
                (node, cluster.node(node).try_call(&command))
            });
            println!("{lack}: told again, {:?}", said.collect::<Vec<_>>());
        }
        Some(lack)
    });
}

/// contract: F6
fn too_many_are_told_so(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.leases", "2")
        .set("limits.lease_queue", "1")
        .set("timeouts.request", "\"1s\"")
        .start();
    let mut clients: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = keyway.client();
            client.send("BLPOP limit:key 0");
            client
        })
        .collect();
    wait_for_blocked(&keyway, 3);
    let mut fourth = keyway.client();
    fourth.expect_error("BLPOP limit:key 0", "ERR all 2 private connections");
    // The one in the queue waits as long as a request may.
    let told = clients[2].read().to_string();
    assert!(
        told.starts_with("-ERR no private connection was free"),
        "{told}"
    );
    wait_for_blocked(&keyway, 2);
    fourth.expect("RPUSH limit:key a", ":1");
    fourth.expect("RPUSH limit:key b", ":1");
    let mut got = [clients[0].read().to_string(), clients[1].read().to_string()];
    got.sort();
    assert_eq!(got, ["['limit:key' 'a']", "['limit:key' 'b']"]);
    fourth.expect("RPUSH limit:key c", ":1");
    fourth.expect("BLPOP limit:key 0", "['limit:key' 'c']");
}
