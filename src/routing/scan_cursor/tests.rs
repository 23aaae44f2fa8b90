//! Walks over simulated clusters, quiet and restless, against what is really there.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::cluster::{Endpoint, Health, Mode, Node, NodeIndex, Role};
use crate::resp::Span;
use crate::resp::{reply, write};

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("below 16384")
}

/// Slots of a node given as ranges, both ends included.
fn topology(nodes: &[(&str, &[(u16, u16)])]) -> Topology {
    let endpoint = Endpoint {
        host: Arc::from("127.0.0.1"),
        port: 1,
    };
    let node = |id: &str| Node {
        id: Arc::from(id),
        endpoint: endpoint.clone(),
        announced: endpoint.clone(),
        role: Role::Primary,
        health: Health::Online,
        config_epoch: 0,
        hostname: None,
        zone: None,
    };
    let list = nodes.iter().map(|(id, _)| node(id)).collect();
    let mut topology = Topology::new(Mode::Cluster, list);
    for (index, (_, ranges)) in nodes.iter().enumerate() {
        for (first, last) in *ranges {
            for number in *first..=*last {
                topology.assign(slot(number), NodeIndex(index as u16));
            }
        }
    }
    topology
}

mod pages;

#[test]
fn cursors_are_decimal_numbers_below_2_to_the_63() {
    for (text, expected) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("9007199254740991", Some((1 << 53) - 1)),
        ("9007199254740992", None),
        ("9223372036854775807", Some(i64::MAX as u64)),
        ("9223372036854775808", None),
        ("18446744073709551616", None),
        ("-1", None),
        ("+1", None),
        ("abc", None),
        ("", None),
        (" 1", None),
    ] {
        let parsed = ScanCursor::parse(text.as_bytes()).map(ScanCursor::number);
        assert_eq!(parsed, expected, "{text}");
    }
}

/// contract: M5
#[test]
fn every_cursor_of_a_node_comes_back() {
    let order = ScanOrder::of(&topology(&[("a", &[(0, 99)]), ("b", &[(100, 16383)])]));
    for shift in 0..42 {
        for node_cursor in [1 << shift, (1 << shift) + 1, (2 << shift) - 1] {
            for start in [0, 100] {
                let place = order.place(slot(start), Stride::Shards).expect("a shard");
                let cursor = ScanCursor::encode(place, node_cursor).expect("it fits");
                assert!(cursor.number() >> 63 == 0);
                assert_eq!(cursor.number() >> 53 == 0, node_cursor >> 29 == 0);
                let text = cursor.number().to_string();
                let parsed = ScanCursor::parse(text.as_bytes()).expect("our own");
                let step = order.step(parsed, None).expect("an owner");
                assert_eq!((step.slot, step.node_cursor), (slot(start), node_cursor));
            }
        }
    }
    let step = order.step(ScanCursor::START, None).expect("an owner");
    assert_eq!(order.next(&step, 1 << 42), Err(CursorTooLarge(1 << 42)));
}

/// contract: M5
#[test]
fn a_failover_or_a_moved_slot_starts_the_node_again() {
    let check = |now: &[(&str, &[(u16, u16)])], expected: (u16, u64)| {
        let before = topology(&[
            ("a", &[(0, 99)]),
            ("b", &[(100, 199)]),
            ("c", &[(200, 16383)]),
        ]);
        let before = ScanOrder::of(&before);
        let place = before.place(slot(100), Stride::Shards).expect("b");
        let cursor = ScanCursor::encode(place, 77).expect("it fits");
        let step = ScanOrder::of(&topology(now)).step(cursor, None);
        let step = step.expect("an owner");
        assert_eq!((step.slot.number(), step.node_cursor), expected, "{now:?}");
    };
    let a: (&str, &[_]) = ("a", &[(0, 99)]);
    let b: (&str, &[_]) = ("b", &[(100, 199)]);
    let c: (&str, &[_]) = ("c", &[(200, 16383)]);
    check(&[a, b, c], (100, 77));
    // Another node's cursor means nothing.
    check(&[a, ("replica", &[(100, 199)]), c], (100, 0));
    // A failover of a node that is behind or ahead changes nothing.
    check(&[("replica", &[(0, 99)]), b, c], (100, 77));
    check(&[a, b, ("replica", &[(200, 16383)])], (100, 77));
    // Slots that move between nodes that are ahead change nothing.
    check(
        &[a, b, ("c", &[(200, 300)]), ("d", &[(301, 16383)])],
        (100, 77),
    );
    // A slot moved from ahead to a node that was visited: only a walk by slots finds it.
    check(
        &[
            ("a", &[(0, 99), (300, 300)]),
            b,
            ("c", &[(200, 299), (301, 16383)]),
        ],
        (100, 0),
    );
    // A slot moved to the node that is being walked, which may be past its keys.
    check(&[a, ("b", &[(100, 200)]), ("c", &[(201, 16383)])], (100, 0));
    // The owner has no slot any more; the next one with slots is walked.
    check(&[a, c], (200, 0));
}

