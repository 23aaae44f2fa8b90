//! What an error reply says about routing: follow it, wait and resend, or hand it to the client.
//!
//! Only the *first line of a top-level error* may be given to [`verdict`] (contract: R6); an error
//! inside an array is data. The verdict says only what the server said; what is done about it
//! (resending, pausing, refreshing) is the worker's business.
//!
//! "Not executed" has one trap: scripts. When a command inside a script fails, the script's error
//! may carry the same prefix although commands before it took effect. What Redis 7.0.15 and Valkey
//! 8.0.1 really send, by asking them:
//!
//! | cause | reply |
//! |---|---|
//! | a write sent to a replica | `READONLY You can't write against a read only replica.` |
//! | `redis.call` of a write in a script there | the same text, then ` script: <sha>, on @user_script:1.` |
//! | a script that accesses a slot of another node | `ERR Script attempted to access a non local key ...` |
//! | Redis 6.2, any failing `redis.call` | `ERR Error running script (call to f_<sha>): ... -READONLY ...` |
//!
//! So the prefix must be the first word, and a line that names a script is the client's. `EXEC`
//! answers `EXECABORT ...` when a queued command was refused; that is the client's, too.

use super::endpoint::announced_host;
use super::{Endpoint, Slot};

/// What an error reply says about where, or when, the request should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No word about routing: the client gets it.
    Pass,
    /// The slot has another owner, for good (contract: R3).
    Moved {
        /// The slot that moved.
        slot: Slot,
        /// Its owner.
        to: RedirectTo<'a>,
    },
    /// This request only should be asked elsewhere, after `ASKING` (contract: R4).
    Ask {
        /// The slot that is being moved.
        slot: Slot,
        /// Who takes it.
        to: RedirectTo<'a>,
    },
    /// Not executed: some of the keys are on the other side of a move (contract: R5).
    TryAgain,
    /// Not executed: the node sees no working cluster, or no owner of the slot (contract: R5).
    ClusterDown,
    /// Not executed: the node is still reading its data set (contract: R5).
    Loading,
    /// Not executed: a replica without its primary, told not to serve stale data (contract: R5).
    MasterDown,
    /// Not executed: the node is a replica now (contract: R5).
    ReadOnly,
}

/// The node a redirect names, as announced: before the address map (contract: R12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectTo<'a> {
    /// The host part.
    pub host: RedirectHost<'a>,
    /// The port, never 0.
    pub port: u16,
}

/// The host part of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectHost<'a> {
    /// Empty: the host that answered (`cluster-preferred-endpoint-type unknown-endpoint`).
    SameHost,
    /// `?`: the server is told to announce host names and has none for that node. Only a refresh
    /// can tell where it is.
    Unknown,
    /// A host name, IPv4 or IPv6 address, without brackets.
    Named(&'a str),
}

impl RedirectTo<'_> {
    /// The announced endpoint, to be given to [`AddressMap::map`](super::AddressMap::map).
    /// `answered` is where the connection that brought the redirect was dialled. Nothing for a
    /// host that the server does not know, or that is neither name nor address: look the slot up
    /// after a refresh.
    pub fn announced(&self, answered: &Endpoint) -> Option<Endpoint> {
        match self.host {
            RedirectHost::SameHost => Some(Endpoint {
                host: answered.host.clone(),
                port: self.port,
            }),
            RedirectHost::Unknown => None,
            RedirectHost::Named(host) => Some(Endpoint {
                host: announced_host(host)?,
                port: self.port,
            }),
        }
    }
}

/// Reads the first line of a top-level error reply, from its `-` on, with or without its line end.
/// A malformed redirect is passed on to the client.
#[inline]
pub fn verdict(line: &[u8]) -> Verdict<'_> {
    // Nearly all errors (`ERR`, `WRONGTYPE`, `NOSCRIPT`) leave here.
    match line.get(..3) {
        Some(b"-MO" | b"-AS" | b"-TR" | b"-CL" | b"-LO" | b"-MA" | b"-RE") => routing_verdict(line),
        _ => Verdict::Pass,
    }
}

const READONLY: &[u8] = b"READONLY You can't write against a read only replica.";

