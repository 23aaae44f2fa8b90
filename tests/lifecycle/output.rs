//! Nobody reads what is written, or it cannot be written: that ends no proxy, and changes no status.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;
use super::support::ports::Port;
use super::support::process::Folder;
use super::support::{Client, FakeCluster, eventually};

/// A disk without room.
fn full() -> File {
    let file = File::options().write(true).open("/dev/full");
    file.expect("Linux has it")
}

struct Running {
    child: Child,
    addr: SocketAddr,
    admin: SocketAddr,
    _ports: [Port; 2],
}

impl Running {
    fn start(fake: &FakeCluster, stderr: Stdio) -> Running {
        let ports = [Port::lease(), Port::lease()];
        let [addr, admin] = ports
            .each_ref()
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())));
        let child = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .env_clear()
            .env("KEYWAY_SEEDS", fake.seeds()[0].to_string())
            .env("KEYWAY_LISTEN", addr.to_string())
            .env("KEYWAY_ADMIN", admin.to_string())
            .stderr(stderr)
            .spawn()
            .expect("the program can be started");
        Running {
            child,
            addr,
            admin,
            _ports: ports,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let pid = Pid::from_raw(pid).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    }

    /// It serves, reads its settings anew twice, serves still, and stops in order.
    fn check(mut self) {
        eventually("it listens", DEADLINE, || {
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "it ended with {ended:?}");
            std::net::TcpStream::connect(self.addr).is_ok()
        });
        for _ in 0..2 {
            self.signal(Signal::HUP);
            let mut client = Client::connect(self.addr);
            client.send("GET a");
            assert!(!client.read().is_error());
            // The signal is dealt with by another thread.
            client.expect_silence(Duration::from_millis(200));
        }
        self.signal(Signal::TERM);
        let status = self.child.wait().expect("our own child");
        assert_eq!(status.code(), Some(0), "{status:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_full_disk_loses_log_lines_and_no_more() {
    let fake = FakeCluster::start(1);
    Running::start(&fake, full().into()).check();
}

#[test]
fn a_reader_of_the_log_may_leave() {
    let fake = FakeCluster::start(1);
    let mut running = Running::start(&fake, Stdio::piped());
    let mut log = BufReader::new(running.child.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    assert!(!line.is_empty());
    drop(log);
    running.check();
}

/// Fills a pipe to the last byte.
fn fill(pipe: &mut PipeWriter) {
    let flags = fcntl_getfl(&*pipe).expect("our own pipe");
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).expect("our own pipe");
    for piece in [&[b'.'; 4096][..], b"."] {
        while pipe.write(piece).is_ok() {}
    }
    // A program that is started waits where it writes too much.
    fcntl_setfl(&*pipe, flags).expect("our own pipe");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let fake = FakeCluster::start(1);
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    fill(&mut writer);
    let running = Running::start(&fake, writer.into());
    eventually("it listens", DEADLINE, || {
        std::net::TcpStream::connect(running.addr).is_ok()
    });
    let mut client = Client::connect(running.addr);
    client.expect("GET a", "'node-0'");
    let mut page = std::net::TcpStream::connect(running.admin).expect("it listens");
    page.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .expect("it reads");
    let page = std::io::read_to_string(page).expect("text");
    let lost = page
        .split_once("\nkeyway_log_lines_lost_total ")
        .expect("a metric")
        .1;
    assert!(!lost.starts_with('0'), "{page}");
    let log = std::thread::spawn(move || std::io::read_to_string(reader).expect("text"));
    running.check();
    let log = log.join().expect("it reads to the end");
    let lost = "WARN log lines were lost, standard error did not take them lines=";
    assert_eq!(log.matches(lost).count(), 1, "{log}");
    assert!(log.contains("stopped"), "{log}");
}

#[test]
fn the_status_is_what_it_would_have_been() {
    let folder = Folder::new("output");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("our own folder");
        path.display().to_string()
    };
    let right = file("right.toml", "[cluster]\nseeds = [\"localhost:1\"]\n");
    let wrong = file("wrong.toml", "[cluster]\nseed = 1\n");
    // Nobody listens there.
    let port = Port::lease();
    let admin = format!("127.0.0.1:{}", port.number());
    let (reader, broken) = std::io::pipe().expect("a pipe");
    drop(reader);
    let broken = || Stdio::from(broken.try_clone().expect("a pipe"));
    for (file, what, stdout, stderr, expected) in [
        (&right, "--check", full().into(), Stdio::null(), 1),
        (&right, "--check", full().into(), full().into(), 1),
        (&right, "--check", broken(), Stdio::null(), 0),
        (&right, "--health", full().into(), Stdio::null(), 1),
        (&right, "--health", broken(), full().into(), 1),
        (&wrong, "--check", Stdio::null(), full().into(), 2),
        (&wrong, "--check", full().into(), broken(), 2),
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .env_clear()
            .env("KEYWAY_ADMIN", &admin)
            .args(["--config", file, what])
            .stdout(stdout)
            .stderr(stderr)
            .status()
            .expect("the program runs");
        assert_eq!(status.code(), Some(expected), "{file} {what}: {status:?}");
    }
}
