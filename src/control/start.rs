//! From the command line to a running process.
//!
//! The order is part of the promise: the whole configuration is known good before anything binds, and
//! everything is bound before anything is spawned. A mistake is told on standard error in one place
//! and ends the process with a status that says whose it is.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::admin::{self, AdminSource, SharedToken};
use super::cli::Cli;
use super::secrecy::no_core_dumps;
use super::supervise::{Ending, supervise};
use super::tls::Tls;
use super::users::{self, UsersError};
use super::workers::{WorkerPort, WorkerSeat, seats};
use super::{accept, engine, printed, reload, signals};
use crate::acl::{CommandList, Doors};
use crate::cluster::{AddressMap, AddressMapError, Topology, Zones, ZonesError};
use crate::config::{
    ConfigErrors, Effective, Environment, IdentityMode, ListenSettings, LogFormat, Settings,
    TlsAuthClients, resolve,
};
use crate::net::tls::TlsFileError;
use crate::net::{BindError, Entrance, Lifecycle, Listener, Liveness, raise_file_limit};
use crate::telemetry::{ControlTallies, Tally, clock, logging};
use crate::upstream::handshake::SharedCredentials;
use crate::upstream::{Identities, UpstreamTls};
use crate::worker::DoorsCell;

/// What serves requests, once it runs. Made by [`engine::start`].
pub struct Engine {
    /// The topology in use, once one is known.
    pub topology: Box<dyn Fn() -> Option<Arc<Topology>> + Send + Sync>,
    /// Ends when the first topology is known.
    pub first_topology: Pin<Box<dyn Future<Output = ()>>>,
}

/// What an engine is made from. It is made on the control thread, inside its runtime.
pub struct EngineParts {
    /// The settings.
    pub settings: Arc<Settings>,
    /// A seat for each worker to spawn.
    pub seats: Vec<WorkerSeat>,
    /// Addresses to dial instead of announced ones.
    pub address_map: AddressMap,
    /// The configured zones of nodes.
    pub zones: Zones,
    /// Writes that are sent again although they may have been executed.
    pub resend_lost_writes: CommandList,
    /// The rules of each listener.
    pub entrances: Arc<[Entrance]>,
    /// TLS to the nodes, if they speak it.
    pub upstream_tls: Option<Arc<UpstreamTls>>,
    /// Path of the configuration file; empty without one.
    pub config_file: String,
    /// Users and rules.
    pub doors: Arc<DoorsCell>,
    /// How Keyway presents itself to the nodes.
    pub credentials: SharedCredentials,
    /// As whom users' commands travel.
    pub identities: Arc<Identities>,
    /// Counters for what the engine does on the control thread.
    pub tallies: Arc<ControlTallies>,
    /// Serve, drain or stop.
    pub lifecycle: watch::Receiver<Lifecycle>,
}

/// Why the process does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong; the operator's to mend.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// A rule of the address map makes no sense; the operator's to mend.
    #[error("cluster.address_map: {0}")]
    AddressMap(#[from] AddressMapError),
    /// A zone of a node makes no sense; the operator's to mend.
    #[error("cluster.zones: {0}")]
    Zones(#[from] ZonesError),
    /// A certificate, a key or a CA cannot be used; the operator's to mend.
    #[error("tls: {0}")]
    Tls(#[from] TlsFileError),
    /// Users or rules make no sense; the operator's to mend.
    #[error("{0}")]
    Users(#[from] UsersError),
    /// An address is taken or not ours; the operator's to mend.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The system refused a thread, a timer or a signal handler.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    /// For `map_err`: what was tried when the system refused.
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
        move |source| StartError::System { what, source }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            StartError::Config(_)
            | StartError::AddressMap(_)
            | StartError::Zones(_)
            | StartError::Tls(_)
            | StartError::Users(_) => ExitCode::from(2),
            StartError::Bind(_) | StartError::System { .. } => ExitCode::FAILURE,
        }
    }
}

/// Does what the command line asks for, to the end of the process.
pub fn run(cli: &Cli) -> ExitCode {
    // Sets the clock's zero.
    clock::now_us();
    abort_on_panic();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            printed::mistakes(&error);
            error.exit_code()
        }
    }
}

