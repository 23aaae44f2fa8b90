//! Addresses, hosts and paths.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Count, Kind};

/// An IP address and a port to listen on.
pub struct ListenAddress;

impl Kind for ListenAddress {
    type Value = SocketAddr;

    fn allowed() -> String {
        "an IP address and a port such as \"127.0.0.1:6379\" or \"[::]:6379\"".to_owned()
    }

    fn read(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }
}

/// A host name or address, and a port. IPv6 hosts are kept without their brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Host name, IPv4 or IPv6 address (no brackets).
    pub host: String,
    /// TCP port, never 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// `host:port`.
pub struct HostAndPort;

impl Kind for HostAndPort {
    type Value = HostPort;

    fn allowed() -> String {
        "host:port such as \"redis-0.redis:6379\" or \"[2001:db8::1]:6379\"".to_owned()
    }

    fn read(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let port = Count::<1, 65535>::read(port)?;
        let port = u16::try_from(port).ok()?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                address
            }
            None => host,
        };
        let is_name = |host: &str| {
            host.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_host = host.parse::<Ipv6Addr>().is_ok() && text.starts_with('[')
            || is_name(host) && !host.is_empty() && host.len() <= 253;
        is_host.then(|| HostPort {
            host: host.to_owned(),
            port,
        })
    }
}

/// The path of a Unix socket; the kernel takes at most 107 bytes.
pub struct SocketPath;

impl Kind for SocketPath {
    type Value = PathBuf;

    fn allowed() -> String {
        "an absolute path of at most 107 bytes".to_owned()
    }

    fn read(text: &str) -> Option<PathBuf> {
        (text.starts_with('/') && text.len() <= 107 && !text.contains('\0'))
            .then(|| PathBuf::from(text))
    }
}

/// Where a file is.
pub struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn allowed() -> String {
        "the path of a file".to_owned()
    }

    fn read(text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }
}

/// A network in CIDR form; an address alone is a network of one.
pub struct Network;

impl Kind for Network {
    type Value = IpNet;

    fn allowed() -> String {
        "a network or an address such as \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"".to_owned()
    }

    fn read(text: &str) -> Option<IpNet> {
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
        };
        // 10.0.0.1/8 is as likely a mistake as not.
        (network == network.trunc()).then_some(network)
    }
}

/// Permission bits in octal.
pub struct Mode;

impl Kind for Mode {
    type Value = u32;

    fn allowed() -> String {
        "permissions as an octal string such as \"0700\" or \"0770\"".to_owned()
    }

    fn read(text: &str) -> Option<u32> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
    }
}

#[cfg(test)]
mod tests {
    use super::super::List;
    use super::super::tests::check;
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let at = |host: &str, port| {
            Some(HostPort {
                host: host.to_owned(),
                port,
            })
        };
        check::<HostAndPort>(&[
            ("localhost:7000", at("localhost", 7000)),
            ("10.0.0.1:6379", at("10.0.0.1", 6379)),
            ("[::1]:7000", at("::1", 7000)),
            ("a_b-c.d:1", at("a_b-c.d", 1)),
            ("localhost", None),
            (":7000", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("localhost:+80", None),
            ("::1:7000", None),
            ("[::1:7000", None),
            ("[localhost]:7000", None),
            ("redis://localhost:7000", None),
            ("", None),
        ]);
        check::<List<HostAndPort>>(&[
            (
                "a:1, b:2",
                Some(vec![at("a", 1).expect("set"), at("b", 2).expect("set")]),
            ),
            ("a:1,", None),
            ("", None),
        ]);
    }

    #[test]
    fn networks_and_files() {
        let network = |text: &str| Some(text.parse::<IpNet>().expect("a network"));
        check::<Network>(&[
            ("10.0.0.0/8", network("10.0.0.0/8")),
            ("192.0.2.7", network("192.0.2.7/32")),
            ("::1", network("::1/128")),
            ("10.0.0.1/8", None),
            ("localhost", None),
            ("", None),
        ]);
        check::<FilePath>(&[
            ("tls/a.pem", Some(PathBuf::from("tls/a.pem"))),
            ("", None),
            ("a\0b", None),
        ]);
    }

    #[test]
    fn modes_are_octal() {
        check::<Mode>(&[
            ("0700", Some(0o700)),
            ("660", Some(0o660)),
            ("1777", None),
            ("800", None),
            ("+7", None),
            ("", None),
        ]);
    }
}
