//! What the operator reads about refreshes: changes of state, in both directions, and nothing else.
//! A slot that moved is no change of state; a resharding would write thousands of lines.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::cluster::ledger::Settled;
use crate::cluster::{Endpoint, Health, Mode, Role, Topology};

use super::probe::ProbeError;

/// What was told so often in so short a time is not told again: nodes that disagree would fill the log.
const TOLD_MAX: usize = 3;
/// See [`TOLD_MAX`].
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct RefreshLog {
    is_seeking: bool,
    is_ignoring: bool,
    is_holding: bool,
    last: Option<Digest>,
    /// Those told lately, and when.
    told: Vec<(Digest, Instant)>,
}

/// What is worth a line when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let changes = self.last.as_ref().map(|last| digest.changes_since(last));
        let is_first = self.last.is_none();
        self.last = Some(digest.clone());
        self.told.retain(|(_, at)| at.elapsed() < TOLD_WITHIN);
        let told = self.told.iter().filter(|(told, _)| *told == digest);
        if told.count() >= TOLD_MAX {
            debug!("the topology is once more what it was a moment ago");
            return;
        }
        self.told.push((digest.clone(), Instant::now()));
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
            changes = changes.map(|changes| changes.join(", ")),
            "topology {}",
            if is_first { "known" } else { "changed" },
        );
    }
}

fn mode(topology: &Topology) -> &'static str {
    match topology.mode {
        Mode::Cluster => "cluster",
        Mode::Standalone => "standalone",
    }
}

impl Digest {
    /// For people: which nodes came, left, took over, failed or are back.
    fn changes_since(&self, last: &Digest) -> Vec<String> {
        let find = |list: &Digest, at: &Endpoint| {
            let mut nodes = list.nodes.iter();
            nodes.find(|(other, ..)| other == at).cloned()
        };
        let mut changes = Vec::new();
        for (at, is_primary, health) in &self.nodes {
            let Some((_, was_primary, before)) = find(last, at) else {
                changes.push(format!("{at} joined"));
                continue;
            };
            match (was_primary, is_primary) {
                (false, true) => changes.push(format!("{at} is a primary now")),
                (true, false) => changes.push(format!("{at} is a replica now")),
                _ => {}
            }
            match (before == Health::Failed, *health == Health::Failed) {
                (false, true) => changes.push(format!("{at} failed")),
                (true, false) => changes.push(format!("{at} is back")),
                _ => {}
            }
        }
        let left = last.nodes.iter().map(|(at, ..)| at);
        let left = left.filter(|at| find(self, at).is_none());
        changes.extend(left.map(|at| format!("{at} left")));
        match (last.is_unowned, self.is_unowned) {
            (false, true) => changes.push("slots have no owner".to_owned()),
            (true, false) => changes.push("all slots have owners".to_owned()),
            _ => {}
        }
        changes
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(nodes: &[(&str, bool, Health)]) -> Digest {
        let endpoint = |host: &str| Endpoint {
            host: host.into(),
            port: 1,
        };
        let nodes = nodes.iter();
        Digest {
            mode: Mode::Cluster,
            nodes: nodes
                .map(|(host, is_primary, health)| (endpoint(host), *is_primary, *health))
                .collect(),
            is_unowned: false,
        }
    }

    #[test]
    fn a_failover_is_told_in_words() {
        let before = digest(&[
            ("a", true, Health::Online),
            ("b", false, Health::Online),
            ("c", true, Health::Failed),
        ]);
        let now = digest(&[
            ("a", false, Health::Failed),
            ("b", true, Health::Online),
            ("d", false, Health::Online),
        ]);
        assert_eq!(
            now.changes_since(&before),
            [
                "a:1 is a replica now",
                "a:1 failed",
                "b:1 is a primary now",
                "d:1 joined",
                "c:1 left"
            ]
        );
    }
}