/// A panic is a bug of ours, and a worker whose state is half changed must not serve on: the process
/// ends at once, so that whoever supervises it starts another.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn dispatch(cli: &Cli) -> Result<ExitCode, StartError> {
    let environment = Environment::of_process();
    let file = cli
        .config
        .clone()
        .or_else(|| environment.config_file().map(PathBuf::from));
    if cli.health {
        return Ok(printed::health(file.as_deref(), &environment));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("start the control thread's runtime"))?;
    let hangup = {
        let _inside = runtime.enter();
        signals::hold_hangup().map_err(StartError::system("listen to signals"))?
    };
    let effective = resolve(file.as_deref(), &environment)?;
    if !effective.settings.core_dumps.is_on() {
        no_core_dumps();
    }
    let address_map = AddressMap::parse(&effective.settings.cluster.address_map)?;
    let zones = Zones::parse(&effective.settings.cluster.zones)?;
    let resent = &effective.settings.upstream.resend_lost_writes;
    let resend_lost_writes = users::command_list("upstream.resend_lost_writes", resent)
        .map_err(|error| UsersError(vec![error]))?;
    let identities = Arc::new(Identities::new(effective.settings.limits.identities));
    let doors = users::doors(&effective.settings, &identities)?;
    if cli.check {
        Tls::load(&effective.settings)?;
        return match printed::settings(&effective) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(StartError::system("print the settings")(error)),
        };
    }
    let files = reload::files_of(&effective);
    let settings = effective.settings.clone();
    match settings.log.format {
        LogFormat::Text => logging::start_text(settings.log.level),
        LogFormat::Json => logging::start_json(settings.log.level),
    }
    let tls = Tls::load(&settings)?;
    tls.warn();
    users::tell(&settings, &doors);
    let found = Found {
        runtime,
        hangup,
        effective,
        file,
        files,
        address_map,
        zones,
        resend_lost_writes,
        doors,
        identities,
        tls,
    };
    serve(settings, found)
}

/// What was made of the settings, and where they come from.
struct Found {
    runtime: Runtime,
    hangup: Signal,
    effective: Effective,
    file: Option<PathBuf>,
    files: Vec<PathBuf>,
    address_map: AddressMap,
    zones: Zones,
    resend_lost_writes: CommandList,
    doors: Doors,
    identities: Arc<Identities>,
    tls: Tls,
}

