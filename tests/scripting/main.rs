//! Scripts by name, wherever their keys are and whatever happened to the nodes (contract: T4).

mod fake;
mod kept;
mod kill;
mod moved;

#[path = "../support/mod.rs"]
mod support;

use support::Client;

/// A script that adds to a key and tells what it added to.
const ADD: &str = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

/// Loads a script and returns its name.
#[track_caller]
fn load(client: &mut Client, script: &str) -> String {
    client.call_args(&["SCRIPT", "LOAD", script]).text()
}
