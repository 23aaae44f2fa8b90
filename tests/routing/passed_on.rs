//! What is the client's to know reaches it unchanged, and is asked once.

use super::place::scene;
use super::support::Action;

/// contract: R5
#[test]
fn every_other_error_is_the_clients() {
    let (fake, keyway) = scene(2, "10s");
    let mut client = keyway.client();
    for error in [
        "-ERR value is not an integer or out of range",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist on disk.",
        "-NOREPLICAS Not enough good replicas to write.",
        "-NOPERM this user has no permissions to run the 'set' command",
        "-NOSCRIPT No matching script. Please use EVAL.",
        "-NOAUTH Authentication required.",
        "-WRONGPASS invalid username-password pair or user is disabled.",
        "-EXECABORT Transaction discarded because of previous errors.",
        "-BUSYKEY Target key name already exists.",
        "-BUSYGROUP Consumer Group name already exists",
        "-NOGROUP No such key 'x' or consumer group 'y'",
        "-UNKILLABLE Sorry the script already executed write commands against the dataset.",
        "-CROSSSLOT Keys in request don't hash to the same slot",
        "-NOMASTERLINK Can't SYNC while not connected with my master",
        "-CUSTOM of a script: MOVED 1 127.0.0.1:1",
        "-READONLY You can't write against a read only replica. script: 0123, on @user_script:1.",
        "-moved 1 127.0.0.1:7000",
        "-",
        "-ERR",
    ] {
        for command in ["SET k v", "GET k"] {
            let name = &command[..3];
            let before: usize = fake
                .nodes()
                .iter()
                .map(|node| node.received(name).len())
                .sum();
            for node in fake.nodes() {
                node.forget_rules();
                node.once(name, Action::line(error));
            }
            client.expect(command, error);
            let after: usize = fake
                .nodes()
                .iter()
                .map(|node| node.received(name).len())
                .sum();
            assert_eq!(after - before, 1, "{command}: {error}");
        }
    }
}

/// An error inside an array is data, whatever it says; so is one in a map, and in an array in an
/// array.
///
/// contract: R6
#[test]
fn errors_inside_are_data() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client_resp3();
    for (reply, shown) in [
        (
            "*2\r\n-MOVED 1 127.0.0.1:1\r\n$1\r\na\r\n",
            "[-MOVED 1 127.0.0.1:1 'a']",
        ),
        ("*1\r\n-ASK 1 127.0.0.1:1\r\n", "[-ASK 1 127.0.0.1:1]"),
        ("*2\r\n:1\r\n*1\r\n-TRYAGAIN x\r\n", "[:1 [-TRYAGAIN x]]"),
        (
            "%1\r\n$1\r\na\r\n-CLUSTERDOWN x\r\n",
            "{'a' -CLUSTERDOWN x}",
        ),
        ("*1\r\n!7\r\nLOADING\r\n", "[!'LOADING']"),
        (
            "~1\r\n-READONLY You can't write against a read only replica.\r\n",
            "~[-READONLY You can't write against a read only replica.]",
        ),
        // Text is text.
        ("$11\r\n-MOVED 1 a:\r\n", "'-MOVED 1 a:'"),
        ("+MOVED 1 127.0.0.1:1\r\n", "+MOVED 1 127.0.0.1:1"),
    ] {
        for command in ["MGET {a}b {a}c", "EVAL x 1 k", "GET k", "LRANGE k 0 -1"] {
            let before = fake.node(0).received(command).len();
            let name = command.split(' ').next().unwrap_or_default();
            fake.node(0).once(name, Action::Reply(reply.into()));
            client.expect(command, shown);
            assert_eq!(
                fake.node(0).received(command).len() - before,
                1,
                "{command}"
            );
        }
    }
}

/// Requests reach the nodes as the client wrote them.
///
/// contract: P3, R2
#[test]
fn requests_arrive_as_they_were_sent() {
    let (fake, keyway) = scene(1, "10s");
    let mut client = keyway.client();
    let value: Vec<u8> = (0..=255).collect();
    for arguments in [
        vec![b"SET".to_vec(), b"k".to_vec(), value.clone()],
        vec![b"sEt".to_vec(), value, b"".to_vec()],
        vec![
            b"SET".to_vec(),
            b"k".to_vec(),
            b"*1\r\n$4\r\nPING\r\n".to_vec(),
        ],
    ] {
        client.call_args(&arguments);
        let seen = fake.node(0).requests("SET").pop().expect("it arrived");
        assert_eq!(seen.arguments, arguments);
    }
    // An inline request becomes one of arguments.
    client.send_raw("set  'a b'   \"\\x00\\r\\n\"\r\n");
    client.expect_next("+OK");
    let seen = fake.node(0).requests("SET").pop().expect("it arrived");
    assert_eq!(seen.arguments, [&b"set"[..], b"a b", b"\0\r\n"]);
}
