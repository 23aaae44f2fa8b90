//! Every metric: its name, what it means, and where its value is read.
//!
//! This table is the only place that names a metric. The admin page is rendered from it and the
//! README's list is printed from it. To add one: a field in the tallies if nothing counts it yet,
//! and a row here. Labels have few, fixed values; nothing a client sends becomes a label.

use std::sync::Arc;

use super::exposition::Exposition;
use super::latency::LatencySnapshot;
use super::process::ProcessFigures;
use super::worker_tallies::{ControlTallies, ErrorKind, PrimaryRead, RedirectKind, WorkerTallies};

/// What the page is made from: everything is read once, when asked for.
pub struct Sources<'a> {
    /// One for each worker, in the order of their numbers.
    pub workers: &'a [Arc<WorkerTallies>],
    /// The control thread's.
    pub control: &'a ControlTallies,
    /// Whether `/ready` says yes.
    pub is_ready: bool,
    /// The topology in use, if any is known.
    pub topology: Option<TopologyFigures>,
    /// The limit of clients.
    pub max_clients: usize,
    /// The process' own.
    pub process: ProcessFigures,
}

/// The topology in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyFigures {
    /// Its version: snapshots published by this process.
    pub version: u64,
    /// Known nodes.
    pub nodes: usize,
    /// Primaries that own slots.
    pub shards: usize,
    /// Slots that have an owner.
    pub slots_owned: usize,
}

/// One metric.
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// One sentence, for the page and the README.
    pub help: &'static str,
    reading: Reading,
}

