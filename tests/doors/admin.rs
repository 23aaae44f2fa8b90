//! The admin port.

use std::io::{Read, Write};
use std::process::Command;

use super::connect_from;
use super::support::tls::{Authority, TlsClient, TlsOptions, quoted};
use super::support::{FakeCluster, Keyway};

fn get(keyway: &Keyway, path: &str, token: &str) -> String {
    let mut stream = connect_from(1, keyway.admin_addr());
    let authorization = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"
    )
    .expect("connected");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_token_protects_what_tells_something() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("admin.token", "\"open-sesame\"")
        .start();
    for path in ["/metrics", "/topology", "/nonsense"] {
        for token in ["", "nonsense", "open-sesame2"] {
            let answer = get(&keyway, path, token);
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path} {answer}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        }
    }
    assert!(get(&keyway, "/metrics", "open-sesame").contains("keyway_ready 1"));
    assert!(get(&keyway, "/topology", "open-sesame").starts_with("HTTP/1.1 200 "));
    assert!(get(&keyway, "/ready", "").starts_with("HTTP/1.1 200 "));
    assert!(get(&keyway, "/live", "").starts_with("HTTP/1.1 200 "));
    assert!(!keyway.log().contains("open-sesame"));
}

#[test]
fn pages_over_tls_and_the_health_check() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let pair = authority.issue("admin");
    let keyway = Keyway::before(&fake.seeds())
        .set("admin.tls_certificate", &quoted(&pair.certificate))
        .set("admin.tls_key", &quoted(&pair.key))
        .launch();
    let health = || {
        Command::new(env!("CARGO_BIN_EXE_keyway"))
            .env_clear()
            .args(["--health", "--config"])
            .arg(keyway.config_path())
            .output()
            .expect("the program runs")
    };
    super::support::eventually("the health check says yes", super::DEADLINE, || {
        health().status.success()
    });
    assert_eq!(String::from_utf8_lossy(&health().stdout), "ready\n");
    // A container's health check is not given the file: that it is TLS is found out.
    let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
        .env_clear()
        .env("KEYWAY_ADMIN", keyway.admin_addr().to_string())
        .arg("--health")
        .output()
        .expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\n");
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let mut client = TlsClient::connect(keyway.admin_addr(), &options);
    let stream = client.stream();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("connected");
    let mut answer = Vec::new();
    // Whether it ends with TLS' farewell does not matter here.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("keyway_tls_certificate_expiry_timestamp_seconds{used_by=\"admin\"}"));
    let mut plain = connect_from(1, keyway.admin_addr());
    plain
        .write_all(b"GET /ready HTTP/1.1\r\n\r\n")
        .expect("connected");
    assert!(!super::read_to_end(&mut plain).contains("200"));
}

/// The token is a secret like others: read anew. What is read at start only is told by name.
#[test]
fn a_new_token_counts_at_once_and_what_does_not_is_told() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("admin.token", "\"first-token\"")
        .set("limits.max_clients", "100")
        .start();
    let is_shown = |token| get(&keyway, "/metrics", token).starts_with("HTTP/1.1 200 ");
    assert!(is_shown("first-token") && !is_shown("second-token"));
    let config = std::fs::read_to_string(keyway.config_path()).expect("it was started with it");
    let change = |config: &str| std::fs::write(keyway.config_path(), config).expect("ours");
    let config = config.replace("first-token", "second-token");
    change(&config);
    super::support::eventually("the new token counts", super::DEADLINE, || {
        is_shown("second-token")
    });
    assert!(!is_shown("first-token") && !is_shown(""));
    assert!(!keyway.log().contains("read at start only"));
    change(&config.replace("max_clients = 100", "max_clients = 99\ntls_handshakes = 9"));
    super::support::eventually("it is told", super::DEADLINE, || {
        let log = keyway.log();
        log.contains("keys=\"limits.max_clients limits.tls_handshakes\"")
            && log.contains("read at start only")
    });
    // The token may go as well.
    change(&config.replace("token = \"second-token\"", ""));
    super::support::eventually("none is asked for", super::DEADLINE, || is_shown(""));
    assert!(!keyway.log().contains("-token"));
}

/// Connections that never say what they want give way to probes.
#[test]
fn silent_connections_do_not_shut_out_probes() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let mut silent: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = connect_from(1, keyway.admin_addr());
            stream.write_all(b"GET /live HT").expect("connected");
            stream
        })
        .collect();
    for _ in 0..3 {
        let asked = std::time::Instant::now();
        assert!(get(&keyway, "/live", "").starts_with("HTTP/1.1 200 "));
        let took = asked.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
    // The oldest have given way, the newest may go on.
    assert_eq!(super::read_to_end(&mut silent[0]), "");
    let last = silent.last_mut().expect("a hundred");
    last.write_all(b"TP/1.1\r\nHost: x\r\n\r\n")
        .expect("connected");
    assert!(super::read_to_end(last).starts_with("HTTP/1.1 200 "));
}
