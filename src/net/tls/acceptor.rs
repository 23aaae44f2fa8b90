//! The side that clients connect to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::certificate::{IdentityRule, expiry};
use super::files::{TlsFileError, read_chain, read_key, read_roots};
use super::{Expiry, MinVersion, ReadAhead, provider};
use crate::net::Stream;

/// Sessions that are remembered, so that a client which comes back needs no signature.
const SESSIONS_MAX: usize = 4096;

/// Whether clients show certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    No,
    /// They may; what they show must be signed by a certificate of this file.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// What one listener needs for TLS.
#[derive(Clone, Debug)]
pub struct AcceptorSettings {
    /// PEM file of the certificate and those between it and the root.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Which part of theirs is their name.
    pub identity: IdentityRule,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// Shakes hands with clients, with what was loaded last.
pub struct Acceptor {
    settings: AcceptorSettings,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    expiry: Option<Expiry>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(out)
    }
}

impl Acceptor {
    /// Loads everything for the first time.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(settings: AcceptorSettings) -> Result<Acceptor, TlsFileError> {
        let current = ArcSwap::from_pointee(load(&settings)?);
        Ok(Acceptor { settings, current })
    }

    /// Loads everything again. Connections that are open keep what they have; with an error nothing
    /// changes.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load(&self) -> Result<(), TlsFileError> {
        self.current.store(Arc::new(load(&self.settings)?));
        Ok(())
    }

    /// The files it reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.settings.certificate.clone(), self.settings.key.clone()];
        match &self.settings.client_auth {
            ClientAuth::No => {}
            ClientAuth::Optional(ca) | ClientAuth::Required(ca) => files.push(ca.clone()),
        }
        files
    }

    /// When its certificate ends.
    pub fn expiry(&self) -> Option<Expiry> {
        self.current.load().expiry
    }

    /// Shakes hands with a client; the caller sets the time limit. The stream, and the name in the client's
    /// certificate.
    ///
    /// # Errors
    /// The client does not speak TLS, or not as the listener wants it.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, Option<String>)> {
        let config = Arc::clone(&self.current.load().config);
        let stream = TlsAcceptor::from(config)
            .accept(ReadAhead::new(stream))
            .await?;
        let shown = stream.get_ref().1.peer_certificates();
        let own = shown.and_then(<[_]>::first);
        let name = own.and_then(|certificate| self.settings.identity.name(certificate));
        Ok((Stream::Tls(Box::new(TlsStream::Server(stream))), name))
    }
}

fn load(settings: &AcceptorSettings) -> Result<Loaded, TlsFileError> {
    let chain = read_chain(&settings.certificate)?;
    let key = read_key(&settings.key)?;
    let expiry = expiry(&chain);
    let mismatched = |reason| TlsFileError::Mismatched {
        certificate: settings.certificate.display().to_string(),
        key: settings.key.display().to_string(),
        reason,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.min_version.versions())
        .map_err(mismatched)?;
    let builder = match &settings.client_auth {
        ClientAuth::No => builder.with_no_client_auth(),
        ClientAuth::Optional(ca) | ClientAuth::Required(ca) => {
            let roots = Arc::new(read_roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = match settings.client_auth {
                ClientAuth::Optional(_) => verifier.allow_unauthenticated(),
                ClientAuth::No | ClientAuth::Required(_) => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| TlsFileError::unusable(ca, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatched)?;
    if settings.client_auth == ClientAuth::No {
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    } else {
        // A session that is taken up again shows no certificate: it would outlive one that ended or whose CA
        // was taken away.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Loaded {
        config: Arc::new(config),
        expiry,
    })
}