/// How a metric's samples are read.
enum Reading {
    /// A count, summed over the workers.
    Count(fn(&WorkerTallies) -> u64),
    /// A level, summed over the workers.
    Level(fn(&WorkerTallies) -> u64),
    /// A count of each worker, labelled `worker`.
    CountOfEach(fn(&WorkerTallies) -> u64),
    /// A level of each worker, labelled `worker`.
    LevelOfEach(fn(&WorkerTallies) -> u64),
    /// A count for each of these `kind` labels, summed over the workers.
    CountByKind(fn() -> Vec<&'static str>, fn(&WorkerTallies, usize) -> u64),
    /// The latency of all workers.
    Latency,
    /// A level of the control thread.
    ControlLevel(fn(&ControlTallies) -> u64),
    /// Connections by listener.
    Listeners,
    /// A count of the control thread.
    ControlCount(fn(&ControlTallies) -> u64),
    /// A count of the process; left out when the system does not tell.
    ProcessCount(fn(&Sources<'_>) -> Option<f64>),
    /// A level of the process; left out when unknown.
    ProcessLevel(fn(&Sources<'_>) -> Option<f64>),
    /// The constant 1, with the version as label.
    Build,
}

const fn metric(name: &'static str, reading: Reading, help: &'static str) -> Metric {
    Metric {
        name,
        help,
        reading,
    }
}

/// Every metric, in the order of the page.
pub static METRICS: &[Metric] = &[
    metric(
        "keyway_build_info",
        Reading::Build,
        "Always 1; the label tells the version.",
    ),
    metric(
        "keyway_ready",
        Reading::ProcessLevel(|from| Some(f64::from(u8::from(from.is_ready)))),
        "1 while /ready answers 200.",
    ),
    metric(
        "keyway_requests_total",
        Reading::Count(|worker| worker.requests.value()),
        "Requests read from clients.",
    ),
    metric(
        "keyway_replies_total",
        Reading::Count(|worker| worker.replies.value()),
        "Replies queued for clients, errors included.",
    ),
    metric(
        "keyway_request_duration_seconds",
        Reading::Latency,
        "From a request's arrival to its reply being queued for the client.",
    ),
    metric(
        "keyway_errors_total",
        Reading::CountByKind(
            || ErrorKind::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.errors.value(kind),
        ),
        "Error replies of Keyway's own, by kind; errors of the servers are replies.",
    ),
    metric(
        "keyway_streamed_requests_total",
        Reading::Count(|worker| worker.streamed_requests.value()),
        "Requests with a large value that were passed on in pieces.",
    ),
    metric(
        "keyway_streamed_replies_total",
        Reading::Count(|worker| worker.streamed_replies.value()),
        "Large replies that were passed on in pieces.",
    ),
    metric(
        "keyway_streams_fetched_again_total",
        Reading::Count(|worker| worker.streams_fetched_again.value()),
        "Large replies that were dropped and asked for again, so that other clients did not wait behind them.",
    ),
    metric(
        "keyway_auth_failures_total",
        Reading::Count(|worker| worker.auth_failures.value()),
        "AUTH and HELLO with a wrong password, or a user that is not there or switched off.",
    ),
    metric(
        "keyway_redirects_total",
        Reading::CountByKind(
            || RedirectKind::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.redirects.value(kind),
        ),
        "Redirects and come-again errors from nodes, by kind; clients do not see them.",
    ),
    metric(
        "keyway_replica_reads_total",
        Reading::Count(|worker| worker.replica_reads.value()),
        "Reads sent to replicas.",
    ),
    metric(
        "keyway_primary_reads_total",
        Reading::CountByKind(
            || PrimaryRead::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.primary_reads.value(kind),
        ),
        "Reads of clients with another read policy than primary that were sent to a primary, by reason.",
    ),
    metric(
        "keyway_retries_total",
        Reading::Count(|worker| worker.retries.value()),
        "Requests that were sent again.",
    ),
    metric(
        "keyway_requests_in_flight",
        Reading::Level(|worker| worker.in_flight.value()),
        "Requests queued for or sent to a node and not yet answered.",
    ),
    metric(
        "keyway_requests_parked",
        Reading::Level(|worker| worker.parked.value()),
        "Requests that wait for a node, for a slot's owner or for the end of a pause.",
    ),
    metric(
        "keyway_tracking_clients",
        Reading::Level(|worker| worker.tracking_clients.value()),
        "Clients that track keys (CLIENT TRACKING) now.",
    ),
    metric(
        "keyway_tracking_invalidations_total",
        Reading::Count(|worker| worker.tracking_invalidations.value()),
        "Invalidations that came from nodes for clients that track keys.",
    ),
    metric(
        "keyway_tracking_flushes_total",
        Reading::Count(|worker| worker.tracking_flushes.value()),
        "How often a client that tracks was told to forget all it cached: a connection was lost or slots moved.",
    ),
    metric(
        "keyway_clients",
        Reading::Level(|worker| worker.clients.value()),
        "Clients connected now.",
    ),
    metric(
        "keyway_clients_max",
        Reading::ProcessLevel(|from| Some(from.max_clients as f64)),
        "The limit of clients (limits.max_clients).",
    ),
    metric(
        "keyway_client_connections_total",
        Reading::ControlCount(|control| control.accepted.value()),
        "Client connections accepted.",
    ),
    metric(
        "keyway_listener_connections_total",
        Reading::Listeners,
        "Client connections accepted, by listener.",
    ),
    metric(
        "keyway_clients_refused_total",
        Reading::ControlCount(|control| control.refused_clients.value()),
        "Client connections refused at the limit of clients.",
    ),
    metric(
        "keyway_accept_pauses_total",
        Reading::ControlCount(|control| control.accept_pauses.value()),
        "Pauses of accepting because file descriptors or memory ran out.",
    ),
    metric(
        "keyway_client_read_bytes_total",
        Reading::Count(|worker| worker.client_bytes_in.value()),
        "Bytes read from clients.",
    ),
    metric(
        "keyway_client_written_bytes_total",
        Reading::Count(|worker| worker.client_bytes_out.value()),
        "Bytes written to clients.",
    ),
    metric(
        "keyway_upstream_read_bytes_total",
        Reading::Count(|worker| worker.upstream_bytes_in.value()),
        "Bytes read from nodes.",
    ),
    metric(
        "keyway_upstream_written_bytes_total",
        Reading::Count(|worker| worker.upstream_bytes_out.value()),
        "Bytes written to nodes.",
    ),
    metric(
        "keyway_upstream_connections",
        Reading::Level(|worker| worker.upstream_connections.value()),
        "Connections to nodes open now.",
    ),
    metric(
        "keyway_leases",
        Reading::Level(|worker| worker.leases.value()),
        "Private connections to nodes open now (limits.leases).",
    ),
    metric(
        "keyway_blocked_clients",
        Reading::Level(|worker| worker.blocked_clients.value()),
        "Clients that wait for a blocking command, WAIT or WATCH now.",
    ),
    metric(
        "keyway_paused_clients",
        Reading::Level(|worker| worker.held_back_clients.value()),
        "Clients whose next request waits for the end of CLIENT PAUSE.",
    ),
    metric(
        "keyway_monitor_clients",
        Reading::Level(|worker| worker.monitors.value()),
        "Clients in MONITOR now.",
    ),
    metric(
        "keyway_upstream_connects_total",
        Reading::Count(|worker| worker.upstream_connects.value()),
        "Connections to nodes that were opened.",
    ),
    metric(
        "keyway_upstream_failures_total",
        Reading::Count(|worker| worker.upstream_failures.value()),
        "Connections to nodes that could not be opened or were lost.",
    ),
    metric(
        "keyway_subscribers",
        Reading::Level(|worker| worker.subscribers.value()),
        "Clients that are subscribed to a channel, a pattern or a shard channel.",
    ),
    metric(
        "keyway_upstream_subscriptions",
        Reading::Level(|worker| worker.hub_subscriptions.value()),
        "Subscriptions at nodes on behalf of clients: one for each channel and worker.",
    ),
    metric(
        "keyway_upstream_subscription_changes",
        Reading::Level(|worker| worker.hub_changes.value()),
        "Changes of them that the nodes have not confirmed yet.",
    ),
    metric(
        "keyway_messages_total",
        Reading::Count(|worker| worker.messages.value()),
        "Messages handed to subscribers.",
    ),
    metric(
        "keyway_subscription_gaps_total",
        Reading::Count(|worker| worker.subscription_gaps.value()),
        "Subscriptions at nodes that were interrupted while clients had them; messages may be missing.",
    ),
    metric(
        "keyway_subscribers_closed_total",
        Reading::Count(|worker| worker.slow_subscribers.value()),
        "Subscribers closed because they did not read their messages.",
    ),
    metric(
        "keyway_topology_version",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.version as f64))),
        "Version of the topology in use: each change seen adds 1; 0 while none is known.",
    ),
    metric(
        "keyway_topology_nodes",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.nodes as f64))),
        "Nodes of the topology in use.",
    ),
    metric(
        "keyway_topology_shards",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.shards as f64))),
        "Primaries that own slots.",
    ),
    metric(
        "keyway_topology_slots_owned",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.slots_owned as f64))),
        "Slots that have an owner; 16384 when the cluster is whole.",
    ),
    metric(
        "keyway_replicas_serving",
        Reading::ControlLevel(|control| control.replicas_serving.value()),
        "Replicas that may serve reads; 0 while no read policy wants any.",
    ),
    metric(
        "keyway_replicas_left_out",
        Reading::ControlLevel(|control| control.replicas_left_out.value()),
        "Replicas that lag, load, are cut off or do not answer, and serve no reads.",
    ),
    metric(
        "keyway_topology_refreshes_total",
        Reading::ControlCount(|control| control.refreshes.value()),
        "Topology refreshes that ended with a view of the cluster.",
    ),
    metric(
        "keyway_topology_refresh_failures_total",
        Reading::ControlCount(|control| control.refresh_failures.value()),
        "Topology refreshes that no node answered.",
    ),
    metric(
        "keyway_worker_requests_total",
        Reading::CountOfEach(|worker| worker.requests.value()),
        "Requests read from clients, by worker: how evenly the load lies.",
    ),
    metric(
        "keyway_worker_clients",
        Reading::LevelOfEach(|worker| worker.clients.value()),
        "Clients connected now, by worker.",
    ),
    metric(
        "process_cpu_seconds_total",
        Reading::ProcessCount(|from| from.process.cpu_seconds),
        "User and system CPU time.",
    ),
    metric(
        "process_resident_memory_bytes",
        Reading::ProcessLevel(|from| from.process.resident_bytes),
        "Resident memory.",
    ),
    metric(
        "process_virtual_memory_bytes",
        Reading::ProcessLevel(|from| from.process.virtual_bytes),
        "Virtual memory.",
    ),
    metric(
        "process_open_fds",
        Reading::ProcessLevel(|from| from.process.open_fds),
        "Open file descriptors.",
    ),
    metric(
        "process_max_fds",
        Reading::ProcessLevel(|from| from.process.max_fds),
        "The limit of open file descriptors.",
    ),
    metric(
        "process_start_time_seconds",
        Reading::ProcessLevel(|from| Some(from.process.start_time_seconds)),
        "When the process started, in seconds since 1970.",
    ),
];