/// contract: M5
#[test]
fn a_pinned_walk_asks_one_node() {
    let order = ScanOrder::of(&topology(&[("a", &[(0, 99)]), ("b", &[(100, 16383)])]));
    let pinned = Some(slot(500));
    let first = order.step(ScanCursor::START, pinned).expect("an owner");
    assert_eq!((first.slot, first.node_cursor), (slot(500), 0));
    let cursor = order.next(&first, 9).expect("it fits");
    let second = order.step(cursor, pinned).expect("an owner");
    assert_eq!((second.slot, second.node_cursor), (slot(500), 9));
    assert_eq!(order.next(&second, 0), Ok(ScanCursor::START));

    let other = ScanOrder::of(&topology(&[("c", &[(0, 16383)])]));
    let again = other.step(cursor, pinned).expect("an owner");
    assert_eq!((again.slot, again.node_cursor), (slot(500), 0));
    let moved = other.next(&second, 0).expect("it fits");
    let again = other.step(moved, pinned).expect("an owner");
    assert_eq!((again.slot, again.node_cursor), (slot(500), 0));
}

#[test]
fn without_owners_the_walk_waits() {
    let order = ScanOrder::of(&topology(&[("a", &[])]));
    assert_eq!(order.step(ScanCursor::START, None), None);
    let before = ScanOrder::of(&topology(&[("a", &[(0, 16383)])]));
    let step = before.step(ScanCursor::START, None).expect("an owner");
    let kept = order.next(&step, 5).expect("it fits");
    assert_ne!(kept, ScanCursor::START, "the walk is not over");
    assert_eq!(order.step(kept, None), None);
    let step = before.step(kept, None).expect("an owner");
    assert_eq!((step.slot, step.node_cursor), (slot(0), 0));
}

#[test]
fn the_order_follows_the_snapshot() {
    let mut current = CurrentOrder::default();
    let mut first = topology(&[("a", &[(0, 16383)])]);
    first.version = 1;
    let mut second = topology(&[("a", &[(0, 99)]), ("b", &[(100, 16383)])]);
    second.version = 2;
    for (snapshot, shards) in [(&first, 1), (&first, 1), (&second, 2), (&first, 1)] {
        assert_eq!(current.of(snapshot).shards.len(), shards);
    }
}

/// Each run's walk gave all that its node has: as many times as there are runs. contract: M5
#[test]
fn a_walk_by_runs_gives_what_is_in_the_run() {
    let order = ScanOrder::of(&topology(&[
        ("a", &[(0, 99), (200, 16383)]),
        ("b", &[(100, 199)]),
    ]));
    let keys: Vec<String> = (0..2_000).map(|number| format!("key:{number}")).collect();
    let mut reply = b"*2\r\n$1\r\n0\r\n".to_vec();
    write::array(&mut reply, keys.len());
    keys.iter()
        .for_each(|key| write::bulk(&mut reply, key.as_bytes()));
    let numbers = |key: &&String| Slot::of_key(key.as_bytes()).number();
    for (from, end) in [(0, 100), (50, 100), (100, 200), (200, 16384)] {
        let place = order.by_runs_from(slot(from)).expect("it is owned");
        let cursor = ScanCursor::encode(place, 0).expect("it fits");
        let step = order.step(cursor, None).expect("it is owned");
        let out = answered(&step, &order, &reply);
        let expected = keys
            .iter()
            .filter(|key| (from..end).contains(&numbers(key)));
        let expected: Vec<&[u8]> = expected.map(|key| key.as_bytes()).collect();
        let mut parts = reply::elements(&out).expect("a cursor and elements");
        let found = parts.nth(1).and_then(reply::elements).expect("elements");
        let found: Vec<&[u8]> = found.map(|key| reply::text(key).expect("a key")).collect();
        assert_eq!(found, expected, "{from}");
    }
    // The first walk, shard by shard, gives all.
    let step = order.step(ScanCursor::START, None).expect("it is owned");
    let out = answered(&step, &order, &reply);
    assert!(out.len() >= reply.len());
}

