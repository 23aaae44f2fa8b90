//! The kinds of values: how each is read from text and what it may be.
//!
//! A kind is a type without values that names a way of reading; several kinds may produce the same
//! Rust type ([`Count`] and [`Bytes`] both give a `usize`). The text comes from the file, the
//! environment or the default, and is read in the same way from all three.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::key::Shape;
use super::secret::Secret;

/// A way of reading a value.
pub trait Kind {
    /// What it gives.
    type Value;
    /// How it is written in TOML.
    const SHAPE: Shape = Shape::Text;
    /// Whether the value must not be shown.
    const IS_SECRET: bool = false;
    /// Whether a key of this kind may go without value and default; `absent` then gives one.
    const MAY_BE_ABSENT: bool = false;
    /// What may be written, completing "allowed is ...".
    fn allowed() -> String;
    /// Reads it; `None` when it is not allowed.
    fn read(text: &str) -> Option<Self::Value>;
    /// The value when nobody gives one and no default exists; `None` unless `MAY_BE_ABSENT`.
    fn absent() -> Option<Self::Value> {
        None
    }
}

/// May be left out, or be empty.
pub struct Optional<K>(PhantomData<K>);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;
    const SHAPE: Shape = K::SHAPE;
    const IS_SECRET: bool = K::IS_SECRET;
    const MAY_BE_ABSENT: bool = true;

    fn allowed() -> String {
        format!("{}, or \"\" for none", K::allowed())
    }

    fn read(text: &str) -> Option<Self::Value> {
        if text.is_empty() {
            return Some(None);
        }
        K::read(text).map(Some)
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
    }
}

/// A whole number from `MIN` to `MAX`.
pub struct Count<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Kind for Count<MIN, MAX> {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(text: &str) -> Option<usize> {
        whole(text).filter(|number| (MIN..=MAX).contains(number))
    }
}

/// A number of worker threads, or `auto`.
pub struct Workers;

impl Kind for Workers {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!("\"auto\" or {}", Count::<1, 1024>::allowed())
    }

    fn read(text: &str) -> Option<usize> {
        if text != "auto" {
            return Count::<1, 1024>::read(text);
        }
        // On Linux the standard library takes the least of the CPUs in the affinity mask and the
        // whole CPUs of the cgroup's quota, version 1 and 2, and at least 1.
        Some(std::thread::available_parallelism().map_or(1, |cpus| cpus.get()))
    }
}

/// A number of bytes with Redis' suffixes, from `MIN` to `MAX` bytes.
pub struct Bytes<const MIN: usize, const MAX: usize>;

/// Redis' suffixes: with a `b` powers of 1024, without powers of 1000.
const BYTE_SUFFIXES: [(&str, usize); 8] = [
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

impl<const MIN: usize, const MAX: usize> Kind for Bytes<MIN, MAX> {
    type Value = usize;
    const SHAPE: Shape = Shape::Number;

    fn allowed() -> String {
        format!(
            "a number of bytes such as 65536, \"64kb\" or \"1mb\", from {} to {}",
            bytes_text(MIN),
            bytes_text(MAX)
        )
    }

    fn read(text: &str) -> Option<usize> {
        let lower = text.to_ascii_lowercase();
        let (digits, factor) = BYTE_SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| Some((lower.strip_suffix(suffix)?, *factor)))?;
        let bytes = whole(digits)?.checked_mul(factor)?;
        (MIN..=MAX).contains(&bytes).then_some(bytes)
    }
}

/// Digits only: no sign, no space, which `parse` would let pass or not depending on the type.
fn whole(digits: &str) -> Option<usize> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Bytes in the largest unit that divides them.
fn bytes_text(bytes: usize) -> String {
    for (suffix, factor) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{suffix}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// A duration with its unit, from `MIN_MS` to `MAX_MS` milliseconds.
pub struct Time<const MIN_MS: u64, const MAX_MS: u64>;

impl<const MIN_MS: u64, const MAX_MS: u64> Kind for Time<MIN_MS, MAX_MS> {
    type Value = Duration;

    fn allowed() -> String {
        format!(
            "a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from {} to {}",
            time_text(MIN_MS),
            time_text(MAX_MS)
        )
    }

    fn read(text: &str) -> Option<Duration> {
        let (digits, factor) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .iter()
            .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
        let ms = u64::try_from(whole(digits)?).ok()?.checked_mul(factor)?;
        (MIN_MS..=MAX_MS)
            .contains(&ms)
            .then(|| Duration::from_millis(ms))
    }
}

/// A time in the largest unit that divides it.
fn time_text(ms: u64) -> String {
    for (suffix, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms.is_multiple_of(factor) && (ms > 0 || suffix == "s") {
            return format!("{}{suffix}", ms / factor);
        }
    }
    format!("{ms}ms")
}

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

/// Any text that is not empty and holds no control character.
pub struct Text;

impl Kind for Text {
    type Value = String;

    fn allowed() -> String {
        "text without control characters".to_owned()
    }

    fn read(text: &str) -> Option<String> {
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
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

/// A password. Its empty form is refused rather than read as "no password": a variable that turned
/// out empty must not open the door.
pub struct Password;

impl Kind for Password {
    type Value = Option<Secret>;
    const IS_SECRET: bool = true;
    const MAY_BE_ABSENT: bool = true;

    fn allowed() -> String {
        "text that is not empty; leave the key out for no password".to_owned()
    }

    fn read(text: &str) -> Option<Self::Value> {
        (!text.is_empty()).then(|| Some(Secret::new(text)))
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
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
        let port = whole(port).and_then(|port| u16::try_from(port).ok())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                address
            }
            None => host,
        };
        let is_name = |host: &str| {
            host.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_host = host.parse::<std::net::Ipv6Addr>().is_ok() && text.starts_with('[')
            || is_name(host) && !host.is_empty() && host.len() <= 253;
        (is_host && port > 0).then(|| HostPort {
            host: host.to_owned(),
            port,
        })
    }
}

/// Several values, separated by commas in the environment; at least one.
pub struct List<K>(PhantomData<K>);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        format!(
            "a list (in the environment comma-separated) of {}",
            K::allowed()
        )
    }

    fn read(text: &str) -> Option<Self::Value> {
        text.split(',').map(|part| K::read(part.trim())).collect()
    }
}

