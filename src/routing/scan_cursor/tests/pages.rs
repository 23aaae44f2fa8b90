//! Pages of several shards.

use std::collections::BTreeSet;

use super::*;
use crate::resp::with_args;
use crate::routing::scan_cursor::page::STEPS_MAX;

fn args_of(line: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write::command(&mut frame, &line.split(' ').collect::<Vec<_>>());
    frame
}

fn words(frame: &[u8]) -> String {
    let words = with_args(frame, |args| {
        let words = args
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned());
        words.collect::<Vec<_>>().join(" ")
    });
    words.expect("a request")
}

fn node_reply(cursor: u64, keys: &[&str]) -> Vec<u8> {
    let mut reply = Vec::new();
    write::array(&mut reply, 2);
    write::bulk(&mut reply, cursor.to_string().as_bytes());
    write::array(&mut reply, keys.len());
    keys.iter()
        .for_each(|key| write::bulk(&mut reply, key.as_bytes()));
    reply
}

/// A client's page: its cursor and its elements.
fn read_page(reply: &[u8]) -> (ScanCursor, Vec<String>) {
    let mut parts = reply::elements(reply).expect("a cursor and elements");
    let cursor = parts
        .next()
        .and_then(reply::text)
        .and_then(ScanCursor::parse);
    let found = parts.next().and_then(reply::elements).expect("elements");
    let text = |element| String::from_utf8_lossy(reply::text(element).expect("a key")).into_owned();
    (cursor.expect("a cursor"), found.map(text).collect())
}

fn three() -> ScanOrder {
    ScanOrder::of(&topology(&[
        ("a", &[(0, 99)]),
        ("b", &[(100, 199)]),
        ("c", &[(200, 16383)]),
    ]))
}

/// contract: M5
#[test]
fn a_short_page_goes_on_with_the_next_shard() {
    let order = three();
    let mut page = ScanPage::default();
    let mut out = Vec::new();
    let step = order.step(ScanCursor::START, None).expect("an owner");
    let cursor = page.take(&step, &order, &node_reply(0, &["x"]), 10, &mut out);
    let step = order
        .step(cursor.expect("it goes on"), None)
        .expect("an owner");
    assert_eq!((step.slot, step.node_cursor), (slot(100), 0));
    let cursor = page.take(&step, &order, &node_reply(0, &[]), 10, &mut out);
    let step = order
        .step(cursor.expect("it goes on"), None)
        .expect("an owner");
    assert_eq!(step.slot, slot(200));
    assert_eq!(
        page.take(&step, &order, &node_reply(0, &["y", "z"]), 10, &mut out),
        None
    );
    let all = ["x", "y", "z"].map(str::to_owned).to_vec();
    assert_eq!(read_page(&out), (ScanCursor::START, all));
}

/// contract: M5
#[test]
fn a_page_ends_where_a_node_has_more_or_there_is_enough() {
    let order = three();
    let step = order.step(ScanCursor::START, None).expect("an owner");
    for (reply, wanted) in [
        (node_reply(7, &[]), 10),
        (node_reply(0, &["x", "y"]), 2),
        (node_reply(0, &["x", "y"]), 1),
    ] {
        let mut out = Vec::new();
        let next = ScanPage::default().take(&step, &order, &reply, wanted, &mut out);
        assert_eq!(next, None);
        let (cursor, _) = read_page(&out);
        assert_ne!(cursor, ScanCursor::START);
    }
    // A walk of one slot is over when its node is walked.
    let step = order
        .step(ScanCursor::START, Some(slot(150)))
        .expect("an owner");
    let mut out = Vec::new();
    let next = ScanPage::default().take(&step, &order, &node_reply(0, &[]), 10, &mut out);
    assert_eq!((next, read_page(&out).0), (None, ScanCursor::START));
    // When the slots moved meanwhile the same place is walked again: not in the same page.
    let moved = ScanOrder::of(&topology(&[("a", &[(0, 50)]), ("b", &[(51, 16383)])]));
    let step = order.step(ScanCursor::START, None).expect("an owner");
    let mut out = Vec::new();
    let next = ScanPage::default().take(&step, &moved, &node_reply(0, &["x"]), 10, &mut out);
    assert_eq!(next, None);
    let again = moved.step(read_page(&out).0, None).expect("an owner");
    assert_eq!((again.slot, again.node_cursor), (slot(0), 0));
}

