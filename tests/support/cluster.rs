//! A real cluster: started, settled, broken and mended. Moving slots is in [`reshard`](super::reshard).
//!
//! The cluster is made by speaking to the nodes (slots, MEET, REPLICATE), which takes about as
//! long as the servers themselves wait before they serve (two seconds).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::client::Client;
use super::eventually::{eventually, eventually_none};
use super::servers::{Flavor, Server, ServerOptions};
use super::view::{NodeLine, View};

/// How long a cluster may take until all its nodes agree.
pub const SETTLE_DEADLINE: Duration = Duration::from_secs(30);

/// When they do not agree for so long, they may need what an operator does.
pub const MEND_AFTER: Duration = Duration::from_secs(8);

/// More configuration lines for one node, from its index and its port.
pub type NodeConfig = Arc<dyn Fn(usize, u16) -> Vec<String> + Send + Sync>;

/// What kind of cluster to start. `Default` is a Redis of three primaries with one replica each.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Which program.
    pub flavor: Flavor,
    /// How many primaries.
    pub primaries: usize,
    /// How many replicas each primary has.
    pub replicas: usize,
    /// `cluster-node-timeout` in milliseconds.
    pub node_timeout_ms: u32,
    /// `cluster-require-full-coverage`: whether one missing shard stops the others.
    pub full_coverage: bool,
    /// `requirepass` and `masterauth`.
    pub password: Option<String>,
    /// More lines for every node's configuration (`user ...`, `cluster-announce-hostname` ...).
    pub config: Vec<String>,
    /// More lines for each node's configuration.
    pub node_config: Option<NodeConfig>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions {
            flavor: Flavor::Redis,
            primaries: 3,
            replicas: 1,
            node_timeout_ms: 1_500,
            full_coverage: false,
            password: None,
            config: Vec::new(),
            node_config: None,
        }
    }
}

impl ClusterOptions {
    /// Three primaries with one replica each, of this flavor.
    pub fn of(flavor: Flavor) -> ClusterOptions {
        ClusterOptions {
            flavor,
            ..ClusterOptions::default()
        }
    }

    /// The same, and on a busy machine no node is soon taken for dead: for tests that count what is lost when nothing
    /// fails, because a replica that takes over unasked may lack what its primary has confirmed.
    pub fn steady(flavor: Flavor) -> ClusterOptions {
        ClusterOptions {
            node_timeout_ms: 10_000,
            ..ClusterOptions::of(flavor)
        }
    }

    pub(super) fn server(&self, index: usize) -> Server {
        let mut config = vec![
            format!("cluster-node-timeout {}", self.node_timeout_ms),
            "cluster-replica-validity-factor 0".to_owned(),
            // A primary that gave its last slot away stays a primary.
            "cluster-allow-replica-migration no".to_owned(),
            format!(
                "cluster-require-full-coverage {}",
                if self.full_coverage { "yes" } else { "no" }
            ),
        ];
        config.extend(self.config.iter().cloned());
        let more = self.node_config.clone();
        Server::spawn(
            ServerOptions {
                flavor: self.flavor,
                cluster: true,
                password: self.password.clone(),
                config,
            },
            |port| more.map_or_else(Vec::new, |more| more(index, port)),
        )
    }
}

/// How a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// `CLUSTER FAILOVER`: agreed with the primary, nothing is lost.
    Planned,
    /// `CLUSTER FAILOVER FORCE`: agreed with the other primaries only.
    Force,
    /// `CLUSTER FAILOVER TAKEOVER`: agreed with nobody.
    Unilateral,
}

/// A running cluster. Nodes are named by their index: primaries first as started, then replicas;
/// replica `i` of primary `p` starts as node `primaries + i * primaries + p`.
pub struct Cluster {
    pub(super) nodes: Vec<Server>,
    pub(super) ids: Vec<String>,
    pub(super) options: ClusterOptions,
}

impl Cluster {
    /// Starts three primaries with one replica each.
    pub fn start(flavor: Flavor) -> Cluster {
        Cluster::start_with(ClusterOptions::of(flavor))
    }

    /// Starts a cluster and waits until all nodes agree and all replicas are in sync.
    pub fn start_with(options: ClusterOptions) -> Cluster {
        let count = options.primaries * (1 + options.replicas);
        let nodes: Vec<Server> = (0..count).map(|index| options.server(index)).collect();
        for node in &nodes {
            node.wait_until_it_answers();
        }
        let ids = nodes
            .iter()
            .map(|node| node.ok("CLUSTER MYID").text())
            .collect();
        let cluster = Cluster {
            nodes,
            ids,
            options,
        };
        cluster.form(cluster.options.primaries);
        cluster
    }

