//! Sizes that are too much, in one server's words.

use super::support::client::encode;
use super::support::each_flavor;
use super::support::{
    Client, Cluster, ClusterOptions, Flavor, Keyway, Scene, Server, ServerOptions,
};
use super::wire::{Barrier, conversation, shown};

each_flavor! {
    too_much_is_refused_in_the_servers_words,
    what_is_allowed_is_allowed,
}

/// Requests that break a limit, each by one; a letter for those who read a failure.
fn too_much() -> Vec<(&'static str, Vec<u8>)> {
    let long = |head: &str, length: usize| {
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(head.len() + length, b'1');
        bytes
    };
    let after_a_command = |bytes: Vec<u8>| [b"ECHO before\r\n".to_vec(), bytes].concat();
    vec![
        ("multibulk count far off", b"*3000000000\r\n".to_vec()),
        ("bulk length", b"*2\r\n$3\r\nGET\r\n$536870913\r\n".to_vec()),
        (
            "bulk length far off",
            b"*2\r\n$3\r\nGET\r\n$5368709130000\r\n".to_vec(),
        ),
        ("inline without an end", long("PING ", 64 * 1024)),
        ("inline without an end, much", long("PING ", 300 * 1024)),
        ("count without an end", long("*", 64 * 1024 + 10)),
        (
            "bulk length without an end",
            long("*1\r\n$", 64 * 1024 + 10),
        ),
        (
            "after a command",
            after_a_command(b"*3000000000\r\n".to_vec()),
        ),
        (
            "after a command, inline",
            after_a_command(long("", 70 * 1024)),
        ),
    ]
}

/// contract: P5
fn too_much_is_refused_in_the_servers_words(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    for (what, bytes) in too_much() {
        let want = conversation(scene.plain().addr(), &[&bytes]);
        assert!(
            shown(&want).contains("Protocol error"),
            "{what}: {}",
            shown(&want)
        );
        let got = conversation(scene.keyway.addr(), &[&bytes]);
        assert_eq!(shown(&got), shown(&want), "{what}");
    }
}

/// Redis 6.2 allowed 1 Mi arguments, newer servers allow more than anybody sends.
///
/// contract: P5
#[test]
fn a_request_has_at_most_a_mebi_of_arguments() {
    let keyway = &Scene::shared(Flavor::Redis).keyway;
    let got = conversation(keyway.addr(), &["*1048577\r\n"]);
    assert_eq!(
        shown(&got),
        "-ERR Protocol error: invalid multibulk length\\r\\n"
    );
}

/// contract: P5
fn what_is_allowed_is_allowed(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    // The count as such is no breach: it waits for more.
    let mut barrier = Barrier::at(scene.keyway.addr());
    for waits in ["*1048576\r\n", "*2\r\n$4\r\nECHO\r\n$536870912\r\nabc"] {
        let mut client = scene.keyway.client();
        client.send_raw(waits);
        barrier.pass();
        client.finish_sending();
        assert_eq!(shown(&client.read_to_end()), "", "{waits:?}");
    }
    // An inline request of nearly 64 KiB, whole and cut in the middle.
    let text = "x".repeat(64 * 1024 - 20);
    let line = format!("SET limits:inline {text}\r\n").into_bytes();
    let (head, tail) = line.split_at(40_000);
    let mut client = scene.keyway.client();
    client.send_raw(head);
    barrier.pass();
    client.send_raw(tail);
    client.expect_next("+OK");
    assert_eq!(client.call("GET limits:inline").text(), text);
    client.send_raw(format!("PING {text}\r\nDEL limits:inline\r\n"));
    assert_eq!(client.read().text(), text);
    client.expect_next(":1");
    // Many arguments, and long ones.
    let many = std::iter::once("DEL".to_owned()).chain((0..200_000).map(|n| format!("none:{n}")));
    let many: Vec<String> = many.collect();
    assert_eq!(client.call_args(&many).integer(), 0);
    let large = vec![b'v'; 20 << 20];
    client.expect_raw(encode(&[&b"SET"[..], b"limits:large", &large]), "+OK\r\n");
    assert!(client.call("GET limits:large").bytes() == Some(&large[..]));
    client.expect("DEL limits:large", ":1");
}

