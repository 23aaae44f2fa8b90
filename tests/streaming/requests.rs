//! Large requests on real nodes.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::bystanders::Bystanders;
use super::support::client::encode;
use super::support::{Flavor, each_flavor, eventually};
use super::value::{
    GROWTH_MAX, LARGEST, PATIENCE, alone, any_client, cluster, patient, patient_keyway, pieces,
    read_value, shared, write_command,
};

each_flavor! {
    the_largest_value_is_set_in_little_memory,
    every_command_with_a_large_value,
    a_large_value_cut_anywhere,
    a_slow_sender_holds_up_nobody,
    a_client_that_leaves_while_it_sends_has_done_nothing,
}

/// contract: P8
fn the_largest_value_is_set_in_little_memory(flavor: Flavor) {
    let _alone = alone();
    let cluster = cluster(flavor);
    let keyway = patient_keyway(&cluster).start();
    let mut client = any_client(&keyway, flavor).with_patience(PATIENCE);
    client.call("GET none");
    let before = keyway.resident_bytes();
    let began = Instant::now();
    let mut stream = patient(&client);
    stream.write_all(b"SET before x\r\n").expect("it is sent");
    write_command(&mut stream, &["SET", "large"], LARGEST).expect("it is sent");
    stream
        .write_all(b"STRLEN large\r\nGET before\r\n")
        .expect("it is sent");
    for reply in ["+OK", "+OK", &format!(":{LARGEST}"), "'x'"] {
        client.expect_next(reply);
    }
    let took = began.elapsed();
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    println!(
        "SET of 512 MiB: {took:.2?}; grew by at most {} KiB",
        growth >> 10
    );
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    let mut direct = cluster.client_of_key("large");
    direct.send("GET large");
    read_value(&mut patient(&direct), LARGEST);
    assert_eq!(keyway.metric("keyway_streamed_requests_total"), 1.0);
}

