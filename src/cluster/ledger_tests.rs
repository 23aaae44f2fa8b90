//! contract: R9, R11

use super::*;
use crate::cluster::view::Answered;
use crate::cluster::view_nodes::parse_nodes;

const SECOND: u64 = 1_000_000;

/// An answer of a cluster; each line is `<id> <flags> <epoch> <slots>`, the viewer flagged `myself`.
fn cluster(origin: Origin, lines: &[&str]) -> Answer {
    let lines: Vec<String> = lines.iter().map(|line| full(line)).collect();
    let by = "seed:1".parse().expect("an endpoint");
    let answered = Answered {
        by: &by,
        over_tls: false,
    };
    let view = parse_nodes(lines.join("\n").as_bytes(), answered).expect("a good reply");
    answer(origin, Said::Cluster(Arc::new(view)))
}

fn full(line: &str) -> String {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (id, flags, epoch, slots) = (word(), word(), word(), word());
    format!("{id} {id}.net:1@2 {flags} - 0 0 {epoch} connected {slots}")
}

fn alone(origin: Origin, endpoint: &str) -> Answer {
    let announced: Endpoint = endpoint.parse().expect("an endpoint");
    let endpoint = announced.clone();
    answer(
        origin,
        Said::Standalone {
            announced,
            endpoint,
        },
    )
}

fn answer(origin: Origin, said: Said) -> Answer {
    Answer {
        said,
        origin,
        server: Server::default(),
        began_us: 0,
    }
}

fn ledger() -> Ledger {
    Ledger::new(AddressMap::default())
}

fn owner_of_0(settled: &Settled) -> String {
    let slot = Slot::new(0).expect("a slot");
    let owner = settled.topology.owner(slot).expect("owned");
    settled.topology.node(owner).expect("a node").id.to_string()
}

use Origin::{Learnt, Seed};

fn new_a() -> Answer {
    cluster(Seed, &["a myself,master 5 0-8191", "b master 2 8192-16383"])
}

#[test]
fn a_restored_backup_is_taken_after_a_second() {
    let mut ledger = ledger();
    let first = ledger
        .settle(&[new_a()], Progress::All, 0)
        .expect("a first answer");
    assert_eq!(owner_of_0(&first), "a");
    assert!(!first.is_replaced);
    // `a` is gone, the others never knew its epoch: two of two that own slots agree.
    let restored = [
        cluster(
            Learnt,
            &["b myself,master 2 8192-16383", "c master 1 0-8191"],
        ),
        cluster(
            Learnt,
            &["c myself,master 1 0-8191", "b master 2 8192-16383"],
        ),
    ];
    for (now, owner, is_replaced) in [
        (0, "a", false),
        (SECOND / 2, "a", false),
        (SECOND, "c", true),
    ] {
        let settled = ledger
            .settle(&restored, Progress::All, now)
            .expect("it is ours");
        assert_eq!(
            (&*owner_of_0(&settled), settled.is_replaced),
            (owner, is_replaced)
        );
    }
}

#[test]
fn a_minority_is_never_believed() {
    let mut ledger = ledger();
    let whole = &[
        "a myself,master 5 0-8191",
        "b master 2 8192-12287",
        "c master 3 12288-16383",
    ];
    ledger
        .settle(&[cluster(Seed, whole)], Progress::All, 0)
        .expect("first");
    let minority = &[
        "x master 1 0-8191",
        "b myself,master 2 8192-12287",
        "c master,fail? 3 12288-16383",
        "a master,fail? 1",
    ];
    let minority = [cluster(Seed, minority)];
    // `x` and `b` of three are in reach here, so make it one: `x` suspected, too.
    let Said::Cluster(view) = &minority[0].said else {
        panic!("a cluster");
    };
    let mut view = View::clone(view);
    view.nodes[0].is_suspected = true;
    let minority = [answer(Seed, Said::Cluster(Arc::new(view)))];
    for now in [0, SECOND, 100 * SECOND, 1000 * SECOND] {
        let settled = ledger.settle(&minority, Progress::All, now).expect("ours");
        assert_eq!(owner_of_0(&settled), "a");
        assert_eq!(settled.held, 8192);
    }
}

#[test]
fn one_node_that_sees_a_majority_is_believed_late() {
    let mut ledger = ledger();
    ledger.settle(&[new_a()], Progress::All, 0).expect("first");
    let other = [cluster(
        Seed,
        &[
            "b master 2 8192-16383",
            "c master 1 0-8191",
            "d myself,slave 1",
        ],
    )];
    let mut owner = |now| owner_of_0(&ledger.settle(&other, Progress::All, now).expect("ours"));
    assert_eq!(owner(0), "a");
    assert_eq!(owner(HELD_US_MAX - 1), "a");
    assert_eq!(owner(HELD_US_MAX), "c");
}

