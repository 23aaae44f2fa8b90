//! Slots move, primaries are replaced, primaries die: the load before them is checked reply by reply.
//!
//! Each scene runs for a few seconds; `KEYWAY_TEST_SECONDS=60` makes each as long as the figures in the
//! README were measured.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyway::cluster::Slot;
use support::{
    Client, Cluster, ClusterOptions, Flavor, Keyway, Load, LoadPlan, RaiseAtEnd, Takeover,
    eventually,
};

/// How long each scene lasts.
fn scene_time() -> Duration {
    let seconds = std::env::var("KEYWAY_TEST_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("KEYWAY_TEST_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(6))
}

/// Two loads at once: single requests in RESP2, pipelines in RESP3.
fn start_loads(keyway: &Keyway) -> [Load; 2] {
    let plan = LoadPlan {
        clients: 25,
        ..LoadPlan::default()
    };
    [
        Load::start(
            keyway.addr(),
            LoadPlan {
                seed: 1,
                ..plan.clone()
            },
        ),
        Load::start(
            keyway.addr(),
            LoadPlan {
                seed: 2,
                pipeline: 16,
                resp3: true,
                ..plan
            },
        ),
    ]
}

fn stop_flawless(loads: [Load; 2], what: &str, flavor: Flavor) {
    for load in loads {
        let report = load.stop();
        println!("{flavor:?}, {what}: {report}");
        report.assert_flawless();
    }
}

/// contract: R3 R4 R5 R13
#[test]
fn slots_move_back_and_forth_on_redis() {
    slots_move_back_and_forth(Flavor::Redis);
}

/// contract: R3 R4 R5 R13
#[test]
fn slots_move_back_and_forth_on_valkey() {
    slots_move_back_and_forth(Flavor::Valkey);
}

fn slots_move_back_and_forth(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::steady(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let loads = start_loads(&keyway);
    let began = Instant::now();
    // All slots go to the last node and then to the first, a few at a time; a short run gets through
    // a part of them only.
    let all: Vec<u16> = (0..Slot::COUNT as u16).collect();
    let mut moved = 0;
    'scene: for to in [2, 0].into_iter().cycle() {
        for some in all.chunks(64) {
            cluster.move_slots(some, to).expect("nothing disturbs it");
            moved += some.len();
            if began.elapsed() > scene_time() && moved >= 256 {
                break 'scene;
            }
        }
    }
    println!("{moved} slots moved in {:.1?}", began.elapsed());
    loads[0].wait_for(100);
    stop_flawless(loads, "slots move", flavor);
}

/// Slots that Valkey 9 moves by itself, all at once: nothing is half moved, and no node says `ASK`.
///
/// contract: R3 R13
#[test]
fn slots_migrate_by_themselves_on_valkey() {
    if !Flavor::Valkey.is_since(9, 0) {
        return;
    }
    let cluster = Cluster::start_with(ClusterOptions::steady(Flavor::Valkey));
    let keyway = Keyway::start(&cluster.seeds());
    let loads = start_loads(&keyway);
    let began = Instant::now();
    let mut migrations = 0;
    // The lowest hundred of the first node's slots go round the nodes.
    for (from, to) in [(0, 1), (1, 2), (2, 0)].into_iter().cycle() {
        let id = cluster.node(to).ok("CLUSTER MYID").text();
        let migrate = format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 99 NODE {id}");
        cluster.node(from).ok(&migrate);
        eventually("they have moved", Duration::from_secs(60), || {
            let state = cluster.node(from).ok("CLUSTER GETSLOTMIGRATIONS");
            let latest = state.items().first().and_then(|one| one.field("state"));
            let state = latest.map(|state| state.text()).unwrap_or_default();
            assert!(!state.contains("failed"), "{state}");
            state == "success"
        });
        migrations += 1;
        if began.elapsed() > scene_time() && migrations >= 3 {
            break;
        }
    }
    println!(
        "{migrations} migrations of 100 slots in {:.1?}",
        began.elapsed()
    );
    loads[0].wait_for(100);
    stop_flawless(loads, "slots migrate", Flavor::Valkey);
}

/// contract: R3 R5 R8
#[test]
fn planned_failovers_on_redis() {
    planned_failovers(Flavor::Redis);
}

/// contract: R3 R5 R8
#[test]
fn planned_failovers_on_valkey() {
    planned_failovers(Flavor::Valkey);
}

fn planned_failovers(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions::steady(flavor));
    let keyway = Keyway::start(&cluster.seeds());
    let loads = start_loads(&keyway);
    let began = Instant::now();
    let mut failovers = 0;
    while failovers < 3 || began.elapsed() < scene_time() {
        let primaries = cluster.primaries();
        let primary = primaries[failovers % primaries.len()];
        cluster.failover(cluster.replicas_of(primary)[0], Takeover::Planned);
        cluster.wait_until_settled();
        loads[0].wait_for(100);
        failovers += 1;
    }
    println!("{failovers} planned failovers in {:.1?}", began.elapsed());
    stop_flawless(loads, "planned failovers", flavor);
}

/// contract: F1 F2 F4 R8
#[test]
fn a_primary_is_killed_on_redis() {
    a_primary_is_killed(Flavor::Redis);
}

/// contract: F1 F2 F4 R8
#[test]
fn a_primary_is_killed_on_valkey() {
    a_primary_is_killed(Flavor::Valkey);
}

