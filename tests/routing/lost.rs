//! Connections that are lost, and replies that come late: what was not written waits, a read is
//! retried, a write is never sent twice, and nobody gets another's reply.

use std::time::{Duration, Instant};

use super::place::{key_of, keys_of, scene, tells_its_keys};
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

const READS: &[(&str, &str)] = &[
    ("GET k", "'node-0'"),
    ("MGET {k}a {k}b", "['node-0' 'node-0']"),
    ("EXISTS k", ":1"),
    ("TOUCH k", ":1"),
    ("HGET k f", "'node-0'"),
    ("EVAL_RO x 1 k", "+OK"),
    ("FCALL_RO f 1 k", "+OK"),
    ("DBSIZE", ":1"),
    ("SORT_RO k", "+OK"),
];

const WRITES: &[&str] = &[
    "SET k v",
    "INCR k",
    "DEL k",
    "MSET {k}a 1 {k}b 2",
    "LPOP k",
    "EVAL x 1 k",
    "EVALSHA x 1 k",
    "FCALL f 1 k",
    "PUBLISH c m",
    "SORT k STORE k",
    "GETDEL k",
    "GETEX k",
    "SPOP k",
    "FLUSHALL",
    "XADD k * f v",
];

/// The reply is cut at each of its bytes.
///
/// contract: F2
#[test]
fn a_lost_read_is_retried() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    for (command, reply) in READS {
        let name = command.split(' ').next().unwrap_or_default();
        for piece in [
            &b""[..],
            b"$",
            b"$6\r",
            b"$6\r\nnode",
            b"$6\r\nnode-0",
            b"*2\r\n$6\r\nnode-0\r\n",
            b"*2\r\n",
            b"-ER",
        ] {
            let before = node.received(name).len();
            node.once(name, Action::ReplyAndClose(piece.to_vec()));
            client.expect(command, reply);
            let times = node.received(name).len() - before;
            assert_eq!(
                times,
                2,
                "{command} cut after {:?}",
                piece.escape_ascii().to_string()
            );
        }
    }
}

/// contract: F2, R13
#[test]
fn a_lost_write_is_never_sent_twice() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    for command in WRITES {
        let name = command.split(' ').next().unwrap_or_default();
        for piece in [&b""[..], b"+O", b"+OK\r", b":", b"-TRYAGAIN"] {
            let before = node.received(name).len();
            node.once(name, Action::ReplyAndClose(piece.to_vec()));
            let began = Instant::now();
            let reply = client.call(command).to_string();
            assert!(
                reply.starts_with("-") && reply.contains("outcome unknown"),
                "{command}: {reply}"
            );
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(2),
                "{command}: told after {took:?}"
            );
            // The connection is back, and brings nothing of the old one.
            client.expect("GET k", "'node-0'");
            assert_eq!(node.received(name).len() - before, 1, "{command}");
        }
    }
}

/// Reads and writes in one pipeline: some are answered before the cut, the rest each by its rule, in
/// order.
///
/// contract: F2, P2
#[test]
fn a_pipeline_that_is_cut_is_sorted_out() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    tells_its_keys(node, "0");
    let mut client = keyway.client();
    for cut in 0..12 {
        let sent = |n: usize| node.received(&format!("SET k{n}")).len();
        let before: Vec<usize> = (0..12).map(sent).collect();
        node.once(&format!("SET k{cut}"), Action::close());
        let commands: Vec<String> = (0..12)
            .flat_map(|n| [format!("SET k{n} v"), format!("GET k{n}")])
            .collect();
        let replies = client.pipeline(&commands);
        for (n, pair) in replies.chunks(2).enumerate() {
            assert_eq!(pair[1].text(), format!("k{n}@0"), "GET k{n}, cut at {cut}");
            let (set, times) = (pair[0].to_string(), sent(n) - before[n]);
            let is_unknown = set.contains("outcome unknown");
            assert!(set == "+OK" || is_unknown, "SET k{n}, cut at {cut}: {set}");
            assert!(
                n >= cut || !is_unknown,
                "SET k{n} was answered before the cut at {cut}"
            );
            assert!(n != cut || is_unknown, "SET k{n} was cut: {set}");
            // What was written behind the cut need not have been read by the node.
            assert!(
                times <= 1 && (is_unknown || times == 1),
                "SET k{n}: {times} times, {set}"
            );
        }
    }
}