/// A lower limit of the operator's, in Keyway and at the server.
///
/// contract: P5
#[test]
fn the_largest_argument_is_configured() {
    let plain = Server::start_with(ServerOptions {
        config: vec!["proto-max-bulk-len 1mb".to_owned()],
        ..ServerOptions::default()
    });
    let keyway = Keyway::before(&[plain.addr()])
        .set("limits.argument_bytes", "\"1mb\"")
        .start();
    for length in [1 << 20, (1 << 20) + 1] {
        let mut bytes = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n").into_bytes();
        bytes.resize(bytes.len() + length, b'v');
        bytes.extend(b"\r\nPING\r\n");
        let want = conversation(plain.addr(), &[&bytes]);
        let got = conversation(keyway.addr(), &[&bytes]);
        assert_eq!(shown(&got), shown(&want), "{length} bytes");
    }
}

/// Before it has said who it is, a client may say little.
///
/// contract: P5, P7
#[test]
fn little_is_allowed_before_authentication() {
    // Redis 6.2 has other words for some mistakes.
    if !Flavor::Redis.is_since(7, 0) {
        return;
    }
    let plain = Server::start_with(ServerOptions {
        password: Some("secret".to_owned()),
        ..ServerOptions::default()
    });
    let cluster = Cluster::start_with(ClusterOptions {
        primaries: 3,
        replicas: 0,
        password: Some("another".to_owned()),
        ..ClusterOptions::default()
    });
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.password", "\"secret\"")
        .set("upstream.password", "\"another\"")
        .start();
    let argument = "x".repeat(16 * 1024);
    let words = |count: usize| encode(&vec!["a"; count]);
    for (what, bytes) in [
        ("10 arguments", words(10)),
        ("11 arguments", words(11)),
        ("an argument of 16 KiB", encode(&["ECHO", &argument])),
        ("one byte more", encode(&["ECHO", &format!("{argument}x")])),
        (
            "an inline request",
            format!("ECHO {}\r\n", &argument[..9_000]).into_bytes(),
        ),
        (
            "no command is allowed",
            b"GET a\r\nSET a b\r\nPING\r\nECHO x\r\nFOO\r\nCLIENT ID\r\n".to_vec(),
        ),
        (
            "nor INFO, COMMAND, CLUSTER",
            b"INFO\r\nCOMMAND\r\nCLUSTER INFO\r\nMULTI\r\nSUBSCRIBE a\r\n".to_vec(),
        ),
        (
            "wrong counts",
            b"GET\r\nAUTH\r\nAUTH a b c\r\nAUTH a b c d\r\n".to_vec(),
        ),
        (
            "wrong passwords",
            b"AUTH wrong\r\nAUTH default wrong\r\nAUTH nobody secret\r\nGET a\r\n".to_vec(),
        ),
        (
            "the right one",
            b"AUTH secret\r\nPING\r\nECHO x\r\nSELECT 0\r\n".to_vec(),
        ),
        ("with a name", b"AUTH default secret\r\nPING\r\n".to_vec()),
        (
            "a wrong one changes nothing",
            b"AUTH secret\r\nAUTH wrong\r\nPING\r\n".to_vec(),
        ),
        (
            "then more is allowed",
            [
                b"AUTH secret\r\n".to_vec(),
                encode(&["ECHO", &"x".repeat(20_000)]),
            ]
            .concat(),
        ),
        (
            "RESET forgets it",
            b"AUTH secret\r\nRESET\r\nECHO x\r\n".to_vec(),
        ),
        (
            "HELLO without",
            b"HELLO\r\nHELLO 3\r\nHELLO 2 SETNAME x\r\nCLIENT GETNAME\r\n".to_vec(),
        ),
        (
            "HELLO with a wrong one",
            b"HELLO 3 AUTH default wrong\r\nPING\r\nECHO x\r\n".to_vec(),
        ),
        ("QUIT", b"PING\r\nQUIT\r\nPING\r\n".to_vec()),
    ] {
        // Newer servers (not Valkey 9) do not answer a failing AUTH while replies are pending; Keyway does.
        let has_failing_auth = ["wrong passwords", "a wrong one changes nothing"].contains(&what);
        if has_failing_auth && Flavor::Redis.is_since(7, 2) {
            continue;
        }
        let want = conversation(plain.addr(), &[&bytes]);
        assert!(!want.is_empty(), "{what}");
        let got = conversation(keyway.addr(), &[&bytes]);
        assert_eq!(shown(&got), shown(&want), "{what}: {}", shown(&bytes));
    }
    let mut client = Client::connect(keyway.addr());
    assert!(
        !client
            .call("HELLO 3 AUTH default secret SETNAME me")
            .is_error()
    );
    client.expect("SET k v", "+OK");
    client.expect("GET k", "'v'");
    client.expect("CLIENT GETNAME", "'me'");
}
