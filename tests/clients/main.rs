//! Real client libraries and tools, unmodified, before a real cluster: what they were written for
//! is one server, and they must not notice the difference. RESP2 and RESP3 where they can choose;
//! their cluster-mode clients as well, for which Keyway plays a cluster of one node.
//!
//! redis-rs is a dependency of the tests. The others `scripts/install-clients.sh` puts below
//! `target/clients`; their checks are programs in the libraries' own languages, which print each
//! call that went wrong with what was expected and what came. redis-cli and redis-benchmark come
//! with the servers.
//!
//! What this version does not serve yet is checked in `not_yet.rs`.

#[path = "../support/mod.rs"]
mod support;

mod libraries;
mod not_yet;
mod redis_benchmark;
mod redis_cli;
mod redis_rs;
mod redis_rs_async;
mod redis_rs_pubsub;
mod redis_rs_table;
mod scene;
mod script;
