//! The servers, and the subjects before them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyway::cluster::Slot;

use super::plan::file_limit;
use super::support::ports::Port;
use super::support::process::{Folder, Process};
use super::support::{Client, Cluster, ClusterOptions, Server, ServerOptions, eventually};
use super::workloads::{LARGE_BYTES, LARGE_KEYS, SMALL_BYTES, SMALL_KEYS, key, value};

/// How long a subject may take until it passes a request on.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Files a process needs beside its clients' connections.
const OTHER_FILES: usize = 200;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The plain Redis itself: what the load generator and a server reach without any hop.
    Direct,
    /// A proxy in C that reads requests, before the plain Redis.
    Nutcracker,
    /// A relay of bytes that reads nothing, before the plain Redis.
    Haproxy,
    /// Keyway before the plain Redis: what it costs where the others stand.
    Alone,
    /// Another build of Keyway, before the cluster.
    Baseline,
    /// Keyway with one worker, before the cluster.
    Keyway,
}

impl Kind {
    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Nutcracker => "nutcracker",
            Kind::Haproxy => "haproxy",
            Kind::Alone => "keyway, one redis",
            Kind::Baseline => "baseline",
            Kind::Keyway => "keyway",
        }
    }

    /// Whether there is a process between the load and the server.
    pub fn is_proxy(self) -> bool {
        self != Kind::Direct
    }

    /// How many clients it can hold within the limit of open files.
    pub fn clients_max(self) -> usize {
        let files_per_client = match self {
            // It opens a connection to the server for each client.
            Kind::Haproxy => 2,
            Kind::Direct | Kind::Nutcracker | Kind::Alone | Kind::Baseline | Kind::Keyway => 1,
        };
        file_limit().saturating_sub(OTHER_FILES) / files_per_client
    }
}

/// The servers.
pub struct Scene {
    plain: Server,
    cluster: Cluster,
    program: PathBuf,
    baseline: Option<PathBuf>,
}

/// A running subject; ended when this is dropped.
pub struct Subject {
    /// Which one.
    pub kind: Kind,
    /// Where clients connect.
    pub addr: SocketAddr,
    /// None for direct access.
    process: Option<Process>,
    folder: Option<Folder>,
    _ports: Vec<Port>,
}

impl Scene {
    /// Starts the servers and fills them with the same keys. `program` is Keyway, `baseline`
    /// another build of it.
    pub fn start(program: PathBuf, baseline: Option<PathBuf>) -> Scene {
        let cluster = Cluster::start_with(ClusterOptions {
            // A loaded machine must not look like a dead node.
            node_timeout_ms: 15_000,
            ..ClusterOptions::default()
        });
        let plain = Server::start_with(ServerOptions {
            config: vec![format!("maxclients {}", file_limit() - OTHER_FILES)],
            ..ServerOptions::default()
        });
        let scene = Scene {
            plain,
            cluster,
            program,
            baseline,
        };
        scene.fill("small", SMALL_KEYS, SMALL_BYTES);
        scene.fill("large", LARGE_KEYS, LARGE_BYTES);
        scene
    }

    fn fill(&self, prefix: &str, keys: usize, bytes: usize) {
        const BATCH: usize = 1_000;
        let owners = self.cluster.shard_map();
        let mut pending = vec![Vec::new(); self.cluster.nodes().len()];
        let value = value(bytes);
        let write = |server: &Server, commands: &mut Vec<Vec<String>>| {
            server
                .try_pipeline_args(commands)
                .expect("a fresh server takes keys");
            commands.clear();
        };
        let mut all = Vec::new();
        for number in 0..keys {
            let command = vec!["SET".to_owned(), key(prefix, number), value.clone()];
            let owner = owners[Slot::of_key(command[1].as_bytes()).index()];
            pending[owner].push(command.clone());
            all.push(command);
            if pending[owner].len() == BATCH {
                write(self.cluster.node(owner), &mut pending[owner]);
            }
            if all.len() == BATCH {
                write(&self.plain, &mut all);
            }
        }
        for (owner, commands) in pending.iter_mut().enumerate() {
            if !commands.is_empty() {
                write(self.cluster.node(owner), commands);
            }
        }
    }

    /// Starts a subject and waits until both kinds of keys come through it.
    pub fn start_subject(&self, kind: Kind) -> Subject {
        let mut subject = match kind {
            Kind::Direct => Subject {
                kind,
                addr: self.plain.addr(),
                process: None,
                folder: None,
                _ports: Vec::new(),
            },
            Kind::Nutcracker => self.nutcracker(),
            Kind::Haproxy => self.haproxy(),
            Kind::Keyway => self.keyway(kind, &self.program, &self.cluster.seeds()),
            Kind::Alone => self.keyway(kind, &self.program, &[self.plain.addr()]),
            Kind::Baseline => {
                let program = self.baseline.as_ref();
                let program = program.expect("planned only with a program");
                self.keyway(kind, program, &self.cluster.seeds())
            }
        };
        let what = format!("{} passes requests on", kind.name());
        eventually(&what, START_DEADLINE, || subject.serves());
        subject
    }