fn routing_verdict(line: &[u8]) -> Verdict<'_> {
    let text = line.get(1..).unwrap_or_default();
    let text = &text[..memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len())];
    let (word, rest) = match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &b""[..]),
    };
    if names_script(rest) {
        return Verdict::Pass;
    }
    match word {
        b"MOVED" => match target(rest) {
            Some((slot, to)) => Verdict::Moved { slot, to },
            None => Verdict::Pass,
        },
        b"ASK" => match target(rest) {
            Some((slot, to)) => Verdict::Ask { slot, to },
            None => Verdict::Pass,
        },
        b"TRYAGAIN" => Verdict::TryAgain,
        b"CLUSTERDOWN" => Verdict::ClusterDown,
        b"LOADING" => Verdict::Loading,
        b"MASTERDOWN" => Verdict::MasterDown,
        // A script may raise any error; this one is believed only word for word.
        b"READONLY" if text == READONLY => Verdict::ReadOnly,
        _ => Verdict::Pass,
    }
}

/// Whether the error was raised inside a script, of which a part may have been executed.
fn names_script(rest: &[u8]) -> bool {
    memchr::memmem::find(rest, b" script: ").is_some()
}

/// `3999 host:port`; words after it are ignored.
fn target(rest: &[u8]) -> Option<(Slot, RedirectTo<'_>)> {
    let mut words = rest.split(|byte| *byte == b' ');
    let slot = Slot::new(decimal(words.next()?)?)?;
    let address = std::str::from_utf8(words.next()?).ok()?;
    // The last colon: an IPv6 address comes without brackets.
    let (host, port) = address.rsplit_once(':')?;
    let port = decimal(port.as_bytes()).filter(|port| *port != 0)?;
    let host = match host {
        "" => RedirectHost::SameHost,
        "?" => RedirectHost::Unknown,
        named => RedirectHost::Named(unbracketed(named)?),
    };
    Some((slot, RedirectTo { host, port }))
}

/// No Redis writes brackets, but stand-ins for one do.
fn unbracketed(host: &str) -> Option<&str> {
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => host,
    };
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(host)
}

