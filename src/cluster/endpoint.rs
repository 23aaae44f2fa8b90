//! Where a node listens.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

/// Where a node listens: a host name or address, and a port. IPv6 hosts are without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Host name, IPv4 or IPv6 address (no brackets).
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
}

/// The longest host name DNS allows; longer ones are refused before they are kept.
pub(super) const HOST_BYTES_MAX: usize = 253;

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint: {problem}; write `host:port` or `[ipv6]:port`")]
pub struct EndpointError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `host:port` or `[ipv6]:port`, as a person writes it. (What a server writes has no
    /// brackets and is read by `redirect` and the view parsers.)
    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let refuse = |problem| EndpointError {
            text: text.to_owned(),
            problem,
        };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refuse("the port is missing"))?;
        let port = parse_port(port).map_err(refuse)?;
        let host = parse_host(host).map_err(refuse)?;
        Ok(Endpoint { host, port })
    }
}

/// A port as a person writes it: digits only, 1 to 65535.
pub(super) fn parse_port(text: &str) -> Result<u16, &'static str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if is_number => Ok(port),
        _ => Err("the port must be a number from 1 to 65535"),
    }
}

/// A host as a person writes it before a port: a name, an IPv4 address, or an IPv6 address in
/// brackets. Names become lower case, addresses their shortest form, so that equal hosts compare
/// equal.
pub(super) fn parse_host(text: &str) -> Result<Arc<str>, &'static str> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner
            .strip_suffix(']')
            .ok_or("the closing bracket is missing")?;
        return normal_ipv6(address).ok_or("what stands in brackets is no IPv6 address");
    }
    if text.contains(':') {
        return Err("an IPv6 address needs brackets");
    }
    parse_name(text)
}

/// A host name or IPv4 address.
pub(super) fn parse_name(text: &str) -> Result<Arc<str>, &'static str> {
    if text.is_empty() {
        return Err("the host is empty");
    }
    if text.len() > HOST_BYTES_MAX {
        return Err("the host is longer than 253 characters");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !text.bytes().all(is_name) {
        return Err("the host has characters that no host name has");
    }
    Ok(text.to_ascii_lowercase().into())
}

/// An IPv6 address (a zone such as `%eth0` is kept) in its shortest form.
pub(super) fn normal_ipv6(text: &str) -> Option<Arc<str>> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(address.to_string().into()),
        Some(zone) => {
            let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_zone.then(|| format!("{address}%{zone}").into())
        }
    }
}

/// The form in which a host that a server announced is kept and compared: lower case, IPv6 in its
/// shortest form. Hosts that are neither names nor addresses are refused.
pub(super) fn announced_host(text: &str) -> Option<Arc<str>> {
    if text.contains(':') {
        return normal_ipv6(text);
    }
    parse_name(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_as_people_write_them() {
        for (text, host, port) in [
            ("localhost:6379", "localhost", 6379),
            ("Node-1.Example.ORG:1", "node-1.example.org", 1),
            ("redis_1:65535", "redis_1", 65535),
            ("127.0.0.1:7000", "127.0.0.1", 7000),
            ("[::1]:7000", "::1", 7000),
            ("[FD00:0:0::12]:7000", "fd00::12", 7000),
            ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!((&*endpoint.host, endpoint.port), (host, port));
            let again: Endpoint = endpoint
                .to_string()
                .parse()
                .expect("what we print, we read");
            assert_eq!(again, endpoint);
        }
    }

    #[test]
    fn what_is_no_endpoint_says_why() {
        let long = format!("{}:1", "a".repeat(254));
        for (text, problem) in [
            ("", "the port is missing"),
            ("localhost", "the port is missing"),
            (":6379", "the host is empty"),
            ("localhost:", "from 1 to 65535"),
            ("localhost:0", "from 1 to 65535"),
            ("localhost:+1", "from 1 to 65535"),
            ("localhost:65536", "from 1 to 65535"),
            ("::1:6379", "needs brackets"),
            ("[::1:6379", "closing bracket"),
            ("[nonsense]:6379", "no IPv6 address"),
            ("redis://localhost:6379", "needs brackets"),
            ("user@host:1", "no host name has"),
            ("a b:1", "no host name has"),
            (&long, "253"),
        ] {
            let error = Endpoint::from_str(text).expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
