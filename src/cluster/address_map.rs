//! The address map: from what the cluster announces to what can be dialled (contract: R12).
//!
//! A cluster behind NAT or in containers announces addresses that mean nothing outside. Every
//! address learnt from it passes through this map once before it is dialled; seeds do not, they are
//! written by the operator. One rule decides, the most specific that matches, and no other is
//! applied to its result:
//!
//! | announced | becomes | meaning |
//! |---|---|---|
//! | `host:port` | `host:port`, `host` or `:port` | this very endpoint |
//! | `host` | `host`, `host:port` or `:port` | every port of this host |
//! | `172.28.0.0/24` | `10.1.0.0/24`, `host` or `:port` | a network; a network of the same size keeps the host bits |
//! | `:port` (or `*:port`) | `:port`, `host` or `host:port` | this port of any host |
//!
//! What the right side leaves out stays as it was announced. Networks nest: the longest prefix
//! wins. An IPv6 host stands in brackets, with or without a port: `[fd00::1]:6379`, `[fd00::1]`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Endpoint;
use super::endpoint::{parse_host, parse_name, parse_port};

/// The configured map; the default is empty and changes nothing.
#[derive(Clone, Debug, Default)]
pub struct AddressMap {
    exact: HashMap<Endpoint, Target>,
    hosts: HashMap<Arc<str>, Target>,
    /// The longest prefix first.
    networks: Vec<(IpNet, NetworkTarget)>,
    ports: HashMap<u16, Target>,
}

/// A rule that cannot be used, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address map rule `{from}` -> `{to}`: {problem}")]
pub struct AddressMapError {
    from: String,
    to: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("left side: {0}")]
    From(&'static str),
    #[error("right side: {0}")]
    To(&'static str),
    #[error("{side} side: `{network}` has bits beyond its prefix; write `{trunc}`", trunc = network.trunc())]
    HostBits { side: &'static str, network: IpNet },
    #[error(
        "a /{from} network cannot be mapped to a /{to} network; both need the same prefix length"
    )]
    PrefixLengths { from: u8, to: u8 },
    #[error("an IPv4 network cannot be mapped to an IPv6 network, nor the reverse")]
    Families,
    #[error(
        "a network cannot be mapped to one endpoint, all its nodes would be the same; leave the port or the host out"
    )]
    NetworkToEndpoint,
    #[error("another rule has the same left side")]
    Duplicate,
}

/// What replaces the announced host and port; what is absent stays.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    host: Option<Arc<str>>,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NetworkTarget {
    /// Same prefix length and family as the rule's left side.
    Network(IpNet),
    One(Target),
}

/// The left side of a rule.
enum From {
    Exact(Endpoint),
    Host(Arc<str>),
    Network(IpNet),
    Port(u16),
}

impl AddressMap {
    /// Reads the rules, each an announced side and what it becomes.
    ///
    /// # Errors
    /// The first rule that is malformed, contradicts another or cannot mean anything.
    pub fn parse(rules: &[(String, String)]) -> Result<AddressMap, AddressMapError> {
        let mut map = AddressMap::default();
        for (from, to) in rules {
            map.add(from.trim(), to.trim())
                .map_err(|problem| AddressMapError {
                    from: from.clone(),
                    to: to.clone(),
                    problem,
                })?;
        }
        map.networks
            .sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Ok(map)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.hosts.is_empty()
            && self.networks.is_empty()
            && self.ports.is_empty()
    }

    /// Where to dial a node that announced `announced`.
    pub fn map(&self, announced: &Endpoint) -> Endpoint {
        if self.is_empty() {
            return announced.clone();
        }
        if let Some(target) = self.exact.get(announced) {
            return target.apply(announced);
        }
        if let Some(target) = self.hosts.get(&announced.host) {
            return target.apply(announced);
        }
        if let Ok(address) = announced.host.parse::<IpAddr>()
            && let Some((from, to)) = self
                .networks
                .iter()
                .find(|(network, _)| network.contains(&address))
        {
            return to.apply(announced, address, from);
        }
        match self.ports.get(&announced.port) {
            Some(target) => target.apply(announced),
            None => announced.clone(),
        }
    }

    fn add(&mut self, from: &str, to: &str) -> Result<(), Problem> {
        match parse_from(from)? {
            From::Exact(endpoint) => insert(&mut self.exact, endpoint, parse_target(to)?),
            From::Host(host) => insert(&mut self.hosts, host, parse_target(to)?),
            From::Port(port) => insert(&mut self.ports, port, parse_target(to)?),
            From::Network(network) => {
                if self.networks.iter().any(|(other, _)| *other == network) {
                    return Err(Problem::Duplicate);
                }
                self.networks
                    .push((network, parse_network_target(network, to)?));
                Ok(())
            }
        }
    }
}

