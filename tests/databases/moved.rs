//! Real nodes with several databases, whose slots move and whose primaries change under load. Where the program that is
//! installed has clusters of one database only, it is told so and nothing is done.

use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::support::{
    Cluster, ClusterOptions, Flavor, Keyway, Load, LoadPlan, Takeover, eventually,
};

/// How long each scene lasts.
fn scene_time() -> Duration {
    let seconds = std::env::var("KEYWAY_TEST_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("KEYWAY_TEST_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(6))
}

fn cluster() -> Option<Cluster> {
    let version = Flavor::Valkey.version();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 9) {
        println!("not done: clusters of version {version} have one database");
        return None;
    }
    Some(Cluster::start_with(ClusterOptions {
        config: vec!["cluster-databases 8".to_owned()],
        ..ClusterOptions::of(Flavor::Valkey)
    }))
}

/// The same keys in several databases: what comes from another one is a wrong reply. Not in the first: while slots
/// of several databases move, nodes were seen to put its writes into another one, also when nothing stood between.
fn start_loads(keyway: &Keyway) -> Vec<Load> {
    let loads = [1, 5, 5, 7].into_iter().enumerate();
    loads
        .map(|(number, database)| {
            let plan = LoadPlan {
                clients: 8,
                database,
                // Two in one database have keys of their own.
                seed: 1 + u64::from(number == 2),
                pipeline: [1, 16, 4, 1][number],
                resp3: number % 2 == 1,
                ..LoadPlan::default()
            };
            Load::start(keyway.addr(), plan)
        })
        .collect()
}

fn stop_flawless(loads: Vec<Load>, what: &str) {
    for load in loads {
        load.wait_for(100);
        let report = load.stop();
        println!("{what}: {report}");
        report.assert_flawless();
    }
}

/// contract: R3 R4 R13 C1
#[test]
fn slots_move_with_all_their_databases() {
    let Some(cluster) = cluster() else {
        return;
    };
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start();
    let loads = start_loads(&keyway);
    let began = Instant::now();
    let mut moved = 0;
    'scene: for to in [2, 0].into_iter().cycle() {
        for first in (0..Slot::COUNT as u16).step_by(512) {
            let last = first + 511;
            let from = cluster.primary_of(first).expect("somebody owns it");
            // Those at the border of two shards stay.
            if from != to && cluster.primary_of(last) == Some(from) {
                let command = format!(
                    "CLUSTER MIGRATESLOTS SLOTSRANGE {first} {last} NODE {}",
                    cluster.id(to)
                );
                eventually("the slots may move", Duration::from_secs(20), || {
                    !cluster.node(from).call(&command).is_error()
                });
                eventually("the slots have moved", Duration::from_secs(30), || {
                    let view = cluster.view(to);
                    let own = view.as_ref().and_then(|view| view.myself());
                    own.is_some_and(|own| own.owns(first) && own.owns(last))
                });
                moved += 512;
            }
            if began.elapsed() > scene_time() && moved >= 1024 {
                break 'scene;
            }
        }
    }
    println!("{moved} slots moved in {:.1?}", began.elapsed());
    stop_flawless(loads, "slots move");
}

/// contract: R3 R5 R8 C1
#[test]
fn planned_failovers_keep_the_databases() {
    let Some(cluster) = cluster() else {
        return;
    };
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
    stop_flawless(loads, "planned failovers");
}
