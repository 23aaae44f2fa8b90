//! Everything that is not a request: start and stop, accepting, signals, the admin port.
//!
//! One thread with one current-thread runtime. It shares with the workers only what [`workers`] names
//! and the snapshots they read.

mod accept;
mod admin;
pub mod cli;
mod engine;
mod fingerprint;
mod health;
pub mod learn;
mod pace;
mod printed;
mod probe;
pub mod refresh;
mod refresh_log;
mod refresh_plan;
mod refresh_round;
mod reload;
mod replica_judge;
mod replica_watch;
mod secrecy;
mod signals;
mod start;
mod successors;
mod supervise;
mod tls;
mod topology_page;
mod users;
mod workers;

pub use start::{StartError, run};
pub use workers::WorkerSeat;
