//! TLS from the settings: loaded before anything binds, and loaded again when files change or SIGHUP asks for
//! it. Connections that are open keep what they began with; a file that cannot be used changes nothing, and
//! is told of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::fingerprint::Fingerprint;
use crate::config::{
    ListenSettings, Settings, Switch, TlsAuthClients, TlsClientUser, TlsServerName, TlsVersion,
    UpstreamSettings,
};
use crate::net::tls::{
    Acceptor, AcceptorSettings, ClientAuth, Connector, ConnectorSettings, IdentityRule, MinVersion,
    Roots, TlsFileError,
};
use crate::net::{Entrance, Lifecycle, Visitors};
use crate::telemetry::ControlTallies;
use crate::telemetry::metrics::CertificateFigures;
use crate::upstream::{NameRule, UpstreamTls};

/// Everything that is made from certificates, and the rules of each listener.
pub(super) struct Tls {
    /// In the order of the listeners' numbers.
    pub(super) entrances: Arc<[Entrance]>,
    /// To the nodes, if they speak it.
    pub(super) upstream: Option<Arc<UpstreamTls>>,
    /// Of the admin port, if it speaks it.
    pub(super) admin: Option<Arc<Acceptor>>,
    /// All of the above.
    holders: Vec<Holder>,
}

/// Somebody who holds what was loaded.
#[derive(Clone)]
struct Holder {
    /// The listener's name, `upstream` or `admin`.
    name: String,
    what: Held,
}

#[derive(Clone)]
enum Held {
    Acceptor(Arc<Acceptor>),
    Connector(Arc<UpstreamTls>),
}

impl Held {
    fn load(&self) -> Result<(), TlsFileError> {
        match self {
            Held::Acceptor(acceptor) => acceptor.load(),
            Held::Connector(tls) => tls.connector.load(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Held::Acceptor(acceptor) => acceptor.files(),
            Held::Connector(tls) => tls.connector.files(),
        }
    }

    /// In seconds since 1970; nothing where no certificate is shown.
    fn expires_at(&self) -> Option<u64> {
        let expiry = match self {
            Held::Acceptor(acceptor) => acceptor.expiry(),
            Held::Connector(tls) => tls.connector.expiry(),
        };
        expiry.map(|expiry| expiry.at)
    }
}

impl Tls {
    /// Loads everything that the settings name.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn load(settings: &Settings) -> Result<Tls, TlsFileError> {
        let mut holders = Vec::new();
        let mut entrances = Vec::new();
        for listen in settings.all_listeners() {
            let acceptor = acceptor_settings(listen).map(Acceptor::new).transpose()?;
            let acceptor = acceptor.map(Arc::new);
            if let Some(acceptor) = &acceptor {
                holders.push(Holder {
                    name: listen.name.clone(),
                    what: Held::Acceptor(Arc::clone(acceptor)),
                });
            }
            entrances.push(Entrance {
                tls: acceptor,
                clients_from: listen.clients_from.clone(),
                balancers: listen.proxy_protocol_from.clone(),
                visitors: (listen.clients_per_address > 0)
                    .then(|| Visitors::new(listen.clients_per_address)),
                connections_per_second: listen.connections_per_second,
                ..Entrance::default()
            });
        }
        let upstream = match settings.upstream.tls {
            Switch::Off => None,
            Switch::On => {
                let connector = Connector::new(connector_settings(&settings.upstream))?;
                let tls = Arc::new(UpstreamTls::new(connector, name_rule(settings)));
                holders.push(Holder {
                    name: "upstream".to_owned(),
                    what: Held::Connector(Arc::clone(&tls)),
                });
                Some(tls)
            }
        };
        let of_admin = settings.admin.tls_certificate.clone();
        let admin = match of_admin.zip(settings.admin.tls_key.clone()) {
            None => None,
            Some((certificate, key)) => {
                let acceptor = Arc::new(Acceptor::new(AcceptorSettings {
                    certificate,
                    key,
                    client_auth: ClientAuth::No,
                    identity: IdentityRule::Off,
                    min_version: MinVersion::Tls12,
                })?);
                holders.push(Holder {
                    name: "admin".to_owned(),
                    what: Held::Acceptor(Arc::clone(&acceptor)),
                });
                Some(acceptor)
            }
        };
        Ok(Tls {
            entrances: entrances.into(),
            upstream,
            admin,
            holders,
        })
    }

    /// Says at start what the operator should know.
    pub(super) fn warn(&self) {
        for holder in &self.holders {
            warn_if_expired(holder);
        }
        let upstream = self.upstream.as_ref();
        if upstream.is_some_and(|tls| !tls.connector.is_verifying()) {
            error!(
                "upstream.tls_verify is \"off\": nodes' certificates are NOT verified; whoever sits on the \
                 way can read and change everything, passwords included. For tests only"
            );
        }
    }