/// What was not written to the dead connection waits for the next one.
///
/// contract: F1, R8
#[test]
fn what_was_not_written_waits_and_succeeds() {
    let (fake, keyway) = scene(2, "10s");
    let (dead, alive) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    client.expect(&format!("SET {dead} 1"), "+OK");
    for _ in 0..3 {
        let (failures, before) = (
            keyway.metric("keyway_upstream_failures_total"),
            fake.node(0).received("SET").len(),
        );
        fake.node(0).go_down();
        eventually("the loss is noticed", Duration::from_secs(5), || {
            keyway.metric("keyway_upstream_failures_total") > failures
        });
        let mut waiting: Vec<_> = (0..10).map(|_| keyway.client()).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            client.send(&format!("SET {dead} {number}"));
            client.send(&format!("GET {dead}"));
        }
        // Nothing is heard of them, and the other shard does not notice.
        for _ in 0..50 {
            let began = Instant::now();
            client.expect(&format!("SET {alive} v"), "+OK");
            assert!(began.elapsed() < Duration::from_millis(500));
        }
        for client in &mut waiting {
            assert_eq!(client.read_within(Duration::from_millis(1)), None);
        }
        fake.node(0).come_back();
        let began = Instant::now();
        for client in &mut waiting {
            client.expect_next("+OK");
            client.expect_next("'node-0'");
        }
        let took = began.elapsed();
        assert!(
            took < Duration::from_millis(2_500),
            "{took:?} after the node came back"
        );
        assert_eq!(fake.node(0).received("SET").len() - before, 10);
    }
}

/// contract: F1, F4, F5
#[test]
fn a_node_that_refuses_is_an_error_at_the_deadline() {
    let (fake, keyway) = scene(2, "1s");
    let (dead, alive) = (key_of(0, 2), key_of(1, 2));
    fake.node(0).go_down();
    let mut client = keyway.client();
    let mut other = keyway.client();
    for command in ["SET", "GET"] {
        let began = Instant::now();
        client.send(
            &format!("{command} {dead} v")
                .replace("GET k", "STRLEN k")
                .replace(" v", if command == "SET" { " v" } else { "" }),
        );
        for _ in 0..20 {
            let one = Instant::now();
            other.expect(&format!("SET {alive} v"), "+OK");
            assert!(
                one.elapsed() < Duration::from_millis(500),
                "F4: {:?}",
                one.elapsed()
            );
        }
        let reply = client.read().to_string();
        let took = began.elapsed().as_secs_f64();
        assert!((0.9..2.0).contains(&took), "after {took} s: {reply}");
        assert!(
            reply.starts_with("-CLUSTERDOWN") || reply.starts_with("-ERR"),
            "{reply}"
        );
        assert!(
            reply.contains("1.") && reply.contains(" s"),
            "for how long? {reply}"
        );
        assert!(
            !reply.contains("outcome unknown"),
            "it was not written: {reply}"
        );
    }
    assert_eq!(fake.node(0).received("SET").len(), 0);
    // Of a request for all, the dead part decides.
    let reply = client.call(&format!("MGET {alive} {dead}")).to_string();
    assert!(reply.starts_with('-'), "{reply}");
}