impl Target {
    fn apply(&self, announced: &Endpoint) -> Endpoint {
        Endpoint {
            host: self.host.as_ref().unwrap_or(&announced.host).clone(),
            port: self.port.unwrap_or(announced.port),
        }
    }
}

impl NetworkTarget {
    /// `address` lies in `from`.
    fn apply(&self, announced: &Endpoint, address: IpAddr, from: &IpNet) -> Endpoint {
        match self {
            NetworkTarget::One(target) => target.apply(announced),
            NetworkTarget::Network(to) => Endpoint {
                host: moved(address, from, to).to_string().into(),
                port: announced.port,
            },
        }
    }
}

/// The address with the prefix of `to` and the host bits it had in `from`.
fn moved(address: IpAddr, from: &IpNet, to: &IpNet) -> IpAddr {
    match (address, from.hostmask(), to.network()) {
        (IpAddr::V4(address), IpAddr::V4(host_bits), IpAddr::V4(network)) => {
            IpAddr::V4(((address.to_bits() & host_bits.to_bits()) | network.to_bits()).into())
        }
        (IpAddr::V6(address), IpAddr::V6(host_bits), IpAddr::V6(network)) => {
            IpAddr::V6(((address.to_bits() & host_bits.to_bits()) | network.to_bits()).into())
        }
        // Parsing refused rules that mix the families.
        _ => address,
    }
}

fn insert<K: Eq + std::hash::Hash>(
    map: &mut HashMap<K, Target>,
    key: K,
    target: Target,
) -> Result<(), Problem> {
    match map.entry(key) {
        Entry::Occupied(_) => Err(Problem::Duplicate),
        Entry::Vacant(place) => {
            place.insert(target);
            Ok(())
        }
    }
}

fn parse_from(text: &str) -> Result<From, Problem> {
    if text.contains('/') {
        return parse_network(text, "left", Problem::From).map(From::Network);
    }
    let parts = parse_parts(text).map_err(Problem::From)?;
    match (parts.host, parts.port) {
        (Some(host), Some(port)) => Ok(From::Exact(Endpoint { host, port })),
        (Some(host), None) => Ok(From::Host(host)),
        (None, Some(port)) => Ok(From::Port(port)),
        (None, None) => Err(Problem::From(
            "it matches everything; name a host or a port",
        )),
    }
}

fn parse_target(text: &str) -> Result<Target, Problem> {
    if text.contains('/') {
        return Err(Problem::To("a network can only replace a network"));
    }
    let target = parse_parts(text).map_err(Problem::To)?;
    if target.host.is_none() && target.port.is_none() {
        return Err(Problem::To("it changes nothing; name a host or a port"));
    }
    Ok(target)
}

fn parse_network_target(from: IpNet, text: &str) -> Result<NetworkTarget, Problem> {
    if !text.contains('/') {
        let target = parse_target(text)?;
        if target.host.is_some() && target.port.is_some() {
            return Err(Problem::NetworkToEndpoint);
        }
        return Ok(NetworkTarget::One(target));
    }
    let to = parse_network(text, "right", Problem::To)?;
    if from.addr().is_ipv4() != to.addr().is_ipv4() {
        return Err(Problem::Families);
    }
    if from.prefix_len() != to.prefix_len() {
        return Err(Problem::PrefixLengths {
            from: from.prefix_len(),
            to: to.prefix_len(),
        });
    }
    Ok(NetworkTarget::Network(to))
}

fn parse_network(
    text: &str,
    side: &'static str,
    problem: fn(&'static str) -> Problem,
) -> Result<IpNet, Problem> {
    let network: IpNet = text
        .parse()
        .map_err(|_| problem("it is no network such as `172.28.0.0/24` or `fd00::/64`"))?;
    if network.trunc() != network {
        return Err(Problem::HostBits { side, network });
    }
    Ok(network)
}

/// `host`, `host:port`, `:port`, `*:port`. An IPv6 host needs its brackets even without a port:
/// `fd00::1:6379` could mean two things.
fn parse_parts(text: &str) -> Result<Target, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => {
            return Err("an IPv6 address needs brackets");
        }
        Some((host, port)) if !text.ends_with(']') => (host, Some(parse_port(port)?)),
        _ => (text, None),
    };
    let host = match host {
        "" | "*" => None,
        host if host.starts_with('[') => Some(parse_host(host)?),
        host => Some(parse_name(host)?),
    };
    Ok(Target { host, port })
}

#[cfg(test)]
#[path = "address_map_tests.rs"]
mod tests;
