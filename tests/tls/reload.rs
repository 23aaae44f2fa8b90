//! Certificates that are replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::support::tls::{
    Authority, Pair, Subject, TlsClient, TlsCluster, TlsOptions, quoted, replace,
};
use super::support::{FakeCluster, Flavor, Keyway, eventually};
use super::{DEADLINE, with_listener};

fn content(pair: &Pair) -> Vec<u8> {
    let certificate = CertificateDer::from_pem_file(&pair.certificate);
    certificate.expect("a certificate").to_vec()
}

/// Whether a new connection is shown this certificate.
fn is_shown(keyway: &Keyway, options: &TlsOptions, expected: &[u8]) -> bool {
    let client = TlsClient::try_connect(keyway.addr(), options);
    client.is_ok_and(|client| client.shown() == expected)
}

/// Both sides' certificates change, by a file's change and by SIGHUP, under the load of 50 clients that come and
/// go; nobody notices, and new connections see the new ones.
#[test]
fn nobody_notices_under_load() {
    let scene = TlsCluster::start(Flavor::Valkey, true);
    let authority = Authority::new("the clients' CA");
    let pair = authority.issue("keyway");
    let upstream = scene.authority.issue("upstream");
    let keyway = with_listener(Keyway::before(&scene.seeds()), &pair)
        .set("upstream.tls", "\"on\"")
        .set("upstream.tls_ca", &quoted(&scene.authority.ca()))
        .set("upstream.tls_certificate", &quoted(&upstream.certificate))
        .set("upstream.tls_key", &quoted(&upstream.key))
        .set("tls.reload_interval", "\"200ms\"")
        .start();
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let (is_over, right) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let addr = keyway.addr();
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let (is_over, right) = (Arc::clone(&is_over), Arc::clone(&right));
            let options = options.clone();
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // Half of them stay, half come anew.
                    let mut client = TlsClient::connect(addr, &options);
                    for round in 0.. {
                        client.expect(&format!("SET reload:{number} {round}"), "+OK");
                        client.expect(&format!("GET reload:{number}"), &format!("'{round}'"));
                        right.fetch_add(2, Ordering::Relaxed);
                        let leaves = number % 2 == 0 && round == 20;
                        if leaves || is_over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    let more = |count: u64| {
        let before = right.load(Ordering::Relaxed);
        eventually("the load goes on", DEADLINE * 3, || {
            right.load(Ordering::Relaxed) > before + count
        });
    };
    more(1_000);
    for round in 0..4 {
        let before = keyway.metric("keyway_tls_reloads_total");
        authority.issue("keyway");
        scene.authority.issue("upstream");
        if round % 2 == 0 {
            keyway.signal(Signal::HUP);
        }
        let new = content(&pair);
        eventually("new connections see the new certificate", DEADLINE, || {
            is_shown(&keyway, &options, &new)
        });
        eventually("the one for the nodes is read too", DEADLINE, || {
            keyway.metric("keyway_tls_reloads_total") >= before + 2.0
        });
        // This opens a connection to a node, which wants to see a certificate.
        let mut blocked = TlsClient::connect(addr, &options);
        blocked.expect(&format!("BLPOP reload:nothing:{round} 0.01"), "nil-array");
        more(500);
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client saw an error");
    }
    println!(
        "{} requests over TLS on both sides, 4 replacements of both certificates, 0 errors",
        right.load(Ordering::Relaxed)
    );
}

/// The certificate for the nodes has expired; a new one is found without a restart.
#[test]
fn a_new_certificate_for_the_nodes_ends_the_trouble() {
    let scene = TlsCluster::start(Flavor::Redis, true);
    let expired = Subject {
        is_expired: true,
        ..Subject::named("upstream")
    };
    let upstream = scene.authority.issue_for("upstream", &expired);
    let keyway = Keyway::before(&scene.seeds())
        .set("upstream.tls", "\"on\"")
        .set("upstream.tls_ca", &quoted(&scene.authority.ca()))
        .set("upstream.tls_certificate", &quoted(&upstream.certificate))
        .set("upstream.tls_key", &quoted(&upstream.key))
        .set("tls.reload_interval", "\"100ms\"")
        .start_unready();
    eventually("the log says why", DEADLINE, || {
        let log = keyway.log();
        log.contains("the certificate has expired") && log.contains("shown to it expired")
    });
    let expiry = "keyway_tls_certificate_expiry_timestamp_seconds{used_by=\"upstream\"}";
    assert!((1.5e9..1.6e9).contains(&keyway.metric(expiry)));
    scene.authority.issue("upstream");
    eventually("it is ready", DEADLINE, || keyway.is_ready());
    keyway.client().expect("SET renewed 1", "+OK");
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let pair = authority.issue("keyway");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &pair)
        .set("tls.reload_interval", "\"100ms\"")
        .start();
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let old = content(&pair);
    let old_key = fs::read_to_string(&pair.key).expect("ours");
    let mut stays = TlsClient::connect(keyway.addr(), &options);
    for (file, broken, why) in [
        (
            &pair.certificate,
            "nonsense".to_owned(),
            "holds no PEM certificate",
        ),
        (&pair.key, "nonsense".to_owned(), "holds no PEM private key"),
        (
            &pair.key,
            fs::read_to_string(authority.issue("another").key).expect("ours"),
            "do not fit together",
        ),
    ] {
        let before = keyway.metric("keyway_tls_reload_failures_total");
        let good = fs::read_to_string(file).expect("ours");
        replace(file, &broken);
        eventually("the failure is counted", DEADLINE, || {
            keyway.metric("keyway_tls_reload_failures_total") > before
        });
        assert!(keyway.log().contains(why), "{why}\n{}", keyway.log());
        assert!(is_shown(&keyway, &options, &old));
        stays.expect("PING", "+PONG");
        replace(file, &good);
    }
    fs::remove_file(&pair.key).expect("ours");
    let before = keyway.metric("keyway_tls_reload_failures_total");
    eventually("a missing file is told", DEADLINE, || {
        keyway.metric("keyway_tls_reload_failures_total") > before
    });
    assert!(is_shown(&keyway, &options, &old));
    // Mended, it is used without another word.
    let mended = authority.issue("keyway");
    let new = content(&mended);
    eventually("the new one is used", DEADLINE, || {
        is_shown(&keyway, &options, &new)
    });
    stays.expect("PING", "+PONG");
    let secret = old_key.lines().nth(1).expect("a key has lines");
    assert!(!keyway.log().contains(secret));
}

