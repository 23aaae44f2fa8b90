//! Blocked clients whose slot moves or whose node dies go on waiting at the new owner.

use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::support::{Cluster, Flavor, Keyway, Takeover, each_flavor, eventually};
use super::wait_for_blocked;

each_flavor!(
    a_slot_moves,
    a_planned_failover,
    a_primary_dies,
    time_goes_on_through_moves,
    a_slot_that_is_half_moved,
    streams_from_now_on,
    readers_of_a_group_move_with_their_stream,
    draining_lets_go_also_without_a_cluster,
);

fn slot_of(key: &str) -> u16 {
    Slot::of_key(key.as_bytes()).number()
}

/// contract: T6
fn a_slot_moves(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "moves:key";
    let mut client = keyway.client();
    let mut other = keyway.client();
    let primaries = cluster.primaries();
    for round in 0..4 {
        client.send(&format!("BLPOP {key} 0"));
        wait_for_blocked(&keyway, 1);
        let owner = cluster.primary_of_key(key).expect("it has an owner");
        let to = *primaries
            .iter()
            .find(|to| **to != owner)
            .expect("there are three");
        cluster.move_slot(slot_of(key), to);
        client.expect_silence(Duration::from_millis(100));
        other.expect(&format!("RPUSH {key} {round}"), ":1");
        client.expect_next(&format!("['{key}' '{round}']"));
        other.expect(&format!("EXISTS {key}"), ":0");
    }
}

/// contract: T6
fn a_planned_failover(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "planned:key";
    let mut client = keyway.client();
    client.send(&format!("BZPOPMIN {key} 0"));
    wait_for_blocked(&keyway, 1);
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    cluster.failover(cluster.replicas_of(owner)[0], Takeover::Planned);
    client.expect_silence(Duration::from_millis(100));
    let mut other = keyway.client();
    other.expect(&format!("ZADD {key} 1 element"), ":1");
    client.expect_next(&format!("['{key}' 'element' '1']"));
}

/// contract: T6
fn a_primary_dies(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "dies:key";
    let mut client = keyway.client();
    client.send(&format!("BLMOVE {key} {{{key}}}:to LEFT RIGHT 0"));
    wait_for_blocked(&keyway, 1);
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    cluster.kill(owner);
    let mut other = keyway.client().with_patience(Duration::from_secs(30));
    other.expect(&format!("RPUSH {key} element"), ":1");
    client.expect_next("'element'");
    other.expect(&format!("LRANGE {{{key}}}:to 0 -1"), "['element']");
}

