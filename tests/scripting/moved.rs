//! Scripts by name through failover, resharding and restart: a client that loaded its script once
//! never hears of `NOSCRIPT`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyway::cluster::Slot;

use super::support::{
    Client, Cluster, ClusterOptions, Flavor, Keyway, Takeover, each_flavor, eventually,
};
use super::{ADD, load};

each_flavor! { scripts_survive_whatever_moves }

/// Keys of many slots, all of one counter each.
const KEYS: usize = 24;

/// A client that calls by name until it is told to stop: one by one, and in pipelines on one key.
/// Returns how many calls it made.
fn call_until(stop: &AtomicBool, mut client: Client, sha: &str, name: &str) -> usize {
    let mut counts = [0u64; KEYS];
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let index = calls % KEYS;
        let call = format!("EVALSHA {sha} 1 {name}-{index} 1");
        let depth = if calls % 3 == 0 { 8 } else { 1 };
        for reply in client.pipeline(&vec![call.clone(); depth]) {
            let text = reply.to_string();
            if text.starts_with("-ERR the connection to the node was lost") {
                // The node died with the call: it may have been executed (contract: F2).
                counts[index] = u64::MAX;
            } else if counts[index] == u64::MAX {
                counts[index] = text.trim_start_matches(':').parse().unwrap_or(u64::MAX);
                assert!(text.starts_with(':'), "{call}: {text}");
            } else {
                counts[index] += 1;
                assert_eq!(text, format!(":{}", counts[index]), "{call}");
            }
        }
        calls += depth;
    }
    calls
}

/// contract: T4, R3, R4, R13
fn scripts_survive_whatever_moves(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::of(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let sha = load(&mut keyway.client(), ADD);
    // Nothing but Keyway knows it from here on: nodes only have what they are given.
    for &primary in &cluster.primaries() {
        cluster.node(primary).ok("SCRIPT FLUSH");
    }
    let stop = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|number| {
                let (stop, sha) = (&stop, sha.as_str());
                let client = match number % 2 {
                    0 => keyway.client(),
                    _ => keyway.client_resp3(),
                };
                scope.spawn(move || call_until(stop, client, sha, &format!("caller{number}")))
            })
            .collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disturb(&cluster)));
        stop.store(true, Ordering::Relaxed);
        let calls: usize = callers
            .into_iter()
            .map(|caller| caller.join().expect("every call was answered right"))
            .sum();
        outcome.expect("the cluster does as it is told");
        calls
    });
    println!("{flavor:?}: {calls} calls by name");
    assert!(calls > 1_000, "only {calls} calls");
    assert_eq!(
        keyway
            .client()
            .call(&format!("SCRIPT EXISTS {sha}"))
            .to_string(),
        "[:1]"
    );
}

fn disturb(cluster: &Cluster) {
    // Slots move, those with keys among them, there and back.
    let slots: Vec<u16> = (0..KEYS)
        .flat_map(|index| (0..4).map(move |caller| format!("caller{caller}-{index}")))
        .map(|key| Slot::of_key(key.as_bytes()).number())
        .collect();
    for to in [2, 1, 0] {
        for some in slots.chunks(8) {
            cluster.move_slots(some, to).expect("nothing disturbs it");
        }
    }
    // A replica takes over in order, another by force.
    for how in [Takeover::Planned, Takeover::Force] {
        let primary = cluster.primaries()[0];
        cluster.failover(cluster.replicas_of(primary)[0], how);
        cluster.wait_until_settled();
    }
    // A primary dies and comes back as a replica, without its scripts.
    let primary = cluster.primary_of(slots[0]).expect("it has an owner");
    cluster.kill(primary);
    cluster.wait_for_new_primary(slots[0], primary);
    cluster.restart(primary);
    cluster.wait_until_settled();
    // It becomes the primary again.
    cluster.failover(primary, Takeover::Planned);
    cluster.wait_until_settled();
    eventually("it owns its slots", Duration::from_secs(10), || {
        cluster.primary_of(slots[0]) == Some(primary)
    });
}
