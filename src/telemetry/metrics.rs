//! How metrics are read and written: the admin page and the README's list are made from the rows of
//! [`METRICS`].

use std::sync::Arc;

use super::exposition::Exposition;
use super::latency::LatencySnapshot;
use super::process::ProcessFigures;
use super::worker_tallies::{ControlTallies, WorkerTallies};

pub use super::metric_list::METRICS;

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
    /// The certificates in use.
    pub certificates: Vec<CertificateFigures>,
    /// Connections refused by a listener's rules, by kind.
    pub refused_connections: [(&'static str, u64); 2],
    /// The process' own.
    pub process: ProcessFigures,
}

/// A certificate in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFigures {
    /// The listener's name, `upstream` or `admin`.
    pub used_by: String,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
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
    pub(super) reading: Reading,
}

/// How a metric's samples are read.
pub(super) enum Reading {
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
    /// When certificates end, by who uses them.
    Certificates,
    /// Connections refused by a listener's rules.
    RefusedConnections,
    /// A count of the control thread.
    ControlCount(fn(&ControlTallies) -> u64),
    /// A count of the process; left out when the system does not tell.
    ProcessCount(fn(&Sources<'_>) -> Option<f64>),
    /// A level of the process; left out when unknown.
    ProcessLevel(fn(&Sources<'_>) -> Option<f64>),
    /// The constant 1, with the version as label.
    Build,
}

pub(super) const fn metric(name: &'static str, reading: Reading, help: &'static str) -> Metric {
    Metric {
        name,
        help,
        reading,
    }
}

impl Metric {
    /// `counter`, `gauge` or `histogram`.
    pub fn kind(&self) -> &'static str {
        match self.reading {
            Reading::Count(_)
            | Reading::CountOfEach(_)
            | Reading::CountByKind(..)
            | Reading::Listeners
            | Reading::RefusedConnections
            | Reading::ControlCount(_)
            | Reading::ProcessCount(_) => "counter",
            Reading::Level(_)
            | Reading::LevelOfEach(_)
            | Reading::ControlLevel(_)
            | Reading::ProcessLevel(_)
            | Reading::Certificates
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
            Reading::Certificates => {
                for certificate in &from.certificates {
                    let used_by = certificate.used_by.as_str();
                    page.sample("", &[("used_by", used_by)], certificate.expires_at);
                }
            }
            Reading::RefusedConnections => {
                for (kind, count) in from.refused_connections {
                    page.sample("", &[("kind", kind)], count);
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