/// The time that a client gave is the time it waits, however often it is sent elsewhere. contract: T6
fn time_goes_on_through_moves(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "time:key";
    let mut client = keyway.client();
    let began = Instant::now();
    client.send(&format!("BLPOP {key} 2"));
    wait_for_blocked(&keyway, 1);
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    let others: Vec<usize> = cluster
        .primaries()
        .into_iter()
        .filter(|to| *to != owner)
        .collect();
    for to in others.iter().cycle().take(4) {
        cluster.move_slot(slot_of(key), *to);
    }
    client.expect_next("nil-array");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// What is added while a reader is on its way to another node is not missed: `$` is the end of the stream
/// when the client asked. contract: T6
fn streams_from_now_on(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "now:key";
    let mut other = keyway.client();
    other.expect(&format!("XADD {key} 1-1 f old"), "'1-1'");
    let mut client = keyway.client();
    client.send(&format!("XREAD BLOCK 0 STREAMS {key} $"));
    wait_for_blocked(&keyway, 1);
    client.expect_silence(Duration::from_millis(50));
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    let to = cluster
        .primaries()
        .into_iter()
        .find(|to| *to != owner)
        .expect("three");
    // The entry is added at the new owner before anybody tells the reader of it.
    let half = cluster.begin_move(slot_of(key), to);
    half.migrate(&half.keys());
    let mut new_owner = cluster.node(to).client();
    new_owner.expect("ASKING", "+OK");
    new_owner.expect(&format!("XADD {key} 2-1 f new"), "'2-1'");
    half.finish();
    client.expect_next(&format!("[['{key}' [['2-1' ['f' 'new']]]]]"));
}

/// Redis 7.0 takes a stream that moves away for one that is deleted. contract: T6
fn readers_of_a_group_move_with_their_stream(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "group:key";
    let mut other = keyway.client();
    other.expect(&format!("XGROUP CREATE {key} g 0 MKSTREAM"), "+OK");
    other.expect(&format!("XADD {key} 1-1 f old"), "'1-1'");
    let mut reader = keyway.client();
    let old = format!("[['{key}' [['1-1' ['f' 'old']]]]]");
    reader.expect(&format!("XREADGROUP GROUP g c STREAMS {key} >"), &old);
    let blocks = format!("XREADGROUP GROUP g c BLOCK 0 STREAMS {key} >");
    reader.send(&blocks);
    wait_for_blocked(&keyway, 1);
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    let mut primaries = cluster.primaries().into_iter();
    let to = primaries.find(|to| *to != owner).expect("three");
    cluster
        .move_slots(&[slot_of(key)], to)
        .expect("nothing disturbs it");
    reader.expect_silence(Duration::from_millis(50));
    other.expect(&format!("XADD {key} 2-1 f new"), "'2-1'");
    reader.expect_next(&format!("[['{key}' [['2-1' ['f' 'new']]]]]"));
    if !flavor.is_since(7, 0) {
        // It tells nothing of one that is deleted.
        return;
    }
    if !flavor.is_since(7, 0) {
        // It tells nothing of one that is deleted.
        return;
    }
    // One that is deleted is told as the server tells it.
    let mut direct = cluster.client_of_key(key);
    let mut waiting = cluster.client_of_key(key);
    waiting.send(&blocks);
    reader.send(&blocks);
    eventually("both wait", Duration::from_secs(10), || {
        direct
            .call("INFO clients")
            .text()
            .contains("blocked_clients:2")
    });
    other.expect(&format!("DEL {key}"), ":1");
    let told = waiting.read().to_string();
    reader.expect_next(&told);
}

/// contract: F7
fn draining_lets_go_also_without_a_cluster(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let mut clients: Vec<_> = (0..20).map(|_| keyway.client()).collect();
    let timeout = |number: usize| [0, 600][number / 2 % 2];
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!("BLPOP drain:{number} {}", timeout(number)));
    }
    wait_for_blocked(&keyway, clients.len());
    // Half of the answers are still to come from nodes that are gone by then.
    for node in cluster.nodes() {
        node.kill();
    }
    keyway.signal(rustix::process::Signal::TERM);
    let began = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        // Who waits for ever never gets nil.
        if timeout(number) > 0 {
            client.expect_next("nil-array");
        }
        client.expect_closed();
    }
    assert!(keyway.wait(Duration::from_secs(30)).success());
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// A key that is on the other side of a move is waited for there. contract: T6 R4
fn a_slot_that_is_half_moved(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let key = "half:key";
    let owner = cluster.primary_of_key(key).expect("it has an owner");
    let to = cluster
        .primaries()
        .into_iter()
        .find(|to| *to != owner)
        .expect("three");
    let half = cluster.begin_move(slot_of(key), to);
    let mut client = keyway.client();
    client.send(&format!("BLPOP {key} 0"));
    wait_for_blocked(&keyway, 1);
    let mut other = keyway.client();
    other.expect(&format!("RPUSH {key} one"), ":1");
    client.expect_next(&format!("['{key}' 'one']"));
    client.send(&format!("BLPOP {key} 0"));
    wait_for_blocked(&keyway, 1);
    half.finish();
    other.expect(&format!("RPUSH {key} two"), ":1");
    client.expect_next(&format!("['{key}' 'two']"));
}
