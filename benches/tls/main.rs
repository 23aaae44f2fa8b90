//! What does TLS cost, on each side, and what does haproxy take for the same?
//!
//! `make bench-tls` starts one Redis with a plain and a TLS port, puts Keyway (one worker) and haproxy (one
//! thread) before it, plain or TLS on either side, and drives each with redis-benchmark in rounds. Told is the
//! CPU time of the proxy's process for each request, the median over the rounds. Everything is on loopback, TLS
//! 1.3 with AES-256-GCM or what both sides prefer, ECDSA P-256 certificates; connections stay, so handshakes do
//! not count, which are told by themselves at the end.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use support::ports::Port;
use support::process::{Folder, Process};
use support::tls::{Authority, Pair, TlsClient, TlsOptions};
use support::{Client, Server, ServerOptions, eventually};

/// Each subject: its name, whether clients come over TLS, whether it goes to the server over TLS.
const SUBJECTS: [(&str, bool, bool); 8] = [
    ("keyway", false, false),
    ("keyway", true, false),
    ("keyway", false, true),
    ("keyway", true, true),
    ("haproxy", false, false),
    ("haproxy", true, false),
    ("haproxy", false, true),
    ("haproxy", true, true),
];

/// Each workload: its name, the command, the pipeline, the requests of one run.
const WORKLOADS: [(&str, &[&str], usize, u64); 4] = [
    ("GET 64 B, pipeline 1", &["GET", "small"], 1, 60_000),
    ("GET 64 B, pipeline 16", &["GET", "small"], 16, 400_000),
    ("GET 16 KiB, pipeline 1", &["GET", "large"], 1, 30_000),
    ("SET 16 KiB, pipeline 1", &["SET", "large"], 1, 30_000),
];

const HANDSHAKES: u32 = 2_000;

struct Scene {
    server: Server,
    tls_port: Port,
    authority: Authority,
    pair: Pair,
    program: PathBuf,
}

struct Subject {
    addr: SocketAddr,
    process: Process,
    is_tls: bool,
    _folder: Folder,
    _port: Port,
}

