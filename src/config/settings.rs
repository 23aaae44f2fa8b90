//! The settings as used, and the one place where keys are declared.
//!
//! A line `name: Type = Kind("default"), help` is everything about a key: from it come the field, the
//! row of [`KEYS`], the environment names, the error texts, and the check of the example file.
//! Without a default in the brackets the key may be left out when its kind says so, else it is
//! required.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use super::key::sections;
use super::kind::{
    Bytes, ClusterView, Count, CrossSlotBlocking, CrossSlotReads, CrossSlotTransactions, FilePath,
    HostAndPort, HostPort, IdentityMode, List, ListenAddress, LogFormat, Mode, Network, OneOf,
    Optional, Pairs, Password, PolicyByName, ReadPolicy, ServerNameRule, Several, SocketPath,
    Switch, Text, Time, TlsAuthClients, TlsClientUser, TlsServerName, TlsVersion, Workers,
};
use super::resolve::Values;
use super::secret::Secret;
use super::users::UserSettings;

/// Everything that is configured, checked and in its final units.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many worker threads, at least 1.
    pub workers: usize,
    /// Whether a crash may leave a core dump.
    pub core_dumps: Switch,
    /// Where clients connect.
    pub listen: ListenSettings,
    /// Further listeners, each with its own rules.
    pub listeners: Vec<ListenSettings>,
    /// Who may come in, besides the user of each listener.
    pub users: Vec<UserSettings>,
    /// More about them.
    pub acl: AclSettings,
    /// The cluster behind.
    pub cluster: ClusterSettings,
    /// Connections to its nodes.
    pub upstream: UpstreamSettings,
    /// How long things may take.
    pub timeouts: TimeoutSettings,
    /// How much things may hold.
    pub limits: LimitSettings,
    /// What a cluster refuses and Keyway may do all the same.
    pub compatibility: CompatibilitySettings,
    /// The admin port.
    pub admin: AdminSettings,
    /// Certificates, wherever they are used.
    pub tls: TlsSettings,
    /// Log lines.
    pub log: LogSettings,
}

/// The section of the first listener.
pub(super) const LISTEN: &str = "listen";
/// The array of tables of further listeners, each with the keys of [`LISTEN`].
pub(super) const LISTENERS: &str = "listeners";

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const KB: usize = 1 << 10;
const MB: usize = 1 << 20;
const GB: usize = 1 << 30;

