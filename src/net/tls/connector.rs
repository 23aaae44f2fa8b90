//! The side that connects to nodes.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, TlsStream};

use super::certificate::expiry;
use super::files::{TlsFileError, read_chain, read_key, read_roots, system_roots};
use super::verify::{AnyOfNames, Unverified};
use super::{Expiry, MinVersion, ReadAhead, provider};
use crate::net::Stream;

/// Sets of names with a configuration of their own; when there are more, all are forgotten.
const NAMES_MAX: usize = 4096;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those signed by a certificate of this file.
    File(PathBuf),
    /// Those signed by a root of the system.
    System,
    /// Everybody's: whoever sits on the way can read and change everything.
    Unverified,
}

/// What connections to nodes need for TLS.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// Whose certificates are believed.
    pub roots: Roots,
    /// PEM files of the own certificate and its key, if one is shown.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// Shakes hands with nodes, with what was loaded last.
pub struct Connector {
    settings: ConnectorSettings,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    base: ClientConfig,
    /// `None` when nothing is verified.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// What is configured for each set of names. It is kept, because a session is taken up again only under
    /// the configuration it began with.
    by_names: Mutex<HashMap<Vec<ServerName<'static>>, Arc<ClientConfig>>>,
    expiry: Option<Expiry>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(out)
    }
}

impl Connector {
    /// Loads everything for the first time.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(settings: ConnectorSettings) -> Result<Connector, TlsFileError> {
        let current = ArcSwap::from_pointee(load(&settings)?);
        Ok(Connector { settings, current })
    }

    /// Loads everything again; with an error nothing changes.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load(&self) -> Result<(), TlsFileError> {
        self.current.store(Arc::new(load(&self.settings)?));
        Ok(())
    }

    /// The files it reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Roots::File(ca) = &self.settings.roots {
            files.push(ca.clone());
        }
        if let Some((certificate, key)) = &self.settings.certificate {
            files.extend([certificate.clone(), key.clone()]);
        }
        files
    }

    /// When the own certificate ends, if there is one.
    pub fn expiry(&self) -> Option<Expiry> {
        self.current.load().expiry
    }

    /// Whether certificates are verified.
    pub fn is_verifying(&self) -> bool {
        self.settings.roots != Roots::Unverified
    }

    /// Shakes hands with a node, whose certificate must be valid for one of these host names and addresses;
    /// the first one that can be is also what it is asked for (SNI). The caller sets the time limit.
    ///
    /// # Errors
    /// The node does not speak TLS, or its certificate is not believed.
    pub async fn connect(&self, stream: TcpStream, names: &[&str]) -> io::Result<Stream> {
        let names: Vec<ServerName<'static>> = names
            .iter()
            .filter_map(|name| ServerName::try_from((*name).to_owned()).ok())
            .collect();
        let Some(first) = names.first().cloned() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it has no name that a certificate could be for",
            ));
        };
        let config = self.current.load().config_for(names);
        let stream = ReadAhead::new(stream);
        let stream = TlsConnector::from(config).connect(first, stream).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

impl Loaded {
    fn config_for(&self, names: Vec<ServerName<'static>>) -> Arc<ClientConfig> {
        let mut known = self.by_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(&names) {
            return Arc::clone(config);
        }
        let mut config = self.base.clone();
        if let Some(verifier) = &self.verifier {
            let verifier = AnyOfNames {
                verifier: Arc::clone(verifier),
                names: names.clone(),
            };
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(verifier));
        }
        let config = Arc::new(config);
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(names, Arc::clone(&config));
        config
    }
}

fn load(settings: &ConnectorSettings) -> Result<Loaded, TlsFileError> {
    let verifier = match &settings.roots {
        Roots::Unverified => None,
        Roots::File(ca) => {
            let roots = Arc::new(read_roots(ca)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            Some(verifier.map_err(|error| TlsFileError::unusable(ca, error))?)
        }
        Roots::System => {
            let roots = Arc::new(system_roots()?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            Some(verifier.map_err(|error| TlsFileError::NoRoots(error.to_string()))?)
        }
    };
    // Replaced for each set of names; what stands here believes nobody's name but the one asked for.
    let of_base: Arc<dyn ServerCertVerifier> = match &verifier {
        Some(verifier) => Arc::clone(verifier) as _,
        None => Arc::new(Unverified::new()),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.min_version.versions())
        .map_err(|error| TlsFileError::NoRoots(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(of_base);
    let mut own_expiry = None;
    let base = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = read_chain(certificate)?;
            own_expiry = expiry(&chain);
            let own_key = read_key(key)?;
            builder
                .with_client_auth_cert(chain, own_key)
                .map_err(|reason| TlsFileError::Mismatched {
                    certificate: certificate.display().to_string(),
                    key: key.display().to_string(),
                    reason,
                })?
        }
    };
    Ok(Loaded {
        base,
        verifier,
        by_names: Mutex::default(),
        expiry: own_expiry,
    })
}
