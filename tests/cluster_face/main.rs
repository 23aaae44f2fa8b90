//! What Keyway shows of itself: a standalone server to most, a cluster of one to those that ask, and
//! its own clients; and what it keeps to itself.

mod clients;
mod cluster;
mod refused;
mod state;

#[path = "../support/mod.rs"]
mod support;
