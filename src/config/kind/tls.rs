//! Words of TLS.

use super::Kind;
use super::text::Word;

/// Whether a connection is encrypted, or a check is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    #[default]
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

impl Word for Switch {
    const WORDS: &'static [(&'static str, Self)] = &[("on", Switch::On), ("off", Switch::Off)];
}

/// Whether clients show certificates; Redis' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsAuthClients {
    /// They are not asked.
    #[default]
    No,
    /// They may.
    Optional,
    /// They must.
    Yes,
}

impl Word for TlsAuthClients {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("no", TlsAuthClients::No),
        ("optional", TlsAuthClients::Optional),
        ("yes", TlsAuthClients::Yes),
    ];
}

/// Which part of a client's certificate is its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsClientUser {
    /// None.
    #[default]
    Off,
    /// The common name of the subject.
    Cn,
    /// The first DNS name of the alternative names.
    Dns,
    /// The first URI.
    Uri,
    /// The first e-mail address.
    Email,
}

impl Word for TlsClientUser {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", TlsClientUser::Off),
        ("cn", TlsClientUser::Cn),
        ("dns", TlsClientUser::Dns),
        ("uri", TlsClientUser::Uri),
        ("email", TlsClientUser::Email),
    ];
}

/// The oldest version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

impl Word for TlsVersion {
    const WORDS: &'static [(&'static str, Self)] =
        &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
}

/// Where the name comes from that a node's certificate has to be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsServerName {
    /// From the cluster.
    #[default]
    Announced,
    /// From the seeds.
    Seed,
    /// This one.
    Named(String),
}

/// `announced`, `seed`, or a name.
pub struct ServerNameRule;

impl Kind for ServerNameRule {
    type Value = TlsServerName;

    fn allowed() -> String {
        "\"announced\", \"seed\", or a host name with a dot or an IP address".to_owned()
    }

    fn read(text: &str) -> Option<TlsServerName> {
        match text {
            "announced" => return Some(TlsServerName::Announced),
            "seed" => return Some(TlsServerName::Seed),
            _ => {}
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_host = text.contains('.') && text.len() <= 253 && text.bytes().all(is_name);
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        // A word alone is more likely one of the two, misspelt.
        (is_host || is_address).then(|| TlsServerName::Named(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn server_names() {
        let named = |name: &str| Some(TlsServerName::Named(name.to_owned()));
        check::<ServerNameRule>(&[
            ("announced", Some(TlsServerName::Announced)),
            ("seed", Some(TlsServerName::Seed)),
            ("redis.example", named("redis.example")),
            ("::1", named("::1")),
            ("seeds", None),
            ("", None),
            ("a b.c", None),
        ]);
    }
}
