//! The libraries in other languages, each in every mode and protocol it has; most before a Redis
//! cluster, and each once before a Valkey cluster.
//!
//! contract: P1, P2, M1, M4, M5, T4, C1, C3, C4, C6

use crate::script::Language::{Node, Python};
use crate::script::check;
use crate::support::Flavor::{self, Redis, Valkey};

#[test]
fn redis_py() {
    python(Redis, "sync", &["2", "3"]);
    python(Valkey, "sync", &["3"]);
}

#[test]
fn redis_py_asyncio() {
    python(Redis, "asyncio", &["2", "3"]);
}

#[test]
fn redis_py_cluster() {
    python(Redis, "cluster", &["2", "3"]);
    python(Valkey, "cluster", &["2"]);
}

#[test]
fn redis_py_asyncio_cluster() {
    python(Redis, "asyncio-cluster", &["2", "3"]);
}

#[test]
fn ioredis() {
    node(Redis, "ioredis", "single", &["2", "3"]);
    node(Valkey, "ioredis", "single", &["3"]);
}

#[test]
fn ioredis_cluster() {
    node(Redis, "ioredis", "cluster", &["2", "3"]);
}

#[test]
fn node_redis() {
    node(Redis, "node-redis", "single", &["2", "3"]);
    node(Valkey, "node-redis", "single", &["3"]);
}

#[test]
fn node_redis_cluster() {
    node(Redis, "node-redis", "cluster", &["2", "3"]);
}

#[track_caller]
fn python(flavor: Flavor, mode: &str, protocols: &[&str]) {
    for protocol in protocols {
        check(flavor, Python, &["--mode", mode, "--protocol", protocol]);
    }
}

#[track_caller]
fn node(flavor: Flavor, library: &str, mode: &str, protocols: &[&str]) {
    for protocol in protocols {
        let arguments = ["--library", library, "--mode", mode, "--protocol", protocol];
        check(flavor, Node, &arguments);
    }
}