/// Binds, spawns, and serves until told to stop.
fn serve(mut settings: Settings, found: Found) -> Result<ExitCode, StartError> {
    let Found {
        runtime,
        hangup,
        effective,
        file,
        files,
        address_map,
        zones,
        resend_lost_writes,
        doors,
        identities,
        tls,
    } = found;
    let file_shown = file.as_ref().map(|file| file.display().to_string());
    let listeners = Listeners::bind(&settings, &doors)?;
    fit_clients(&mut settings);
    let settings = Arc::new(settings);
    let ending = runtime.block_on(async {
        let reload = Arc::new(Notify::new());
        let rules = Arc::new(DoorsCell::new(doors));
        let credentials = SharedCredentials::new(reload::credentials(&settings));
        let renewal = Arc::new(Notify::new());
        let stops = signals::listen(hangup, vec![Arc::clone(&reload), Arc::clone(&renewal)])
            .map_err(StartError::system("listen to signals"))?;
        let (lifecycle, _) = watch::channel(Lifecycle::Starting);
        let (seats, ports) = seats(settings.workers, settings.limits.max_clients, &lifecycle);
        let ports: Arc<[WorkerPort]> = ports.into();
        let names = settings.all_listeners().map(|listen| listen.name.clone());
        let tallies = Arc::new(ControlTallies {
            listeners: names.map(|name| (name, Tally::default())).collect(),
            ..ControlTallies::default()
        });
        let mut doors = Vec::new();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            config = file_shown,
            listen = listeners.places(&settings),
            admin = listeners.admin.as_ref().map(Listener::place),
            workers = settings.workers,
            "started"
        );
        for (number, listener) in listeners.clients {
            let door = listener
                .open()
                .map_err(StartError::system("watch a listener"))?;
            doors.push(door.of_listener(number));
        }
        let engine = engine::start(EngineParts {
            settings: Arc::clone(&settings),
            seats,
            address_map,
            zones,
            resend_lost_writes,
            entrances: Arc::clone(&tls.entrances),
            upstream_tls: tls.upstream.clone(),
            config_file: file_shown.unwrap_or_default(),
            doors: Arc::clone(&rules),
            credentials: credentials.clone(),
            identities: Arc::clone(&identities),
            tallies: Arc::clone(&tallies),
            lifecycle: lifecycle.subscribe(),
        })
        .map_err(StartError::system("start the workers"))?;

        let reloader = tls.reloader(settings.tls.reload_interval);
        tokio::spawn(reloader.run(renewal, Arc::clone(&tallies), lifecycle.subscribe()));
        let token = settings.admin.token.clone().map(Arc::new);
        let token: SharedToken = Arc::new(ArcSwapOption::new(token));
        let reloaded = reload::Reloaded {
            file,
            files,
            settings: Arc::clone(&settings),
            started: effective,
            listeners: settings.all_listeners().cloned().collect(),
            doors: rules,
            credentials,
            identities,
            token: Arc::clone(&token),
        };
        tokio::spawn(reload::run(reloaded, reload, lifecycle.subscribe()));
        if let Some(listener) = listeners.admin {
            let door = listener
                .open()
                .map_err(StartError::system("watch the admin listener"))?;
            let source = AdminSource {
                lifecycle: lifecycle.subscribe(),
                topology: engine.topology,
                workers: ports
                    .iter()
                    .map(|port| Arc::clone(port.tallies()))
                    .collect(),
                control: Arc::clone(&tallies),
                max_clients: settings.limits.max_clients,
                certificates: Box::new(tls.certificates()),
                entrances: Arc::clone(&tls.entrances),
                token,
            };
            tokio::spawn(admin::run(door, tls.admin, Arc::new(source)));
        }
        tokio::spawn(accept::run(
            doors,
            Arc::clone(&ports),
            tls.entrances,
            settings.limits.max_clients,
            tallies,
            lifecycle.subscribe(),
        ));
        Ok::<_, StartError>(
            supervise(
                &lifecycle,
                &ports,
                stops,
                engine.first_topology,
                settings.timeouts.drain,
            )
            .await,
        )
    });
    // A look-up of a name holds a thread for as long as the system's resolver likes. Nobody waits for what it says.
    runtime.shutdown_background();
    Ok(match ending? {
        Ending::Drained => ExitCode::SUCCESS,
        Ending::CutShort | Ending::WorkerLost => ExitCode::FAILURE,
    })
}

fn liveness(listen: &ListenSettings) -> Liveness {
    Liveness {
        keepalive: listen.tcp_keepalive,
        user_timeout: listen.tcp_user_timeout,
    }
}

/// Every socket the process listens on.
struct Listeners {
    /// Each with the number of its listener in the configuration.
    clients: Vec<(u16, Listener)>,
    admin: Option<Listener>,
}