/// As Kubernetes does it: the files are links through a link that is swapped. And the clients' CA changes: who
/// was trusted is not any more.
#[test]
fn links_are_followed_and_cas_change() {
    let fake = FakeCluster::start(1);
    let (first, second) = (Authority::new("first CA"), Authority::new("second CA"));
    let folder = first.folder();
    for (version, authority) in [("v1", &first), ("v2", &second)] {
        let own = authority.issue("keyway");
        let at = folder.join(version);
        fs::create_dir(&at).expect("ours");
        fs::copy(&own.certificate, at.join("tls.crt")).expect("ours");
        fs::copy(&own.key, at.join("tls.key")).expect("ours");
        fs::copy(authority.ca(), at.join("ca.crt")).expect("ours");
    }
    symlink("v1", folder.join("..data")).expect("ours");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{file}"), folder.join(file)).expect("ours");
    }
    let mounted = Pair {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    let keyway = with_listener(Keyway::before(&fake.seeds()), &mounted)
        .set("listen.tls_client_ca", &quoted(&folder.join("ca.crt")))
        .set("listen.tls_auth_clients", "\"yes\"")
        .set("tls.reload_interval", "\"100ms\"")
        .start();
    let of = |authority: &Authority| TlsOptions {
        ca: authority.ca(),
        certificate: Some(authority.issue("client")),
        ..TlsOptions::default()
    };
    let (of_first, of_second) = (of(&first), of(&second));
    let works = |options: &TlsOptions| {
        let client = TlsClient::try_connect(keyway.addr(), options);
        client.is_ok_and(|mut client| client.try_call("PING").is_ok())
    };
    let mut stays = TlsClient::connect(keyway.addr(), &of_first);
    assert!(works(&of_first) && !works(&of_second));
    symlink("v2", folder.join("..new")).expect("ours");
    fs::rename(folder.join("..new"), folder.join("..data")).expect("ours");
    eventually("the second CA's clients get in", DEADLINE, || {
        works(&of_second)
    });
    assert!(!works(&of_first));
    stays.expect("PING", "+PONG");
}
