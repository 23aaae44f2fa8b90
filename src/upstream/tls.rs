//! TLS to the nodes: which names a node's certificate may have.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;

use crate::cluster::{Endpoint, Topology};
use crate::net::Stream;
use crate::net::tls::Connector;

/// Where the name comes from that a node's certificate must be valid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// From the cluster: the announced host name, the announced host, or where the node is dialled.
    Announced,
    /// The hosts of the seeds, for every node: a managed cluster may have one certificate for the name of its
    /// configuration endpoint and announce addresses.
    Seeds(Vec<Arc<str>>),
    /// This one, for every node.
    Configured(Arc<str>),
}

/// How connections to nodes are encrypted; shared by all that open some.
#[derive(Debug)]
pub struct UpstreamTls {
    /// Shakes hands; reloaded by whoever watches its files.
    pub connector: Connector,
    rule: NameRule,
    /// For each endpoint that is dialled, what the node there calls itself.
    announced: ArcSwap<HashMap<Endpoint, Vec<Arc<str>>>>,
}

impl UpstreamTls {
    /// Nothing is known of any node yet.
    pub fn new(connector: Connector, rule: NameRule) -> UpstreamTls {
        UpstreamTls {
            connector,
            rule,
            announced: ArcSwap::default(),
        }
    }

    /// Takes over what nodes call themselves; before anybody dials them by this topology.
    pub fn learn(&self, topology: &Topology) {
        if self.rule != NameRule::Announced {
            return;
        }
        let names = topology.nodes.iter().map(|node| {
            let names = node.hostname.iter().chain([&node.announced.host]);
            (node.endpoint.clone(), names.cloned().collect())
        });
        self.announced.store(Arc::new(names.collect()));
    }

    /// The names that the certificate of the node at this endpoint may have. A node that only a redirect
    /// told of has the one it is dialled by, until the next topology.
    fn names<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        announced: &'a HashMap<Endpoint, Vec<Arc<str>>>,
    ) -> Vec<&'a str> {
        match &self.rule {
            NameRule::Configured(name) => vec![name],
            NameRule::Seeds(hosts) => hosts.iter().map(|host| &**host).collect(),
            NameRule::Announced => {
                let known = announced.get(endpoint).into_iter().flatten();
                let mut names: Vec<&str> = known.map(|name| &**name).collect();
                names.push(&endpoint.host);
                let mut seen = Vec::new();
                names.retain(|name| {
                    let is_new = !seen.contains(name);
                    seen.push(*name);
                    is_new
                });
                names
            }
        }
    }

    /// Shakes hands over a connection to this endpoint.
    ///
    /// # Errors
    /// The node does not speak TLS, or its certificate is not believed.
    pub async fn shake_hands(&self, stream: TcpStream, endpoint: &Endpoint) -> io::Result<Stream> {
        let announced = self.announced.load_full();
        let names = self.names(endpoint, &announced);
        self.connector.connect(stream, &names).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Health, Mode, Node, Role};
    use crate::net::tls::{ConnectorSettings, MinVersion, Roots};

    #[test]
    fn names_by_rule() {
        let at = |text: &str| -> Endpoint { text.parse().expect("an endpoint") };
        let node = Node {
            id: "a".into(),
            endpoint: at("10.1.0.1:6379"),
            announced: at("172.16.0.1:6379"),
            hostname: Some("redis-0.example".into()),
            role: Role::Primary,
            health: Health::Online,
            config_epoch: 1,
            zone: None,
        };
        let seeds = vec![Arc::from("cfg.example"), Arc::from("cfg2.example")];
        let announced = &["redis-0.example", "172.16.0.1", "10.1.0.1"][..];
        for (rule, known, other) in [
            (NameRule::Announced, announced, &["redis-9"][..]),
            (
                NameRule::Seeds(seeds),
                &["cfg.example", "cfg2.example"],
                &["cfg.example", "cfg2.example"],
            ),
            (
                NameRule::Configured("all.example".into()),
                &["all.example"],
                &["all.example"],
            ),
        ] {
            let connector = Connector::new(ConnectorSettings {
                roots: Roots::Unverified,
                certificate: None,
                min_version: MinVersion::Tls12,
            });
            let tls = UpstreamTls::new(connector.expect("no files"), rule);
            tls.learn(&Topology::new(Mode::Cluster, vec![node.clone()]));
            let map = tls.announced.load_full();
            assert_eq!(tls.names(&at("10.1.0.1:6379"), &map), known);
            assert_eq!(tls.names(&at("redis-9:6379"), &map), other);
        }
    }
}
