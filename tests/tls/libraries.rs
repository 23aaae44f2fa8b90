//! Other people's clients over TLS on both sides, with certificates of their own.

use std::path::Path;
use std::process::Command;

use super::support::tls::{Authority, Pair, TlsCluster, quoted};
use super::support::{Flavor, Keyway};
use super::with_listener;

struct Stage {
    _scene: TlsCluster,
    keyway: Keyway,
    authority: Authority,
    client: Pair,
}

fn stage() -> Stage {
    let scene = TlsCluster::start(Flavor::Redis, true);
    let authority = Authority::new("the clients' CA");
    let upstream = scene.authority.issue("keyway");
    let users = authority.folder().join("users.acl");
    std::fs::write(&users, "user client on nopass ~* &* +@all\n").expect("ours");
    let keyway = with_listener(Keyway::before(&scene.seeds()), &authority.issue("keyway"))
        .set("listen.tls_client_ca", &quoted(&authority.ca()))
        .set("listen.tls_auth_clients", "\"yes\"")
        .set("listen.tls_auth_clients_user", "\"cn\"")
        .set("acl.file", &quoted(&users))
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .set("upstream.tls", "\"on\"")
        .set("upstream.tls_ca", &quoted(&scene.authority.ca()))
        .set("upstream.tls_certificate", &quoted(&upstream.certificate))
        .set("upstream.tls_key", &quoted(&upstream.key))
        .start();
    let client = authority.issue("client");
    Stage {
        _scene: scene,
        keyway,
        authority,
        client,
    }
}

/// Runs a program with the port, the CA, the certificate and the key as arguments, and wants it to succeed.
#[track_caller]
fn run(stage: &Stage, mut command: Command) {
    let output = command
        .arg(stage.keyway.addr().port().to_string())
        .arg(stage.authority.ca())
        .args([&stage.client.certificate, &stage.client.key])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the program can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("all is well"),
        "{command:?}\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the libraries of this language could not be installed here; the test is skipped then, and says so.
fn is_missing(language: &str) -> bool {
    let note = root().join(format!("target/clients/{language}.missing"));
    let reason = std::fs::read_to_string(note);
    if let Ok(reason) = &reason {
        eprintln!("SKIPPED, {language} clients: {reason}");
    }
    reason.is_ok()
}

#[test]
fn programs_that_speak_tls() {
    let stage = stage();
    redis_cli(&stage);
    if !is_missing("python") {
        let mut command = Command::new(root().join("target/clients/python/bin/python"));
        command.arg(root().join("tests/tls/check.py"));
        run(&stage, command);
    }
    if !is_missing("node") {
        let mut command = Command::new("node");
        command
            .arg(root().join("tests/tls/check.mjs"))
            .arg(root().join("target/clients/node_modules"));
        run(&stage, command);
    }
}

fn redis_cli(stage: &Stage) {
    let cli = |arguments: &[&str]| {
        let output = Command::new("redis-cli")
            .args([
                "-h",
                "localhost",
                "-p",
                &stage.keyway.addr().port().to_string(),
            ])
            .args(["--tls", "--sni", "localhost", "--cacert"])
            .arg(stage.authority.ca())
            .arg("--cert")
            .arg(&stage.client.certificate)
            .arg("--key")
            .arg(&stage.client.key)
            .args(arguments)
            .output()
            .expect("redis-cli is installed with the servers");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(cli(&["SET", "cli:tls", "1"]), "OK");
    assert_eq!(cli(&["-3", "GET", "cli:tls"]), "1");
    assert_eq!(cli(&["ACL", "WHOAMI"]), "client");
    assert_eq!(cli(&["-c", "GET", "cli:tls"]), "1");
}