/// Those whose large value goes through in pieces, and those that have to be held whole.
///
/// contract: P8, T1, R13
fn every_command_with_a_large_value(flavor: Flavor) {
    const LEN: usize = 3_000_001;
    let (_, keyway) = shared(flavor);
    let mut client = keyway.client().with_patience(PATIENCE);
    let value = pieces(LEN).collect::<Vec<_>>().concat();
    let key = |name: &str| format!("{{every:{flavor:?}}}{name}").into_bytes();
    let len = format!(":{LEN}");
    for (words, reply) in [
        (vec![&b"SET"[..], &key("a"), &value], "+OK"),
        (vec![b"SET", &key("a"), &value, b"EX", b"100"], "+OK"),
        (vec![b"SET", &key("a"), &value, b"NX"], "nil"),
        (
            vec![b"SET", &key("a"), &value, b"NONSENSE"],
            "-ERR syntax error",
        ),
        (vec![b"SETEX", &key("a"), b"100", &value], "+OK"),
        (vec![b"SETRANGE", &key("a"), b"0", &value], &len),
        (vec![b"APPEND", &key("b"), &value], &len),
        (vec![b"HSET", &key("h"), b"f", &value, b"g", b"small"], ":2"),
        (vec![b"RPUSH", &key("l"), &value, b"small", &value], ":3"),
        (
            vec![b"INCR", &key("h")],
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (
            vec![b"RPUSH", &key("h"), &value],
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (vec![b"MSET", &key("m1"), &value, &key("m2"), &value], "+OK"),
        (
            vec![b"EVAL", b"return #ARGV[1]", b"1", &key("s"), &value],
            &len,
        ),
        (vec![b"MULTI"], "+OK"),
        (vec![b"SET", &key("t"), &value], "+QUEUED"),
        (vec![b"STRLEN", &key("t")], "+QUEUED"),
        (vec![b"EXEC"], &format!("[+OK {len}]")),
        (vec![b"STRLEN", &key("m2")], &len),
    ] {
        client.send_raw(encode(&words));
        let got = client.read().to_string();
        assert_eq!(got, reply, "{} {}", words[0].escape_ascii(), words.len());
    }
    for words in [
        vec![&b"GET"[..], &key("a")],
        vec![b"GET", &key("b")],
        vec![b"HGET", &key("h"), b"f"],
        vec![b"LINDEX", &key("l"), b"-1"],
        vec![b"GETSET", &key("b"), &value],
        vec![b"SET", &key("b"), &value, b"GET"],
        vec![b"GET", &key("t")],
    ] {
        client.send_raw(encode(&words));
        assert!(
            client.read().bytes() == Some(&value[..]),
            "{}",
            words[0].escape_ascii()
        );
    }
    // What breaks the protocol behind a large value ends the client, and nothing was done.
    let mut broken = encode(&[&b"SET"[..], &key("broken"), &value]);
    broken[1] = b'4';
    let mut other = keyway.client();
    other.send_raw([&broken[..], b"$-5\r\n"].concat());
    assert_eq!(
        other.read_to_end().escape_ascii().to_string(),
        "-ERR Protocol error: invalid bulk length\\r\\n"
    );
    client.expect(&format!("EXISTS {{every:{flavor:?}}}broken"), ":0");
    for name in ["a", "b", "h", "l", "m1", "m2", "t"] {
        client.call_args(&[b"DEL".to_vec(), key(name)]);
    }
}

/// Small for a server and large for this Keyway, so that every place can be cut.
///
/// contract: P4, P8
fn a_large_value_cut_anywhere(flavor: Flavor) {
    let (cluster, _) = shared(flavor);
    let keyway = patient_keyway(cluster)
        .set("limits.stream_threshold_bytes", "\"4kb\"")
        .start();
    let mut client = keyway.client();
    let value = pieces(6_000).collect::<Vec<_>>().concat();
    let request = [
        encode(&[&b"SET"[..], b"cut:1", &value, b"EX", b"1000"]),
        encode(&[&b"STRLEN"[..], b"cut:1"]),
        encode(&[&b"APPEND"[..], b"cut:2", &value]),
        encode(&[&b"GETDEL"[..], b"cut:2"]),
    ]
    .concat();
    // The tail of the first request, and the second, which begins behind it.
    let cuts = (0..60).chain(6_000..6_150);
    let mut barrier = keyway.client();
    for cut in cuts {
        let first = cut.min(60);
        for piece in [&request[..first], &request[first..cut], &request[cut..]] {
            client.send_raw(piece);
            // What was sent before is read by then: one thread serves both.
            barrier.expect("PING", "+PONG");
        }
        for reply in ["+OK", ":6000", ":6000"] {
            client.expect_next(reply);
        }
        assert!(client.read().bytes() == Some(&value[..]), "cut at {cut}");
    }
    client.expect("DEL cut:1", ":1");
    assert!(keyway.metric("keyway_streamed_requests_total") > 100.0);
}

/// Many that send half of their values and then nothing, and one that goes on.
///
/// contract: P8, F4, F6
fn a_slow_sender_holds_up_nobody(flavor: Flavor) {
    const LEN: usize = 32 << 20;
    let _alone = alone();
    let cluster = cluster(flavor);
    let keyway = patient_keyway(&cluster).start();
    let mut other = keyway.client();
    other.expect("GET none", "nil");
    let before = keyway.resident_bytes();
    let senders: Vec<_> = (0..20)
        .map(|number| {
            let client = keyway.client().with_patience(PATIENCE);
            let mut stream = patient(&client);
            let key = format!("sent:{number}");
            let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${LEN}\r\n", key.len());
            stream.write_all(head.as_bytes()).expect("it is sent");
            let first = pieces(LEN).take(8);
            first.for_each(|piece| stream.write_all(piece).expect("it is sent"));
            client
        })
        .collect();
    let keys: Vec<String> = (0..6).map(|number| format!("beside:{number}")).collect();
    let bystanders = Bystanders::start(&keyway, &keys);
    let mut whole = keyway.client().with_patience(PATIENCE);
    let mut stream = patient(&whole);
    write_command(&mut stream, &["SET", "whole"], LEN).expect("it is sent");
    whole.expect_next("+OK");
    let waits = bystanders.stop();
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    println!(
        "beside 20 slow senders and a fast one: {waits}; grew by {} KiB",
        growth >> 10
    );
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    // They are stuck all the while: whoever waited for one of them would wait as long.
    assert!(waits.longest < Duration::from_secs(15), "{waits}");
    // The slow ones go on after all.
    thread::scope(|scope| {
        for mut client in senders {
            scope.spawn(move || {
                let mut stream = patient(&client);
                pieces(LEN)
                    .skip(8)
                    .for_each(|piece| stream.write_all(piece).expect("it is sent"));
                stream.write_all(b"\r\n").expect("it is sent");
                client.expect_next("+OK");
            });
        }
    });
    other.expect("STRLEN sent:7", &format!(":{LEN}"));
}

/// contract: P8, F2
fn a_client_that_leaves_while_it_sends_has_done_nothing(flavor: Flavor) {
    let (cluster, _) = shared(flavor);
    let keyway = patient_keyway(cluster).start();
    let mut other = keyway.client();
    other.expect("SET left:key kept", "+OK");
    for half_closes in [false, true] {
        let mut client = keyway.client();
        let sent = keyway.metric("keyway_upstream_written_bytes_total");
        let head = "*3\r\n$3\r\nSET\r\n$8\r\nleft:key\r\n$100000000\r\n";
        client.send_raw(head);
        client.send_raw(pieces(5_000_000).collect::<Vec<_>>().concat());
        eventually("most of it is under way", DEADLINE, || {
            keyway.metric("keyway_upstream_written_bytes_total") - sent > 4e6
        });
        if half_closes {
            client.finish_sending();
            assert_eq!(client.read_to_end(), b"");
        }
        drop(client);
        eventually("nothing is left of it", DEADLINE, || {
            keyway.metric("keyway_clients") <= 1.0
        });
        other.expect("GET left:key", "'kept'");
    }
    // Its connections are closed, not used again.
    let large = vec![b'x'; 1_000_000];
    other.expect_raw(encode(&[&b"SET"[..], b"left:key", &large]), "+OK\r\n");
    other.expect("STRLEN left:key", ":1000000");
    other.expect("DEL left:key", ":1");
}
