//! What a fake node says of its cluster: one layout, rendered as each command wants it.

use std::fmt::Write as _;

/// One node of a layout, as the others speak of it.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The 40-digit id.
    pub id: String,
    /// The address it announces; may be empty, `?`, or one that nobody can reach.
    pub host: String,
    /// The port it announces.
    pub port: u16,
    /// The host name it announces as well, if any.
    pub hostname: Option<String>,
    /// The index of its primary, if it is a replica.
    pub primary: Option<usize>,
    /// `online`, `loading` or `fail`.
    pub health: String,
    /// Its config epoch.
    pub epoch: u64,
    /// What it owns, as ranges, both ends included.
    pub slots: Vec<(u16, u16)>,
}

/// A whole cluster, as one node sees it.
#[derive(Clone, Debug)]
pub struct Layout {
    /// All nodes.
    pub nodes: Vec<NodeFacts>,
    /// `cluster_state` of CLUSTER INFO.
    pub is_ok: bool,
    /// Whether cluster support is on; off is a standalone server.
    pub cluster_enabled: bool,
    /// `redis_version` of INFO and HELLO.
    pub version: String,
    /// How many databases each node has.
    pub databases: usize,
}

impl Layout {
    /// The reply to `SELECT`.
    pub fn select(&self, index: &str) -> Vec<u8> {
        let index = index.parse::<usize>();
        let reply = match index {
            Ok(index) if index < self.databases => "+OK",
            _ if self.cluster_enabled && self.databases == 1 => {
                "-ERR SELECT is not allowed in cluster mode"
            }
            Ok(_) | Err(_) => "-ERR DB index is out of range",
        };
        format!("{reply}\r\n").into_bytes()
    }

    /// Gives the slots (both ends included) to a node, with an epoch above all others.
    pub fn assign(&mut self, first: u16, last: u16, node: usize) {
        for facts in &mut self.nodes {
            let ranges = std::mem::take(&mut facts.slots);
            facts.slots = ranges
                .into_iter()
                .flat_map(|(from, to)| {
                    let before = (from < first).then(|| (from, to.min(first.wrapping_sub(1))));
                    let after = (to > last).then(|| (from.max(last.saturating_add(1)), to));
                    [before, after].into_iter().flatten()
                })
                .collect();
        }
        let epoch = self.nodes.iter().map(|facts| facts.epoch).max();
        let new_owner = &mut self.nodes[node];
        new_owner.epoch = epoch.unwrap_or(0) + 1;
        new_owner.slots.push((first, last));
        new_owner.slots.sort_unstable();
    }

    /// Makes a node the primary of its shard; the old one becomes its replica.
    pub fn promote(&mut self, node: usize) {
        let old = self.nodes[node].primary.take();
        let epoch = self.nodes.iter().map(|facts| facts.epoch).max();
        self.nodes[node].epoch = epoch.unwrap_or(0) + 1;
        if let Some(old) = old {
            self.nodes[node].slots = std::mem::take(&mut self.nodes[old].slots);
            for facts in &mut self.nodes {
                if facts.primary == Some(old) {
                    facts.primary = Some(node);
                }
            }
            self.nodes[old].primary = Some(node);
        }
    }

    fn replicas(&self, primary: usize) -> impl Iterator<Item = usize> {
        let is_replica = move |&index: &usize| self.nodes[index].primary == Some(primary);
        (0..self.nodes.len()).filter(is_replica)
    }

