//! Zones of nodes as the operator names them: by host name, address or network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Endpoint;

/// The configured zones; the default names none.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    hosts: HashMap<Arc<str>, Arc<str>>,
    /// The longest prefix first.
    networks: Vec<(IpNet, Arc<str>)>,
}

/// A rule that cannot be used, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zone rule `{host}` -> `{zone}`: {problem}")]
pub struct ZonesError {
    host: String,
    zone: String,
    problem: &'static str,
}

impl Zones {
    /// Reads the rules: a host name, an address or a network, and its zone.
    ///
    /// # Errors
    /// The first rule that cannot mean anything.
    pub fn parse(rules: &[(String, String)]) -> Result<Zones, ZonesError> {
        let mut zones = Zones::default();
        for (host, zone) in rules {
            let refused = |problem| ZonesError {
                host: host.clone(),
                zone: zone.clone(),
                problem,
            };
            let name: Arc<str> = zone.as_str().into();
            if host.contains('/') {
                let network: IpNet = host
                    .parse()
                    .map_err(|_| refused("it is no network such as 10.0.1.0/24"))?;
                zones.networks.push((network, name));
                continue;
            }
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if bare.parse::<IpAddr>().is_err() && !bare.bytes().all(is_name) {
                return Err(refused(
                    "it is no host: a name, an address or a network, without a port",
                ));
            }
            let host = bare.to_ascii_lowercase().into();
            if zones.hosts.insert(host, name).is_some() {
                return Err(refused("another rule names the same host"));
            }
        }
        zones
            .networks
            .sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Ok(zones)
    }

    /// The zone of a node that is dialled here or announces this.
    pub fn of(&self, dialled: &Endpoint, announced: &Endpoint) -> Option<&Arc<str>> {
        [announced, dialled]
            .into_iter()
            .find_map(|endpoint| self.of_host(&endpoint.host))
    }

    fn of_host(&self, host: &str) -> Option<&Arc<str>> {
        if let Some(zone) = self.hosts.get(&*host.to_ascii_lowercase()) {
            return Some(zone);
        }
        let address = host.parse::<IpAddr>().ok()?;
        let mut networks = self.networks.iter();
        networks
            .find(|(network, _)| network.contains(&address))
            .map(|(_, zone)| zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str) -> Endpoint {
        Endpoint {
            host: host.into(),
            port: 6379,
        }
    }

    fn parse(rules: &[(&str, &str)]) -> Result<Zones, ZonesError> {
        let rules: Vec<_> = rules
            .iter()
            .map(|(host, zone)| ((*host).to_owned(), (*zone).to_owned()))
            .collect();
        Zones::parse(&rules)
    }

    #[test]
    fn the_host_then_the_narrowest_network() {
        let zones = parse(&[
            ("10.0.0.0/8", "wide"),
            ("10.0.1.0/24", "a"),
            ("10.0.1.7", "seven"),
            ("Redis-1.example", "b"),
            ("[fd00::1]", "six"),
        ])
        .expect("right");
        for (dialled, announced, expected) in [
            ("10.0.1.7", "x", Some("seven")),
            ("10.0.1.8", "x", Some("a")),
            ("10.2.0.1", "x", Some("wide")),
            ("192.168.0.1", "redis-1.example", Some("b")),
            ("10.0.1.8", "redis-1.example", Some("b")),
            ("fd00::1", "x", Some("six")),
            ("192.168.0.1", "x", None),
        ] {
            let zone = zones.of(&at(dialled), &at(announced));
            assert_eq!(zone.map(|zone| &**zone), expected, "{dialled} {announced}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for rules in [
            &[("10.0.0.0/40", "a")][..],
            &[("10.0.0.1:6379", "a")],
            &[("a", "x"), ("A", "y")],
        ] {
            assert!(parse(rules).is_err(), "{rules:?}");
        }
    }
}
