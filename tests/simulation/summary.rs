//! What happened in many lives, so that one sees that everything did happen.

use std::collections::BTreeMap;
use std::fmt;

use keyway::telemetry::{ErrorKind, PrimaryRead, RedirectKind};

use super::request::Outcome;
use super::world::World;

/// How often each thing happened.
#[derive(Debug, Default)]
pub struct Summary(BTreeMap<String, u64>);

impl Summary {
    /// One life's.
    pub fn of(world: &World) -> Summary {
        let mut summary = Summary::default();
        let tallies = &world.tallies;
        for (kind, name) in RedirectKind::ALL.iter().enumerate() {
            summary.add(
                format!("redirect {}", name.label()),
                tallies.redirects.value(kind),
            );
        }
        for (kind, name) in ErrorKind::ALL.iter().enumerate() {
            summary.add(
                format!("error {}", name.label()),
                tallies.errors.value(kind),
            );
        }
        for (kind, name) in PrimaryRead::ALL.iter().enumerate() {
            summary.add(
                format!("read from primary {}", name.label()),
                tallies.primary_reads.value(kind),
            );
        }
        summary.add(
            "reads sent to replicas".to_owned(),
            tallies.replica_reads.value(),
        );
        let from_replica = world.oracle.executions.iter().filter(|e| e.is_replica);
        summary.add("read from replicas".to_owned(), from_replica.count() as u64);
        let large = [
            ("replies passed on in pieces", &tallies.streamed_replies),
            (
                "large replies fetched again",
                &tallies.streams_fetched_again,
            ),
            ("requests passed on in pieces", &tallies.streamed_requests),
        ];
        for (name, tally) in large {
            summary.add(name.to_owned(), tally.value());
        }
        summary.add("sent again".to_owned(), tallies.retries.value());
        summary.add("connections".to_owned(), tallies.upstream_connects.value());
        summary.add(
            "connections failed".to_owned(),
            tallies.upstream_failures.value(),
        );
        summary.add("executed".to_owned(), world.oracle.executions.len() as u64);
        summary.add(
            "blocks executed".to_owned(),
            world.oracle.blocks.len() as u64,
        );
        let watched = world.oracle.blocks.iter();
        let watched = watched.filter(|block| !block.watches.is_empty());
        summary.add(
            "blocks executed with a watch".to_owned(),
            watched.count() as u64,
        );
        summary.add("clients".to_owned(), world.clients.len() as u64);
        for client in &world.clients {
            for request in &client.requests {
                let outcome = match &request.outcome {
                    Outcome::Open => "not heard",
                    Outcome::Answered(_) => "answered",
                    Outcome::NotExecuted => "refused",
                    Outcome::Unknown => "unknown",
                    Outcome::Partly => "in part",
                };
                summary.add(format!("requests {outcome}"), 1);
            }
        }
        summary
    }

    fn add(&mut self, name: String, count: u64) {
        *self.0.entry(name).or_insert(0) += count;
    }

    /// Adds another life's.
    pub fn join(&mut self, other: Summary) {
        for (name, count) in other.0 {
            self.add(name, count);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, count)| writeln!(out, "{count:10} {name}"))
    }
}
