//! Caches while slots move back and forth, replicas take over, and primaries die: none serves a value
//! that was out of date for longer than the bound.
//!
//! A few seconds in each run; `KEYWAY_TEST_SECONDS=60` makes it as long as the figures in the README
//! were measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::cache::{CachingClient, Counts};
use super::history::History;
use super::support::{Client, Cluster, Flavor, Keyway, Takeover, eventually};

/// How long after a write was acknowledged an older value may be served at most: while the cluster
/// changes under it. What Keyway needs is a view of the cluster (asked for each second).
const BOUND: Duration = Duration::from_secs(2);
/// The cluster counts as calm when nothing happened for this long: then a `PING` is enough, and the bound
/// is zero.
const CALM: Duration = Duration::from_secs(3);
const KEYS: usize = 256;
const WRITERS: usize = 4;

/// contract: S6 R3 R8 F2
#[test]
fn no_cache_is_stale_on_redis() {
    no_cache_is_stale(Flavor::Redis);
}

/// contract: S6 R3 R8 F2
#[test]
fn no_cache_is_stale_on_valkey() {
    no_cache_is_stale(Flavor::Valkey);
}

/// How long the scene lasts.
fn scene_time() -> Duration {
    let seconds = std::env::var("KEYWAY_TEST_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("KEYWAY_TEST_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(6))
}

fn name(key: usize) -> String {
    format!("key:{key}")
}

fn slot_of(key: usize) -> u16 {
    Slot::of_key(name(key).as_bytes()).number()
}

/// What all threads share.
struct Stage {
    history: History,
    is_over: AtomicBool,
    /// Looks at a cached value, and how many of them were without a bound.
    looks: AtomicU64,
    strict_looks: AtomicU64,
    stale: AtomicU64,
    /// The longest time that a value was served after a write was acknowledged, in microseconds.
    oldest_us: AtomicU64,
}

fn no_cache_is_stale(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    // Half of the writers are not seen by the Keyway of the caches.
    let elsewhere = Keyway::start(&cluster.seeds());
    let stage = Arc::new(Stage {
        history: History::of(KEYS),
        is_over: AtomicBool::new(false),
        looks: AtomicU64::new(0),
        strict_looks: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        oldest_us: AtomicU64::new(0),
    });
    let addrs = [keyway.addr(), elsewhere.addr()];
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let stage = Arc::clone(&stage);
            let addr = addrs[writer % 2];
            std::thread::spawn(move || write(&stage, writer, addr))
        })
        .collect();
    let modes = [
        "CLIENT TRACKING ON",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT TRACKING ON BCAST PREFIX key:",
        "CLIENT TRACKING ON NOLOOP",
    ];
    let caches = modes.map(|mode| {
        let stage = Arc::clone(&stage);
        let addr = keyway.addr();
        std::thread::spawn(move || serve(&stage, addr, mode))
    });
    let began = Instant::now();
    let done = disturb(&cluster, &stage, began);
    // At the end all is calm for a while.
    let strict = stage.strict_looks.load(Ordering::Relaxed);
    eventually("caches are looked at in peace", CALM * 4, || {
        stage.strict_looks.load(Ordering::Relaxed) > strict + 1_000
    });
    stage.is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer's check failed");
    }
    let mut total = Counts::default();
    for (cache, mode) in caches.into_iter().zip(modes) {
        let counts = cache.join().expect("a cache's check failed");
        println!("{mode}: {counts:?}");
        assert!(counts.hits > 0 && counts.invalidations > 0 && counts.flushes > 0);
        total.reads += counts.reads;
        total.hits += counts.hits;
        total.invalidations += counts.invalidations;
        total.flushes += counts.flushes;
        total.errors += counts.errors;
        total.reconnects += counts.reconnects;
    }
    let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!(
        "{flavor:?}, {:.1?}: {done}; {} writes acknowledged, {} unknown; {} reads, {} hits, {} \
         invalidations, {} flushes, {} errors, {} reconnects; {} looks ({} without a bound), oldest \
         value {:.1?}, stale {}",
        began.elapsed(),
        read(&stage.history.acknowledged),
        read(&stage.history.unknown),
        total.reads,
        total.hits,
        total.invalidations,
        total.flushes,
        total.errors,
        total.reconnects,
        read(&stage.looks),
        read(&stage.strict_looks),
        Duration::from_micros(read(&stage.oldest_us)),
        read(&stage.stale),
    );
    assert_eq!(read(&stage.stale), 0);
    assert_eq!(total.reconnects, 0, "Keyway closed no client");
}