/// What the client gets when its page ends with this reply.
fn answered(step: &ScanStep, order: &ScanOrder, reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let next = ScanPage::default().take(step, order, reply, 0, &mut out);
    assert_eq!(next, None, "no more is wanted");
    out
}

#[test]
fn only_the_cursor_is_rewritten() {
    let frame = b"*4\r\n$4\r\nScAn\r\n$3\r\n123\r\n$5\r\nMATCH\r\n$3\r\na\0*\r\n";
    let spans: Vec<_> = [(8, 4), (18, 3), (27, 5), (38, 3)]
        .into_iter()
        .map(|(start, len)| Span { start, len })
        .collect();
    let step = ScanStep {
        cursor: ScanCursor::START,
        slot: slot(0),
        node_cursor: 98765,
        stride: Stride::Shards,
        fingerprint: 0,
    };
    let out = step.request(&Args::new(frame, &spans), &ScanPage::default());
    let expected = b"*4\r\n$4\r\nScAn\r\n$5\r\n98765\r\n$5\r\nMATCH\r\n$3\r\na\0*\r\n";
    assert_eq!(out, expected);

    let order = ScanOrder::of(&topology(&[("a", &[(0, 99)]), ("b", &[(100, 16383)])]));
    let step = order.step(ScanCursor::START, None).expect("an owner");
    let check = |reply: &str, expected: &str| {
        let out = answered(&step, &order, reply.as_bytes());
        assert_eq!(
            out.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
    };
    let next = order.next(&step, 0).expect("it fits").number().to_string();
    check(
        "*2\r\n$1\r\n0\r\n*1\r\n$2\r\n\0k\r\n",
        &format!("*2\r\n${}\r\n{next}\r\n*1\r\n$2\r\n\0k\r\n", next.len()),
    );
    check("-NOPERM no\r\n", "-NOPERM no\r\n");
    let odd = "-ERR the node's reply to SCAN is no cursor with elements\r\n";
    for reply in ["+OK\r\n", "*1\r\n:1\r\n", "*2\r\n$1\r\nx\r\n*0\r\n", ""] {
        let out = answered(&step, &order, reply.as_bytes());
        assert_eq!(out, odd.as_bytes(), "{reply:?}");
    }
}

/// A cluster with keys. A node's cursor is a place in an order of its own, as in a hash table.
struct Cluster {
    /// A node's number for each slot.
    owners: Vec<u64>,
    keys: Vec<u16>,
    random: fastrand::Rng,
    nodes: u64,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let shards = random.usize(1..7);
        let mut owners = Vec::new();
        // Between whole ranges and a thorough mix.
        let run = [16384 / shards + 1, 2000, 100][random.usize(0..3)];
        while owners.len() < Slot::COUNT {
            let shard = owners.len() / run % shards;
            owners.push(shard as u64);
        }
        let keys = (0..random.usize(0..400))
            .map(|_| random.u16(0..16384))
            .collect();
        Cluster {
            owners,
            keys,
            random,
            nodes: shards as u64,
        }
    }

    fn order(&self) -> ScanOrder {
        let mut numbers: Vec<u64> = self.owners.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let names: Vec<_> = numbers.iter().map(u64::to_string).collect();
        let nodes: Vec<(&str, &[_])> = names.iter().map(|name| (&**name, &[][..])).collect();
        let mut topology = topology(&nodes);
        for (number, owner) in self.owners.iter().enumerate() {
            let index = numbers.binary_search(owner).expect("it is one of them");
            topology.assign(slot(number as u16), NodeIndex(index as u16));
        }
        ScanOrder::of(&topology)
    }

    /// Some elements of a node behind a cursor of its own, and its next cursor.
    fn scan(&self, node: u64, node_cursor: u64, count: usize) -> (Vec<usize>, u64) {
        let place = |key: usize| mix(mix(node) ^ key as u64) >> 40 | 1;
        let mut found: Vec<_> = (0..self.keys.len())
            .filter(|key| self.owners[usize::from(self.keys[*key])] == node)
            .map(|key| (place(key), key))
            .filter(|(place, _)| *place > node_cursor)
            .collect();
        found.sort_unstable();
        let next = found.get(count).map_or(0, |(place, _)| place - 1);
        let found = found
            .iter()
            .take_while(|(place, _)| next == 0 || *place <= next);
        (found.map(|(_, key)| *key).collect(), next)
    }

    fn disturb(&mut self) {
        let fresh = self.nodes;
        self.nodes += 1;
        let some_owner = self.owners[self.random.usize(0..Slot::COUNT)];
        let start = self.random.usize(0..Slot::COUNT);
        let end = (start + self.random.usize(1..500)).min(Slot::COUNT);
        match self.random.u8(0..4) {
            // A failover: a replica has all slots of its primary.
            0 => {
                for owner in &mut self.owners {
                    if *owner == some_owner {
                        *owner = fresh;
                    }
                }
            }
            // Slots move to a node without slots.
            1 => self.owners[start..end].fill(fresh),
            // Slots move to another node.
            2 => self.owners[start..end].fill(some_owner),
            // One slot moves.
            _ => self.owners[start] = some_owner,
        }
    }
}

