//! What comes to a TLS port and is no TLS, or only a part of it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::support::tls::{Authority, TlsClient, TlsOptions};
use super::support::{FakeCluster, Keyway, eventually};
use super::{DEADLINE, with_listener};

/// The first bytes that a TLS client says.
fn hello() -> Vec<u8> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory takes it");
    bytes
}

/// Reads to the end; whatever it is, it ends.
fn read_to_end(stream: &mut TcpStream) {
    let patience = Some(DEADLINE);
    stream.set_read_timeout(patience).expect("it can be set");
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("expected the end: {error}"),
        }
    }
}

#[test]
fn garbage_and_handshakes_cut_anywhere() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway"))
        .set("timeouts.client_handshake", "\"2s\"")
        .start();
    let hello = hello();
    let mut random = fastrand::Rng::with_seed(5);
    let mut cases: Vec<Vec<u8>> = vec![
        b"PING\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0x16; 70_000],
        vec![0; 70_000],
    ];
    for _ in 0..100 {
        // A record's head, and then anything.
        let mut record = vec![0x16, 3, 1, 1, 0];
        record.extend((0..256).map(|_| random.u8(..)));
        cases.push(record);
        let mut bent = hello.clone();
        bent[random.usize(..hello.len())] ^= 1 << random.u8(..8);
        bent.truncate(random.usize(1..=hello.len()));
        cases.push(bent);
    }
    let cpu_before = keyway.cpu_time();
    for bytes in &cases {
        let mut stream = TcpStream::connect(keyway.addr()).expect("accepting");
        // It may be closed before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(&mut stream);
    }
    for cut in 0..hello.len() {
        let mut stream = TcpStream::connect(keyway.addr()).expect("accepting");
        stream.write_all(&hello[..cut]).expect("connected");
    }
    // Those that say no more, and stay.
    let silent: Vec<_> = [0, 1, 5, hello.len() / 2, hello.len()]
        .into_iter()
        .map(|cut| {
            let mut stream = TcpStream::connect(keyway.addr()).expect("accepting");
            stream.write_all(&hello[..cut]).expect("connected");
            stream
        })
        .collect();
    for mut stream in silent {
        read_to_end(&mut stream);
    }
    eventually("nothing is left of them", DEADLINE, || {
        keyway.metric("keyway_connections_arriving") == 0.0
            && keyway.metric("keyway_clients") == 0.0
    });
    let lost = keyway.metric("keyway_connections_lost_total");
    assert!(lost >= (cases.len() + hello.len()) as f64 * 0.9, "{lost}");
    let told = keyway.log().matches("did not become a client").count();
    assert!(told < 60, "{told} lines in the log");
    assert!(keyway.metric("keyway_connections_lost_total{kind=\"timeout\"}") >= 4.0);
    let cpu = keyway.cpu_time() - cpu_before;
    println!("{lost} lost handshakes cost {cpu:?} of CPU and {told} lines in the log");
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    TlsClient::connect(keyway.addr(), &options).expect("PING", "+PONG");
}

/// Whoever opens connections and says nothing keeps nobody out.
#[test]
fn the_oldest_handshake_gives_way() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway"))
        .set("timeouts.client_handshake", "\"1h\"")
        .set("limits.tls_handshakes", "10")
        .start();
    let mut silent: Vec<_> = (0..30)
        .map(|_| TcpStream::connect(keyway.addr()).expect("accepting"))
        .collect();
    eventually("most gave way", DEADLINE, || {
        keyway.metric("keyway_connections_lost_total{kind=\"gave_way\"}") == 20.0
    });
    assert_eq!(keyway.metric("keyway_connections_arriving"), 10.0);
    read_to_end(&mut silent[0]);
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    TlsClient::connect(keyway.addr(), &options).expect("PING", "+PONG");
}

/// A client that reads nothing holds up neither others nor the end.
#[test]
fn a_client_that_does_not_read() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway"))
        .set("timeouts.drain", "\"2s\"")
        .start();
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let mut deaf = TlsClient::connect(keyway.addr(), &options);
    let patience = Some(Duration::from_millis(500));
    deaf.socket()
        .set_write_timeout(patience)
        .expect("it can be set");
    let echo = format!("*2\r\n$4\r\nECHO\r\n$65536\r\n{}\r\n", "x".repeat(65536));
    // Until Keyway reads no more.
    while deaf.stream().write_all(echo.as_bytes()).is_ok() {}
    TlsClient::connect(keyway.addr(), &options).expect("PING", "+PONG");
    let resident = keyway.resident_bytes();
    assert!(resident < 200 << 20, "{resident}");
    keyway.terminate();
}