    fn form(&self, primaries: usize) {
        for (index, node) in self.nodes.iter().enumerate() {
            node.ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
            if index < primaries {
                let share = |index: usize| index * Slot::COUNT / primaries;
                let (first, end) = (share(index), share(index + 1));
                let slots: Vec<String> = (first..end).map(|slot| slot.to_string()).collect();
                node.ok(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
            }
        }
        // Only now: a node that has met another takes no epoch any more.
        for (index, node) in self.nodes.iter().enumerate() {
            // Everybody meets everybody: faster than to wait for gossip.
            for other in &self.nodes[index + 1..] {
                node.ok(&format!("CLUSTER MEET 127.0.0.1 {}", other.port()));
            }
        }
        for (index, node) in self.nodes.iter().enumerate().skip(primaries) {
            let primary = &self.ids[index % primaries];
            let mut met_at = Instant::now();
            eventually("a replica knows its primary", SETTLE_DEADLINE, || {
                // On a busy machine a node is forgotten when it does not answer soon.
                if met_at.elapsed() > Duration::from_secs(2) {
                    let port = self.nodes[index % primaries].port();
                    node.ok(&format!("CLUSTER MEET 127.0.0.1 {port}"));
                    met_at = Instant::now();
                }
                let view = self.view(index);
                view.is_some_and(|view| {
                    let line = view.0.iter().find(|line| line.id == *primary);
                    line.is_some_and(|line| !line.is("handshake"))
                })
            });
            node.ok(&format!("CLUSTER REPLICATE {primary}"));
        }
        self.wait_until_settled();
    }

    /// Every node, in the order of their indexes.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// The 40-digit id of a node.
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// The index of the node with this id.
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }

    /// Every node's address, as seeds for Keyway.
    pub fn seeds(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::addr).collect()
    }

    /// How a node sees the cluster; `None` when it does not answer, or still loads its data.
    pub fn view(&self, index: usize) -> Option<View> {
        let reply = self.nodes[index].try_call("CLUSTER NODES").ok()?;
        Some(View::parse(&String::from_utf8_lossy(reply.bytes()?)))
    }

    /// What each node that answers says of itself, with its index.
    pub(super) fn claims(&self) -> Vec<(usize, NodeLine)> {
        let responsive = |index: &usize| self.nodes[*index].is_responsive();
        (0..self.nodes.len())
            .filter(responsive)
            .filter_map(|index| Some((index, self.view(index)?.myself()?.clone())))
            .collect()
    }

    /// The node that owns a slot: of those that answer and claim it, the one with the highest
    /// config epoch.
    pub fn primary_of(&self, slot: u16) -> Option<usize> {
        let claims = self.claims().into_iter();
        claims
            .filter(|(_, line)| line.is("master") && line.owns(slot))
            .max_by_key(|(_, line)| line.epoch)
            .map(|(index, _)| index)
    }

    /// Each slot's shard as things stand: the index of the node that owns it.
    pub fn shard_map(&self) -> Vec<usize> {
        let mut claims = self.claims();
        claims.sort_by_key(|(_, line)| line.epoch);
        let mut shards = vec![0; Slot::COUNT];
        for (index, line) in claims {
            for (first, last) in line.slots {
                shards[usize::from(first)..=usize::from(last)].fill(index);
            }
        }
        shards
    }

    /// The node that owns a key's slot.
    pub fn primary_of_key(&self, key: &str) -> Option<usize> {
        self.primary_of(Slot::of_key(key.as_bytes()).number())
    }

    /// A connection to the node that owns a key.
    #[track_caller]
    pub fn client_of_key(&self, key: &str) -> Client {
        let owner = self.primary_of_key(key);
        self.nodes[owner.expect("somebody owns the key's slot")].client()
    }

    /// The nodes that answer and call themselves primaries.
    pub fn primaries(&self) -> Vec<usize> {
        let claims = self.claims().into_iter();
        let primaries = claims.filter(|(_, line)| line.is("master"));
        primaries.map(|(index, _)| index).collect()
    }

    /// The nodes that answer and replicate this one.
    pub fn replicas_of(&self, primary: usize) -> Vec<usize> {
        let id = self.ids[primary].as_str();
        let claims = self.claims().into_iter();
        let replicas = claims.filter(|(_, line)| line.primary.as_deref() == Some(id));
        replicas.map(|(index, _)| index).collect()
    }

    /// Waits until the nodes that answer agree on everything, serve, and replicate.
    #[track_caller]
    pub fn wait_until_settled(&self) -> Duration {
        let mut asked_at = Instant::now();
        eventually_none("the cluster's nodes agree", SETTLE_DEADLINE, || {
            if asked_at.elapsed() > MEND_AFTER {
                asked_at = Instant::now();
                self.mend();
            }
            self.unsettled()
        })
    }

    /// Whether the nodes that answer agree on each slot's owner and each other's part, all call the
    /// cluster's state ok, and all replicas are in sync.
    pub fn is_settled(&self) -> bool {
        self.unsettled().is_none()
    }

    /// What is not yet as [`Cluster::is_settled`] wants it.
    pub fn unsettled(&self) -> Option<String> {
        let mut agreed: Option<Vec<Option<String>>> = None;
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.is_responsive() {
                continue;
            }
            let Some(view) = self.view(index) else {
                return Some(format!("node {index} tells no view"));
            };
            if let Some(ailment) = self.ailment(node, &view) {
                return Some(format!("node {index}: {ailment}"));
            }
            // Two primaries may have taken the same epoch; until one of them has taken another, nodes may
            // believe different ones, and for ever when one dies now.
            let mut epochs: Vec<u64> = view
                .0
                .iter()
                .filter(|line| line.is("master") && !line.slots.is_empty())
                .map(|line| line.epoch)
                .collect();
            epochs.sort_unstable();
            if epochs.windows(2).any(|pair| pair[0] == pair[1]) {
                return Some(format!("node {index} sees one epoch twice: {epochs:?}"));
            }
            let owners = view.owners();
            let Some(agreed) = &agreed else {
                agreed = Some(owners.iter().map(|id| id.map(str::to_owned)).collect());
                continue;
            };
            let both = agreed.iter().map(Option::as_deref).zip(owners);
            if let Some((slot, (one, other))) =
                both.enumerate().find(|(_, (one, other))| one != other)
            {
                return Some(format!(
                    "slot {slot} belongs to {one:?} and, says node {index}, to {other:?}"
                ));
            }
        }
        None
    }

    fn ailment(&self, node: &Server, view: &View) -> Option<String> {
        let says = |command: &str, line: &str| {
            let reply = node.try_call(command);
            let has_line = |text: &[u8]| {
                let text = String::from_utf8_lossy(text);
                text.lines().any(|has| has == line)
            };
            reply.is_ok_and(|reply| reply.bytes().is_some_and(has_line))
        };
        for (other, id) in self.nodes.iter().zip(&self.ids) {
            let line = view.0.iter().find(|line| line.id == *id);
            let unwell = ["handshake", "fail", "fail?", "noaddr"];
            let is_in = line.is_some_and(|line| !unwell.iter().any(|flag| line.is(flag)));
            if !is_in && other.is_responsive() {
                return Some(format!("{id} is not a sound member"));
            }
        }
        if !says("CLUSTER INFO", "cluster_state:ok") {
            return Some("the cluster's state is not ok".to_owned());
        }
        let is_replica = view.myself().is_some_and(|line| line.primary.is_some());
        (is_replica && !says("INFO replication", "master_link_status:up"))
            .then(|| "the replica has no link to its primary".to_owned())
    }

    /// SIGKILL to a node.
    pub fn kill(&self, index: usize) {
        self.nodes[index].kill();
    }

    /// SIGSTOP to a node: its sockets stay open and nothing answers.
    pub fn pause(&self, index: usize) {
        self.nodes[index].pause();
    }

    /// SIGCONT to a node.
    pub fn resume(&self, index: usize) {
        self.nodes[index].resume();
    }

    /// Starts a killed node again, with its old identity, and waits until it answers.
    pub fn restart(&self, index: usize) {
        self.nodes[index].restart();
    }

    /// Waits until some other node than `was` owns the slot and says that the cluster is ok.
    /// Returns which.
    #[track_caller]
    pub fn wait_for_new_primary(&self, slot: u16, was: usize) -> usize {
        super::eventually::eventually_some("another node owns the slot", SETTLE_DEADLINE, || {
            let owner = self.primary_of(slot).filter(|&owner| owner != was)?;
            let state = self.nodes[owner].try_call("CLUSTER INFO").ok()?;
            state.text().contains("cluster_state:ok").then_some(owner)
        })
    }

    /// Makes a replica the primary of its shard, and waits until every node that answers agrees.
    /// Returns how long that took.
    #[track_caller]
    pub fn failover(&self, replica: usize, how: Takeover) -> Duration {
        let command = match how {
            Takeover::Planned => "CLUSTER FAILOVER",
            Takeover::Force => "CLUSTER FAILOVER FORCE",
            Takeover::Unilateral => "CLUSTER FAILOVER TAKEOVER",
        };
        let started = Instant::now();
        let is_primary = || {
            let view = self.view(replica);
            view.is_some_and(|view| view.myself().is_some_and(|line| line.is("master")))
        };
        // The server gives a failover up after five seconds, and says so to nobody. Whoever had voted by then does
        // not vote for this shard again within two node timeouts; asked earlier, it may never find a majority.
        let votes_again = Duration::from_millis(2 * u64::from(self.options.node_timeout_ms));
        let again = Duration::from_secs(6).max(votes_again + Duration::from_secs(1));
        let mut asked_at = None::<Instant>;
        eventually(
            "the replica became primary",
            3 * again + SETTLE_DEADLINE,
            || {
                if is_primary() {
                    return true;
                }
                if asked_at.is_none_or(|at| at.elapsed() > again) {
                    // On a busy machine a primary may be thought down for a moment: it is asked again then.
                    let reply = self.nodes[replica].try_call(command);
                    if reply.is_ok_and(|reply| !reply.is_error()) {
                        asked_at = Some(Instant::now());
                    }
                }
                false
            },
        );
        self.wait_until_settled();
        started.elapsed()
    }
}