    fn nutcracker(&self) -> Subject {
        let (port, stats_port, folder) = (Port::lease(), Port::lease(), Folder::new("nutcracker"));
        let file = folder.path().join("nutcracker.yml");
        let config = format!(
            "bench:\n  listen: 127.0.0.1:{}\n  redis: true\n  hash: fnv1a_64\n  \
             distribution: ketama\n  server_connections: 1\n  servers:\n   - {}:1\n",
            port.number(),
            self.plain.addr(),
        );
        std::fs::write(&file, config).expect("our own folder can be written");
        let stats = stats_port.number().to_string();
        let (file, pid_file) = (file.display(), folder.path().join("nutcracker.pid"));
        let (file, pid_file) = (file.to_string(), pid_file.display().to_string());
        // The log goes to standard error, as with the others.
        let program = [
            "nutcracker",
            "-c",
            &file,
            "-o",
            "/dev/stderr",
            "-p",
            &pid_file, //
            "-a",
            "127.0.0.1",
            "-s",
            &stats,
            // From 5 (its default) on it asks for the peer's name at each request, for the log.
            "-v",
            "4",
        ];
        Subject::start(Kind::Nutcracker, &program, folder, vec![port, stats_port])
    }

    fn haproxy(&self) -> Subject {
        let (port, folder) = (Port::lease(), Folder::new("haproxy"));
        let file = folder.path().join("haproxy.cfg");
        let config = format!(
            "global\n  nbthread 1\n  maxconn {}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
             timeout client 1h\n  timeout server 1h\nlisten redis\n  bind 127.0.0.1:{}\n  \
             server plain {}\n",
            Kind::Haproxy.clients_max(),
            port.number(),
            self.plain.addr(),
        );
        std::fs::write(&file, config).expect("our own folder can be written");
        let file = file.display().to_string();
        Subject::start(
            Kind::Haproxy,
            &["haproxy", "-db", "-f", &file],
            folder,
            vec![port],
        )
    }

    fn keyway(&self, kind: Kind, program: &Path, seeds: &[SocketAddr]) -> Subject {
        let (port, folder) = (Port::lease(), Folder::new("keyway"));
        let seeds: Vec<String> = seeds.iter().map(SocketAddr::to_string).collect();
        // strace has to attach. An older program does not know the name.
        let attachable = match kind {
            Kind::Baseline => "BENCH=baseline",
            _ => "KEYWAY_PROXY_CORE_DUMPS=on",
        };
        let program = [
            "env",
            attachable,
            &format!("KEYWAY_SEEDS={}", seeds.join(",")),
            &format!("KEYWAY_LISTEN=127.0.0.1:{}", port.number()),
            "KEYWAY_ADMIN=",
            "KEYWAY_WORKERS=1",
            &program.display().to_string(),
        ];
        Subject::start(kind, &program, folder, vec![port])
    }
}

impl Subject {
    /// The first port is where clients connect.
    fn start(kind: Kind, program: &[&str], folder: Folder, ports: Vec<Port>) -> Subject {
        let words: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
        let process = Process::start(&words, &folder.path().join("log")).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; try scripts/install-servers.sh --bench",
                program[0]
            )
        });
        Subject {
            kind,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0].number())),
            process: Some(process),
            folder: Some(folder),
            _ports: ports,
        }
    }

    fn serves(&mut self) -> bool {
        if let Some(status) = self.process.as_mut().and_then(Process::poll_exit) {
            let folder = self.folder.as_ref().map(|folder| folder.path().join("log"));
            let log = folder.and_then(|log| std::fs::read_to_string(log).ok());
            let name = self.kind.name();
            panic!(
                "{name} ended with {status} (scripts/install-servers.sh --bench installs it):\n{}",
                log.unwrap_or_default()
            );
        }
        let Ok(mut client) = Client::try_connect(self.addr) else {
            return false;
        };
        let mut has = |prefix: &str, bytes: usize| {
            let reply = client.try_call(&["GET", &key(prefix, 0)]);
            reply.is_ok_and(|reply| reply.bytes().is_some_and(|value| value.len() == bytes))
        };
        has("small", SMALL_BYTES) && has("large", LARGE_BYTES)
    }

    /// The proxy's process id; none for direct access.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// CPU time the proxy has used: user and system.
    pub fn cpu_time(&self) -> (Duration, Duration) {
        let none = (Duration::ZERO, Duration::ZERO);
        self.process.as_ref().map_or(none, Process::cpu_time)
    }

    /// The proxy's resident memory.
    pub fn resident_bytes(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::resident_bytes)
    }
}