/// Digits only: no sign, no blank.
fn decimal(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("the tests use real slots")
    }

    fn to(host: RedirectHost<'_>, port: u16) -> RedirectTo<'_> {
        RedirectTo { host, port }
    }

    #[track_caller]
    fn check(line: &str, expected: Verdict<'_>) {
        assert_eq!(verdict(line.as_bytes()), expected, "{line}");
        assert_eq!(verdict(format!("{line}\r\n").as_bytes()), expected);
    }

    /// contract: R3
    #[test]
    fn moved_names_a_node_in_every_odd_way() {
        use RedirectHost::{Named, SameHost, Unknown};
        for (address, host, port) in [
            ("127.0.0.1:7001", Named("127.0.0.1"), 7001),
            (":7001", SameHost, 7001),
            ("?:7001", Unknown, 7001),
            ("node-1.example.org:6379", Named("node-1.example.org"), 6379),
            ("::1:7001", Named("::1"), 7001),
            ("fd00::12:7001", Named("fd00::12"), 7001),
            ("[fd00::12]:7001", Named("fd00::12"), 7001),
            ("10.0.0.1:65535 and more words", Named("10.0.0.1"), 65535),
        ] {
            check(
                &format!("-MOVED 3999 {address}"),
                Verdict::Moved {
                    slot: slot(3999),
                    to: to(host, port),
                },
            );
            // contract: R4
            check(
                &format!("-ASK 16383 {address}"),
                Verdict::Ask {
                    slot: slot(16383),
                    to: to(host, port),
                },
            );
        }
    }

    #[test]
    fn malformed_redirects_go_to_the_client() {
        for line in [
            "-MOVED",
            "-MOVED ",
            "-MOVED 1",
            "-MOVED 16384 a:1",
            "-MOVED -1 a:1",
            "-MOVED +1 a:1",
            "-MOVED 1 a:0",
            "-MOVED 1 a:65536",
            "-MOVED 1 a",
            "-MOVED 1  a:1",
            "-MOVED 1 []:1",
            "-MOVED 1 [::1:1",
            "-MOVED 1 a\u{1}b:1",
            "-MOVEDX 1 a:1",
            "-ASKING 1 a:1",
            "-moved 1 a:1",
            "-",
            "",
        ] {
            check(line, Verdict::Pass);
        }
    }

    /// contract: R5
    #[test]
    fn errors_of_requests_that_were_not_executed() {
        for (line, expected) in [
            (
                "-TRYAGAIN Multiple keys request during rehashing of slot",
                Verdict::TryAgain,
            ),
            ("-CLUSTERDOWN Hash slot not served", Verdict::ClusterDown),
            ("-CLUSTERDOWN The cluster is down", Verdict::ClusterDown),
            (
                "-CLUSTERDOWN The cluster is down and only accepts read commands",
                Verdict::ClusterDown,
            ),
            (
                "-LOADING Redis is loading the dataset in memory",
                Verdict::Loading,
            ),
            (
                "-LOADING Valkey is loading the dataset in memory",
                Verdict::Loading,
            ),
            (
                "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                Verdict::MasterDown,
            ),
            (
                "-READONLY You can't write against a read only replica.",
                Verdict::ReadOnly,
            ),
        ] {
            check(line, expected);
        }
    }

    /// contract: R5
    #[test]
    fn every_other_error_is_the_clients() {
        for line in [
            "-ERR unknown command",
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "-OOM command not allowed when used memory > 'maxmemory'.",
            "-MISCONF Redis is configured to save RDB snapshots",
            "-NOREPLICAS Not enough good replicas to write.",
            "-NOPERM this user has no permissions",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
            "-READONLY",
            "-READONLY my own words",
            "-READONLY You can't write against a read only replica. script: beef354d82996a708aa0deac229a63225ff0dd9c, on @user_script:1.",
            "-LOADING x script: beef354d82996a708aa0deac229a63225ff0dd9c, on @user_script:1.",
            "-ERR Error running script (call to f_beef): @user_script:1: -READONLY You can't write against a read only replica.",
            "-ERR Script attempted to access a non local key in a cluster node script: beef, on @user_script:1.",
            "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
            "-CLUSTERDOWNED x",
            "-CROSSSLOT Keys in request don't hash to the same slot",
        ] {
            check(line, Verdict::Pass);
        }
    }

    #[test]
    fn only_the_first_line_counts() {
        let bytes = b"-TRYAGAIN a\r\n-MOVED 1 a:1\r\n script: x";
        assert_eq!(verdict(bytes), Verdict::TryAgain);
        assert_eq!(verdict(b"-MOVED 1\r\n a:1"), Verdict::Pass);
        assert_eq!(verdict(b"-MOVED 1 \xff\xfe:1\r\n"), Verdict::Pass);
    }

    #[test]
    fn where_a_redirect_leads() {
        let answered = Endpoint {
            host: "10.0.0.9".into(),
            port: 7000,
        };
        for (host, expected) in [
            (RedirectHost::SameHost, Some("10.0.0.9:7001")),
            (RedirectHost::Unknown, None),
            (RedirectHost::Named("0:0::1"), Some("[::1]:7001")),
            (RedirectHost::Named("Node.A"), Some("node.a:7001")),
            (RedirectHost::Named("no/host"), None),
        ] {
            let announced = to(host, 7001).announced(&answered);
            assert_eq!(
                announced.map(|endpoint| endpoint.to_string()).as_deref(),
                expected
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(prefix in "-(MOVED|ASK|READONLY|LOADING)?", tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut line = prefix.into_bytes();
            line.extend_from_slice(&tail);
            verdict(&line);
        }

        #[test]
        fn every_well_formed_redirect_is_read(number in 0u16..16384, host in "[a-z0-9.:-]{1,20}", port in 1u16..) {
            let line = format!("-MOVED {number} {host}:{port}\r\n");
            let expected = Verdict::Moved { slot: slot(number), to: to(RedirectHost::Named(&host), port) };
            prop_assert_eq!(verdict(line.as_bytes()), expected);
        }
    }
}
