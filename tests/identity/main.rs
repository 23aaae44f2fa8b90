//! As whom clients' commands go to the nodes: each upstream user may touch its own keys and channels only, and the
//! service user neither, so the nodes themselves refuse whatever goes over another's connection.

#[path = "../support/mod.rs"]
mod support;

mod failover;
mod idle;
mod interleaved;
mod mapping;
mod pass_through;
mod reload;
mod scene;
mod switching;
mod views;