impl Metric {
    /// `counter`, `gauge` or `histogram`.
    pub fn kind(&self) -> &'static str {
        match self.reading {
            Reading::Count(_)
            | Reading::CountOfEach(_)
            | Reading::CountByKind(..)
            | Reading::Listeners
            | Reading::ControlCount(_)
            | Reading::ProcessCount(_) => "counter",
            Reading::Level(_)
            | Reading::LevelOfEach(_)
            | Reading::ControlLevel(_)
            | Reading::ProcessLevel(_)
            | Reading::Build => "gauge",
            Reading::Latency => "histogram",
        }
    }

    fn write(&self, from: &Sources<'_>, page: &mut Exposition) {
        page.family(self.name, self.kind(), self.help);
        let sum = |read: &dyn Fn(&WorkerTallies) -> u64| -> u64 {
            from.workers.iter().map(|worker| read(worker)).sum()
        };
        match &self.reading {
            Reading::Count(read) | Reading::Level(read) => page.sample("", &[], sum(read)),
            Reading::CountOfEach(read) | Reading::LevelOfEach(read) => {
                for (number, worker) in from.workers.iter().enumerate() {
                    page.sample("", &[("worker", &number.to_string())], read(worker));
                }
            }
            Reading::CountByKind(kinds, read) => {
                for (index, kind) in kinds().into_iter().enumerate() {
                    let count = sum(&|worker| read(worker, index));
                    page.sample("", &[("kind", kind)], count);
                }
            }
            Reading::Latency => write_latency(from, page),
            Reading::ControlCount(read) | Reading::ControlLevel(read) => {
                page.sample("", &[], read(from.control));
            }
            Reading::Listeners => {
                for (name, accepted) in &from.control.listeners {
                    page.sample("", &[("listener", name)], accepted.value());
                }
            }
            Reading::ProcessCount(read) | Reading::ProcessLevel(read) => {
                if let Some(value) = read(from) {
                    page.sample("", &[], value);
                }
            }
            Reading::Build => page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1),
        }
    }
}

fn write_latency(from: &Sources<'_>, page: &mut Exposition) {
    let mut all = LatencySnapshot::empty();
    for worker in from.workers {
        all.add(&worker.latency.snapshot());
    }
    for (bound_us, below) in all.cumulative() {
        let bound = (bound_us as f64 / 1e6).to_string();
        page.sample("_bucket", &[("le", &bound)], below);
    }
    page.sample("_bucket", &[("le", "+Inf")], all.count());
    page.sample("_sum", &[], all.sum_us() as f64 / 1e6);
    page.sample("_count", &[], all.count());
}

/// The page, in the format of [`super::exposition::CONTENT_TYPE`].
pub fn render(from: &Sources<'_>) -> String {
    let mut page = Exposition::default();
    for metric in METRICS {
        metric.write(from, &mut page);
    }
    page.into_text()
}

/// The README's table of metrics, in Markdown.
pub fn markdown() -> String {
    let mut table = "| metric | type | meaning |\n|---|---|---|\n".to_owned();
    for metric in METRICS {
        table.push_str(&format!(
            "| `{}` | {} | {} |\n",
            metric.name,
            metric.kind(),
            metric.help
        ));
    }
    table
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