    fn primaries(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].primary.is_none())
    }

    /// `CLUSTER SLOTS`.
    pub fn cluster_slots(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for primary in self.primaries() {
            for &(first, last) in &self.nodes[primary].slots {
                let mut row = vec![integer(first), integer(last)];
                let nodes = std::iter::once(primary).chain(self.replicas(primary));
                row.extend(nodes.map(|node| self.slots_entry(node)));
                rows.push(array(&row));
            }
        }
        array(&rows)
    }

    fn slots_entry(&self, node: usize) -> Vec<u8> {
        let facts = &self.nodes[node];
        let metadata = facts.hostname.iter();
        let metadata = metadata.flat_map(|name| [bulk("hostname"), bulk(name)]);
        array(&[
            bulk(&facts.host),
            integer(facts.port),
            bulk(&facts.id),
            array(&metadata.collect::<Vec<_>>()),
        ])
    }

    /// `CLUSTER SHARDS`; maps for RESP3, lists of pairs for RESP2.
    pub fn cluster_shards(&self, protocol: u8) -> Vec<u8> {
        let shards: Vec<_> = self
            .primaries()
            .map(|primary| {
                let ranges = self.nodes[primary].slots.iter();
                let ranges: Vec<_> = ranges
                    .flat_map(|&(first, last)| [integer(first), integer(last)])
                    .collect();
                let nodes = std::iter::once(primary).chain(self.replicas(primary));
                let nodes: Vec<_> = nodes
                    .map(|node| self.shards_entry(node, protocol))
                    .collect();
                map(
                    protocol,
                    &[("slots", array(&ranges)), ("nodes", array(&nodes))],
                )
            })
            .collect();
        array(&shards)
    }

    fn shards_entry(&self, node: usize, protocol: u8) -> Vec<u8> {
        let facts = &self.nodes[node];
        let role = if facts.primary.is_some() {
            "replica"
        } else {
            "master"
        };
        let mut fields = vec![
            ("id", bulk(&facts.id)),
            ("port", integer(facts.port)),
            ("ip", bulk(&facts.host)),
            ("endpoint", bulk(&facts.host)),
        ];
        fields.extend(facts.hostname.iter().map(|name| ("hostname", bulk(name))));
        fields.extend([
            ("role", bulk(role)),
            ("replication-offset", integer(72u16)),
            ("health", bulk(&facts.health)),
        ]);
        map(protocol, &fields)
    }

    /// `CLUSTER NODES`, as node `myself` says it.
    pub fn cluster_nodes(&self, myself: usize) -> Vec<u8> {
        let mut text = String::new();
        for (index, facts) in self.nodes.iter().enumerate() {
            let me = if index == myself { "myself," } else { "" };
            let role = if facts.primary.is_some() {
                "slave"
            } else {
                "master"
            };
            let fail = if facts.health == "fail" { ",fail" } else { "" };
            let primary = facts.primary.map_or("-", |index| &self.nodes[index].id);
            let name = facts.hostname.as_deref().map(|name| format!(",{name}"));
            let _ = write!(
                text,
                "{} {}:{}@{}{} {me}{role}{fail} {primary} 0 0 {} connected",
                facts.id,
                facts.host,
                facts.port,
                u32::from(facts.port) + 10_000,
                name.unwrap_or_default(),
                facts.epoch,
            );
            for (first, last) in &facts.slots {
                let _ = match first == last {
                    true => write!(text, " {first}"),
                    false => write!(text, " {first}-{last}"),
                };
            }
            text.push('\n');
        }
        bulk(&text)
    }

    /// `CLUSTER INFO`, as node `myself` says it.
    pub fn cluster_info(&self, myself: usize) -> Vec<u8> {
        let state = if self.is_ok { "ok" } else { "fail" };
        let epoch = self.nodes.iter().map(|facts| facts.epoch).max();
        bulk(&format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:16384\r\ncluster_known_nodes:{}\r\n\
             cluster_size:{}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n",
            self.nodes.len(),
            self.primaries().count(),
            epoch.unwrap_or(0),
            self.nodes[myself].epoch,
        ))
    }

    /// `INFO`, as node `myself` says it.
    pub fn info(&self, myself: usize) -> Vec<u8> {
        let role = match self.nodes[myself].primary {
            None => "master",
            Some(_) => "slave",
        };
        let link = match self.nodes[myself].primary {
            None => "",
            Some(_) => "master_link_status:up\r\nslave_repl_offset:72\r\n",
        };
        bulk(&format!(
            "# Server\r\nredis_version:{}\r\nredis_mode:{}\r\n# Replication\r\nrole:{role}\r\n\
             {link}master_replid:one\r\nmaster_repl_offset:72\r\n# Cluster\r\ncluster_enabled:{}\r\n",
            self.version,
            self.mode(),
            u8::from(self.cluster_enabled),
        ))
    }

    /// The reply to `HELLO`.
    pub fn hello(&self, myself: usize, protocol: u8) -> Vec<u8> {
        let role = match self.nodes[myself].primary {
            None => "master",
            Some(_) => "replica",
        };
        map(
            protocol,
            &[
                ("server", bulk("redis")),
                ("version", bulk(&self.version)),
                ("proto", integer(protocol)),
                ("id", integer(7u16)),
                ("mode", bulk(self.mode())),
                ("role", bulk(role)),
                ("modules", array(&[])),
            ],
        )
    }

    fn mode(&self) -> &'static str {
        if self.cluster_enabled {
            "cluster"
        } else {
            "standalone"
        }
    }
}

/// A bulk string, encoded.
pub fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// An integer, encoded.
pub fn integer(number: impl Into<i64>) -> Vec<u8> {
    format!(":{}\r\n", number.into()).into_bytes()
}

/// An array of encoded values.
pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", items.len()).into_bytes();
    bytes.extend(items.concat());
    bytes
}

/// A map of encoded values: a real one in RESP3, a list of pairs in RESP2.
pub fn map(protocol: u8, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = match protocol {
        3 => format!("%{}\r\n", fields.len()),
        _ => format!("*{}\r\n", fields.len() * 2),
    }
    .into_bytes();
    for (name, value) in fields {
        bytes.extend(bulk(name));
        bytes.extend(value);
    }
    bytes
}
