//! The engine: the workers, and what keeps their topology fresh.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use super::learn::{self, LearnSettings};
use super::refresh::{self, RefreshParts, RefreshSettings};
use super::replica_watch::{self, ReplicaWatchSettings};
use super::start::{Engine, EngineParts};
use crate::cluster::{Database, Endpoint};
use crate::config::{HostPort, ListenSettings, Settings};
use crate::net::Liveness;
use crate::telemetry::clock::{now_us, started_at};
use crate::upstream::UpstreamTls;
use crate::upstream::handshake::{self, SharedCredentials};
use crate::worker::core::WorkerLimits;
use crate::worker::hub::Audience;
use crate::worker::hub::MESSAGE_COPIES_PER_TURN;
use crate::worker::monitors::Handovers;
use crate::worker::pacing::FIRST_REPLY_BYTES;
use crate::worker::passing::WINDOW_BYTES;
use crate::worker::scrutiny::SharedPause;
use crate::worker::upload_flow::UPLOAD_WINDOW_BYTES;
use crate::worker::{
    ArrivalSettings, LearntCell, ListenerFacts, LocalFacts, RefreshRequests, RefusedLogins,
    ReplicaFacts, ScriptCache, SharedAcl, TopologyCell, WorkerContext, spawn,
};

/// So long a server may take to tell its commands at least.
const LEARN_TIMEOUT: Duration = Duration::from_secs(5);

/// Spawns the workers and the refresher.
///
/// # Errors
/// The system gives no thread or no runtime.
pub fn start(parts: EngineParts) -> io::Result<Engine> {
    let EngineParts {
        settings,
        seats,
        address_map,
        zones,
        resend_lost_writes,
        entrances,
        upstream_tls,
        config_file,
        doors,
        credentials,
        identities,
        tallies,
        lifecycle,
    } = parts;
    let address_map = Arc::new(address_map);
    let upstream = upstream_settings(&settings, credentials, upstream_tls);
    let topology = Arc::new(TopologyCell::default());
    let refresh = Arc::new(RefreshRequests::default());
    let local = Arc::new(LocalFacts {
        listeners: settings.all_listeners().map(listener_facts).collect(),
        cross_slot_reads: settings.compatibility.cross_slot_reads,
        cross_slot_transactions: settings.compatibility.cross_slot_transactions,
        cross_slot_blocking: settings.compatibility.cross_slot_blocking,
        resend_lost_writes,
        clients_max: settings.limits.max_clients,
        run_id: run_id(),
        executable: path_of_program(),
        config_file,
        workers: seats.iter().map(|seat| Arc::clone(&seat.tallies)).collect(),
        last_client: AtomicU64::new(0),
        started_us: started_us(),
        acl: SharedAcl::new(settings.acl.log_entries, settings.acl.auth_failures),
        pause: SharedPause::default(),
        handovers: Handovers::new(seats.len()),
        audience: Audience::default(),
        refused_logins: RefusedLogins::default(),
        identity_mode: settings.upstream.identity,
    });
    #[expect(
        clippy::disallowed_methods,
        reason = "bounded by the clients: each has at most as many questions open as requests"
    )]
    let (senders, receivers): (Vec<_>, Vec<_>) =
        seats.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let workers: Arc<[_]> = senders.into();
    let (replicas, _) = watch::channel(Arc::new(ReplicaFacts::default()));
    let learnt = Arc::new(LearntCell::default());
    let scripts = Arc::new(ScriptCache::new(settings.limits.script_cache_bytes));
    for (seat, notes) in seats.into_iter().zip(receivers) {
        spawn(WorkerContext {
            index: seat.index,
            accepted: seat.accepted,
            lifecycle: seat.lifecycle,
            tallies: seat.tallies,
            limits: limits(&settings),
            upstream: upstream.clone(),
            arrivals: ArrivalSettings {
                entrances: Arc::clone(&entrances),
                timeout: settings.timeouts.client_handshake,
                max: settings.limits.tls_handshakes,
            },
            address_map: Arc::clone(&address_map),
            topology: Arc::clone(&topology),
            replicas: replicas.subscribe(),
            refresh: Arc::clone(&refresh),
            local: Arc::clone(&local),
            scripts: Arc::clone(&scripts),
            learnt: Arc::clone(&learnt),
            doors: Arc::clone(&doors),
            identities: Arc::clone(&identities),
            identity_idle: settings.upstream.identity_idle,
            notes,
            workers: Arc::clone(&workers),
        })?;
    }
    if settings.reads_replicas() {
        let watch_settings = ReplicaWatchSettings {
            lag_max: settings.cluster.replica_lag_max,
            own_zone: settings.cluster.zone.as_deref().map(Arc::from),
            zones,
            upstream: upstream.clone(),
            response_timeout: settings.upstream.connect_timeout,
        };
        tokio::spawn(replica_watch::run(
            watch_settings,
            Arc::clone(&topology),
            replicas,
            Arc::clone(&tallies),
            lifecycle.clone(),
        ));
    }
    let learn_settings = LearnSettings {
        upstream: upstream.clone(),
        // A long reply, which nobody is in a hurry for.
        response_timeout: settings.upstream.connect_timeout.max(LEARN_TIMEOUT),
        commands_max: settings.limits.learnt_commands,
    };
    tokio::spawn(learn::run(
        learn_settings,
        Arc::clone(&topology),
        learnt,
        lifecycle.clone(),
    ));
    let refresh_settings = RefreshSettings {
        seeds: settings.cluster.seeds.iter().map(endpoint).collect(),
        address_map,
        upstream,
        interval: settings.cluster.refresh_interval,
        response_timeout: settings.upstream.connect_timeout,
    };
    let refresh_parts = RefreshParts {
        cell: Arc::clone(&topology),
        requests: refresh,
        tallies,
        now_us,
    };
    tokio::spawn(refresh::run(refresh_settings, refresh_parts, lifecycle));
    let mut versions = topology.subscribe();
    Ok(Engine {
        topology: Box::new(move || topology.load()),
        first_topology: Box::pin(async move {
            if versions.wait_for(|version| *version > 0).await.is_err() {
                // Nobody publishes any more: the process is ending.
                std::future::pending::<()>().await;
            }
        }),
    })
}