/// contract: M5
#[test]
fn a_quiet_walk_visits_every_shard_once() {
    for seed in 0..30 {
        let cluster = Cluster::new(seed);
        let order = cluster.order();
        let mut finished = Vec::new();
        let mut found = HashSet::new();
        let mut cursor = ScanCursor::START;
        loop {
            let step = order.step(cursor, None).expect("all slots are owned");
            let node = cluster.owners[step.slot.index()];
            let (keys, next) = cluster.scan(node, step.node_cursor, 10);
            for key in keys {
                assert!(found.insert(key), "seed {seed}: nothing comes twice");
            }
            if next == 0 {
                finished.push(node);
            }
            cursor = order.next(&step, next).expect("it fits");
            if cursor == ScanCursor::START {
                break;
            }
        }
        assert_eq!(found.len(), cluster.keys.len(), "seed {seed}");
        let nodes: HashSet<_> = cluster.owners.iter().collect();
        assert_eq!(
            finished.iter().collect::<HashSet<_>>(),
            nodes,
            "seed {seed}"
        );
        assert_eq!(finished.len(), nodes.len(), "seed {seed}");
    }
}

/// contract: M5
#[test]
fn a_restless_walk_ends_and_misses_nothing() {
    /// A walk in which a tag fitted by chance proves nothing.
    const CHANCE_MAX: usize = 3;
    let mut by_chance = 0;
    for seed in 0..50 {
        let mut cluster = Cluster::new(seed);
        let mut disturbances = cluster.random.usize(1..12);
        let mut order = cluster.order();
        let mut found = HashSet::new();
        let mut cursor = ScanCursor::START;
        let mut expected_fingerprint = None;
        let mut steps = 0;
        let mut is_proof = true;
        loop {
            steps += 1;
            assert!(steps < 20_000, "seed {seed}: the walk does not end");
            let mut disturb = |cluster: &mut Cluster, order: &mut ScanOrder| {
                if disturbances > 0 && cluster.random.u8(0..8) == 0 {
                    disturbances -= 1;
                    cluster.disturb();
                    *order = cluster.order();
                }
            };
            disturb(&mut cluster, &mut order);
            let step = order.step(cursor, None).expect("all slots are owned");
            if step.slot == cursor.slot().expect("14 bits") && cursor.fits(step.fingerprint) {
                is_proof &= expected_fingerprint.is_none_or(|known| known == step.fingerprint);
            }
            // The slots may move before the node answers; who answers is then the new owner.
            disturb(&mut cluster, &mut order);
            let node = cluster.owners[step.slot.index()];
            let (keys, next) = cluster.scan(node, step.node_cursor, 10);
            found.extend(keys);
            disturb(&mut cluster, &mut order);
            cursor = order.next(&step, next).expect("it fits");
            if cursor == ScanCursor::START {
                break;
            }
            let stride = if cursor.is_by_runs() {
                Stride::Runs
            } else {
                Stride::Shards
            };
            let at = cursor.slot().expect("14 bits");
            expected_fingerprint = order.place(at, stride).map(|place| place.fingerprint);
        }
        if is_proof {
            assert_eq!(found.len(), cluster.keys.len(), "seed {seed}");
        } else {
            by_chance += 1;
        }
    }
    assert!(by_chance <= CHANCE_MAX, "{by_chance}");
}
