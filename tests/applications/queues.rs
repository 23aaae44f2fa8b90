//! Task queues: producers, workers, schedulers, results.
//!
//! contract: T1, T2, T3, T4, T5, T7, S1, S4, M1, P1

use crate::program::Language::{Node, Python, PythonOfArq, Ruby};
use crate::program::check;
use crate::scene::Keys::{PartlyTagged, Plain, Tagged};
use crate::support::Flavor::{Redis, Valkey};

/// Its scripts name keys that they were not given: a prefix in one hash tag is needed, here as
/// before any cluster.
#[test]
fn bullmq() {
    check(Redis, Node, "bullmq", Tagged);
    check(Valkey, Node, "bullmq", Tagged);
}

/// The scripts that count a chord's parts and keep bindings have keys of their own naming: the key
/// prefix must have a hash tag.
#[test]
fn celery() {
    check(Redis, Python, "celery", Tagged);
}

/// RQ has no key prefix. A worker of one queue moves jobs to a list beside it, which must be in
/// its slot: the queue's name has a hash tag.
#[test]
fn rq() {
    check(Redis, Python, "rq", PartlyTagged);
    check(Redis, Python, "rq", Plain);
}

/// `arq:abort` stands in the transaction after each job, and cannot have a hash tag: the opt-in is
/// needed. All other names must have one: who waits for a result looks for it and for the job in one
/// transaction, and would find neither if these were two.
#[test]
fn arq() {
    check(Redis, PythonOfArq, "arq", PartlyTagged);
    check(Valkey, PythonOfArq, "arq", PartlyTagged);
}

#[test]
fn dramatiq() {
    check(Redis, Python, "dramatiq", Tagged);
}

#[test]
fn huey() {
    check(Redis, Python, "huey", Tagged);
}

#[test]
fn saq() {
    check(Valkey, Python, "saq", Tagged);
}

#[test]
fn sidekiq() {
    check(Redis, Ruby, "sidekiq", Tagged);
}

#[test]
fn sidekiq_with_keys_of_all_slots() {
    check(Redis, Ruby, "sidekiq", Plain);
}
