//! The libraries in other languages, each in every mode and protocol it has.
//!
//! contract: P1, P2, M1, M4, M5, T4, C1, C3, C4, C6

use crate::script::Language::{Node, Python};
use crate::script::check;

#[test]
fn redis_py() {
    check(Python, &["--mode", "sync", "--protocol", "2"]);
    check(Python, &["--mode", "sync", "--protocol", "3"]);
}

#[test]
fn redis_py_asyncio() {
    check(Python, &["--mode", "asyncio", "--protocol", "2"]);
    check(Python, &["--mode", "asyncio", "--protocol", "3"]);
}

#[test]
fn redis_py_cluster() {
    check(Python, &["--mode", "cluster", "--protocol", "2"]);
    check(Python, &["--mode", "cluster", "--protocol", "3"]);
}

#[test]
fn redis_py_asyncio_cluster() {
    check(Python, &["--mode", "asyncio-cluster", "--protocol", "2"]);
    check(Python, &["--mode", "asyncio-cluster", "--protocol", "3"]);
}

#[test]
fn ioredis() {
    node("ioredis", "single");
}

#[test]
fn ioredis_cluster() {
    node("ioredis", "cluster");
}

#[test]
fn node_redis() {
    node("node-redis", "single");
}

#[test]
fn node_redis_cluster() {
    node("node-redis", "cluster");
}

#[track_caller]
fn node(library: &str, mode: &str) {
    for protocol in ["2", "3"] {
        let arguments = ["--library", library, "--mode", mode, "--protocol", protocol];
        check(Node, &arguments);
    }
}