/// Slots move, with and without haste, replicas take over, a primary is killed; again and again.
fn disturb(cluster: &Cluster, stage: &Stage, began: Instant) -> String {
    let (mut moved, mut failovers, mut kills) = (0, 0, 0);
    let wait_for_writes = |count: u64| {
        let before = stage.history.acknowledged.load(Ordering::Relaxed);
        eventually("writes go on", Duration::from_secs(40), || {
            stage.history.acknowledged.load(Ordering::Relaxed) >= before + count
        });
    };
    wait_for_writes(500);
    for round in 0.. {
        let mut slots: Vec<u16> = (0..KEYS).map(slot_of).collect();
        slots.rotate_left(round * 37 % KEYS);
        slots.truncate(24);
        slots.sort_unstable();
        slots.dedup();
        let primaries = cluster.primaries();
        for to in [primaries[round % 3], primaries[(round + 1) % 3]] {
            stage.history.disturb();
            cluster
                .move_slots(&slots, to)
                .expect("nothing else disturbs it");
            moved += slots.len();
            wait_for_writes(50);
        }
        // One that takes its time: writes and reads meet it half moved.
        let from = cluster.primary_of(slots[0]).expect("somebody owns it");
        let to = primaries.iter().copied().find(|&one| one != from);
        let half = cluster.begin_move(slots[0], to.expect("there are three"));
        stage.history.disturb();
        wait_for_writes(100);
        half.finish();
        moved += 1;
        stage.history.disturb();
        cluster.wait_until_settled();

        let primary = cluster.primaries()[round % 3];
        cluster.failover(cluster.replicas_of(primary)[0], Takeover::Planned);
        failovers += 1;
        stage.history.disturb();
        wait_for_writes(200);

        let victim = cluster.primaries()[(round + 1) % 3];
        kill(cluster, stage, victim);
        kills += 1;
        wait_for_writes(200);
        if began.elapsed() > scene_time() {
            break;
        }
    }
    format!("{moved} slots moved, {failovers} planned failovers, {kills} primaries killed")
}

/// Kills a primary, waits for the new one, and starts the old one again.
fn kill(cluster: &Cluster, stage: &Stage, victim: usize) {
    let keys: Vec<usize> = (0..KEYS)
        .filter(|&key| cluster.primary_of(slot_of(key)) == Some(victim))
        .collect();
    let slot = slot_of(*keys.first().expect("it owns a key"));
    for &key in &keys {
        stage.history.suspend(key);
    }
    stage.history.disturb();
    cluster.kill(victim);
    cluster.wait_for_new_primary(slot, victim);
    stage.history.disturb();
    for &key in &keys {
        stage.history.want_read(key);
    }
    cluster.restart(victim);
    cluster.wait_until_settled();
    stage.history.disturb();
}

/// Writes its own keys, one after another, each with a value of its own or none.
fn write(stage: &Stage, writer: usize, addr: SocketAddr) {
    let mut client = Client::connect(addr);
    let mut random = fastrand::Rng::with_seed(writer as u64);
    let own: Vec<usize> = (0..KEYS).filter(|key| key % WRITERS == writer).collect();
    while !stage.is_over.load(Ordering::Relaxed) {
        for &key in own.iter().filter(|&&key| stage.history.is_read_wanted(key)) {
            match client.call(&format!("GET {}", name(key))) {
                error if error.is_error() => {}
                value => {
                    let value = value.bytes().map(<[u8]>::to_vec);
                    let value = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    let value = value.map(|text| text.parse().expect("we write numbers"));
                    stage.history.read(key, value);
                }
            }
        }
        let key = own[random.usize(..own.len())];
        let value = (random.u8(..8) > 0).then(|| stage.history.new_value());
        stage.history.begin(key, value);
        let reply = match value {
            Some(value) => client.call(&format!("SET {} {value}", name(key))),
            None => client.call(&format!("DEL {}", name(key))),
        };
        stage.history.end(key, !reply.is_error());
        // Its pace; nothing comes.
        client.expect_silence(Duration::from_millis(1));
    }
}

/// Serves keys from its cache, and looks whether what it serves is right.
fn serve(stage: &Stage, addr: SocketAddr, mode: &'static str) -> Counts {
    let mut client = CachingClient::connect(addr, mode).expect("Keyway lets it in");
    let mut random = fastrand::Rng::new();
    while !stage.is_over.load(Ordering::Relaxed) {
        if let Err(error) = turn(stage, &mut client, &mut random) {
            println!("{mode}: {error}");
            client.reconnect().expect("Keyway lets it in again");
        }
    }
    client.counts
}

fn turn(
    stage: &Stage,
    client: &mut CachingClient,
    random: &mut fastrand::Rng,
) -> std::io::Result<()> {
    client.listen(Duration::from_millis(1))?;
    let mut missing = Vec::new();
    for _ in 0..32 {
        let key = random.usize(..KEYS);
        match client.cached.get(&name(key)) {
            Some(value) => {
                client.counts.hits += 1;
                look(stage, key, *value, BOUND);
            }
            None if missing.len() < 8 => missing.push(name(key)),
            None => {}
        }
    }
    if !missing.is_empty() {
        client.ask(&missing, random.bool())?;
    }
    if random.u8(..4) > 0 {
        client.settle()?;
    }
    if random.u8(..8) == 0 {
        let calm = stage.history.calm();
        let asked = Instant::now();
        client.barrier()?;
        // What was acknowledged before the `PING` left is known now.
        let is_calm = calm > CALM && stage.history.calm() > CALM;
        let bound = if is_calm { Duration::ZERO } else { BOUND };
        for key in 0..KEYS {
            if let Some(value) = client.cached.get(&name(key)) {
                look(stage, key, *value, bound + asked.elapsed());
                if is_calm {
                    stage.strict_looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(())
}

/// A cached value must not have been out of date for longer than `bound`.
fn look(stage: &Stage, key: usize, value: Option<u64>, bound: Duration) {
    stage.looks.fetch_add(1, Ordering::Relaxed);
    let Some(age) = stage.history.age(key, value) else {
        return;
    };
    stage
        .oldest_us
        .fetch_max(age.as_micros() as u64, Ordering::Relaxed);
    if age > bound {
        stage.stale.fetch_add(1, Ordering::Relaxed);
        println!(
            "stale: {} = {value:?} is out of date for {age:.1?}, allowed are {bound:.1?}",
            name(key)
        );
    }
}
