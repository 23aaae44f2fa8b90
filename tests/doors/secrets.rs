//! What is secret is never said, and not left behind.

use std::process::Command;

use super::support::process::Folder;
use super::support::tls::{Authority, quoted};
use super::support::{FakeCluster, Keyway};

/// Each secret once: they are looked for in everything that is said.
const SECRETS: [&str; 4] = ["cl13nt-pw", "ups7ream-pw", "adm1n-t0ken", "r3ads-pw"];

#[test]
fn secrets_are_never_said() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let pair = authority.issue("keyway");
    let key = std::fs::read_to_string(&pair.key).expect("ours");
    let key = key.lines().nth(1).expect("a key has lines").to_owned();
    let keyway = Keyway::before(&fake.seeds())
        .set("log.level", "\"trace\"")
        .set("listen.password", &format!("\"{}\"", SECRETS[0]))
        .set("upstream.password", &format!("\"{}\"", SECRETS[1]))
        .set("admin.tls_certificate", "\"\"")
        .env("KEYWAY_LISTENERS_1_ADDRESS", "127.0.0.1:0")
        .env("KEYWAY_LISTENERS_1_PASSWORD", SECRETS[3])
        .env(
            "KEYWAY_LISTENERS_1_TLS_CERTIFICATE",
            pair.certificate.to_str().expect("UTF-8"),
        )
        .env(
            "KEYWAY_LISTENERS_1_TLS_KEY",
            pair.key.to_str().expect("UTF-8"),
        )
        .start();
    let mut said = Vec::new();
    let mut client = keyway.client();
    let wrong = client.call(&format!("AUTH x{}", SECRETS[0]));
    assert!(wrong.is_error());
    said.push(wrong.to_string());
    client.expect(&format!("AUTH {}", SECRETS[0]), "+OK");
    for command in [
        "CLIENT LIST",
        "CONFIG GET *",
        "INFO everything",
        "ACL WHOAMI",
        "GET a",
        "SLOWLOG GET",
    ] {
        said.push(client.call(command).to_string());
    }
    for path in ["/metrics", "/topology", "/config", "/ready"] {
        said.push(keyway.admin(path).1);
    }
    keyway.terminate();
    said.push(keyway.log());
    let folder = Folder::new("check");
    let path = folder.path().join("keyway.toml");
    let broken = folder.path().join("broken.pem");
    let text = std::fs::read_to_string(&pair.key)
        .expect("ours")
        .replace("-----END", "----");
    std::fs::write(&broken, text).expect("ours");
    for key_file in [&pair.key, &broken] {
        let config = format!(
            "[cluster]\nseeds = [\"127.0.0.1:1\"]\n[listen]\npassword = \"{}\"\ntls_certificate = {}\ntls_key = {}\n\
             [upstream]\npassword = \"{}\"\n[admin]\ntoken = \"{}\"\n",
            SECRETS[0],
            quoted(&pair.certificate),
            quoted(key_file),
            SECRETS[1],
            SECRETS[2],
        );
        std::fs::write(&path, config).expect("ours");
        let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
            .env_clear()
            .args(["--check", "--config"])
            .arg(&path)
            .output()
            .expect("the program runs");
        assert_eq!(output.status.success(), key_file == &pair.key);
        said.push(String::from_utf8_lossy(&output.stdout).into_owned());
        said.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    for text in &said {
        for secret in SECRETS.iter().copied().chain([key.as_str()]) {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
}

/// A crash leaves no file with passwords and keys behind.
#[test]
fn no_core_dumps() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", keyway.pid()));
    let limits = limits.expect("it runs");
    let line = limits.lines().find(|line| line.contains("core file size"));
    let words: Vec<_> = line.expect("Linux tells it").split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{words:?}");
}