/// Pairs of texts, in the order given. What they mean is checked where they are used.
pub struct Pairs;

impl Kind for Pairs {
    type Value = Vec<(String, String)>;
    const SHAPE: Shape = Shape::Map;

    fn allowed() -> String {
        "a table of \"from\" = \"to\" (in the environment from=to,from=to)".to_owned()
    }

    fn read(text: &str) -> Option<Self::Value> {
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        text.split(',')
            .map(|pair| {
                let (from, to) = pair.split_once('=')?;
                let (from, to) = (from.trim(), to.trim());
                (!from.is_empty() && !to.is_empty()).then(|| (from.to_owned(), to.to_owned()))
            })
            .collect()
    }
}

/// One of a few words.
pub struct OneOf<W>(PhantomData<W>);

/// A type whose values have names in the configuration.
pub trait Word: Copy + 'static {
    /// Every name and what it means.
    const WORDS: &'static [(&'static str, Self)];
}

impl<W: Word> Kind for OneOf<W> {
    type Value = W;

    fn allowed() -> String {
        let words: Vec<String> = W::WORDS
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("one of {}", words.join(", "))
    }

    fn read(text: &str) -> Option<W> {
        W::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }
}

/// How a client that asks for the cluster sees it (contract: C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterView {
    /// One node, this Keyway, which owns every slot.
    Single,
    /// The real nodes at their mapped addresses.
    Nodes,
}

impl Word for ClusterView {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("single", ClusterView::Single),
        ("nodes", ClusterView::Nodes),
    ];
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Word for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the text as this kind and compares.
    fn check<K: Kind>(cases: &[(&str, Option<K::Value>)])
    where
        K::Value: PartialEq + fmt::Debug,
    {
        for (text, expected) in cases {
            assert_eq!(&K::read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_take_redis_suffixes() {
        check::<Bytes<1, { 1 << 30 }>>(&[
            ("1", Some(1)),
            ("1k", Some(1_000)),
            ("1kb", Some(1_024)),
            ("64KB", Some(65_536)),
            ("2m", Some(2_000_000)),
            ("512mb", Some(512 << 20)),
            ("1gb", Some(1 << 30)),
            ("7b", Some(7)),
            ("0", None),
            ("2gb", None),
            ("", None),
            ("mb", None),
            ("-1", None),
            ("+1", None),
            ("1 mb", None),
            ("1.5mb", None),
            ("99999999999999999999gb", None),
        ]);
    }

    #[test]
    fn durations_need_a_unit() {
        let ms = |ms| Some(Duration::from_millis(ms));
        check::<Time<0, 3_600_000>>(&[
            ("0s", ms(0)),
            ("250ms", ms(250)),
            ("20s", ms(20_000)),
            ("5m", ms(300_000)),
            ("1h", ms(3_600_000)),
            ("2h", None),
            ("20", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("20 s", None),
            ("20sec", None),
        ]);
        check::<Time<100, 1_000>>(&[("99ms", None), ("100ms", ms(100)), ("1s", ms(1_000))]);
    }

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

    #[test]
    fn pairs_keep_their_order() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        check::<Pairs>(&[
            ("", Some(vec![])),
            ("b=1,a=2", Some(vec![pair("b", "1"), pair("a", "2")])),
            (" [::1]:1 = h:2 ", Some(vec![pair("[::1]:1", "h:2")])),
            ("a", None),
            ("a=", None),
            ("=b", None),
            ("a=b,", None),
        ]);
    }

    #[test]
    fn words_counts_and_workers() {
        check::<OneOf<ClusterView>>(&[
            ("single", Some(ClusterView::Single)),
            ("nodes", Some(ClusterView::Nodes)),
            ("Single", None),
            ("", None),
        ]);
        check::<Count<1, 10>>(&[("1", Some(1)), ("10", Some(10)), ("11", None), ("0", None)]);
        check::<Workers>(&[("4", Some(4)), ("0", None), ("Auto", None)]);
        assert!(Workers::read("auto").is_some_and(|workers| workers >= 1));
    }

    #[test]
    fn what_is_allowed_reads_well() {
        assert_eq!(
            Time::<100, 3_600_000>::allowed(),
            "a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from 100ms to 1h"
        );
        assert_eq!(OneOf::<LogFormat>::allowed(), "one of \"text\", \"json\"");
        assert!(Bytes::<1, { 512 << 20 }>::allowed().ends_with("from 1 to 512mb"));
    }

    #[test]
    fn an_empty_password_is_no_password_but_a_mistake() {
        assert!(Password::read("").is_none());
        assert!(Password::read("secret").flatten().is_some());
    }
}
