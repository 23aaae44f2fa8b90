//! The page of metrics and the README's table.

use super::*;
use crate::telemetry::ErrorKind;

fn page_of(workers: &[Arc<WorkerTallies>]) -> String {
    render(&Sources {
        workers,
        control: &ControlTallies::default(),
        is_ready: true,
        topology: None,
        max_clients: 10,
        certificates: Vec::new(),
        refused_connections: [("network", 0), ("address", 0)],
        process: ProcessFigures::now(),
    })
}

#[test]
fn workers_are_added_up_and_told_apart() {
    let workers = [
        Arc::new(WorkerTallies::default()),
        Arc::new(WorkerTallies::default()),
    ];
    workers[0].requests.add(3);
    workers[1].requests.add(4);
    workers[1].failed(ErrorKind::CrossSlot);
    workers[0].latency.record(1_000);
    workers[1].latency.record(5_000);
    let page = page_of(&workers);
    for line in [
        "keyway_requests_total 7",
        "keyway_worker_requests_total{worker=\"1\"} 4",
        "keyway_errors_total{kind=\"crossslot\"} 1",
        "keyway_errors_total{kind=\"limit\"} 0",
        "keyway_redirects_total{kind=\"moved\"} 0",
        "keyway_request_duration_seconds_bucket{le=\"0.001024\"} 1",
        "keyway_request_duration_seconds_bucket{le=\"+Inf\"} 2",
        "keyway_request_duration_seconds_sum 0.006",
        "keyway_request_duration_seconds_count 2",
        "keyway_ready 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn names_are_unique_and_follow_the_conventions() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for metric in METRICS {
        let is_counter = metric.kind() == "counter";
        assert_eq!(
            metric.name.ends_with("_total"),
            is_counter,
            "{}",
            metric.name
        );
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        assert!(!metric.help.contains('|'), "{}", metric.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
}

#[test]
fn the_readme_table_has_a_row_for_each() {
    assert_eq!(markdown().lines().count(), METRICS.len() + 2);
}