/// A reply that comes after its request was given up answers nobody.
///
/// contract: F3, F5
#[test]
fn a_late_reply_answers_nobody() {
    let (fake, keyway) = scene(1, "500ms");
    let node = fake.node(0);
    for late in [
        Action::bulk("late"),
        Action::line("+late"),
        Action::line("-MOVED 1 127.0.0.1:1"),
    ] {
        let gate = Gate::new();
        node.once("GET late", Action::After(gate.clone(), Box::new(late)));
        tells_its_keys(node, "0");
        let mut client = keyway.client();
        let began = Instant::now();
        client.send("GET late");
        let reply = client.read().to_string();
        let took = began.elapsed().as_secs_f64();
        assert!(reply.starts_with('-'), "{reply}");
        assert!((0.4..1.5).contains(&took), "after {took} s: {reply}");
        client.send("GET next");
        let mut other = keyway.client();
        other.send("GET other");
        gate.open();
        for (client, key) in [(&mut client, "next"), (&mut other, "other")] {
            let reply = client.read();
            // The wait behind the gate may have used up its time as well.
            let is_own = !reply.is_error() && reply.text() == format!("{key}@0");
            assert!(is_own || reply.is_error(), "GET {key}: {reply}");
        }
        for number in 0..20 {
            client.expect(&format!("GET {number}"), &format!("'{number}@0'"));
            other.expect(&format!("GET x{number}"), &format!("'x{number}@0'"));
        }
        node.forget_rules();
    }
}

/// The same, cut in the middle: the rest of the reply and the next one come together.
///
/// contract: F3
#[test]
fn a_late_half_of_a_reply_answers_nobody() {
    let (fake, keyway) = scene(1, "500ms");
    let node = fake.node(0);
    node.once("GET half", Action::Reply(b"$10\r\nhalf".to_vec()));
    let gate = Gate::new();
    let rest = Action::Reply(b"-late+\r\n$6\r\nnext@0\r\n".to_vec());
    node.once("GET next", Action::After(gate.clone(), Box::new(rest)));
    tells_its_keys(node, "0");
    let mut client = keyway.client();
    assert!(client.call("GET half").is_error());
    client.send("GET next");
    gate.open();
    let reply = client.read();
    assert!(reply.is_error() || reply.text() == "next@0", "{reply}");
    for number in 0..20 {
        client.expect(&format!("GET {number}"), &format!("'{number}@0'"));
    }
}

/// A written write whose reply does not come: its outcome is unknown, and it is not sent again.
///
/// contract: F2, F5
#[test]
fn a_write_without_reply_ends_with_unknown_outcome() {
    let (fake, keyway) = scene(1, "500ms");
    fake.node(0).once("INCR", Action::Silence);
    let mut client = keyway.client();
    let began = Instant::now();
    let reply = client.call("INCR k").to_string();
    let took = began.elapsed().as_secs_f64();
    assert!((0.4..1.5).contains(&took), "after {took} s: {reply}");
    assert!(reply.contains("outcome unknown"), "{reply}");
    client.expect("INCR other", ":1");
    assert_eq!(fake.node(0).received("INCR k").len(), 1);
}

/// A reply to no request: the connection cannot be trusted any more.
///
/// contract: F3
#[test]
fn a_reply_nobody_asked_for_answers_nobody() {
    let (fake, keyway) = scene(1, "10s");
    tells_its_keys(fake.node(0), "0");
    let mut client = keyway.client();
    for extra in [
        "+EXTRA\r\n",
        "$5\r\nEXTRA\r\n",
        ":1\r\n",
        "*1\r\n+EXTRA\r\n",
        "+EXT",
    ] {
        fake.node(0).forget_rules();
        let both = format!("$1\r\na\r\n{extra}");
        fake.node(0).once("GET a", Action::Reply(both.into_bytes()));
        tells_its_keys(fake.node(0), "0");
        client.expect("GET a", "'a'");
        for number in 0..5 {
            client.expect(&format!("GET {number}"), &format!("'{number}@0'"));
        }
    }
}