    /// When each certificate ends, for the metrics.
    pub(super) fn certificates(
        &self,
    ) -> impl Fn() -> Vec<CertificateFigures> + Send + Sync + 'static {
        let holders = self.holders.clone();
        move || {
            let figures = holders.iter().filter_map(|holder| {
                Some(CertificateFigures {
                    used_by: holder.name.clone(),
                    expires_at: holder.what.expires_at()?,
                })
            });
            figures.collect()
        }
    }

    /// What loads everything again, until the process stops: when a file looks different than at the last
    /// attempt, and when `hangup` is notified.
    pub(super) fn reloader(&self, interval: Duration) -> Reloader {
        let watched = self.holders.iter().map(|holder| Watched {
            seen: Fingerprint::of(&holder.what.files()),
            holder: holder.clone(),
        });
        Reloader {
            watched: watched.collect(),
            interval,
        }
    }
}

struct Watched {
    holder: Holder,
    /// Before the last attempt to load, so that what changes meanwhile is seen the next time.
    seen: Fingerprint,
}

/// See [`Tls::reloader`].
pub(super) struct Reloader {
    watched: Vec<Watched>,
    interval: Duration,
}

impl Reloader {
    pub(super) async fn run(
        mut self,
        hangup: Arc<Notify>,
        tallies: Arc<ControlTallies>,
        mut lifecycle: watch::Receiver<Lifecycle>,
    ) {
        loop {
            let pause = async {
                match self.interval.is_zero() {
                    true => std::future::pending().await,
                    false => sleep(self.interval).await,
                }
            };
            let is_asked = tokio::select! {
                changed = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                    drop(changed);
                    return;
                }
                () = hangup.notified() => true,
                () = pause => false,
            };
            self.look(is_asked, &tallies);
        }
    }

    fn look(&mut self, is_asked: bool, tallies: &ControlTallies) {
        for watched in &mut self.watched {
            let holder = &watched.holder;
            let now = Fingerprint::of(&holder.what.files());
            if now == watched.seen && !is_asked {
                continue;
            }
            watched.seen = now;
            let used_by = holder.name.as_str();
            match holder.what.load() {
                Ok(()) => {
                    tallies.tls_reloads.increment();
                    info!(
                        used_by,
                        expires_at = holder.what.expires_at(),
                        "certificates, keys and CAs were read again; new connections use them"
                    );
                    warn_if_expired(holder);
                }
                Err(reason) => {
                    tallies.tls_reload_failures.increment();
                    error!(
                        used_by,
                        %reason,
                        "certificates, keys and CAs could not be read again; the old ones stay in use"
                    );
                }
            }
        }
    }
}

fn warn_if_expired(holder: &Holder) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    if let Some(expires_at) = holder.what.expires_at()
        && expires_at <= now
    {
        let used_by = holder.name.as_str();
        warn!(
            used_by,
            expires_at, "the certificate has expired; others will refuse it"
        );
    }
}

fn acceptor_settings(listen: &ListenSettings) -> Option<AcceptorSettings> {
    let (certificate, key) = listen.tls_certificate.clone().zip(listen.tls_key.clone())?;
    // Checked with the settings: whoever asks for certificates has a CA to verify them with.
    let ca = listen.tls_client_ca.clone();
    Some(AcceptorSettings {
        certificate,
        key,
        client_auth: match (listen.tls_auth_clients, ca) {
            (TlsAuthClients::Optional, Some(ca)) => ClientAuth::Optional(ca),
            (TlsAuthClients::Yes, Some(ca)) => ClientAuth::Required(ca),
            (TlsAuthClients::No, _) | (_, None) => ClientAuth::No,
        },
        identity: match listen.tls_auth_clients_user {
            TlsClientUser::Off => IdentityRule::Off,
            TlsClientUser::Cn => IdentityRule::CommonName,
            TlsClientUser::Dns => IdentityRule::Dns,
            TlsClientUser::Uri => IdentityRule::Uri,
            TlsClientUser::Email => IdentityRule::Email,
        },
        min_version: min_version(listen.tls_min_version),
    })
}

fn connector_settings(upstream: &UpstreamSettings) -> ConnectorSettings {
    ConnectorSettings {
        roots: match (upstream.tls_verify, &upstream.tls_ca) {
            (Switch::Off, _) => Roots::Unverified,
            (Switch::On, Some(ca)) => Roots::File(ca.clone()),
            (Switch::On, None) => Roots::System,
        },
        certificate: upstream
            .tls_certificate
            .clone()
            .zip(upstream.tls_key.clone()),
        min_version: min_version(upstream.tls_min_version),
    }
}

fn name_rule(settings: &Settings) -> NameRule {
    match &settings.upstream.tls_server_name {
        TlsServerName::Announced => NameRule::Announced,
        TlsServerName::Seed => {
            let seeds = settings.cluster.seeds.iter();
            NameRule::Seeds(seeds.map(|seed| seed.host.as_str().into()).collect())
        }
        TlsServerName::Named(name) => NameRule::Configured(name.as_str().into()),
    }
}

fn min_version(version: TlsVersion) -> MinVersion {
    match version {
        TlsVersion::Tls12 => MinVersion::Tls12,
        TlsVersion::Tls13 => MinVersion::Tls13,
    }
}
