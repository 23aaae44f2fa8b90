//! The life of the process: it starts without a cluster, checks its settings, says who may come in,
//! counts what it does, holds out at its limits, and stops in order.

mod access;
mod clients;
mod limits;
mod metrics;
mod output;
mod settings;
mod starting;
mod stopping;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

/// How long anything may take that takes no time on a machine with nothing else to do.
const DEADLINE: Duration = Duration::from_secs(15);

/// Runs the program to its end, with these variables alone of its own.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyway"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the keyway program can be started")
}

/// Seeds by name, as TOML.
fn by_name(seeds: &[SocketAddr]) -> String {
    let names: Vec<String> = seeds
        .iter()
        .map(|addr| format!("\"localhost:{}\"", addr.port()))
        .collect();
    format!("[{}]", names.join(", "))
}
