//! What the control thread finds out about replicas, as the workers see it.

use std::collections::HashMap;

use crate::cluster::Endpoint;

/// Whether a replica may serve reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    /// It follows its primary closely enough.
    Fit,
    /// Its link to the primary is down, but it is not behind by more than is allowed: good enough while
    /// the primary cannot be reached.
    CutOff,
    /// It loads, lags, does not answer, or nothing is known of it yet.
    #[default]
    Unfit,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whether it may serve reads as a replica.
    pub fitness: Fitness,
    /// Whether it is in this Keyway's zone.
    pub is_near: bool,
}

/// What is known of all nodes, by the endpoint they are dialled at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFacts(pub HashMap<Endpoint, NodeFacts>);
