//! `/metrics` is what Prometheus can read, and true.

use std::collections::{BTreeMap, BTreeSet};

use super::support::{FakeCluster, Keyway};

/// A page in the text format: each family's kind, and each series' value.
struct Page {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    /// Reads a page; panics at the first line that a strict reader would refuse.
    fn parse(text: &str) -> Page {
        let mut page = Page {
            kinds: BTreeMap::new(),
            series: BTreeMap::new(),
        };
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line is not ended");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a text");
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a kind");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "{line}: HELP comes first");
                let before = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{line}: twice");
                family = name.to_owned();
            } else {
                page.sample(line, &family);
            }
        }
        page
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("{line}: not a number"));
        assert!(value >= 0.0, "{line}: none of these can be negative");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => {
                let labels = labels.strip_suffix('}').expect("labels end with a brace");
                (name, labels)
            }
            None => (series, ""),
        };
        let is_word = |word: &str| {
            let mut bytes = word.bytes();
            bytes
                .next()
                .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        assert!(is_word(name), "{line}");
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, text) = label.split_once("=\"").expect("name=\"text\"");
            assert!(is_word(label), "{line}");
            let text = text.strip_suffix('"').unwrap_or(text);
            assert!(!text.contains('"'), "{line}: none needs escapes here");
        }
        let suffixes: &[&str] = match self.kinds.get(family).map(String::as_str) {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            Some(_) => &[""],
            None => panic!("{line}: before any TYPE"),
        };
        let is_of_family = suffixes.iter().any(|end| name == format!("{family}{end}"));
        assert!(is_of_family, "{line}: stands below {family}");
        let before = self.series.insert(series.to_owned(), value);
        assert!(before.is_none(), "{line}: twice");
    }

    /// The sum of all series of one name.
    fn sum(&self, name: &str) -> f64 {
        let is_it = |series: &str| series.split('{').next() == Some(name);
        let series = self.series.iter().filter(|(series, _)| is_it(series));
        series.map(|(_, value)| value).sum()
    }

    fn check_histograms(&self) {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let start = format!("{name}_bucket{{");
            let mut buckets: Vec<(f64, f64)> = self
                .series
                .iter()
                .filter(|(series, _)| series.starts_with(&start))
                .map(|(series, count)| {
                    let bound = series.rsplit_once("le=\"").expect("a bound").1;
                    let bound = bound.trim_end_matches("\"}").replace("+Inf", "inf");
                    (bound.parse().expect("a number"), *count)
                })
                .collect();
            buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            assert!(
                buckets.is_sorted_by(|(_, less), (_, more)| less <= more),
                "{name} is not cumulative: {buckets:?}"
            );
            let (bound, all) = buckets.last().expect("there are buckets");
            assert!(bound.is_infinite(), "{name} has no +Inf");
            let count = self.sum(&format!("{name}_count"));
            assert!((all - count).abs() < 0.5, "{name}: {all} and {count}");
        }
    }
}

#[test]
fn the_page_is_in_the_text_format_and_counts() {
    let fake = FakeCluster::start(3);
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.workers", "2")
        .start();
    let before = Page::parse(&keyway.admin("/metrics").1);
    before.check_histograms();

    let mut clients = [keyway.client(), keyway.client_resp3()];
    for number in 0..50 {
        for client in &mut clients {
            assert!(!client.call(&format!("GET {number}")).is_error());
        }
    }
    clients[0].expect_error("NONSENSE", "ERR unknown command");
    let after = Page::parse(&keyway.admin("/metrics").1);
    after.check_histograms();
    let grown = |name: &str| after.sum(name) - before.sum(name);
    for (name, least) in [
        ("keyway_requests_total", 100.0),
        ("keyway_replies_total", 100.0),
        ("keyway_request_duration_seconds_count", 100.0),
        ("keyway_errors_total", 1.0),
        ("keyway_client_connections_total", 2.0),
        ("keyway_client_read_bytes_total", 2_000.0),
        ("keyway_client_written_bytes_total", 1_000.0),
        ("keyway_upstream_written_bytes_total", 2_000.0),
        ("keyway_upstream_read_bytes_total", 1_000.0),
    ] {
        assert!(grown(name) >= least, "{name} grew by {}", grown(name));
    }
    for (name, value) in [
        ("keyway_ready", 1.0),
        ("keyway_clients", 2.0),
        ("keyway_topology_nodes", 3.0),
        ("keyway_topology_slots_owned", 16_384.0),
        ("keyway_requests_in_flight", 0.0),
    ] {
        let got = after.sum(name);
        assert!((got - value).abs() < 0.1, "{name} is {got}, not {value}");
    }
    for (name, kind) in &after.kinds {
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
        assert!(
            name.starts_with("keyway_") || name.starts_with("process_"),
            "{name}"
        );
    }
}
