//! One real Redis or Valkey server, alone or as a node of a [`Cluster`](super::Cluster).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rustix::process::Signal;

use super::client::{Client, encode, words};
use super::eventually::eventually;
use super::ports::Port;
use super::process::{Folder, Process};
use super::value::Value;

/// How long a server may take to answer its first PING.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// `redis-server`
    Redis,
    /// `valkey-server`
    Valkey,
}

impl Flavor {
    /// Both, for tests that run against each.
    pub const ALL: [Flavor; 2] = [Flavor::Redis, Flavor::Valkey];

    /// The program's name, looked up on the path.
    pub fn program(self) -> &'static str {
        match self {
            Flavor::Redis => "redis-server",
            Flavor::Valkey => "valkey-server",
        }
    }

    /// The version the program prints, `7.0.15`.
    pub fn version(self) -> String {
        let output = Command::new(self.program())
            .arg("--version")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}; {HINT}", self.program()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("v="));
        version.unwrap_or_default().to_owned()
    }

    /// Whether the program is of this version or a later one; for what its versions do differently.
    pub fn is_since(self, major: u32, minor: u32) -> bool {
        static VERSIONS: [OnceLock<(u32, u32)>; 2] = [OnceLock::new(), OnceLock::new()];
        let version = VERSIONS[self as usize].get_or_init(|| {
            let version = self.version();
            let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
        });
        *version >= (major, minor)
    }
}

const HINT: &str = "scripts/install-servers.sh installs the servers the tests need";

/// How a server is started. `Default` is a standalone Redis without persistence.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Which program.
    pub flavor: Flavor,
    /// Whether it is a cluster node.
    pub cluster: bool,
    /// `requirepass`, and what `masterauth` gives.
    pub password: Option<String>,
    /// More lines for its configuration file; they win over ours.
    pub config: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            flavor: Flavor::Redis,
            cluster: false,
            password: None,
            config: Vec::new(),
        }
    }
}

/// A running, stopped or killed server. Its port and folder stay the same through restarts.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    port: Port,
    folder: Folder,
    process: Mutex<Option<Process>>,
    control: Mutex<Option<Client>>,
    paused: AtomicBool,
}

impl Server {
    /// Starts a standalone server and waits until it answers.
    pub fn start(flavor: Flavor) -> Server {
        Server::start_with(ServerOptions {
            flavor,
            ..ServerOptions::default()
        })
    }

    /// Starts one with these options and waits until it answers.
    pub fn start_with(options: ServerOptions) -> Server {
        let server = Server::spawn(options, |_| Vec::new());
        server.wait_until_it_answers();
        server
    }

    /// Starts one and does not wait; `more` gives configuration lines that need the port.
    pub(super) fn spawn(
        mut options: ServerOptions,
        more: impl FnOnce(u16) -> Vec<String>,
    ) -> Server {
        let port = Port::lease();
        options.config.extend(more(port.number()));
        let server = Server {
            folder: Folder::new(options.flavor.program()),
            port,
            options,
            process: Mutex::new(None),
            control: Mutex::new(None),
            paused: AtomicBool::new(false),
        };
        server.launch();
        server
    }

    fn launch(&self) {
        let file = self.folder.path().join("server.conf");
        std::fs::write(&file, self.configuration()).expect("our own folder can be written");
        let program = [
            self.options.flavor.program().to_owned(),
            file.display().to_string(),
        ];
        let process = Process::start(&program, &self.log_path())
            .unwrap_or_else(|error| panic!("{}: {error}; {HINT}", program[0]));
        *lock(&self.process) = Some(process);
    }

    pub(super) fn wait_until_it_answers(&self) {
        eventually(
            "a started server answers PING",
            START_DEADLINE,
            || match self.process_mut(Process::poll_exit) {
                Some(status) => panic!("server ended with {status}:\n{}", self.log_tail()),
                None => self
                    .try_call("PING")
                    .is_ok_and(|reply| reply.to_string() == "+PONG"),
            },
        );
    }