sections! {
    /// The process.
    proxy: ProxySettings {
        /// Worker threads. "auto" is the CPUs this process may use: affinity and the container's
        /// quota counted, rounded down, at least 1.
        workers: usize = Workers("auto") short "KEYWAY_WORKERS",
        /// Whether a crash may leave a core dump, with all secrets in it: "on" or "off". "on" also lets
        /// the same user attach a debugger or strace.
        core_dumps: Switch = OneOf<Switch>("off"),
    }

    /// Where clients connect.
    listen: ListenSettings {
        /// Its name in log lines and metrics.
        name: String = Text("main"),
        /// IP address and port that clients connect to; "" for none (then unix_socket is needed).
        address: Option<SocketAddr> = Optional<ListenAddress>("127.0.0.1:6379") short "KEYWAY_LISTEN",
        /// Path of a Unix socket that clients connect to, as well or instead; "" for none.
        unix_socket: Option<PathBuf> = Optional<SocketPath>(""),
        /// Permissions of the Unix socket, octal.
        unix_socket_mode: u32 = Mode("0700"),
        /// Connections that may wait to be accepted (the kernel caps it at net.core.somaxconn).
        backlog: usize = Count<1, 65535>("1024"),
        /// Idle time after which TCP asks whether a client is still there; "0s" for never.
        tcp_keepalive: Duration = Time<0, { 24 * HOUR }>("300s"),
        /// How long replies may stay unacknowledged by a client's host until the client is closed; "0s" leaves
        /// it to the system.
        tcp_user_timeout: Duration = Time<0, { 24 * HOUR }>("0s"),
        /// The user name that clients give with AUTH or HELLO beside the password.
        username: String = Text("default"),
        /// The password that clients must give; left out, clients need none.
        password: Option<Secret> = Password short "KEYWAY_PASSWORD",
        /// The host:port that clients are told when they ask for the cluster's nodes; left out, the
        /// address they connected to.
        advertise: Option<HostPort> = Optional<HostAndPort>(""),
        /// What clients that ask for the cluster see: "single", this Keyway as one node that owns
        /// all slots, or "nodes", the real nodes at their mapped addresses.
        cluster_view: ClusterView = OneOf<ClusterView>("single"),
        /// Which nodes serve reads: "primary", "prefer-replica", "any" (primary and replicas alike),
        /// "lowest-latency" or "same-zone".
        read_policy: ReadPolicy = OneOf<ReadPolicy>("primary") short "KEYWAY_READ_POLICY",
        /// Another policy for clients whose name (CLIENT SETNAME) fits a pattern; the first that fits
        /// decides.
        read_policy_by_name: Vec<(String, ReadPolicy)> = PolicyByName(""),
        /// After a client's write its reads in that part of the key space go to the primary for this
        /// long; "0s" for not.
        read_your_writes: Duration = Time<0, HOUR>("0s"),
        /// PEM file of the certificate, and those between it and the root; with it the listener's
        /// address speaks TLS and nothing else. "" for plain.
        tls_certificate: Option<PathBuf> = Optional<FilePath>(""),
        /// PEM file of the certificate's key.
        tls_key: Option<PathBuf> = Optional<FilePath>(""),
        /// PEM file of the certificates that clients' certificates are signed with.
        tls_client_ca: Option<PathBuf> = Optional<FilePath>(""),
        /// Whether clients show certificates: "no", "optional", or "yes": without one nobody gets in.
        tls_auth_clients: TlsAuthClients = OneOf<TlsAuthClients>("no"),
        /// Which part of a client's certificate is its user: "off", "cn", or the first "dns", "uri" or
        /// "email" of the alternative names. If there is a user of that name, it needs no password.
        tls_auth_clients_user: TlsClientUser = OneOf<TlsClientUser>("off"),
        /// The oldest version of TLS that is spoken: "1.2" or "1.3".
        tls_min_version: TlsVersion = OneOf<TlsVersion>("1.2"),
        /// Networks that clients may come from; none for any.
        clients_from: Vec<IpNet> = Several<Network>(""),
        /// Networks of load balancers that put a PROXY header (v1 or v2) before each connection;
        /// nobody else may connect then.
        proxy_protocol_from: Vec<IpNet> = Several<Network>(""),
        /// Clients that one address may have connected at the same time; 0 for any number.
        clients_per_address: usize = Count<0, 1_000_000>("0"),
        /// New connections per second that are accepted; more wait. 0 for any number.
        connections_per_second: usize = Count<0, 1_000_000>("0"),
        /// Commands that clients of this listener may not use, whoever they are: names, sub-commands as
        /// "config|set", categories as "@dangerous".
        deny: Vec<String> = Several<Text>(""),
        /// Commands that they may use all the same: exceptions from deny, and operator commands that are
        /// refused otherwise.
        allow: Vec<String> = Several<Text>(""),
    }

    /// Users and what they may do, besides [[users]].
    acl: AclSettings {
        /// Path of a file with further users, as Redis writes it (aclfile); "" for none.
        file: Option<PathBuf> = Optional<FilePath>(""),
        /// Denials that ACL LOG remembers (Redis: acllog-max-len).
        log_entries: usize = Count<0, 100_000>("128"),
        /// Wrong passwords from one address at once; beyond, its next one is looked at when a second has
        /// passed for each. 0 for no limit.
        auth_failures: usize = Count<0, 1_000_000>("10"),
    }

    /// The cluster behind.
    cluster: ClusterSettings {
        /// Nodes to ask first, host:port; one that answers is enough.
        seeds: Vec<HostPort> = List<HostAndPort> short "KEYWAY_SEEDS",
        /// How often the topology is asked for when nothing happens; any sign of change asks at once.
        refresh_interval: Duration = Time<100, HOUR>("1s"),
        /// Addresses to dial instead of those the cluster announces: host:port, host or CIDR on both
        /// sides.
        address_map: Vec<(String, String)> = Pairs(""),
        /// The zone this Keyway runs in, for the policy "same-zone"; "" for none.
        zone: Option<String> = Optional<Text>("") short "KEYWAY_ZONE",
        /// The zones of nodes by host name, address or CIDR; a node that is not named has the zone
        /// that it reports itself (availability-zone).
        zones: Vec<(String, String)> = Pairs(""),
        /// A replica that is further behind its primary serves no reads.
        replica_lag_max: Duration = Time<100, HOUR>("10s"),
        /// A replica that does not answer reads for this long loses them to other nodes.
        replica_timeout: Duration = Time<10, HOUR>("1s"),
    }

    /// Connections to the cluster's nodes.
    upstream: UpstreamSettings {
        /// The ACL user to authenticate as; left out, the default user.
        username: Option<String> = Optional<Text>("") short "KEYWAY_UPSTREAM_USERNAME",
        /// The password to authenticate with; left out, Keyway sends no AUTH.
        password: Option<Secret> = Password short "KEYWAY_UPSTREAM_PASSWORD",
        /// Tried when a node does not take the first, so that passwords can be changed without an outage.
        second_password: Option<Secret> = Password,
        /// As whom the commands of clients go to the nodes: "service", this user, or the one that their [[users]]
        /// table names; or "pass-through", as whom they say to be, if the nodes agree.
        identity: IdentityMode = OneOf<IdentityMode>("service"),
        /// The connections of a user that no client is any more, or of a database that none has selected, are closed
        /// after this time.
        identity_idle: Duration = Time<{ SECOND }, { 24 * HOUR }>("60s"),
        /// How long connecting to a node may take, name look-up included.
        connect_timeout: Duration = Time<10, MINUTE>("1s"),
        /// Idle time after which TCP asks whether a node is still there; "0s" for never.
        tcp_keepalive: Duration = Time<0, { 24 * HOUR }>("15s"),
        /// How long requests may stay unacknowledged by a node's host until the connection is given up;
        /// "0s" leaves it to the system.
        tcp_user_timeout: Duration = Time<0, { 24 * HOUR }>("30s"),
        /// Writes that are sent again when the connection was lost before their reply came, although they may have
        /// been executed: names, or categories as "@string". Others get "outcome unknown".
        resend_lost_writes: Vec<String> = Several<Text>(""),
        /// Whether nodes are spoken to with TLS: "on" or "off".
        tls: Switch = OneOf<Switch>("off"),
        /// PEM file of the CA certificates that nodes' certificates are signed with; "" for the
        /// system's roots.
        tls_ca: Option<PathBuf> = Optional<FilePath>(""),
        /// PEM file of the certificate that is shown to nodes; "" for none.
        tls_certificate: Option<PathBuf> = Optional<FilePath>(""),
        /// PEM file of that certificate's key.
        tls_key: Option<PathBuf> = Optional<FilePath>(""),
        /// The name that a node's certificate must be for: "announced" (what the node announces, or
        /// where it is dialled), "seed" (the hosts of the seeds, for every node), or a name.
        tls_server_name: TlsServerName = ServerNameRule("announced"),
        /// Whether nodes' certificates are verified: "on", or "off" for tests: whoever sits on the way
        /// can then read and change everything.
        tls_verify: Switch = OneOf<Switch>("on"),
        /// The oldest version of TLS that is spoken: "1.2" or "1.3".
        tls_min_version: TlsVersion = OneOf<TlsVersion>("1.2"),
    }

    /// How long things may take.
    timeouts: TimeoutSettings {
        /// From a request's arrival to its reply or error, waits and retries included.
        request: Duration = Time<10, HOUR>("20s"),
        /// After connecting, how long a node may take to answer the handshake.
        handshake: Duration = Time<10, MINUTE>("2s"),
        /// How long clients have to finish after SIGTERM.
        drain: Duration = Time<0, HOUR>("10s"),
        /// A client that sends nothing for this long is closed; "0s" for never.
        client_idle: Duration = Time<0, { 24 * HOUR }>("0s"),
        /// How long a client may take for the TLS handshake and the PROXY header.
        client_handshake: Duration = Time<100, HOUR>("10s"),
        /// A client that must authenticate and has not within this time is closed; "0s" for never.
        authentication: Duration = Time<0, HOUR>("30s"),
        /// How long a request may take to arrive, and a second more for each 64 KB of it; "0s" for any
        /// time.
        request_arrival: Duration = Time<0, HOUR>("60s"),
        /// How long a client may hold a connection for large values while others wait for one, and a second
        /// more for each 64 KB that it took or sent; "0s" for any time.
        large_value: Duration = Time<0, HOUR>("5s"),
    }

    /// How much things may hold.
    limits: LimitSettings {
        /// Clients connected at the same time, over all workers.
        max_clients: usize = Count<1, 1_000_000>("10000"),
        /// Connections of each worker whose TLS handshake or PROXY header is under way; with one more
        /// the oldest is closed.
        tls_handshakes: usize = Count<1, 1_000_000>("1024"),
        /// The largest argument of a request (Redis: proto-max-bulk-len).
        argument_bytes: usize = Bytes<MB, GB>("512mb"),
        /// The largest request as a whole (Redis: client-query-buffer-limit).
        query_buffer_bytes: usize = Bytes<MB, GB>("1gb"),
        /// Requests of one client that may wait for replies; more are not read until some arrive.
        requests_in_flight_per_client: usize = Count<1, 1_000_000>("1024"),
        /// A client that left this many reply bytes unread is not read until it takes some.
        client_output_soft_bytes: usize = Bytes<{ 4 * KB }, GB>("1mb"),
        /// A client that left this many reply bytes unread is closed.
        client_output_hard_bytes: usize = Bytes<{ 64 * KB }, { 64 * GB }>("1gb"),
        /// Request bytes held for one connection to a node, unsent or unanswered; who fills it is
        /// not read until it empties.
        outbox_bytes: usize = Bytes<{ 64 * KB }, GB>("8mb"),
        /// Bodies of scripts, over all workers, that nodes which lack them are given; those least
        /// recently used leave. "0" keeps none.
        script_cache_bytes: usize = Bytes<0, GB>("16mb"),
        /// Commands that Keyway does not know by itself (modules, newer servers) and learns from the
        /// servers, over the life of the process; 0 for none.
        learnt_commands: usize = Count<0, 100_000>("4096"),
        /// For learnt commands whose keys only the servers can tell: answers that each worker
        /// remembers. When there are so many all are forgotten.
        key_shapes: usize = Count<0, 1_000_000>("1024"),
        /// Users whose connections live at the same time with upstream.identity = "pass-through"; one more is not
        /// let in.
        identities: usize = Count<1, 100_000>("100"),
        /// Databases besides database 0 that the clients of each worker may have selected at the same time, counted for
        /// each user that has connections of its own; SELECT of one more is an error. 0 for none.
        databases: usize = Count<0, 100_000>("16"),
        /// Private connections to nodes that each worker may have, for clients that block (BLPOP,
        /// WAIT), watch, or track keys.
        leases: usize = Count<1, 1_000_000>("10000"),
        /// Clients of one worker that may wait for a private connection; more get an error at once.
        lease_queue: usize = Count<0, 1_000_000>("1000"),
        /// Channels, patterns and shard channels that one client may be subscribed to.
        subscriptions_per_client: usize = Count<1, 10_000_000>("100000"),
        /// A subscriber or monitor that left this many bytes unread is closed (Redis:
        /// client-output-buffer-limit pubsub).
        subscriber_output_hard_bytes: usize = Bytes<{ 64 * KB }, { 64 * GB }>("32mb"),
        /// A subscriber that left this many bytes unread for subscriber_output_soft_time is closed.
        subscriber_output_soft_bytes: usize = Bytes<{ 4 * KB }, { 64 * GB }>("8mb"),
        /// How long a subscriber may have subscriber_output_soft_bytes unread.
        subscriber_output_soft_time: Duration = Time<0, HOUR>("60s"),
        /// What a client may queue between MULTI and EXEC; a command beyond is refused, and so is EXEC.
        transaction_bytes: usize = Bytes<{ 64 * KB }, GB>("1gb"),
        /// A longer reply, or the value of a write to one key, is passed on in pieces and never held whole.
        stream_threshold_bytes: usize = Bytes<{ 4 * KB }, GB>("256kb"),
        /// Bytes of such replies that each worker holds for clients that do not take them, so that others
        /// need not wait behind them; a reply that does not fit gets a connection of its own. "0" for all.
        stream_buffer_bytes: usize = Bytes<0, { 64 * GB }>("16mb"),
        /// Connections to one node that each worker may have for what is too large to share one.
        bulk_connections: usize = Count<1, 100_000>("32"),
        /// What one read over several slots may fetch from the nodes (compatibility.cross_slot_reads);
        /// beyond, the client gets an error.
        cross_slot_read_bytes: usize = Bytes<{ 64 * KB }, GB>("64mb"),
    }

    /// What one server does and a cluster refuses, because the keys are in several slots.
    compatibility: CompatibilitySettings {
        /// SUNION, ZUNION, PFCOUNT and the like over several slots: "refuse" with CROSSSLOT, or
        /// "emulate": computed here from the parts, not atomic.
        cross_slot_reads: CrossSlotReads = OneOf<CrossSlotReads>("refuse"),
        /// MULTI over several slots: "refuse" with CROSSSLOT, or "split": one atomic block for each
        /// slot, not atomic across slots.
        cross_slot_transactions: CrossSlotTransactions = OneOf<CrossSlotTransactions>("refuse"),
        /// BLPOP and the like over several slots: "refuse" with CROSSSLOT, or "poll": the keys are
        /// asked in turn. So are those of XREAD, LMPOP and the like that do not block.
        cross_slot_blocking: CrossSlotBlocking = OneOf<CrossSlotBlocking>("refuse"),
    }

    /// The admin port: /live, /ready, /metrics, /topology.
    admin: AdminSettings {
        /// IP address and port of the admin pages; "" for none.
        address: Option<SocketAddr> = Optional<ListenAddress>("127.0.0.1:9121") short "KEYWAY_ADMIN",
        /// What /metrics and /topology want as `Authorization: Bearer`; left out, nothing.
        token: Option<Secret> = Password,
        /// PEM file of a certificate; with it the admin port speaks TLS. "" for plain.
        tls_certificate: Option<PathBuf> = Optional<FilePath>(""),
        /// PEM file of the certificate's key.
        tls_key: Option<PathBuf> = Optional<FilePath>(""),
    }

    /// Certificates, keys and CAs, wherever they are used.
    tls: TlsSettings {
        /// How often files are looked at, and read again when they changed; "0s" for on SIGHUP only.
        reload_interval: Duration = Time<0, HOUR>("10s"),
    }

    /// Log lines, on standard error.
    log: LogSettings {
        /// "text" for people or "json", one object a line.
        format: LogFormat = OneOf<LogFormat>("text"),
        /// The least important lines that are written.
        level: LevelFilter = OneOf<LevelFilter>("info"),
    }
}

impl Settings {
    /// Joins the sections.
    pub(super) fn from_sections(
        sections: Sections,
        listeners: Vec<ListenSettings>,
        users: Vec<UserSettings>,
    ) -> Settings {
        Settings {
            workers: sections.proxy.workers,
            core_dumps: sections.proxy.core_dumps,
            listen: sections.listen,
            listeners,
            users,
            acl: sections.acl,
            cluster: sections.cluster,
            upstream: sections.upstream,
            timeouts: sections.timeouts,
            limits: sections.limits,
            compatibility: sections.compatibility,
            admin: sections.admin,
            tls: sections.tls,
            log: sections.log,
        }
    }

    /// Whether any client's reads may go to replicas.
    pub fn reads_replicas(&self) -> bool {
        self.all_listeners().any(|listener| {
            let by_name = listener.read_policy_by_name.iter();
            let mut policies = by_name
                .map(|(_, policy)| policy)
                .chain([&listener.read_policy]);
            policies.any(|policy| *policy != ReadPolicy::Primary)
        })
    }

    /// Every listener, the first one first.
    pub fn all_listeners(&self) -> impl Iterator<Item = &ListenSettings> {
        std::iter::once(&self.listen).chain(&self.listeners)
    }
}
