//! What web applications keep in Redis besides queues: caches, sessions, limits, locks, messages;
//! and a web interface to look at it. Only django-redis's transactions over many keys need a hash tag or
//! an opt-in.
//!
//! contract: M1, M4, M5, T1, T3, T4, S1, S4, S6, C3, C6, P1

use crate::program::Language::{Node, Python};
use crate::program::check;
use crate::scene::Keys::{Plain, Tagged};
use crate::support::Flavor::{Redis, Valkey};

#[test]
fn django_redis() {
    check(Redis, Python, "django", Tagged);
    check(Redis, Python, "django", Plain);
}

#[test]
fn limits_and_flask_limiter() {
    check(Redis, Python, "limits", Tagged);
    check(Valkey, Python, "limits", Tagged);
}

#[test]
fn locks() {
    check(Redis, Python, "locks", Tagged);
    check(Valkey, Python, "locks", Tagged);
}

/// redis-py refuses to cache before a server that says it is Valkey.
#[test]
fn client_side_caching() {
    check(Redis, Python, "caching", Tagged);
}

#[test]
fn ioredis_pubsub_to_a_thousand() {
    check(Redis, Node, "ioredis_pubsub", Tagged);
    check(Valkey, Node, "ioredis_pubsub", Tagged);
}

#[test]
fn express_session_and_socket_io() {
    check(Redis, Node, "sessions_socket_io", Tagged);
}

#[test]
fn redis_commander() {
    check(Redis, Node, "redis_commander", Tagged);
}
