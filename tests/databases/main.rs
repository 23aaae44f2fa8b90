//! Databases, where the servers have them: what a client says behind `SELECT` is carried out in that database and in
//! no other.

mod bounds;
mod cluster;
mod held;
mod moved;
mod one_server;
mod random;
mod seen;
mod trouble;
mod users;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Client, Keyway};

/// How long something may take that takes milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// A client that has selected a database.
fn client_in(keyway: &Keyway, database: usize) -> Client {
    let mut client = keyway.client();
    client.expect(&format!("SELECT {database}"), "+OK");
    client
}

/// The same in RESP3.
fn client_resp3_in(keyway: &Keyway, database: usize) -> Client {
    let mut client = keyway.client_resp3();
    client.expect(&format!("SELECT {database}"), "+OK");
    client
}
