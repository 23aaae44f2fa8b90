//! What an operator sees: log lines, counters, the latency histogram and the process' own figures.
//!
//! Each worker counts into its own [`WorkerTallies`] with plain loads and stores; nothing on the path
//! of a request locks a bus. The admin page reads and adds them up. A new metric is one declaration
//! in [`metrics`] and, when nothing holds its value yet, one field in the tallies.

pub mod clock;
pub mod exposition;
pub mod latency;
pub mod logging;
mod metric_list;
pub mod metrics;
pub mod process;
mod seldom;
pub mod tally;
pub mod worker_tallies;

pub use latency::LatencyHistogram;
pub use seldom::Seldom;
pub use tally::{Gauge, Tally};
pub use worker_tallies::{ControlTallies, ErrorKind, PrimaryRead, RedirectKind, WorkerTallies};
