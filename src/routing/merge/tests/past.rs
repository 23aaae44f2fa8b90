//! Logs, events and histograms of several nodes against slow, obvious oracles.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// An array of arrays of numbers.
fn rows(rows: &[Vec<i64>]) -> Vec<u8> {
    let row = |row: &Vec<i64>| Frame::Array(row.iter().copied().map(Frame::Integer).collect());
    encode(&Frame::Array(rows.iter().map(row).collect()))
}

fn newest(count_max: usize, parts: &[Vec<u8>]) -> Vec<u8> {
    let plan = MergePlan {
        count_max,
        ..MergePlan::new(Merge::Newest, Protocol::Resp2)
    };
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    merged_by(&plan, &parts)
}

/// contract: M4 C6
#[test]
fn logs_are_one_servers() {
    let one = rows(&[vec![8, 50, 1], vec![7, 20, 2], vec![6, 20, 3]]);
    let two = rows(&[vec![3, 60, 4], vec![2, 20, 5], vec![1, 10, 6]]);
    let all = [
        vec![3, 60, 4],
        vec![8, 50, 1],
        vec![7, 20, 2],
        vec![6, 20, 3],
        vec![2, 20, 5],
        vec![1, 10, 6],
    ];
    for count in 0..=all.len() {
        let parts = [one.clone(), two.clone()];
        assert_eq!(newest(count, &parts), rows(&all[..count]), "{count}");
    }
    assert_eq!(
        newest(usize::MAX, &[two, rows(&[]), one]).len(),
        rows(&all).len()
    );
    check(
        Merge::ByTime,
        &[],
        &[
            "*2\r\n*2\r\n:3\r\n:9\r\n*2\r\n:5\r\n:1\r\n",
            "*1\r\n*2\r\n:4\r\n:7\r\n",
        ],
        "*3\r\n*2\r\n:3\r\n:9\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:1\r\n",
    );
}

/// contract: M4 C6
#[test]
fn an_event_has_one_entry() {
    // Servers before Valkey 8.1 say four things of an event, later ones six.
    check(
        Merge::LatestEvents,
        &[],
        &[
            "*2\r\n*4\r\n+fork\r\n:10\r\n:5\r\n:90\r\n*4\r\n+command\r\n:11\r\n:1\r\n:2\r\n",
            "*1\r\n*6\r\n+fork\r\n:12\r\n:7\r\n:8\r\n:15\r\n:2\r\n",
            "*1\r\n*6\r\n+fork\r\n:12\r\n:6\r\n:8\r\n:30\r\n:3\r\n",
        ],
        "*2\r\n*6\r\n+fork\r\n:12\r\n:7\r\n:90\r\n:45\r\n:5\r\n*4\r\n+command\r\n:11\r\n:1\r\n:2\r\n",
    );
    check(Merge::LatestEvents, &[], &["*0\r\n", "*0\r\n"], "*0\r\n");
}

/// contract: M4 C6
#[test]
fn histograms_of_both_versions_add_up() {
    let flat = |counts: &str| format!("*4\r\n+calls\r\n:3\r\n+histogram_usec\r\n{counts}");
    check(
        Merge::Histograms,
        &[],
        &[
            &format!("*2\r\n+get\r\n{}", flat("*4\r\n:8\r\n:2\r\n:32\r\n:3\r\n")),
            &format!(
                "*4\r\n+set\r\n{}+get\r\n{}",
                flat("*2\r\n:4\r\n:3\r\n"),
                flat("*4\r\n:16\r\n:1\r\n:32\r\n:3\r\n")
            ),
        ],
        "*4\r\n+get\r\n*4\r\n$5\r\ncalls\r\n:6\r\n$14\r\nhistogram_usec\r\n\
         *6\r\n:8\r\n:2\r\n:16\r\n:3\r\n:32\r\n:6\r\n\
         +set\r\n*4\r\n$5\r\ncalls\r\n:3\r\n$14\r\nhistogram_usec\r\n*2\r\n:4\r\n:3\r\n",
    );
    let map = |calls, counts: &str| {
        format!("%1\r\n+get\r\n%2\r\n$5\r\ncalls\r\n:{calls}\r\n$14\r\nhistogram_usec\r\n{counts}")
    };
    check(
        Merge::Histograms,
        &[],
        &[
            "%0\r\n",
            &map(1, "%1\r\n:8\r\n:1\r\n"),
            &map(5, "%2\r\n:4\r\n:2\r\n:8\r\n:5\r\n"),
        ],
        &map(6, "%2\r\n:4\r\n:2\r\n:8\r\n:6\r\n"),
    );
    check(Merge::Histograms, &[], &["%0\r\n"], "%0\r\n");
}