fn main() {
    let rounds = std::env::var("BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(5, |text| text.parse().expect("a number of rounds"));
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let program = std::env::var("BENCH_PROGRAM").expect("`make bench-tls` names the program");
    let scene = Scene::start(program.into());
    let mut subjects: Vec<Subject> = SUBJECTS
        .iter()
        .map(|(name, front, back)| scene.subject(name, *front, *back))
        .collect();
    println!("CPU time of the proxy for each request, in us; median of {rounds} rounds\n");
    print!("{:24}", "");
    for (name, front, back) in SUBJECTS {
        let side = |is_tls| if is_tls { "tls" } else { "plain" };
        print!(" {:>19}", format!("{name} {}-{}", side(front), side(back)));
    }
    println!();
    let chosen = WORKLOADS.iter().filter(|(what, ..)| what.contains(&only));
    for (what, command, pipeline, requests) in chosen.copied() {
        let mut samples = vec![Vec::new(); subjects.len()];
        for _ in 0..rounds {
            for (subject, samples) in subjects.iter().zip(&mut samples) {
                samples.push(scene.drive(subject, command, pipeline, requests));
            }
        }
        print!("{what:24}");
        for samples in &mut samples {
            samples.sort_by(f64::total_cmp);
            print!(" {:>19.1}", samples[samples.len() / 2]);
        }
        println!();
    }
    println!("\nCPU time of the proxy for each new connection with a handshake and a PING, in us");
    for (index, (name, front, _)) in SUBJECTS.iter().enumerate().filter(|(_, of)| of.1 && !of.2) {
        assert!(front);
        println!("{name}: {:.0}", scene.handshakes(&subjects[index]));
    }
    for subject in &mut subjects {
        subject.process.kill();
    }
}

impl Scene {
    fn start(program: PathBuf) -> Scene {
        let authority = Authority::new("bench CA");
        let pair = authority.issue("bench");
        let tls_port = Port::lease();
        let server = Server::start_with(ServerOptions {
            config: vec![
                format!("tls-port {}", tls_port.number()),
                format!("tls-cert-file {}", pair.certificate.display()),
                format!("tls-key-file {}", pair.key.display()),
                format!("tls-ca-cert-file {}", authority.ca().display()),
                "tls-auth-clients no".to_owned(),
            ],
            ..ServerOptions::default()
        });
        server.ok(&format!("SET small {}", "x".repeat(64)));
        server.ok(&format!("SET large {}", "x".repeat(16 << 10)));
        Scene {
            server,
            tls_port,
            authority,
            pair,
            program,
        }
    }

    fn subject(&self, name: &str, front: bool, back: bool) -> Subject {
        let (port, folder) = (Port::lease(), Folder::new(name));
        let upstream_port = match back {
            true => self.tls_port.number(),
            false => self.server.port(),
        };
        let words = match name {
            "keyway" => self.keyway(&port, upstream_port, front, back),
            _ => self.haproxy(&folder, &port, upstream_port, front, back),
        };
        let process = Process::start(&words, &folder.path().join("log"));
        let subject = Subject {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())),
            process: process.expect("scripts/install-servers.sh --bench installs haproxy"),
            is_tls: front,
            _folder: folder,
            _port: port,
        };
        eventually("the subject serves", Duration::from_secs(20), || {
            let length = match front {
                true => TlsClient::try_connect(subject.addr, &self.options())
                    .and_then(|mut client| client.try_call("GET small")),
                false => Client::try_connect(subject.addr)
                    .and_then(|mut client| client.try_call(&["GET", "small"])),
            };
            length.is_ok_and(|value| value.bytes().is_some_and(|bytes| bytes.len() == 64))
        });
        subject
    }

    fn keyway(&self, port: &Port, upstream: u16, front: bool, back: bool) -> Vec<String> {
        let mut words = vec![
            "env".to_owned(),
            format!("KEYWAY_SEEDS=127.0.0.1:{upstream}"),
            format!("KEYWAY_LISTEN=127.0.0.1:{}", port.number()),
            "KEYWAY_ADMIN=".to_owned(),
            "KEYWAY_WORKERS=1".to_owned(),
        ];
        if front {
            let (certificate, key) = (self.pair.certificate.display(), self.pair.key.display());
            words.push(format!("KEYWAY_LISTEN_TLS_CERTIFICATE={certificate}"));
            words.push(format!("KEYWAY_LISTEN_TLS_KEY={key}"));
        }
        if back {
            words.push("KEYWAY_UPSTREAM_TLS=on".to_owned());
            let ca = self.authority.ca();
            words.push(format!("KEYWAY_UPSTREAM_TLS_CA={}", ca.display()));
        }
        words.push(self.program.display().to_string());
        words
    }

    fn haproxy(
        &self,
        folder: &Folder,
        port: &Port,
        upstream: u16,
        front: bool,
        back: bool,
    ) -> Vec<String> {
        let read = |path| std::fs::read_to_string(path).expect("just written");
        let both = folder.path().join("both.pem");
        let pem = read(&self.pair.certificate) + &read(&self.pair.key);
        std::fs::write(&both, pem).expect("our own folder can be written");
        let bind = match front {
            true => format!(" ssl crt {}", both.display()),
            false => String::new(),
        };
        let server = match back {
            true => format!(
                " ssl ca-file {} verify required",
                self.authority.ca().display()
            ),
            false => String::new(),
        };
        let config = format!(
            "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
             timeout server 1h\nlisten redis\n  bind 127.0.0.1:{}{bind}\n  server redis \
             127.0.0.1:{upstream}{server}\n",
            port.number(),
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("our own folder can be written");
        let file = file.display().to_string();
        ["haproxy", "-db", "-f", &file].map(str::to_owned).to_vec()
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            ca: self.authority.ca(),
            ..TlsOptions::default()
        }
    }

    /// CPU time for each request, in microseconds.
    fn drive(&self, subject: &Subject, command: &[&str], pipeline: usize, requests: u64) -> f64 {
        let mut benchmark = Command::new("redis-benchmark");
        benchmark
            .args(["-h", "127.0.0.1", "-p", &subject.addr.port().to_string()])
            .args(["-c", "50", "-P", &pipeline.to_string()])
            .args(["-n", &requests.to_string(), "-q"]);
        if subject.is_tls {
            benchmark
                .args(["--tls", "--cacert"])
                .arg(self.authority.ca());
        }
        benchmark.args(command);
        if command[0] == "SET" {
            benchmark.arg("x".repeat(16 << 10));
        }
        let before = cpu(subject);
        let output = benchmark.output().expect("redis-benchmark can be started");
        assert!(output.status.success(), "{output:?}");
        (cpu(subject) - before).as_secs_f64() * 1e6 / requests as f64
    }

    /// CPU time for each connection, in microseconds.
    fn handshakes(&self, subject: &Subject) -> f64 {
        let before = cpu(subject);
        let began = Instant::now();
        for _ in 0..HANDSHAKES {
            TlsClient::connect(subject.addr, &self.options()).expect("PING", "+PONG");
        }
        eprintln!(
            "{HANDSHAKES} handshakes one after another in {:?}",
            began.elapsed()
        );
        (cpu(subject) - before).as_secs_f64() * 1e6 / f64::from(HANDSHAKES)
    }
}

fn cpu(subject: &Subject) -> Duration {
    let (user, system) = subject.process.cpu_time();
    user + system
}