/// What is no reply at all: the connection is given up, a read goes on, a write's outcome is unknown.
///
/// contract: F8, F2
#[test]
fn nonsense_from_a_node_is_survived() {
    let (fake, keyway) = scene(1, "10s");
    let node = fake.node(0);
    let mut client = keyway.client();
    // Not so long that its client sees some of it (limits.stream_threshold_bytes).
    let deep = "*1\r\n".repeat(50_000);
    let wide = "*4000000000\r\n".repeat(20);
    for nonsense in [
        "hello\r\n",
        "\r\n",
        "\0",
        "$-5\r\n",
        "$abc\r\n",
        "*-7\r\n",
        "*99999999999999999999\r\n",
        "$99999999999999999999\r\n",
        "*1\r\nhello\r\n",
        "$3\r\nabcXY",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        &deep,
        &wide,
        "|1\r\n",
        "@x\r\n",
    ] {
        let nonsense = Action::ReplyAndClose(nonsense.as_bytes().to_vec());
        node.once("GET", nonsense.clone());
        client.expect("GET k", "'node-0'");
        let before = node.received("SET").len();
        node.once("SET", nonsense);
        let reply = client.call("SET k v").to_string();
        assert!(reply.starts_with('-'), "{reply}");
        client.expect("GET k", "'node-0'");
        assert_eq!(node.received("SET").len() - before, 1);
        node.forget_rules();
    }
    // And without a close.
    for nonsense in ["hello\r\n", "$-5\r\n", "*1\r\nhello\r\n"] {
        node.once("GET", Action::Reply(nonsense.into()));
        let began = Instant::now();
        client.expect("GET k", "'node-0'");
        assert!(began.elapsed() < Duration::from_secs(5), "{nonsense:?}");
    }
}

/// A client that goes while its requests are at the nodes leaves the others their own replies.
///
/// contract: P2, F3
#[test]
fn replies_of_a_client_that_left_are_dropped() {
    let (fake, keyway) = scene(1, "10s");
    let gate = Gate::new();
    fake.node(0).once(
        "GET held",
        Action::After(gate.clone(), Box::new(Action::Default)),
    );
    tells_its_keys(fake.node(0), "0");
    let mut leaving = keyway.client();
    leaving.send("GET held");
    fake.node(0).wait_for(1, "GET held");
    for number in 0..50 {
        leaving.send(&format!("GET gone-{number}"));
    }
    let mut staying = keyway.client();
    for number in 0..50 {
        staying.send(&format!("GET mine-{number}"));
    }
    fake.node(0).wait_for(50, "GET");
    drop(leaving);
    gate.open();
    for number in 0..50 {
        staying.expect_next(&format!("'mine-{number}@0'"));
    }
    // Whoever comes next may sit where the other sat.
    for number in 0..20 {
        keyway
            .client()
            .expect(&format!("GET new-{number}"), &format!("'new-{number}@0'"));
    }
}

/// Every connection is cut, again and again, under many clients: every read is answered right.
///
/// contract: F2, P2
#[test]
fn reads_survive_connections_that_are_cut_all_the_time() {
    let fake = FakeCluster::start(3);
    let keyway = Keyway::start(&fake.seeds());
    for (index, node) in fake.nodes().iter().enumerate() {
        tells_its_keys(node, &index.to_string());
    }
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (keyway, done) = (&keyway, &done);
            scope.spawn(move || {
                let keys: Vec<_> = (0..3).flat_map(|node| keys_of(node, 3, 10)).collect();
                let mut client = keyway.client();
                for _ in 0..60 {
                    let commands: Vec<_> = keys.iter().map(|key| format!("GET {key}")).collect();
                    for (at, reply) in client.pipeline(&commands).iter().enumerate() {
                        assert_eq!(reply.to_string(), format!("'{}@{}'", keys[at], at / 10));
                    }
                }
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let mut turn = 0;
        eventually("the readers are done", Duration::from_secs(60), || {
            fake.node(turn % 3).cut_connections();
            turn += 1;
            done.load(std::sync::atomic::Ordering::Relaxed) == 4
        });
    });
}