impl Listeners {
    fn bind(settings: &Settings, doors: &Doors) -> Result<Listeners, BindError> {
        let mut clients = Vec::new();
        for (number, listen) in (0..).zip(settings.all_listeners()) {
            if let Some(address) = listen.address {
                let listener = Listener::bind_tcp(address, listen.backlog, liveness(listen))?;
                clients.push((number, listener));
                let users = &doors.of_listener(number).users;
                let shows_certificate = listen.tls_auth_clients == TlsAuthClients::Yes;
                let is_open = !users.wants_authentication() && !shows_certificate;
                if !address.ip().is_loopback() && is_open {
                    let name = &listen.name;
                    warn!(%address, listener = name, "clients of other hosts need no password");
                }
            }
            if let Some(path) = &listen.unix_socket {
                let listener = Listener::bind_unix(path, listen.unix_socket_mode, listen.backlog)?;
                clients.push((number, listener));
            }
        }
        let admin = match settings.admin.address {
            Some(address) => {
                if !address.ip().is_loopback() && settings.admin.token.is_none() {
                    warn!(%address, "the admin pages are open to other hosts and ask for no token");
                }
                Some(Listener::bind_tcp(
                    address,
                    ADMIN_BACKLOG,
                    liveness(&settings.listen),
                )?)
            }
            None => None,
        };
        Ok(Listeners { clients, admin })
    }

    /// For the log: each place, with name and policy where there are several listeners.
    fn places(&self, settings: &Settings) -> String {
        let place = |(number, listener): &(u16, Listener)| {
            let of = settings.all_listeners().nth(usize::from(*number));
            match of.filter(|_| !settings.listeners.is_empty()) {
                Some(of) => format!(
                    "{} ({}, reads: {})",
                    listener.place(),
                    of.name,
                    of.read_policy.name()
                ),
                None => listener.place(),
            }
        };
        let places: Vec<String> = self.clients.iter().map(place).collect();
        places.join(" ")
    }
}

/// Scrapes and probes that may wait.
const ADMIN_BACKLOG: usize = 64;
/// File descriptors beside the clients': listeners, admin connections, logs, epoll.
const FILES_OF_PROCESS: usize = 64;
/// File descriptors of a worker beside its clients': its connections to the nodes, a few each.
const FILES_OF_WORKER: usize = 64;

/// The same for each user, and each database, that has connections of its own.
const FILES_OF_IDENTITY: usize = 8;

/// So many users may have connections of their own.
fn identities(settings: &Settings) -> usize {
    match settings.upstream.identity {
        IdentityMode::PassThrough => settings.limits.identities,
        IdentityMode::Service => {
            let users = settings.users.iter();
            users.filter(|user| user.upstream.is_some()).count()
        }
    }
}

/// Raises the limit of open files to hold as many clients as are allowed. When the system does not let
/// it, fewer clients are allowed, as Redis does it: clients that took the last descriptors would leave
/// none for connections to the nodes.
fn fit_clients(settings: &mut Settings) {
    let sets = identities(settings) + settings.limits.databases;
    let of_worker = FILES_OF_WORKER + sets * FILES_OF_IDENTITY;
    let reserve = FILES_OF_PROCESS + settings.workers * of_worker;
    let wanted = settings.limits.max_clients;
    let limit = raise_file_limit((wanted + reserve) as u64);
    let Some(allowed) = limit.allowed.filter(|_| !limit.is_enough()) else {
        return;
    };
    let max_clients = clients_that_fit(usize::try_from(allowed).unwrap_or(usize::MAX), reserve);
    settings.limits.max_clients = max_clients;
    warn!(
        max_clients,
        wanted,
        open_files_allowed = allowed,
        open_files_needed = limit.needed,
        "fewer clients are allowed, the limit of open files is too low; raise it (ulimit -n)"
    );
}

/// So many clients leave `reserve` file descriptors free; where there are hardly any, half of them.
fn clients_that_fit(allowed: usize, reserve: usize) -> usize {
    allowed.saturating_sub(reserve).max(allowed / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_room_for_the_nodes() {
        for (allowed, reserve, expected) in [
            (1024, 128, 896),
            (200, 128, 100),
            (100, 128, 50),
            (1, 128, 1),
        ] {
            assert_eq!(clients_that_fit(allowed, reserve), expected, "{allowed}");
        }
    }
}