#[test]
fn a_rebuilt_cluster_is_taken_from_a_seed_only() {
    let mut ledger = ledger();
    ledger.settle(&[new_a()], Progress::All, 0).expect("first");
    let rebuilt = &["x myself,master 1 0-16383"];
    // Someone else's node at an address that was ours.
    assert!(
        ledger
            .settle(&[cluster(Learnt, rebuilt)], Progress::All, 0)
            .is_none()
    );
    let settled = ledger.settle(&[cluster(Learnt, rebuilt), new_a()], Progress::All, 0);
    let settled = settled.expect("ours answered");
    assert_eq!((&*owner_of_0(&settled), settled.ignored), ("a", 1));
    // A seed, but others may still answer; and a node that is in no cluster yet.
    assert!(
        ledger
            .settle(&[cluster(Seed, rebuilt)], Progress::Mostly, 0)
            .is_none()
    );
    assert!(
        ledger
            .settle(&[cluster(Seed, &["y myself,master 0"])], Progress::All, 0)
            .is_none()
    );
    let settled = ledger
        .settle(&[cluster(Seed, rebuilt)], Progress::All, 0)
        .expect("rebuilt");
    assert_eq!((&*owner_of_0(&settled), settled.is_replaced), ("x", true));
    assert_eq!(settled.topology.nodes.len(), 1);
}

#[test]
fn one_surviving_old_node_does_not_hide_the_new_cluster() {
    let mut ledger = ledger();
    let three = &[
        "a myself,master 5 0-8191",
        "b master 2 8192-12287",
        "c master 3 12288-16383",
    ];
    ledger
        .settle(&[cluster(Seed, three)], Progress::All, 0)
        .expect("first");
    let answers = [
        cluster(
            Learnt,
            &[
                "a myself,master 5 0-8191",
                "b master,fail? 2 8192-12287",
                "c master,fail? 3 12288-16383",
            ],
        ),
        cluster(Seed, &["x myself,master 1 0-16383"]),
    ];
    let mut owner = |now| owner_of_0(&ledger.settle(&answers, Progress::All, now).expect("ours"));
    assert_eq!(owner(0), "a");
    assert_eq!(owner(HELD_US_MAX), "x");
}

#[test]
fn a_seed_without_slots_is_better_than_nothing() {
    let mut ledger = ledger();
    let settled = ledger.settle(&[cluster(Seed, &["y myself,master 0"])], Progress::All, 0);
    assert_eq!(settled.expect("first").topology.unowned(), Slot::COUNT);
    let settled = ledger.settle(
        &[cluster(Seed, &["y myself,master 1 0-16383"])],
        Progress::All,
        0,
    );
    assert_eq!(settled.expect("ours").topology.unowned(), 0);
}

#[test]
fn standalone_and_back() {
    let mut ledger = ledger();
    let first = ledger
        .settle(&[alone(Seed, "one:1")], Progress::All, 0)
        .expect("first");
    assert_eq!(first.topology.mode, Mode::Standalone);
    assert_eq!(first.topology.unowned(), 0);
    assert_eq!(&*first.topology.nodes[0].id, "");
    let settled = ledger
        .settle(&[new_a()], Progress::All, 0)
        .expect("a cluster now");
    assert!(settled.is_replaced);
    assert_eq!(settled.topology.mode, Mode::Cluster);
    // The cluster answers: a standalone server at another seed changes nothing.
    let settled = ledger
        .settle(&[alone(Seed, "one:1"), new_a()], Progress::All, 0)
        .expect("ours");
    assert_eq!((settled.topology.mode, settled.ignored), (Mode::Cluster, 1));
    let settled = ledger
        .settle(&[alone(Seed, "one:1")], Progress::All, 0)
        .expect("alone now");
    assert!(settled.is_replaced);
    assert_eq!(settled.topology.mode, Mode::Standalone);
}

#[test]
fn of_several_standalone_servers_the_one_in_use_stays() {
    let mut ledger = ledger();
    let place = |settled: &Settled| settled.topology.nodes[0].announced.to_string();
    let settled = ledger
        .settle(&[alone(Seed, "two:1")], Progress::All, 0)
        .expect("first");
    assert_eq!(place(&settled), "two:1");
    let both = [
        alone(Seed, "one:1"),
        alone(Seed, "two:1"),
        alone(Seed, "two:1"),
    ];
    let settled = ledger.settle(&both, Progress::All, 0).expect("in use");
    assert_eq!(
        (place(&settled), settled.ignored, settled.is_replaced),
        ("two:1".into(), 1, false)
    );
    let settled = ledger
        .settle(&both[..1], Progress::All, 0)
        .expect("the other");
    assert_eq!(
        (place(&settled), settled.is_replaced),
        ("one:1".into(), true)
    );
}

#[test]
fn time_and_version_are_the_lowest() {
    let mut ledger = ledger();
    let with = |mut answer: Answer, began_us, version: &str, valkey: &str| {
        answer.began_us = began_us;
        answer.server = Server {
            name: "valkey".into(),
            redis_version: version.into(),
            valkey_version: valkey.into(),
            greeting: Arc::default(),
        };
        answer
    };
    let answers = [
        with(new_a(), 9, "7.2.4", "8.1.0"),
        with(new_a(), 7, "7.2.4", "8.0.10"),
        with(new_a(), 8, "", ""),
        with(new_a(), 8, "7.10.1", ""),
    ];
    let topology = ledger
        .settle(&answers, Progress::All, 0)
        .expect("first")
        .topology;
    assert_eq!(topology.as_of_us, 7);
    assert_eq!(
        (
            &*topology.server_name,
            &*topology.server_version,
            &*topology.valkey_version
        ),
        ("valkey", "7.2.4", "8.0.10")
    );
}
