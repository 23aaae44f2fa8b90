//! Blocks whose connection is lost.

use super::exec;
use super::place::scene;
use super::support::{Action, Gate};

/// contract: F2 T1
#[test]
fn a_lost_block_that_writes_is_never_sent_twice() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    for (word, piece) in [
        ("MULTI", &b""[..]),
        ("INCR", b""),
        ("GET", b"+QUE"),
        ("EXEC", b""),
        ("EXEC", b"*2\r\n:1\r\n"),
        ("EXEC", b"*2\r\n:1\r\n$6\r\nnode-0\r"),
    ] {
        let before = node.received("MULTI").len();
        node.once(word, Action::ReplyAndClose(piece.to_vec()));
        let reply = exec(&mut client, &["INCR k", "GET k"]);
        assert!(reply.contains("outcome unknown"), "{word}: {reply}");
        assert_eq!(node.received("MULTI").len() - before, 1, "{word}");
        assert_eq!(exec(&mut client, &["INCR k", "GET k"]), "[:1 'node-0']");
    }
}

/// contract: F2 T1
#[test]
fn a_lost_block_that_only_reads_is_repeated() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    for word in ["MULTI", "GET", "EXEC"] {
        let before = node.received("MULTI").len();
        node.once(word, Action::close());
        assert_eq!(
            exec(&mut client, &["GET k", "EXISTS k"]),
            "['node-0' :1]",
            "{word}"
        );
        assert_eq!(node.received("MULTI").len() - before, 2, "{word}");
    }
}

/// A node that refused a command will not execute the block, whatever becomes of the connection.
///
/// contract: F2 T1
#[test]
fn a_refused_block_that_is_lost_was_not_executed() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    let gate = Gate::new();
    node.once("INCR", Action::line("-TRYAGAIN x"));
    node.once(
        "GET",
        Action::After(gate.clone(), Box::new(Action::close())),
    );
    client.send_raw("MULTI\r\nINCR k\r\nGET k\r\nEXEC\r\n");
    for expected in ["+OK", "+QUEUED", "+QUEUED"] {
        client.expect_next(expected);
    }
    node.wait_for(1, "EXEC");
    // The refusal is on its way before the cut.
    client.expect_silence(std::time::Duration::from_millis(100));
    gate.open();
    client.expect_next("[:1 'node-0']");
    // The next one that is lost is unknown again: nothing is remembered of the first.
    node.once("EXEC", Action::close());
    assert!(exec(&mut client, &["INCR k"]).contains("outcome unknown"));
    node.once("SET", Action::close());
    let reply = client.call("SET k 1").to_string();
    assert!(reply.contains("outcome unknown"), "{reply}");
}

/// A block whose time is over is given up; its late replies are nobody's.
///
/// contract: F3 F5
#[test]
fn late_replies_to_a_block_are_dropped() {
    let (fake, keyway) = scene(1, "1s");
    let node = fake.node(0);
    let mut client = keyway.client();
    let mut other = keyway.client();
    let gate = Gate::new();
    node.once(
        "INCR",
        Action::After(gate.clone(), Box::new(Action::line("-OOM late"))),
    );
    client.send_raw("MULTI\r\nINCR k\r\nGET k\r\nEXEC\r\n");
    for expected in ["+OK", "+QUEUED", "+QUEUED"] {
        client.expect_next(expected);
    }
    let reply = client.read().to_string();
    assert!(reply.contains("outcome unknown"), "{reply}");
    gate.open();
    assert_eq!(exec(&mut other, &["INCR k", "GET k"]), "[:1 'node-0']");
    assert_eq!(exec(&mut client, &["GET k"]), "['node-0']");
}
