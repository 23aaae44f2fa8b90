//! The kinds of load. Each is a thread with a connection of its own and keys that it alone writes, unless
//! its file says otherwise; each ends when the stage says so and tells what it wrote.

pub mod channels;
pub mod large;
pub mod plain;
pub mod probes;
pub mod queues;
pub mod transactions;
pub mod watchers;

use super::line::Fate;
use super::marker::Marker;
use super::register::Register;
use super::tally::Tally;

/// What a client leaves behind.
#[derive(Default)]
pub struct Finished {
    /// What it counted.
    pub tally: Tally,
    /// Its keys, and what they may hold.
    pub registers: Vec<Register>,
    /// Other writes, and what was told of them.
    pub writes: Vec<(Marker, Fate)>,
}