fn a_primary_is_killed(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::start(&cluster.seeds());
    let shards = cluster.shard_map();
    let slot = Slot::of_key(b"{probe}").number();
    let dead_shard = shards[usize::from(slot)];
    let plan = LoadPlan {
        clients: 48,
        shards: Some(shards),
        ..LoadPlan::default()
    };
    let load = Load::start(keyway.addr(), plan);
    load.wait_for(5_000);

    let primary = cluster.primary_of(slot).expect("somebody owns the slot");
    let replica = cluster.replicas_of(primary)[0];
    let mut probe = keyway.client();
    let killed = Instant::now();
    cluster.kill(primary);
    // Asked after the death was noticed, so that it was not in flight.
    eventually("Keyway notices the death", Duration::from_secs(5), || {
        keyway.metric("keyway_requests_parked") > 0.0
    });
    let waiter = std::thread::spawn(move || {
        probe.expect("SET {probe} 1", "+OK");
        killed.elapsed()
    });
    let mut direct: Client = cluster.node(replica).client();
    let elected = eventually("the replica takes over", Duration::from_secs(20), || {
        direct.call("SET {probe} 0").to_string() == "+OK"
    });
    let elected = elected.max(killed.elapsed());
    let recovered = waiter.join().expect("the waiting write succeeds");
    let late = recovered.saturating_sub(elected);
    load.wait_for(5_000);
    let report = load.stop();
    println!(
        "{flavor:?}, kill -9: elected after {elected:.1?}, through Keyway after {recovered:.1?}"
    );
    println!("{report}");
    assert!(
        late <= Duration::from_millis(200),
        "recovered {late:?} after the election"
    );
    assert_eq!(report.wrong, 0, "{report}");
    assert_eq!(report.disconnects, 0, "{report}");
    assert_eq!(
        report.error_count(),
        report.outcome_unknown,
        "only writes in flight may fail: {report}"
    );
    for (shard, gap) in &report.longest_gap {
        if *shard != dead_shard {
            assert!(
                *gap < Duration::from_millis(500),
                "shard {shard} paused for {gap:?}: {report}"
            );
        }
    }
}

/// contract: F2
#[test]
fn lost_writes_are_sent_again_by_choice_on_redis() {
    lost_writes_are_sent_again_by_choice(Flavor::Redis);
}

/// contract: F2
#[test]
fn lost_writes_are_sent_again_by_choice_on_valkey() {
    lost_writes_are_sent_again_by_choice(Flavor::Valkey);
}

/// Connections to all nodes are cut again and again, then a primary dies: who writes with commands that are named hears
/// of none of it.
fn lost_writes_are_sent_again_by_choice(flavor: Flavor) {
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set(
            "upstream.resend_lost_writes",
            "[\"set\", \"@hash\", \"exec\"]",
        )
        .start();
    let resent = || keyway.metric("keyway_writes_resent_total");
    let is_over = &AtomicBool::new(false);
    let is_dying = &AtomicBool::new(false);
    let rounds = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let keyway = &keyway;
        let clients: Vec<_> = (0..16)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = keyway.client();
                    for round in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = format!("{{{number}}}:{}", round % 10);
                        let replies = client.pipeline(&[
                            &format!("SET {key} {round}"),
                            &format!("GET {key}"),
                            "MULTI",
                            &format!("HSET {{{number}}}:h f {round}"),
                            &format!("HGET {{{number}}}:h f"),
                            "EXEC",
                        ]);
                        let replies: Vec<_> = replies.iter().map(ToString::to_string).collect();
                        // The field is new the first time only.
                        let block = [0, 1].map(|new| format!("[:{new} '{round}']"));
                        let is_right = replies[..5]
                            == ["+OK", &format!("'{round}'"), "+OK", "+QUEUED", "+QUEUED"]
                            && block.contains(&replies[5]);
                        // A primary that dies takes along what its replicas have not heard of.
                        let is_served = replies.iter().all(|reply| !reply.starts_with('-'));
                        let is_right = is_right || is_served && is_dying.load(Ordering::Relaxed);
                        assert!(is_right, "{round}: {replies:?}");
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let over = RaiseAtEnd(is_over);
        let go_on = || {
            let before = rounds.load(Ordering::Relaxed);
            eventually("clients go on", Duration::from_secs(30), || {
                rounds.load(Ordering::Relaxed) > before + 200
                    || clients.iter().any(|one| one.is_finished())
            });
        };
        go_on();
        let cut = Instant::now();
        while cut.elapsed() < Duration::from_secs(3) || resent() < 20.0 {
            for primary in cluster.primaries() {
                // Those of the node's replicas are of another type.
                cluster
                    .node(primary)
                    .ok("CLIENT KILL TYPE normal SKIPME yes");
            }
            go_on();
            if clients.iter().any(|one| one.is_finished()) {
                break;
            }
        }
        let slot = Slot::of_key(b"{1}").number();
        let dead = cluster.primary_of(slot).expect("somebody owns the slot");
        is_dying.store(true, Ordering::Relaxed);
        cluster.kill(dead);
        cluster.wait_for_new_primary(slot, dead);
        go_on();
        drop(over);
    });
    println!("{flavor:?}: {} writes sent again", resent());
    assert_eq!(keyway.metric("keyway_errors_total"), 0.0);
}
