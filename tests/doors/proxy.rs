//! Behind a load balancer that says whom it brings.

use std::io::Write;
use std::net::TcpStream;

use super::support::keyway::KeywayOptions;
use super::support::tls::{Authority, quoted};
use super::support::{FakeCluster, Keyway, eventually};
use super::{DEADLINE, connect_from, read_line, read_to_end};

fn before(fake: &FakeCluster) -> KeywayOptions {
    Keyway::before(&fake.seeds())
        .set("listen.proxy_protocol_from", "[\"127.0.0.9\"]")
        .set("timeouts.client_handshake", "\"2s\"")
}

/// A connection of the balancer's.
fn brought(keyway: &Keyway, header: &[u8]) -> TcpStream {
    let mut stream = connect_from(9, keyway.addr());
    stream.write_all(header).expect("connected");
    stream
}

fn v1(from: &str) -> Vec<u8> {
    format!("PROXY TCP4 {from} 192.0.2.200 4711 6379\r\n").into_bytes()
}

#[test]
fn the_client_behind_is_who_counts() {
    let fake = FakeCluster::start(1);
    let keyway = before(&fake)
        .set("listen.clients_from", "[\"192.0.2.0/24\"]")
        .set("listen.clients_per_address", "2")
        .start();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([192, 0, 2, 7, 192, 0, 2, 200, 0x12, 0x67, 0x18, 0xeb]);
    let mut kept = Vec::new();
    for (header, shown) in [
        (
            v1("192.0.2.6"),
            "addr=192.0.2.6:4711 laddr=192.0.2.200:6379",
        ),
        (v2, "addr=192.0.2.7:4711 laddr=192.0.2.200:6379"),
    ] {
        // Header and request in one piece: not a byte of the request is taken for the header.
        let mut bytes = header;
        bytes.extend(b"CLIENT INFO\r\n");
        let mut stream = brought(&keyway, &bytes);
        read_line(&mut stream);
        let info = read_line(&mut stream);
        assert!(info.contains(shown), "{info}");
        kept.push(stream);
    }
    // What clients that ask for the cluster are told is what the client connected to.
    let stream = &mut kept[0];
    stream.write_all(b"CLUSTER NODES\r\n").expect("connected");
    read_line(stream);
    assert!(read_line(stream).contains("192.0.2.200:6379"));

    // The limits are the client's own.
    let mut second = brought(&keyway, &v1("192.0.2.6"));
    second.write_all(b"PING\r\n").expect("connected");
    assert_eq!(read_line(&mut second), "+PONG");
    assert_eq!(read_to_end(&mut brought(&keyway, &v1("192.0.2.6"))), "");
    assert_eq!(read_to_end(&mut brought(&keyway, &v1("198.51.100.1"))), "");
    let lost = keyway.metric("keyway_connections_lost_total{kind=\"unwelcome\"}");
    assert_eq!(lost, 2.0);
}

/// Whoever is not the balancer cannot say who they are; the balancer must.
#[test]
fn nobody_else_is_believed() {
    let fake = FakeCluster::start(1);
    let keyway = before(&fake).start();
    let mut liar = connect_from(1, keyway.addr());
    // It may be closed before that is written.
    let _ = liar.write_all(&v1("192.0.2.6"));
    assert_eq!(read_to_end(&mut liar), "");
    for bytes in [
        &b"*1\r\n$4\r\nPING\r\n"[..],
        b"PING\r\nPING\r\nPING\r\n",
        b"PROXY TCP4 192.0.2.6\r\n",
        b"PROXY ",
        b"",
    ] {
        assert_eq!(read_to_end(&mut brought(&keyway, bytes)), "", "{bytes:?}");
    }
    // A health check of the balancer's own ends without a word, and is no failure.
    assert_eq!(read_to_end(&mut brought(&keyway, b"PROXY UNKNOWN\r\n")), "");
    let lost = |kind| keyway.metric(&format!("keyway_connections_lost_total{{kind=\"{kind}\"}}"));
    eventually("they are counted", DEADLINE, || {
        lost("proxy_header") == 3.0 && lost("timeout") == 2.0
    });
    // Where it is not asked for, it is a wrong command.
    let plain = Keyway::start(&fake.seeds());
    let mut stream = connect_from(1, plain.addr());
    stream.write_all(&v1("192.0.2.6")).expect("connected");
    assert!(read_line(&mut stream).starts_with("-ERR unknown command 'PROXY'"));
}

/// TLS comes behind the header.
#[test]
fn tls_behind_the_header() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let pair = authority.issue("keyway");
    let keyway = before(&fake)
        .set("listen.tls_certificate", &quoted(&pair.certificate))
        .set("listen.tls_key", &quoted(&pair.key))
        .start();
    let stream = brought(&keyway, &v1("192.0.2.6"));
    let mut client = authority.client_over(stream);
    let info = client.call("CLIENT INFO").text();
    assert!(info.contains("addr=192.0.2.6:4711"), "{info}");
}
