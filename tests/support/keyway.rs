//! The real Keyway program, before a cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use super::client::Client;
use super::eventually::eventually;
use super::ports::Port;
use super::process::{Folder, Process};
use super::servers::{lock, tail};

/// How long it may take until Keyway knows the cluster.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// What to start; see [`Keyway::before`].
#[derive(Debug, Default)]
pub struct KeywayOptions {
    wrapper: Vec<String>,
    sections: BTreeMap<String, Vec<String>>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl KeywayOptions {
    /// Sets a key of the configuration file; the value as TOML has it: `set("proxy.workers", "2")`,
    /// `set("proxy.request_timeout", "\"5s\"")`. A key without a dot stands at the top.
    pub fn set(mut self, key: &str, value: &str) -> KeywayOptions {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let lines = self.sections.entry(section.to_owned()).or_default();
        lines.retain(|line| !line.starts_with(&format!("{name} =")));
        lines.push(format!("{name} = {value}"));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> KeywayOptions {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument of the command line.
    pub fn argument(mut self, argument: &str) -> KeywayOptions {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it through a program that becomes it: `nsenter --net=...`.
    pub fn through(mut self, wrapper: Vec<String>) -> KeywayOptions {
        self.wrapper = wrapper;
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Keyway {
        let keyway = self.launch();
        eventually("keyway is ready", READY_DEADLINE, || keyway.is_ready());
        keyway
    }

    /// Starts it and waits only until its admin port answers: for clusters that do not.
    #[track_caller]
    pub fn start_unready(self) -> Keyway {
        let keyway = self.launch();
        eventually("keyway is live", READY_DEADLINE, || {
            keyway.assert_runs();
            keyway.try_admin("/live").is_some()
        });
        keyway
    }

    /// Starts it and does not wait.
    pub fn launch(self) -> Keyway {
        let (port, admin_port) = (Port::lease(), Port::lease());
        let loopback = |port: &Port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let (addr, admin_addr) = (loopback(&port), loopback(&admin_port));
        let options = self
            .set("listen.address", &format!("\"{addr}\""))
            .set("admin.address", &format!("\"{admin_addr}\""));
        let mut text = String::new();
        for (section, lines) in &options.sections {
            if !section.is_empty() {
                writeln!(text, "[{section}]").expect("a string takes text");
            }
            writeln!(text, "{}", lines.join("\n")).expect("a string takes text");
        }
        let folder = Folder::new("keyway");
        let config = folder.path().join("keyway.toml");
        std::fs::write(&config, text).expect("our own folder can be written");
        let mut program = options.wrapper;
        program.push("env".to_owned());
        // What is set for the tests themselves (`KEYWAY_TEST_SECONDS`) is no configuration.
        let inherited = std::env::vars().map(|(name, _)| name);
        for name in inherited.filter(|name| name.starts_with("KEYWAY_")) {
            program.extend(["-u".to_owned(), name]);
        }
        let environment = options.environment.iter();
        program.extend(environment.map(|(name, value)| format!("{name}={value}")));
        program.push(env!("CARGO_BIN_EXE_keyway").to_owned());
        program.extend(["--config".to_owned(), config.display().to_string()]);
        program.extend(options.arguments);
        let process = Process::start(&program, &folder.path().join("keyway.log"))
            .expect("the keyway program can be started");
        Keyway {
            addr,
            admin_addr,
            program,
            process: Mutex::new(process),
            folder,
            _ports: [port, admin_port],
        }
    }
}

/// A running Keyway. When the test fails, the end of its log is printed.
#[derive(Debug)]
pub struct Keyway {
    addr: SocketAddr,
    admin_addr: SocketAddr,
    program: Vec<String>,
    process: Mutex<Process>,
    folder: Folder,
    _ports: [Port; 2],
}

impl Keyway {
    /// Options for a Keyway before these nodes, with one worker.
    pub fn before(seeds: &[SocketAddr]) -> KeywayOptions {
        let seeds: Vec<_> = seeds.iter().map(|addr| format!("\"{addr}\"")).collect();
        KeywayOptions::default()
            .set("cluster.seeds", &format!("[{}]", seeds.join(", ")))
            .set("proxy.workers", "1")
    }

    /// Starts one before these nodes and waits until it is ready.
    #[track_caller]
    pub fn start(seeds: &[SocketAddr]) -> Keyway {
        Keyway::before(seeds).start()
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the admin port is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// A new client.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A new client that speaks RESP3.
    #[track_caller]
    pub fn client_resp3(&self) -> Client {
        let mut client = self.client();
        let hello = client.call("HELLO 3");
        assert!(!hello.is_error(), "HELLO 3: {hello}");
        client
    }

    /// The status and body of a GET on the admin port.
    #[track_caller]
    pub fn admin(&self, path: &str) -> (u16, String) {
        self.try_admin(path)
            .unwrap_or_else(|| panic!("no answer to GET {path} at {}", self.admin_addr))
    }

    fn try_admin(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin_addr).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: keyway\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Whether `/ready` says yes.
    pub fn is_ready(&self) -> bool {
        self.assert_runs();
        matches!(self.try_admin("/ready"), Some((200, _)))
    }

    /// The value of a metric: of the line that begins with this name (and labels), or the sum of
    /// all series when only the name is given. 0 when there is none.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("/metrics");
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with([' ', '{']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        lock(&self.process).pid()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        lock(&self.process).resident_bytes()
    }

    /// The most resident memory so far, in bytes.
    pub fn most_resident_bytes(&self) -> u64 {
        lock(&self.process).most_resident_bytes()
    }

    /// CPU time used so far, user and system together.
    pub fn cpu_time(&self) -> Duration {
        let (user, system) = lock(&self.process).cpu_time();
        user + system
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        lock(&self.process).open_files()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        lock(&self.process).signal(signal);
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(30))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&self, deadline: Duration) -> ExitStatus {
        lock(&self.process).wait(deadline)
    }

    /// SIGKILL: nothing is drained and nobody is told.
    pub fn kill(&self) {
        lock(&self.process).kill();
    }

    /// Starts it again after its end, with the same settings and ports, and waits until it is ready.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        *lock(&self.process) =
            Process::start(&self.program, &self.log_path()).expect("it could be started before");
        eventually("keyway is ready again", READY_DEADLINE, || self.is_ready());
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        lock(&self.process).poll_exit().is_some()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Its configuration file.
    pub fn config_path(&self) -> std::path::PathBuf {
        self.folder.path().join("keyway.toml")
    }

    pub(super) fn log_path(&self) -> std::path::PathBuf {
        self.folder.path().join("keyway.log")
    }

    #[track_caller]
    fn assert_runs(&self) {
        if let Some(status) = lock(&self.process).poll_exit() {
            panic!("keyway ended with {status}:\n{}", self.log());
        }
    }
}

impl Drop for Keyway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of keyway's log:\n{}", tail(&self.log_path(), 40));
        }
    }
}
