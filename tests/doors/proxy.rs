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

/// Headers that bring nobody: a health check of the balancer's own, or a client whose address it cannot tell.
fn nobody() -> Vec<Vec<u8>> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [signature, rest].concat();
    vec![
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff f 1 2\r\n".to_vec(),
        // LOCAL, without addresses and with some that mean nothing.
        v2(b"\x20\0\0\0"),
        v2(b"\x20\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\xc8\x12\x67\x18\xeb"),
        // No family, and a Unix socket's.
        v2(b"\x21\0\0\0"),
        v2(&[&b"\x21\x31\0\xd8"[..], &[0; 216]].concat()),
    ]
}

/// The balancer's health check is answered, and counts as what it is.
#[test]
fn the_balancer_itself_is_served() {
    let fake = FakeCluster::start(1);
    let keyway = before(&fake)
        .set("listen.clients_from", "[\"127.0.0.0/8\"]")
        .set("listen.clients_per_address", "1")
        .start();
    for header in nobody() {
        let mut stream = brought(&keyway, &header);
        stream
            .write_all(b"PING\r\nCLIENT INFO\r\n")
            .expect("connected");
        assert_eq!(read_line(&mut stream), "+PONG", "{header:?}");
        read_line(&mut stream);
        let info = read_line(&mut stream);
        assert!(info.contains("addr=127.0.0.9:"), "{info}");
        let shown = format!("laddr={}", keyway.addr());
        assert!(info.contains(&shown), "{info}");
        // The limit of the address is the balancer's own.
        assert_eq!(
            read_to_end(&mut brought(&keyway, &[&header[..], b"PING\r\n"].concat())),
            ""
        );
        stream.write_all(b"QUIT\r\n").expect("connected");
        read_to_end(&mut stream);
        eventually("it has left", DEADLINE, || {
            keyway.metric("keyway_clients") == 0.0
        });
    }
}

/// A check that connects, says its header and leaves is no news, whatever is asked of clients.
#[test]
fn a_health_check_that_leaves_is_no_news() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let pair = authority.issue("keyway");
    let plain = before(&fake).start();
    let selective = before(&fake)
        .set("listen.clients_from", "[\"192.0.2.0/24\"]")
        .start();
    let tls = before(&fake)
        .set("listen.tls_certificate", &quoted(&pair.certificate))
        .set("listen.tls_key", &quoted(&pair.key))
        .start();
    for keyway in [&plain, &selective, &tls] {
        for header in nobody() {
            drop(brought(keyway, &header));
        }
        eventually("all have come and gone", DEADLINE, || {
            let accepted = keyway.metric("keyway_client_connections_total");
            let here =
                keyway.metric("keyway_clients") + keyway.metric("keyway_connections_arriving");
            accepted == nobody().len() as f64 && here == 0.0
        });
        assert_eq!(keyway.metric("keyway_connections_lost_total"), 0.0);
        assert!(!keyway.log().contains("did not become a client"));
    }
    // One that wants something is a client as any other: not welcome here, ...
    let header = &nobody()[0];
    let mut stream = brought(&selective, &[&header[..], b"PING\r\n"].concat());
    assert_eq!(read_to_end(&mut stream), "");
    let lost = selective.metric("keyway_connections_lost_total{kind=\"unwelcome\"}");
    assert_eq!(lost, 1.0);
    // ... and over TLS there.
    let mut client = authority.client_over(brought(&tls, header));
    client.expect("PING", "+PONG");
}
