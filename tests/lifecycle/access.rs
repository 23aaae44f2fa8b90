//! Who may come in, how, and as whom Keyway itself goes to the nodes.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::DEADLINE;
use super::support::process::Folder;
use super::support::{Cluster, ClusterOptions, FakeCluster, Flavor, Keyway, eventually};

/// What comes back over a Unix socket for these bytes, up to the close.
fn exchange(path: &std::path::Path, sent: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a time-out can be set");
    stream.write_all(sent).expect("it is read");
    stream.shutdown(Shutdown::Write).expect("connected");
    let mut came = String::new();
    stream.read_to_string(&mut came).expect("text and the end");
    came
}

#[test]
fn a_unix_socket_beside_the_port() {
    let fake = FakeCluster::start(2);
    let folder = Folder::new("socket");
    let path = folder.path().join("keyway.sock");
    // A process that was killed has left its file.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.unix_socket", &format!("\"{}\"", path.display()))
        .set("listen.unix_socket_mode", "\"0770\"")
        .start();
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o770);
    let came = exchange(&path, b"PING\r\nGET a\r\nECHO x\r\n");
    assert!(came.starts_with("+PONG\r\n$"), "{came}");
    assert!(came.ends_with("$1\r\nx\r\n"), "{came}");
    keyway.client().expect("PING", "+PONG");
    let listed = exchange(&path, b"CLIENT LIST\r\n");
    let shown = format!("addr={}:0", path.display());
    assert!(listed.contains(&shown), "'{shown}' is not in {listed}");
    assert!(keyway.terminate().success());
    assert!(!path.exists(), "the file goes with the process");
}

/// contract: P5 P7
#[test]
fn clients_must_give_the_password() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.username", "\"app\"")
        .set("listen.password", "\"sesame\"")
        .start();
    let noauth = "-NOAUTH Authentication required.";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    let mut client = keyway.client();
    for command in ["GET a", "PING", "CLIENT LIST", "SUBSCRIBE a"] {
        client.expect(command, noauth);
    }
    client.expect("AUTH nonsense", wrong);
    client.expect("AUTH nobody sesame", wrong);
    client.expect("GET a", noauth);
    client.expect("AUTH app sesame", "+OK");
    client.expect("ACL WHOAMI", "'app'");
    assert!(!client.call("GET a").is_error());
    // A wrong attempt takes nothing away.
    client.expect("AUTH app nonsense", wrong);
    assert!(!client.call("GET a").is_error());
    client.expect("RESET", "+RESET");
    client.expect("GET a", noauth);

    let mut client = keyway.client();
    client.expect_error("HELLO 3", "NOAUTH HELLO must be called");
    client.expect("HELLO 3 AUTH app nonsense", wrong);
    assert!(!client.call("HELLO 3 AUTH app sesame").is_error());
    assert!(!client.call("GET a").is_error());

    assert_eq!(fake.node(0).received("AUTH").len(), 0, "it is Keyway's own");
}

/// An ACL user of the cluster: its rights are the clients' rights.
#[test]
fn keyway_logs_in_at_the_nodes_as_an_acl_user() {
    let cluster = Cluster::start_with(ClusterOptions {
        flavor: Flavor::Redis,
        replicas: 0,
        password: Some("operator".to_owned()),
        config: vec!["user app on >apppass ~app:* &* +@all".to_owned()],
        ..ClusterOptions::default()
    });
    let keyway = Keyway::before(&cluster.seeds())
        .set("upstream.username", "\"app\"")
        .set("upstream.password", "\"apppass\"")
        .start();
    for mut client in [keyway.client(), keyway.client_resp3()] {
        for number in 0..20 {
            client.expect(&format!("SET app:{number} {number}"), "+OK");
            client.expect(&format!("GET app:{number}"), &format!("'{number}'"));
        }
        client.expect_error("GET other", "NOPERM");
        client.expect_error("SET other 1", "NOPERM");
    }
    let listed = cluster.node(0).ok("CLIENT LIST").text();
    assert!(listed.contains("user=app"), "{listed}");

    // The default user by its password alone.
    let operator = Keyway::before(&cluster.seeds())
        .set("upstream.password", "\"operator\"")
        .start();
    operator.client().expect("SET other 1", "+OK");
}

/// Wrong credentials end nothing: they are told, and tried again.
#[test]
fn wrong_credentials_at_the_nodes_are_told() {
    let cluster = Cluster::start_with(ClusterOptions {
        flavor: Flavor::Redis,
        replicas: 0,
        password: Some("operator".to_owned()),
        ..ClusterOptions::default()
    });
    for (password, why) in [(Some("nonsense"), "WRONGPASS"), (None, "NOAUTH")] {
        let mut options = Keyway::before(&cluster.seeds()).set("timeouts.request", "\"500ms\"");
        if let Some(password) = password {
            options = options.set("upstream.password", &format!("\"{password}\""));
        }
        let keyway = options.start_unready();
        eventually("the log says why", DEADLINE, || keyway.log().contains(why));
        assert!(!keyway.is_ready());
        keyway.client().expect_error("GET a", "CLUSTERDOWN");
        assert!(!keyway.log().contains("nonsense"));
    }
}
