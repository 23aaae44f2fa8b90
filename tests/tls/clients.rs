//! TLS between clients and Keyway.

use std::io::Write;

use super::support::ports::Port;
use super::support::tls::{Authority, Subject, TlsClient, TlsOptions, quoted};
use super::support::{Client, FakeCluster, Keyway, eventually};
use super::{DEADLINE, with_listener};

#[test]
fn both_versions_beside_a_plain_listener() {
    let fake = FakeCluster::start(2);
    let authority = Authority::new("CA");
    let pair = authority.issue("keyway");
    let plain = Port::lease();
    let options = with_listener(Keyway::before(&fake.seeds()), &pair)
        .env(
            "KEYWAY_LISTENERS_1_ADDRESS",
            &format!("127.0.0.1:{}", plain.number()),
        )
        .env("KEYWAY_LISTENERS_1_TLS_CERTIFICATE", "")
        .env("KEYWAY_LISTENERS_1_TLS_KEY", "");
    let keyway = options.start();
    for is_tls12 in [false, true] {
        let options = TlsOptions {
            ca: authority.ca(),
            is_tls12,
            ..TlsOptions::default()
        };
        let mut client = TlsClient::connect(keyway.addr(), &options);
        let reply = client.call("GET {tls}a").to_string();
        assert!(reply.starts_with("'node-"), "{reply}");
        client.expect("ECHO x", "'x'");
        assert_eq!(client.stream().conn.alpn_protocol(), None);
        let listed = client.call("CLIENT LIST").text();
        let own = client.socket().local_addr().expect("TCP");
        assert!(listed.contains(&format!("addr={own}")), "{listed}");
    }
    let mut client = Client::connect(([127, 0, 0, 1], plain.number()).into());
    client.expect("ECHO x", "'x'");
    assert!(keyway.metric("keyway_tls_handshakes_total") >= 2.0);
    let expiry = keyway.metric("keyway_tls_certificate_expiry_timestamp_seconds{used_by=\"main\"}");
    assert!(expiry > 2e9, "{expiry}");
}

#[test]
fn an_old_version_is_refused_when_the_settings_say_so() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway"))
        .set("listen.tls_min_version", "\"1.3\"")
        .start();
    let mut options = TlsOptions {
        ca: authority.ca(),
        is_tls12: true,
        ..TlsOptions::default()
    };
    assert!(TlsClient::try_connect(keyway.addr(), &options).is_err());
    options.is_tls12 = false;
    TlsClient::connect(keyway.addr(), &options).expect("PING", "+PONG");
}

/// Much in both directions, in pieces that do not fit into a record or a socket.
#[test]
fn large_values_and_deep_pipelines() {
    let fake = FakeCluster::start(2);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway")).start();
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let mut client = TlsClient::connect(keyway.addr(), &options);
    let value = "0123456789abcdef".repeat(256 * 1024);
    assert_eq!(client.call(&format!("ECHO {value}")).text(), value);
    let requests = "*2\r\n$4\r\nECHO\r\n$4\r\nkeys\r\n".repeat(20_000);
    // Written while nothing is read: what Keyway holds back for us comes once we read.
    let stream = client.stream();
    stream.write_all(requests.as_bytes()).expect("it is read");
    stream.flush().expect("it is read");
    for _ in 0..20_000 {
        assert_eq!(client.try_read().expect("a reply").text(), "keys");
    }
    // Replies before the end of a client that sends no more, with TLS' farewell and without.
    for has_farewell in [true, false] {
        let mut client = TlsClient::connect(keyway.addr(), &options);
        let stream = client.stream();
        stream.write_all(b"PING\r\nECHO x\r\n").expect("it is read");
        if has_farewell {
            stream.conn.send_close_notify();
        }
        stream.flush().expect("it is read");
        let half = client.socket().shutdown(std::net::Shutdown::Write);
        half.expect("connected");
        assert_eq!(client.try_read().expect("a reply").to_string(), "+PONG");
        assert_eq!(client.try_read().expect("a reply").to_string(), "'x'");
        assert!(client.try_read().is_err(), "closed");
    }
}

