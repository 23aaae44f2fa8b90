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

/// What the callers are told.
#[derive(Default)]
struct Scene {
    /// A primary is killed: what it had acknowledged and not yet passed on is lost, and no fault of
    /// Keyway's.
    is_killing: AtomicBool,
    is_over: AtomicBool,
}

/// A client that calls by name until it is told to stop: one by one, and in pipelines on one key, mixed
/// with other commands on it. Returns how many calls it made.
fn call_until(scene: &Scene, mut client: Client, sha: &str, name: &str) -> usize {
    let mut counts = [0u64; KEYS];
    let mut calls = 0;
    while !scene.is_over.load(Ordering::Relaxed) {
        let index = calls % KEYS;
        let key = format!("{name}-{index}");
        let call = format!("EVALSHA {sha} 1 {key} 1");
        let commands = match calls % 3 {
            0 => vec![
                call.clone(),
                format!("INCR {key}"),
                call.clone(),
                call,
                format!("INCRBY {key} 1"),
            ],
            _ => vec![call],
        };
        for reply in client.pipeline(&commands) {
            let text = reply.to_string();
            let is_killing = scene.is_killing.load(Ordering::Relaxed);
            if is_killing && text.contains("outcome unknown") {
                // The node died with the call (contract: F2).
                continue;
            }
            let count = text.strip_prefix(':').and_then(|count| count.parse().ok());
            let Some(count) = count else {
                panic!("{key}: {text}");
            };
            counts[index] += 1;
            assert!(
                is_killing || counts[index] == count,
                "{key}: {text}, not {}",
                counts[index]
            );
            counts[index] = count;
        }
        calls += commands.len();
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
    let scene = Scene::default();
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|number| {
                let (scene, sha) = (&scene, sha.as_str());
                let client = match number % 2 {
                    0 => keyway.client(),
                    _ => keyway.client_resp3(),
                };
                scope.spawn(move || call_until(scene, client, sha, &format!("caller{number}")))
            })
            .collect();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disturb(&cluster, &scene)));
        scene.is_over.store(true, Ordering::Relaxed);
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

fn disturb(cluster: &Cluster, scene: &Scene) {
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
    scene.is_killing.store(true, Ordering::Relaxed);
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