/// contract: F8
#[test]
fn what_is_no_past_is_an_error_of_ours() {
    for (merge, part, what) in [
        (Merge::Newest, "*1\r\n*1\r\n:1\r\n", "list of times"),
        (Merge::ByTime, "*1\r\n*1\r\n+x\r\n", "list of times"),
        (
            Merge::LatestEvents,
            "*1\r\n*2\r\n+x\r\n:1\r\n",
            "list of events",
        ),
        (
            Merge::Histograms,
            "*2\r\n+get\r\n:1\r\n",
            "list of histograms",
        ),
        (Merge::Histograms, "*1\r\n+get\r\n", "list of histograms"),
    ] {
        let expected = format!(
            "-ERR Keyway cannot merge the nodes' replies: part 0 of the reply is no {what}; the node said '{}'\r\n",
            part.escape_default()
        );
        check(merge, &[], &[part], &expected);
    }
}

/// The histogram of so many calls as a server writes it: counts only where they rise.
fn cumulative(durations: &[i64]) -> Vec<(i64, i64)> {
    let bounds: BTreeSet<i64> = durations.iter().copied().collect();
    let up_to = |bound| {
        durations
            .iter()
            .filter(|duration| **duration <= bound)
            .count() as i64
    };
    bounds
        .into_iter()
        .map(|bound| (bound, up_to(bound)))
        .collect()
}

fn histogram_frame(commands: &BTreeMap<String, Vec<i64>>) -> Frame {
    let text = |text: &str| Frame::BulkString(text.as_bytes().to_vec());
    let entry = |durations: &Vec<i64>| {
        let pairs = cumulative(durations).into_iter();
        let counts = pairs
            .flat_map(|(bound, count)| [bound, count].map(Frame::Integer))
            .collect();
        Frame::Array(vec![
            text("calls"),
            Frame::Integer(durations.len() as i64),
            text("histogram_usec"),
            Frame::Array(counts),
        ])
    };
    let entries = commands
        .iter()
        .filter(|(_, durations)| !durations.is_empty());
    Frame::Array(
        entries
            .flat_map(|(name, durations)| [text(name), entry(durations)])
            .collect(),
    )
}

/// The entries of a flat reply by their names.
fn by_name(frame: Frame) -> BTreeMap<Vec<u8>, Frame> {
    let Frame::Array(frames) = frame else {
        panic!("no array")
    };
    let name = |frame: &Frame| encode(frame);
    frames
        .chunks(2)
        .map(|pair| (name(&pair[0]), pair[1].clone()))
        .collect()
}

proptest! {
    /// What several nodes counted is what one would have counted of all calls.
    ///
    /// contract: M4
    #[test]
    fn histograms_are_those_of_one_server(
        nodes in proptest::collection::vec(
            proptest::collection::btree_map("[a-c]", proptest::collection::vec(0i64..6, 0..9), 0..4),
            1..5,
        ),
    ) {
        let parts: Vec<_> = nodes.iter().map(|node| encode(&histogram_frame(node))).collect();
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (name, durations) in nodes.iter().flatten() {
            all.entry(name.clone()).or_default().extend(durations);
        }
        let merged = decoded(&merged(Merge::Histograms, &[], &parts));
        prop_assert_eq!(by_name(merged), by_name(histogram_frame(&all)));
    }

    /// contract: M4
    #[test]
    fn the_newest_entries_are_the_newest_of_all(
        times in proptest::collection::vec(proptest::collection::vec(0i64..9, 0..6), 1..5),
        count in 0usize..12,
    ) {
        let logs: Vec<Vec<Vec<i64>>> = times.iter().map(|times| {
            let mut times = times.clone();
            times.sort_unstable();
            times.iter().rev().enumerate().map(|(id, time)| vec![id as i64, *time, 1]).collect()
        }).collect();
        let parts: Vec<_> = logs.iter().map(|log| rows(log)).collect();
        let Frame::Array(entries) = decoded(&newest(count, &parts)) else {
            return Err(TestCaseError::fail("no array"));
        };
        let mut expected: Vec<i64> = times.concat();
        expected.sort_unstable_by(|one, other| other.cmp(one));
        expected.truncate(count);
        let given: Vec<i64> = entries.iter().map(|entry| match entry {
            Frame::Array(fields) => match fields[1] {
                Frame::Integer(time) => time,
                _ => -1,
            },
            _ => -1,
        }).collect();
        prop_assert_eq!(given, expected);
    }
}
