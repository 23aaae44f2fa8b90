//! A seed that is one server with cluster support off: the same sidecar, the same URL.

mod changes;
mod one_server;

#[path = "../support/mod.rs"]
mod support;