#[test]
fn client_certificates_are_users() {
    let fake = FakeCluster::start(1);
    let (authority, stranger) = (Authority::new("CA"), Authority::new("another CA"));
    let subject = Subject {
        uri: Some("spiffe://example/app"),
        ..Subject::named("app")
    };
    let own = authority.issue_for("client", &subject);
    let expired = authority.issue_for(
        "expired",
        &Subject {
            is_expired: true,
            ..Subject::named("app")
        },
    );
    let foreign = stranger.issue("client");
    // Signed by the right CA, and nobody's.
    let nobody = authority.issue("nobody");
    let users = authority.folder().join("users.acl");
    let rules = "on nopass ~* &* +@all";
    let names = ["app", "spiffe://example/app"];
    let lines = names.map(|name| format!("user {name} {rules}\n"));
    std::fs::write(&users, lines.concat()).expect("ours");
    for (wants, rule, user) in [
        ("yes", "cn", "'app'"),
        ("optional", "uri", "'spiffe://example/app'"),
    ] {
        let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway"))
            .set("listen.tls_client_ca", &quoted(&authority.ca()))
            .set("listen.tls_auth_clients", &format!("\"{wants}\""))
            .set("listen.tls_auth_clients_user", &format!("\"{rule}\""))
            .set("listen.password", "\"sesame\"")
            .set("acl.file", &quoted(&users))
            .start();
        for is_tls12 in [true, false] {
            let with = |certificate| TlsOptions {
                ca: authority.ca(),
                certificate,
                is_tls12,
            };
            // With TLS 1.3 a client hears of a refusal only with its first read.
            let attempt = |certificate| -> std::io::Result<String> {
                let mut client = TlsClient::try_connect(keyway.addr(), &with(certificate))?;
                Ok(client.try_call("PING")?.to_string())
            };
            let mut client = TlsClient::connect(keyway.addr(), &with(Some(own.clone())));
            client.expect("ACL WHOAMI", user);
            client.expect("RESET", "+RESET");
            client.expect("ACL WHOAMI", user);
            client.expect("AUTH default sesame", "+OK");
            client.expect("ACL WHOAMI", "'default'");
            let noauth = "-NOAUTH Authentication required.";
            assert_eq!(attempt(Some(nobody.clone())).expect("let in"), noauth);
            assert!(attempt(Some(foreign.clone())).is_err());
            assert!(attempt(Some(expired.clone())).is_err());
            let without = attempt(None);
            match wants {
                "yes" => assert!(without.is_err()),
                _ => assert_eq!(without.expect("let in"), "-NOAUTH Authentication required."),
            }
        }
        eventually("the log says why", DEADLINE, || {
            keyway
                .log()
                .contains("not signed by a CA that is trusted here")
        });
        let lost = keyway.metric("keyway_connections_lost_total{kind=\"tls\"}");
        assert!(lost >= 4.0, "{lost}");
    }
}

/// What clients that ask for the cluster are told over TLS. contract: C4
#[test]
fn the_clusters_face_has_tls_ports() {
    let fake = FakeCluster::start(1);
    let authority = Authority::new("CA");
    let keyway = with_listener(Keyway::before(&fake.seeds()), &authority.issue("keyway")).start();
    let options = TlsOptions {
        ca: authority.ca(),
        ..TlsOptions::default()
    };
    let mut client = TlsClient::connect(keyway.addr(), &options);
    let shards = client.call("CLUSTER SHARDS").to_string();
    let port = keyway.addr().port();
    assert!(shards.contains(&format!("'tls-port' :{port} ")), "{shards}");
    assert!(!shards.contains("'port' "), "{shards}");
    let slots = client.call("CLUSTER SLOTS").to_string();
    assert!(slots.contains(&format!(" :{port} ")), "{slots}");
}
