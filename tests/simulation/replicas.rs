//! Reads from replicas: the policy of a run, and which replicas may serve.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use keyway::cluster::Endpoint;
use keyway::config::ReadPolicy;
use keyway::worker::{Fitness, NodeFacts, ReplicaFacts};

use super::node::host;
use super::world::World;

/// The policy of a run.
pub fn any_policy(rng: &mut Rng) -> ReadPolicy {
    let policies = [
        ReadPolicy::Primary,
        ReadPolicy::PreferReplica,
        ReadPolicy::Any,
        ReadPolicy::LowestLatency,
        ReadPolicy::SameZone,
    ];
    policies[rng.usize(..policies.len())]
}

/// How long clients read what they wrote; most do not.
pub fn any_time(rng: &mut Rng) -> Duration {
    Duration::from_millis(50 * u64::from(rng.u8(..4) == 0))
}

impl World {
    /// Some replicas may serve reads, some may not.
    pub fn judge_replicas(&mut self) {
        let mut facts = ReplicaFacts::default();
        for index in 0..self.cluster.nodes.len() {
            let endpoint = Endpoint {
                host: host(index).into(),
                port: 6379,
            };
            let fitness = match self.replica_rng.u8(..10) {
                0 => Fitness::Unfit,
                1 => Fitness::CutOff,
                _ => Fitness::Fit,
            };
            let is_near = self.replica_rng.bool();
            facts.0.insert(endpoint, NodeFacts { fitness, is_near });
        }
        self.core.apply_replica_facts(Arc::new(facts));
    }
}
