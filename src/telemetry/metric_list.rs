//! Every metric: its name, what it means, and where its value is read.
//!
//! This table is the only place that names a metric. The admin page is rendered from it and the
//! README's list is printed from it. To add one: a field in the tallies if nothing counts it yet,
//! and a row here. Labels have few, fixed values; nothing a client sends becomes a label.

use super::logging;
use super::metrics::{Metric, Reading, metric};
use super::worker_tallies::{ErrorKind, LostArrival, PrimaryRead, RedirectKind, SlowClient};

/// Every metric, in the order of the page.
pub static METRICS: &[Metric] = &[
    metric(
        "keyway_build_info",
        Reading::Build,
        "Always 1; the label tells the version.",
    ),
    metric(
        "keyway_ready",
        Reading::ProcessLevel(|from| Some(f64::from(u8::from(from.is_ready)))),
        "1 while /ready answers 200.",
    ),
    metric(
        "keyway_requests_total",
        Reading::Count(|worker| worker.requests.value()),
        "Requests read from clients.",
    ),
    metric(
        "keyway_replies_total",
        Reading::Count(|worker| worker.replies.value()),
        "Replies queued for clients, errors included.",
    ),
    metric(
        "keyway_request_duration_seconds",
        Reading::Latency,
        "From a request's arrival to its node's reply or the error that ended it; each part of one over several slots or nodes counts, what Keyway answers itself does not.",
    ),
    metric(
        "keyway_errors_total",
        Reading::CountByKind(
            || ErrorKind::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.errors.value(kind),
        ),
        "Errors of Keyway's own, by kind, each part of a request for itself; errors of the servers are replies.",
    ),
    metric(
        "keyway_streamed_requests_total",
        Reading::Count(|worker| worker.streamed_requests.value()),
        "Requests with a large value that were passed on in pieces.",
    ),
    metric(
        "keyway_streamed_replies_total",
        Reading::Count(|worker| worker.streamed_replies.value()),
        "Large replies that were passed on in pieces.",
    ),
    metric(
        "keyway_streams_fetched_again_total",
        Reading::Count(|worker| worker.streams_fetched_again.value()),
        "Large replies that were dropped and asked for again, so that other clients did not wait behind them.",
    ),
    metric(
        "keyway_auth_failures_total",
        Reading::Count(|worker| worker.auth_failures.value()),
        "AUTH and HELLO with a wrong password, or a user that is not there or switched off.",
    ),
    metric(
        "keyway_redirects_total",
        Reading::CountByKind(
            || RedirectKind::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.redirects.value(kind),
        ),
        "Redirects and come-again errors from nodes, by kind; clients do not see them.",
    ),
    metric(
        "keyway_replica_reads_total",
        Reading::Count(|worker| worker.replica_reads.value()),
        "Reads sent to replicas.",
    ),
    metric(
        "keyway_primary_reads_total",
        Reading::CountByKind(
            || PrimaryRead::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.primary_reads.value(kind),
        ),
        "Reads of clients with another read policy than primary that were sent to a primary, by reason.",
    ),
    metric(
        "keyway_retries_total",
        Reading::Count(|worker| worker.retries.value()),
        "Requests that were sent again.",
    ),
    metric(
        "keyway_writes_resent_total",
        Reading::Count(|worker| worker.writes_resent.value()),
        "Writes that were sent again although they may have been executed (upstream.resend_lost_writes).",
    ),
    metric(
        "keyway_requests_in_flight",
        Reading::Level(|worker| worker.in_flight.value()),
        "Requests queued for or sent to a node and not yet answered.",
    ),
    metric(
        "keyway_requests_parked",
        Reading::Level(|worker| worker.parked.value()),
        "Requests that wait for a node, for a slot's owner or for the end of a pause.",
    ),
    metric(
        "keyway_tracking_clients",
        Reading::Level(|worker| worker.tracking_clients.value()),
        "Clients that track keys (CLIENT TRACKING) now.",
    ),
    metric(
        "keyway_tracking_invalidations_total",
        Reading::Count(|worker| worker.tracking_invalidations.value()),
        "Invalidations that came from nodes for clients that track keys.",
    ),
    metric(
        "keyway_tracking_flushes_total",
        Reading::Count(|worker| worker.tracking_flushes.value()),
        "How often a client that tracks was told to forget all it cached: a connection was lost or slots moved.",
    ),
    metric(
        "keyway_clients",
        Reading::Level(|worker| worker.clients.value()),
        "Clients connected now.",
    ),
    metric(
        "keyway_clients_max",
        Reading::ProcessLevel(|from| Some(from.max_clients as f64)),
        "The limit of clients (limits.max_clients).",
    ),
    metric(
        "keyway_client_connections_total",
        Reading::ControlCount(|control| control.accepted.value()),
        "Client connections accepted.",
    ),
    metric(
        "keyway_listener_connections_total",
        Reading::Listeners,
        "Client connections accepted, by listener.",
    ),
    metric(
        "keyway_clients_refused_total",
        Reading::ControlCount(|control| control.refused_clients.value()),
        "Client connections refused at the limit of clients.",
    ),
    metric(
        "keyway_connections_refused_total",
        Reading::RefusedConnections,
        "Connections refused by a listener's rules, by kind: network (clients_from, proxy_protocol_from) or address (clients_per_address).",
    ),
    metric(
        "keyway_connections_arriving",
        Reading::Level(|worker| worker.arriving.value()),
        "Connections whose PROXY header or TLS handshake is under way.",
    ),
    metric(
        "keyway_connections_lost_total",
        Reading::CountByKind(
            || LostArrival::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.lost_arrivals.value(kind),
        ),
        "Connections that never became clients, by kind: a failed TLS handshake, a bad PROXY header, too slow, too many.",
    ),
    metric(
        "keyway_tls_handshakes_total",
        Reading::Count(|worker| worker.tls_handshakes.value()),
        "TLS handshakes with clients that succeeded.",
    ),
    metric(
        "keyway_slow_clients_closed_total",
        Reading::CountByKind(
            || SlowClient::ALL.iter().map(|kind| kind.label()).collect(),
            |worker, kind| worker.slow_clients.value(kind),
        ),
        "Clients closed because they did not authenticate (timeouts.authentication), their request did not arrive (timeouts.request_arrival), or they were slow with a large value while others waited for the connection (timeouts.large_value).",
    ),
    metric(
        "keyway_tls_certificate_expiry_timestamp_seconds",
        Reading::Certificates,
        "When the certificate that a listener, upstream or admin shows ends, in seconds since 1970; of a chain, the first to end.",
    ),
    metric(
        "keyway_tls_reloads_total",
        Reading::ControlCount(|control| control.tls_reloads.value()),
        "Times that changed certificates, keys and CAs were read again.",
    ),
    metric(
        "keyway_tls_reload_failures_total",
        Reading::ControlCount(|control| control.tls_reload_failures.value()),
        "Times that they could not be used, and the old ones stayed.",
    ),
    metric(
        "keyway_accept_pauses_total",
        Reading::ControlCount(|control| control.accept_pauses.value()),
        "Pauses of accepting because file descriptors or memory ran out.",
    ),
    metric(
        "keyway_client_read_bytes_total",
        Reading::Count(|worker| worker.client_bytes_in.value()),
        "Bytes read from clients.",
    ),
    metric(
        "keyway_client_written_bytes_total",
        Reading::Count(|worker| worker.client_bytes_out.value()),
        "Bytes written to clients.",
    ),
    metric(
        "keyway_upstream_read_bytes_total",
        Reading::Count(|worker| worker.upstream_bytes_in.value()),
        "Bytes read from nodes.",
    ),
    metric(
        "keyway_upstream_written_bytes_total",
        Reading::Count(|worker| worker.upstream_bytes_out.value()),
        "Bytes written to nodes.",
    ),
    metric(
        "keyway_upstream_connections",
        Reading::Level(|worker| worker.upstream_connections.value()),
        "Connections to nodes open now.",
    ),
    metric(
        "keyway_leases",
        Reading::Level(|worker| worker.leases.value()),
        "Private connections to nodes open now (limits.leases).",
    ),
    metric(
        "keyway_blocked_clients",
        Reading::Level(|worker| worker.blocked_clients.value()),
        "Clients that wait for a blocking command, WAIT or WATCH now.",
    ),
    metric(
        "keyway_paused_clients",
        Reading::Level(|worker| worker.held_back_clients.value()),
        "Clients whose next request waits for the end of CLIENT PAUSE.",
    ),
    metric(
        "keyway_monitor_clients",
        Reading::Level(|worker| worker.monitors.value()),
        "Clients in MONITOR now.",
    ),
    metric(
        "keyway_upstream_connects_total",
        Reading::Count(|worker| worker.upstream_connects.value()),
        "Connections to nodes that were opened.",
    ),
    metric(
        "keyway_upstream_failures_total",
        Reading::Count(|worker| worker.upstream_failures.value()),
        "Connections to nodes that could not be opened or were lost.",
    ),
    metric(
        "keyway_upstream_refusals_total",
        Reading::Count(|worker| worker.upstream_refusals.value()),
        "Connections that a node refused in the handshake, for the user or the password say; they count as failures too.",
    ),
    metric(
        "keyway_subscribers",
        Reading::Level(|worker| worker.subscribers.value()),
        "Clients that are subscribed to a channel, a pattern or a shard channel.",
    ),
    metric(
        "keyway_upstream_subscriptions",
        Reading::Level(|worker| worker.hub_subscriptions.value()),
        "Subscriptions at nodes on behalf of clients: one for each channel and worker.",
    ),
    metric(
        "keyway_upstream_subscription_changes",
        Reading::Level(|worker| worker.hub_changes.value()),
        "Changes of them that the nodes have not confirmed yet.",
    ),
    metric(
        "keyway_identities",
        Reading::Level(|worker| worker.identities.value()),
        "Users besides the service user that have connections to the nodes now, counted in each worker.",
    ),
    metric(
        "keyway_identities_refused_total",
        Reading::Count(|worker| worker.identities_refused.value()),
        "Clients that were not let in because as many users were connected as may be (limits.identities).",
    ),
    metric(
        "keyway_databases",
        Reading::Level(|worker| worker.databases.value()),
        "Databases besides database 0 that have connections to the nodes now, counted for each user and in each worker.",
    ),
    metric(
        "keyway_databases_refused_total",
        Reading::Count(|worker| worker.databases_refused.value()),
        "SELECTs that were refused because as many databases were in use as may be (limits.databases).",
    ),
    metric(
        "keyway_messages_total",
        Reading::Count(|worker| worker.messages.value()),
        "Messages handed to subscribers.",
    ),
    metric(
        "keyway_subscription_gaps_total",
        Reading::Count(|worker| worker.subscription_gaps.value()),
        "Subscriptions at nodes that were interrupted while clients had them; messages may be missing.",
    ),
    metric(
        "keyway_subscribers_closed_total",
        Reading::Count(|worker| worker.slow_subscribers.value()),
        "Subscribers closed because they did not read their messages.",
    ),
    metric(
        "keyway_topology_version",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.version as f64))),
        "Version of the topology in use: each change seen adds 1; 0 while none is known.",
    ),
    metric(
        "keyway_topology_nodes",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.nodes as f64))),
        "Nodes of the topology in use.",
    ),
    metric(
        "keyway_topology_shards",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.shards as f64))),
        "Primaries that own slots.",
    ),
    metric(
        "keyway_topology_slots_owned",
        Reading::ProcessLevel(|from| Some(from.topology.map_or(0.0, |of| of.slots_owned as f64))),
        "Slots that have an owner; 16384 when the cluster is whole.",
    ),
    metric(
        "keyway_replicas_serving",
        Reading::ControlLevel(|control| control.replicas_serving.value()),
        "Replicas that may serve reads; 0 while no read policy wants any.",
    ),
    metric(
        "keyway_replicas_left_out",
        Reading::ControlLevel(|control| control.replicas_left_out.value()),
        "Replicas that lag, load, are cut off or do not answer, and serve no reads.",
    ),
    metric(
        "keyway_topology_refreshes_total",
        Reading::ControlCount(|control| control.refreshes.value()),
        "Topology refreshes that ended with a view of the cluster.",
    ),
    metric(
        "keyway_topology_refresh_failures_total",
        Reading::ControlCount(|control| control.refresh_failures.value()),
        "Topology refreshes that no node answered.",
    ),
    metric(
        "keyway_worker_requests_total",
        Reading::CountOfEach(|worker| worker.requests.value()),
        "Requests read from clients, by worker: how evenly the load lies.",
    ),
    metric(
        "keyway_worker_clients",
        Reading::LevelOfEach(|worker| worker.clients.value()),
        "Clients connected now, by worker.",
    ),
    metric(
        "keyway_log_lines_lost_total",
        Reading::ProcessCount(|_| Some(logging::lines_lost() as f64)),
        "Log lines that standard error did not take: a pipe that nobody reads, a full disk.",
    ),
    metric(
        "process_cpu_seconds_total",
        Reading::ProcessCount(|from| from.process.cpu_seconds),
        "User and system CPU time.",
    ),
    metric(
        "process_resident_memory_bytes",
        Reading::ProcessLevel(|from| from.process.resident_bytes),
        "Resident memory.",
    ),
    metric(
        "process_virtual_memory_bytes",
        Reading::ProcessLevel(|from| from.process.virtual_bytes),
        "Virtual memory.",
    ),
    metric(
        "process_open_fds",
        Reading::ProcessLevel(|from| from.process.open_fds),
        "Open file descriptors.",
    ),
    metric(
        "process_max_fds",
        Reading::ProcessLevel(|from| from.process.max_fds),
        "The limit of open file descriptors.",
    ),
    metric(
        "process_start_time_seconds",
        Reading::ProcessLevel(|from| Some(from.process.start_time_seconds)),
        "When the process started, in seconds since 1970.",
    ),
];
