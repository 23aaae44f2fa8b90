//! Redirects and "come again", at queue time and at `EXEC`: the whole block goes elsewhere or comes again.

use super::exec;
use super::place::{before, key_of, keys_of, scene, slot};
use super::support::{Action, FakeCluster, FakeNode};

/// What a node got, without what Keyway asks on its own account.
fn got(node: &FakeNode) -> Vec<String> {
    let requests = node.requests("");
    let is_ours = |line: &String| {
        !["HELLO", "CLUSTER", "INFO", "COMMAND", "CLIENT"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    requests
        .iter()
        .map(|request| request.line())
        .filter(is_ours)
        .collect()
}

/// contract: T1 R3
#[test]
fn moved_sends_the_whole_block() {
    for word in ["SET", "GET", "EXEC"] {
        let (fake, keyway) = scene(2, "10s");
        let key = key_of(0, 2);
        fake.node(0)
            .always(word, Action::moved(slot(&key), fake.node(1)));
        fake.change(|layout| layout.assign(slot(&key), slot(&key), 1));
        let mut client = keyway.client();
        let (set, get) = (format!("SET {key} 1"), format!("GET {key}"));
        let block = ["MULTI", &set, &get, "EXEC"];
        for _ in 0..3 {
            assert_eq!(exec(&mut client, &[&set, &get]), "[+OK 'node-1']", "{word}");
        }
        assert_eq!(got(fake.node(0)), block, "{word}");
        assert_eq!(got(fake.node(1)), block.repeat(3), "{word}");
    }
}

/// contract: T1 R4
#[test]
fn ask_goes_before_the_block() {
    for word in ["SET", "GET", "EXEC"] {
        let (fake, keyway) = scene(2, "10s");
        let key = key_of(0, 2);
        fake.node(0)
            .once(word, Action::ask(slot(&key), fake.node(1)));
        let mut client = keyway.client();
        let (set, get) = (format!("SET {key} 1"), format!("GET {key}"));
        assert_eq!(exec(&mut client, &[&set, &get]), "[+OK 'node-1']", "{word}");
        assert_eq!(
            got(fake.node(1)),
            ["ASKING", "MULTI", &set, &get, "EXEC"],
            "{word}"
        );
        // This once only.
        assert_eq!(exec(&mut client, &[&set, &get]), "[+OK 'node-0']", "{word}");
    }
}

/// contract: T1 R5
#[test]
fn what_may_come_again_does() {
    for error in [
        "-TRYAGAIN Multiple keys request during rehashing of slot",
        "-CLUSTERDOWN Hash slot not served",
        "-LOADING Redis is loading the dataset in memory",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "-READONLY You can't write against a read only replica.",
    ] {
        let of_exec = format!(
            "-EXECABORT Transaction discarded because of: {}",
            &error[1..]
        );
        for (word, error) in [("SET", error), ("EXEC", error), ("EXEC", &of_exec)] {
            let (fake, keyway) = scene(1, "10s");
            fake.node(0).times(3, word, Action::line(error));
            let mut client = keyway.client();
            assert_eq!(
                exec(&mut client, &["INCR k", "SET k 1"]),
                "[:1 +OK]",
                "{word} {error}"
            );
            let blocks = ["MULTI", "INCR k", "SET k 1", "EXEC"].repeat(4);
            assert_eq!(got(fake.node(0)), blocks, "{word} {error}");
        }
    }
}

/// Other errors are the client's: as one server that refuses `EXEC` would say it.
///
/// contract: T1 R5
#[test]
fn other_errors_at_queue_time_are_passed_on() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    for error in [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOPERM this user has no permissions to run the 'set' command",
        "ERR unknown command 'set'",
    ] {
        fake.node(0).once("SET", Action::line(&format!("-{error}")));
        let reply = exec(&mut client, &["SET k 1", "SET k 2"]);
        assert_eq!(
            reply,
            format!("-EXECABORT Transaction discarded because of: {error}")
        );
    }
    // Inside the array everything is data (contract: R6).
    fake.node(0).on("EXEC", |_| {
        Action::Reply(b"*2\r\n-MOVED 1 127.0.0.1:1\r\n-TRYAGAIN x\r\n".to_vec())
    });
    let reply = exec(&mut client, &["SET k 1", "SET k 2"]);
    assert_eq!(reply, "[-MOVED 1 127.0.0.1:1 -TRYAGAIN x]");
    assert_eq!(
        fake.node(0).received("MULTI").len(),
        6,
        "nothing was sent again"
    );
}

/// The first error decides, whatever comes after it.
///
/// contract: T1
#[test]
fn the_first_error_decides() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    fake.node(0).once("SET", Action::line("-TRYAGAIN x"));
    fake.node(0).once("INCR", Action::line("-OOM x"));
    assert_eq!(exec(&mut client, &["SET k 1", "INCR k"]), "[+OK :1]");
    fake.node(0).once("SET", Action::line("-TRYAGAIN x"));
    fake.node(0).once("INCR", Action::line("-OOM x"));
    assert!(exec(&mut client, &["INCR k", "SET k 1"]).ends_with("because of: OOM x"));
}

/// A node that does not let Keyway say `MULTI` takes the commands one by one: the client is told.
///
/// contract: T1
#[test]
fn a_node_that_refuses_multi() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    fake.node(0).once("MULTI", Action::line("-NOPERM no multi"));
    fake.node(0)
        .once("EXEC", Action::line("-ERR EXEC without MULTI"));
    let reply = exec(&mut client, &["SET k 1"]);
    assert!(
        reply.contains("outcome unknown") && reply.contains("NOPERM no multi"),
        "{reply}"
    );
    assert_eq!(fake.node(0).received("SET").len(), 1);
    assert_eq!(exec(&mut client, &["SET k 1"]), "[+OK]");
}

/// Requests before and behind a block that is sent elsewhere stay in order.
///
/// contract: T1 R13 P2
#[test]
fn a_pipeline_around_a_moving_block() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    let other = keys_of(1, 2, 1).remove(0);
    for word in ["GET", "INCR", "EXEC"] {
        fake.node(0).forget_rules();
        fake.node(0)
            .always(word, Action::ask(slot(&key), fake.node(1)));
        let mut client = keyway.client();
        let mut lines = Vec::new();
        for _ in 0..20 {
            lines.extend([
                format!("GET {key}"),
                "MULTI".to_owned(),
                format!("INCR {key}"),
                format!("GET {key}"),
                "EXEC".to_owned(),
                format!("GET {other}"),
            ]);
        }
        let replies = client.pipeline(&lines);
        let words: Vec<String> = replies.iter().map(ToString::to_string).collect();
        for six in words.chunks(6) {
            assert_eq!(six[1..4], ["+OK", "+QUEUED", "+QUEUED"]);
            // Wherever it was carried out, it was whole.
            assert!(
                ["[:1 'node-0']", "[:1 'node-1']"].contains(&&*six[4]),
                "{word}: {}",
                six[4]
            );
            assert_eq!(six[5], "'node-1'");
        }
    }
}

/// contract: T1 R7 F1
#[test]
fn a_block_that_never_gets_through_has_a_deadline() {
    let fake = FakeCluster::start(1);
    let keyway = before(&fake, "500ms");
    fake.node(0).always("SET", Action::line("-TRYAGAIN x"));
    let mut client = keyway.client();
    let reply = exec(&mut client, &["SET k 1"]);
    assert!(
        reply.starts_with("-TRYAGAIN x ('exec' was tried for"),
        "{reply}"
    );
}
