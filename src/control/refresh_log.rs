//! What the operator reads about refreshes: changes of state, in both directions, and nothing else.
//! A slot that moved is no change of state; a resharding would write thousands of lines.

use tracing::{debug, info, warn};

use crate::cluster::ledger::Settled;
use crate::cluster::{Endpoint, Health, Mode, Role, Topology};

use super::probe::ProbeError;

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct RefreshLog {
    is_seeking: bool,
    is_ignoring: bool,
    is_holding: bool,
    last: Option<Digest>,
}

/// What is worth a line when it changes.
#[derive(Debug, PartialEq, Eq)]
struct Digest {
    mode: Mode,
    /// Endpoint, is it a primary, health; in the order of the ids.
    nodes: Vec<(Endpoint, bool, Health)>,
    is_unowned: bool,
}

impl RefreshLog {
    /// A server that was fine, or was never asked before, does not answer.
    pub(super) fn silent(&self, at: &Endpoint, error: &ProbeError) {
        warn!(node = %at, %error, "a node does not tell the topology");
    }

    /// It answers again.
    pub(super) fn answers(&self, at: &Endpoint) {
        info!(node = %at, "the node tells the topology again");
    }

    /// A refresh ended without an answer that can be used.
    pub(super) fn nobody(&mut self, asked: usize) {
        if !std::mem::replace(&mut self.is_seeking, true) {
            warn!(
                asked,
                "no node tells a topology that can be used; trying on"
            );
        }
    }

    /// A refresh ended with a topology.
    pub(super) fn settled(&mut self, settled: &Settled) {
        if std::mem::replace(&mut self.is_seeking, false) {
            info!("nodes tell the topology again");
        }
        if settled.is_replaced {
            warn!(
                mode = mode(&settled.topology),
                "what was known has given way: the nodes agree on less, or are others"
            );
        }
        let is_ignoring = settled.ignored > 0;
        // Said once: calm refreshes do not ask the seeds, so that it would come and go.
        if is_ignoring && !self.is_ignoring {
            warn!(
                servers = settled.ignored,
                "seeds or nodes of another deployment answer and are ignored: check the seeds"
            );
        }
        self.is_ignoring |= is_ignoring;
        let is_holding = settled.held > 0;
        if is_holding != self.is_holding {
            debug!(
                slots = settled.held,
                "slots are kept where they were known, against the nodes that answer"
            );
        }
        self.is_holding = is_holding;
    }

    /// A snapshot was published.
    pub(super) fn published(&mut self, topology: &Topology) {
        let digest = Digest::of(topology);
        if self.last.as_ref() == Some(&digest) {
            debug!("slots moved");
            return;
        }
        let failed: Vec<String> = digest
            .nodes
            .iter()
            .filter(|(_, _, health)| *health == Health::Failed)
            .map(|(at, _, _)| at.to_string())
            .collect();
        let primaries = topology.shards().len();
        info!(
            mode = mode(topology),
            server = &*topology.server_name,
            version = match &*topology.valkey_version {
                "" => &*topology.server_version,
                valkey => valkey,
            },
            nodes = topology.nodes.len(),
            primaries,
            unowned_slots = topology.unowned(),
            failed = failed.join(" "),
            "topology {}",
            if self.last.is_none() {
                "known"
            } else {
                "changed"
            },
        );
        self.last = Some(digest);
    }
}

fn mode(topology: &Topology) -> &'static str {
    match topology.mode {
        Mode::Cluster => "cluster",
        Mode::Standalone => "standalone",
    }
}

impl Digest {
    fn of(topology: &Topology) -> Digest {
        let nodes = topology.nodes.iter().map(|node| {
            let is_primary = node.role == Role::Primary;
            (node.endpoint.clone(), is_primary, node.health)
        });
        Digest {
            mode: topology.mode,
            nodes: nodes.collect(),
            is_unowned: topology.unowned() > 0,
        }
    }
}
