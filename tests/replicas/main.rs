//! Reads from replicas, and several listeners: where reads went is asked of the servers themselves.

mod fake;
mod listeners;
mod policies;
mod scene;
mod trouble;
mod writes;

#[path = "../support/mod.rs"]
mod support;