fn listener_facts(listen: &ListenSettings) -> ListenerFacts {
    ListenerFacts {
        advertise: listen.advertise.as_ref().map(endpoint),
        listen: listen.address,
        cluster_view: listen.cluster_view,
        read_policy: listen.read_policy,
        read_policy_by_name: listen.read_policy_by_name.clone(),
        read_your_writes: listen.read_your_writes,
    }
}

fn endpoint(configured: &HostPort) -> Endpoint {
    Endpoint {
        host: configured.host.as_str().into(),
        port: configured.port,
    }
}

fn upstream_settings(
    settings: &Settings,
    credentials: SharedCredentials,
    tls: Option<Arc<UpstreamTls>>,
) -> handshake::Settings {
    let upstream = &settings.upstream;
    handshake::Settings {
        timeout: upstream.connect_timeout + settings.timeouts.handshake,
        liveness: Liveness {
            keepalive: upstream.tcp_keepalive,
            user_timeout: upstream.tcp_user_timeout,
        },
        credentials,
        tls,
        database: Database::FIRST,
    }
}

fn limits(settings: &Settings) -> WorkerLimits {
    let (limits, timeouts) = (&settings.limits, &settings.timeouts);
    WorkerLimits {
        request_timeout_us: timeouts.request.as_micros() as u64,
        argument_bytes: limits.argument_bytes as i64,
        request_bytes: limits.query_buffer_bytes,
        requests_in_flight_per_client: limits.requests_in_flight_per_client,
        client_output_soft_bytes: limits.client_output_soft_bytes,
        client_output_hard_bytes: limits.client_output_hard_bytes,
        outbox_bytes: limits.outbox_bytes,
        key_shapes: limits.key_shapes,
        stream_threshold_bytes: limits.stream_threshold_bytes,
        upload_threshold_bytes: limits.stream_threshold_bytes,
        stream_buffer_bytes: limits.stream_buffer_bytes,
        stream_window_bytes: WINDOW_BYTES,
        bulk_connections: limits.bulk_connections,
        cross_slot_read_bytes: limits.cross_slot_read_bytes,
        transaction_bytes: limits.transaction_bytes,
        client_idle_us: timeouts.client_idle.as_micros() as u64,
        authentication_us: timeouts.authentication.as_micros() as u64,
        large_value_us: timeouts.large_value.as_micros() as u64,
        upload_window_bytes: UPLOAD_WINDOW_BYTES,
        first_reply_bytes: FIRST_REPLY_BYTES,
        request_arrival_us: timeouts.request_arrival.as_micros() as u64,
        replica_timeout_us: settings.cluster.replica_timeout.as_micros() as u64,
        subscriptions_per_client: limits.subscriptions_per_client,
        subscriber_output_hard_bytes: limits.subscriber_output_hard_bytes,
        subscriber_output_soft_bytes: limits.subscriber_output_soft_bytes,
        subscriber_output_soft_us: limits.subscriber_output_soft_time.as_micros() as u64,
        message_copies_per_turn: MESSAGE_COPIES_PER_TURN,
        leases: limits.leases,
        databases: limits.databases,
        lease_queue: limits.lease_queue,
    }
}

/// The wall clock's time at the process clock's zero.
fn started_us() -> u64 {
    let since_epoch = started_at().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |time| time.as_micros() as u64)
}

/// 40 hex digits, as a server's `run_id`.
fn run_id() -> String {
    (0..5)
        .map(|_| format!("{:08x}", fastrand::u32(..)))
        .collect()
}

fn path_of_program() -> String {
    std::env::current_exe()
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}