/// One client's request is not a walk over a hundred shards. contract: M5 F6
#[test]
fn a_page_asks_so_many_nodes_and_no_more() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    let ranges: Vec<[(u16, u16); 1]> = (0..100u16).map(|at| [(at * 100, at * 100 + 99)]).collect();
    let nodes: Vec<(&str, &[(u16, u16)])> = names
        .iter()
        .zip(&ranges)
        .map(|(name, range)| (name.as_str(), &range[..]))
        .collect();
    let order = ScanOrder::of(&topology(&nodes));
    let (mut page, mut out) = (ScanPage::default(), Vec::new());
    let mut cursor = ScanCursor::START;
    let mut asked = 0;
    loop {
        let step = order.step(cursor, None).expect("an owner");
        asked += 1;
        match page.take(&step, &order, &node_reply(0, &[]), 10, &mut out) {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(asked, STEPS_MAX);
    let next = order.step(read_page(&out).0, None).expect("an owner");
    assert_eq!(next.slot, slot(STEPS_MAX as u16 * 100));
}

/// What was found is not lost with an error, which comes again when the client asks again. contract: M5
#[test]
fn an_error_behind_a_page_waits_for_the_next_call() {
    let order = three();
    let error = b"-NOPERM no\r\n";
    let (mut page, mut out) = (ScanPage::default(), Vec::new());
    let step = order.step(ScanCursor::START, None).expect("an owner");
    let cursor = page.take(&step, &order, &node_reply(0, &["x"]), 10, &mut out);
    let step = order
        .step(cursor.expect("it goes on"), None)
        .expect("an owner");
    assert_eq!(page.take(&step, &order, error, 10, &mut out), None);
    let (cursor, found) = read_page(&out);
    assert_eq!(found, ["x"]);
    let step = order.step(cursor, None).expect("an owner");
    assert_eq!((step.slot, step.node_cursor), (slot(100), 0));
    assert_eq!(answered(&step, &order, error), error);
}

/// contract: M5
#[test]
fn further_nodes_are_asked_for_what_is_missing() {
    let order = three();
    for (line, first, second, wanted) in [
        ("SCAN 0", "SCAN 0", "SCAN 0 COUNT 9", 10),
        (
            "scan 0 count 100",
            "scan 0 count 100",
            "scan 0 count 99",
            100,
        ),
        (
            "SCAN 0 MATCH x* TYPE list",
            "SCAN 0 MATCH x* TYPE list",
            "SCAN 0 MATCH x* TYPE list COUNT 9",
            10,
        ),
        (
            "SCAN 0 COUNT 3 MATCH COUNT COUNT 5",
            "SCAN 0 COUNT 3 MATCH COUNT COUNT 5",
            "SCAN 0 COUNT 3 MATCH COUNT COUNT 4",
            5,
        ),
    ] {
        let frame = args_of(line);
        let mut page = ScanPage::default();
        let step = order.step(ScanCursor::START, None).expect("an owner");
        let asked = with_args(&frame, |args| {
            assert_eq!(count(args), wanted, "{line}");
            step.request(args, &page)
        });
        assert_eq!(words(&asked.expect("a request")), first);
        let next = page.take(
            &step,
            &order,
            &node_reply(0, &["x"]),
            wanted,
            &mut Vec::new(),
        );
        let cursor = next.expect("it goes on");
        let step = order.step(cursor, None).expect("an owner");
        let again = with_args(&frame, |args| with_cursor(args, cursor)).expect("a request");
        let planned = with_args(&again, |args| plan(&order, args)).expect("a request");
        // A pattern without special characters is one slot's.
        if !line.contains("MATCH COUNT") {
            assert_eq!(planned, Ok(step), "{line}");
        }
        let asked = with_args(&again, |args| step.request(args, &page));
        assert_eq!(words(&asked.expect("a request")), second);
    }
}

/// Walks in pages while slots move: nothing that is there is missed, and while they rest nothing comes twice.
/// contract: M5
#[test]
fn walks_in_pages_miss_nothing() {
    for seed in 0..60 {
        let mut cluster = Cluster::new(seed);
        let is_quiet = seed % 2 == 0;
        let mut disturbances = if is_quiet {
            0
        } else {
            cluster.random.usize(1..6)
        };
        let wanted = [1, 3, 10, 200, 5_000][seed as usize % 5];
        let mut order = cluster.order();
        let mut cursor = ScanCursor::START;
        let mut found: Vec<String> = Vec::new();
        // A tag that fits by chance hides a change (see the module): such a walk proves nothing.
        let mut is_proof = true;
        for requests in 0.. {
            assert!(requests < 20_000, "seed {seed}: the walk does not end");
            let (mut page, mut out) = (ScanPage::default(), Vec::new());
            let mut at = cursor;
            loop {
                if disturbances > 0 && cluster.random.u8(0..8) == 0 {
                    disturbances -= 1;
                    cluster.disturb();
                    let newer = cluster.order();
                    let fits = |order: &ScanOrder| {
                        order
                            .step(at, None)
                            .is_some_and(|step| at.fits(step.fingerprint))
                    };
                    let fingerprint = |order: &ScanOrder| {
                        order
                            .step(at, None)
                            .map(|step| (step.slot, step.fingerprint))
                    };
                    is_proof &= !(fits(&newer) && fingerprint(&newer) != fingerprint(&order));
                    order = newer;
                }
                let step = order.step(at, None).expect("all slots are owned");
                let node = cluster.owners[step.slot.index()];
                let (keys, next) = cluster.scan(node, step.node_cursor, wanted);
                // Named so that a run's filter sees the slot that the key has here.
                let names: Vec<String> = keys.iter().map(|key| cluster.name(*key)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                match page.take(&step, &order, &node_reply(next, &names), wanted, &mut out) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            let (next, elements) = read_page(&out);
            found.extend(elements);
            cursor = next;
            if cursor == ScanCursor::START {
                break;
            }
        }
        let distinct: BTreeSet<&String> = found.iter().collect();
        if is_proof {
            assert_eq!(distinct.len(), cluster.keys.len(), "seed {seed}");
        }
        if is_quiet {
            assert_eq!(
                found.len(),
                distinct.len(),
                "seed {seed}: nothing comes twice"
            );
        }
    }
}

impl Cluster {
    /// A key's name, in the slot that it is in here.
    fn name(&self, key: usize) -> String {
        let wanted = self.keys[key];
        let tag = TAGS.with(|tags| tags[usize::from(wanted)]);
        format!("{{{tag}}}{key}")
    }
}

thread_local! {
    /// A hash tag for each slot.
    static TAGS: Vec<u32> = {
        let mut tags = vec![None; Slot::COUNT];
        let mut missing = tags.len();
        for number in 0.. {
            let slot = Slot::of_key(number.to_string().as_bytes());
            let tag = &mut tags[slot.index()];
            missing -= usize::from(tag.is_none());
            tag.get_or_insert(number);
            if missing == 0 {
                break;
            }
        }
        tags.into_iter().flatten().collect()
    };
}