    fn configuration(&self) -> String {
        let mut text = String::new();
        let mut line = |words: &str| writeln!(text, "{words}").expect("a string takes text");
        line(&format!("port {}", self.port.number()));
        line("bind 127.0.0.1");
        line("protected-mode no");
        line("daemonize no");
        line("save \"\"");
        line("appendonly no");
        line(&format!("dir {}", self.folder.path().display()));
        if self.options.flavor.is_since(7, 0) {
            line("enable-debug-command yes");
        }
        line("repl-diskless-sync yes");
        line("repl-diskless-sync-delay 0");
        line("repl-ping-replica-period 1");
        if self.options.cluster {
            line("cluster-enabled yes");
            line("cluster-config-file nodes.conf");
        }
        if let Some(password) = &self.options.password {
            line(&format!("requirepass {password}"));
            line(&format!("masterauth {password}"));
        }
        for more in &self.options.config {
            line(more);
        }
        text
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port.number())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its folder: configuration, log, `nodes.conf`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id; panics after a kill.
    pub fn pid(&self) -> u32 {
        self.process_mut(|process| process.pid())
    }

    /// A new connection to it, authenticated where it wants that.
    pub fn client(&self) -> Client {
        self.try_client()
            .unwrap_or_else(|error| panic!("connect to {}: {error}", self.addr()))
    }

    fn try_client(&self) -> io::Result<Client> {
        let mut client = Client::try_connect(self.addr())?.with_patience(Duration::from_secs(10));
        if let Some(password) = &self.options.password {
            client.try_call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Sends a command on the connection kept for the test's own use; panics when it is lost.
    #[track_caller]
    pub fn call(&self, command: &str) -> Value {
        self.try_call(command)
            .unwrap_or_else(|error| panic!("{} to {}: {error}", command, self.addr()))
    }

    /// As [`Server::call`]; panics on an error reply as well.
    #[track_caller]
    pub fn ok(&self, command: &str) -> Value {
        let reply = self.call(command);
        assert!(!reply.is_error(), "{command} to {}: {reply}", self.addr());
        reply
    }

    /// Sends a command on the connection kept for the test's own use.
    pub fn try_call(&self, command: &str) -> io::Result<Value> {
        Ok(self.try_pipeline(&[command])?.remove(0))
    }

    /// Sends commands in one write, on the connection kept for the test's own use.
    pub fn try_pipeline<S: AsRef<str>>(&self, commands: &[S]) -> io::Result<Vec<Value>> {
        let commands: Vec<_> = commands.iter().map(|line| words(line.as_ref())).collect();
        self.try_pipeline_args(&commands)
    }

    /// As [`Server::try_pipeline`], with each command as its arguments.
    pub fn try_pipeline_args<A: AsRef<[u8]>>(&self, commands: &[Vec<A>]) -> io::Result<Vec<Value>> {
        let mut control = lock(&self.control);
        // Taken out, so that a connection that failed is not used again.
        let mut client = match control.take() {
            Some(client) => client,
            None => self.try_client()?,
        };
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        client.stream().write_all(&bytes)?;
        let replies: io::Result<Vec<Value>> = commands.iter().map(|_| client.try_read()).collect();
        if replies.is_ok() {
            *control = Some(client);
        }
        replies
    }

    /// SIGKILL, and waits until the kernel has closed its sockets.
    pub fn kill(&self) {
        lock(&self.control).take();
        self.process_mut(Process::kill);
        self.paused.store(false, Ordering::Relaxed);
    }

    /// SIGTERM: the server ends in order.
    pub fn terminate(&self) {
        lock(&self.control).take();
        self.process_mut(|process| {
            process.signal(Signal::TERM);
            process.wait(Duration::from_secs(10));
        });
    }

    /// SIGSTOP: the sockets stay open and nothing answers.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
        self.process_mut(|process| process.signal(Signal::STOP));
    }

    /// SIGCONT after [`Server::pause`].
    pub fn resume(&self) {
        self.process_mut(|process| process.signal(Signal::CONT));
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Starts it again after a kill, with the same port and folder, and waits until it answers.
    pub fn restart(&self) {
        self.kill();
        self.launch();
        self.wait_until_it_answers();
    }

    /// Whether the process is there (a paused one is).
    pub fn is_running(&self) -> bool {
        self.process_mut(|process| process.poll_exit().is_none())
    }

    /// Whether it can answer: running and not paused.
    pub fn is_responsive(&self) -> bool {
        self.is_running() && !self.paused.load(Ordering::Relaxed)
    }

    /// The password it wants.
    pub fn password(&self) -> Option<&str> {
        self.options.password.as_deref()
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        tail(&self.log_path(), 30)
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.folder.path().join("server.log")
    }

    fn process_mut<T>(&self, act: impl FnOnce(&mut Process) -> T) -> T {
        act(lock(&self.process)
            .as_mut()
            .expect("a server is launched when it is made"))
    }
}

/// The last lines of a file.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A test that panicked elsewhere must still be able to clean up.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
