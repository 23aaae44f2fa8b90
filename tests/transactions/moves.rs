//! Blocks while slots move and primaries change: whole or not at all, and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::exec;
use super::place::slot;
use super::support::{
    Client, Cluster, ClusterOptions, Flavor, Keyway, Takeover, each_flavor, eventually,
};

each_flavor!(
    blocks_are_whole_while_slots_move,
    blocks_are_whole_through_failovers,
    a_half_moved_slot
);

const CLIENTS: usize = 8;

/// What one client saw.
#[derive(Default)]
struct Seen {
    /// Blocks that were executed, by their replies.
    executed: i64,
    /// Blocks of which it is not known.
    unknown: i64,
    /// Other errors.
    errors: Vec<String>,
}

/// Clients that count, each with two counters in one slot which every block raises together, and a list
/// of what the blocks saw.
fn count(keyway: &Keyway, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<Seen>> {
    let addr = keyway.addr();
    let clients = (0..CLIENTS).map(|number| {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            let mut client = Client::connect(addr);
            let tag = format!("{{m{number}}}");
            let block = [
                format!("INCR {tag}a"),
                format!("RPUSH {tag}l x"),
                format!("INCR {tag}b"),
                format!("LLEN {tag}l"),
            ];
            let block: Vec<&str> = block.iter().map(String::as_str).collect();
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let reply = exec(&mut client, &block);
                let items: Vec<&str> = reply.trim_matches(['[', ']']).split(' ').collect();
                if reply.starts_with('[') {
                    seen.executed += 1;
                    let all = items.iter().all(|item| *item == items[0]);
                    assert!(all && items.len() == 4, "half a block: {reply}");
                } else if reply.contains("outcome unknown") {
                    seen.unknown += 1;
                } else {
                    seen.errors.push(reply);
                }
            }
            seen
        })
    });
    clients.collect()
}

/// Every counter is as high as blocks were executed, or higher by those of which nobody knows.
fn check(keyway: &Keyway, seen: Vec<Seen>) -> i64 {
    let mut client = keyway.client();
    let mut all = 0;
    for (number, seen) in seen.into_iter().enumerate() {
        assert_eq!(seen.errors, Vec::<String>::new());
        let tag = format!("{{m{number}}}");
        let counts = client.call(&format!("MGET {tag}a {tag}b"));
        let counts: Vec<i64> = counts
            .items()
            .iter()
            .map(|count| count.text().parse().expect("a number"))
            .collect();
        let len = client.call(&format!("LLEN {tag}l")).integer();
        assert!(
            counts[0] == counts[1] && counts[0] == len,
            "{counts:?} {len}"
        );
        assert!(
            (seen.executed..=seen.executed + seen.unknown).contains(&len),
            "{len} of {} and {} unknown",
            seen.executed,
            seen.unknown
        );
        assert!(seen.executed > 0);
        all += seen.executed;
    }
    all
}

/// contract: T1 R3 R4 R5
fn blocks_are_whole_while_slots_move(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::steady(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let stop = Arc::new(AtomicBool::new(false));
    let clients = count(&keyway, &stop);
    let slots: Vec<u16> = (0..CLIENTS)
        .map(|number| slot(&format!("{{m{number}}}")))
        .collect();
    for round in 0..12 {
        for slot in &slots {
            let primaries = cluster.primaries();
            let from = cluster.primary_of(*slot).expect("somebody owns the slot");
            let others: Vec<usize> = primaries.into_iter().filter(|to| *to != from).collect();
            cluster.move_slot(*slot, others[round % others.len()]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = clients
        .into_iter()
        .map(|client| client.join().expect("it counts"))
        .collect();
    assert!(seen.iter().all(|seen| seen.unknown == 0));
    let blocks = check(&keyway, seen);
    println!("{blocks} blocks while {} slots moved", 12 * slots.len());
}

/// contract: T1 F2
fn blocks_are_whole_through_failovers(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::steady(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let stop = Arc::new(AtomicBool::new(false));
    let clients = count(&keyway, &stop);
    for round in 0..2 {
        for shard in cluster.primaries() {
            let replica = cluster.replicas_of(shard)[0];
            cluster.failover(replica, Takeover::Planned);
            cluster.wait_until_settled();
        }
        println!("round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = clients
        .into_iter()
        .map(|client| client.join().expect("it counts"))
        .collect();
    check(&keyway, seen);
}

/// Keys of one block on both sides of a move: it waits until they are together. contract: R4 R5 T1
fn a_half_moved_slot(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::steady(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    client.expect("MSET {h}a 1 {h}b 2", "+OK");
    let from = cluster.primary_of(slot("{h}")).expect("somebody owns it");
    let half = cluster.begin_move(slot("{h}"), (from + 1) % 3);
    // All at the source, then one key at the target: a block of that key alone goes there.
    assert_eq!(exec(&mut client, &["INCR {h}a", "INCR {h}b"]), "[:2 :3]");
    half.migrate(&["{h}b"]);
    assert_eq!(exec(&mut client, &["INCR {h}b", "GET {h}b"]), "[:4 '4']");
    assert_eq!(exec(&mut client, &["INCR {h}a", "GET {h}a"]), "[:3 '3']");
    // A new key is made at the target.
    assert_eq!(
        exec(&mut client, &["SET {h}new x", "GET {h}new"]),
        "[+OK 'x']"
    );
    for line in ["MULTI", "INCR {h}a", "INCR {h}b", "EXEC"] {
        client.send(line);
    }
    for expected in ["+OK", "+QUEUED", "+QUEUED"] {
        client.expect_next(expected);
    }
    client.expect_silence(Duration::from_millis(200));
    eventually("it is tried again", Duration::from_secs(10), || {
        keyway.metric("keyway_retries_total") > 3.0
    });
    half.finish();
    client.expect_next("[:4 :5]");
}
