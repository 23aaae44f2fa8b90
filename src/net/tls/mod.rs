//! TLS, with rustls and ring: what is read from files, handshakes on both sides, and what a
//! certificate says.
//!
//! Nothing is negotiated beyond the version: there is no ALPN for this protocol. What is loaded is held in
//! a cell that [`Acceptor::load`] and [`Connector::load`] replace as a whole: connections that are open keep
//! what they began with, and files that cannot be used change nothing.

mod acceptor;
mod certificate;
mod connector;
mod explain;
mod files;
mod read_ahead;
mod verify;

pub use acceptor::{Acceptor, AcceptorSettings, ClientAuth};
pub use certificate::IdentityRule;
pub use connector::{Connector, ConnectorSettings, Roots};
pub use explain::{explain, is_of_tls};
pub use files::TlsFileError;
pub use read_ahead::ReadAhead;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{SupportedProtocolVersion, version};

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        static NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        match self {
            MinVersion::Tls12 => BOTH,
            MinVersion::Tls13 => NEWEST,
        }
    }
}

/// When a certificate ends, for whoever watches over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// In seconds since 1970.
    pub at: u64,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
