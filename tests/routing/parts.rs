//! Requests of many parts, when one part fares differently.

use super::place::{key_of, keys_of, scene, slot, tells_its_keys};
use super::support::Action;
use std::time::{Duration, Instant};

/// A part that fails makes the whole reply an error: no nil in its place, no smaller sum.
///
/// contract: M1
#[test]
fn a_failed_part_is_an_error() {
    let (fake, keyway) = scene(2, "10s");
    let (a, b) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    for error in [
        "-OOM command not allowed",
        "-ERR odd",
        "-WRONGTYPE no",
        "-NOPERM no",
    ] {
        for command in [
            format!("MGET {a} {b}"),
            format!("MSET {a} 1 {b} 2"),
            format!("DEL {a} {b} {a}"),
            format!("UNLINK {a} {b}"),
            format!("EXISTS {a} {b} {b}"),
            format!("TOUCH {b} {a}"),
            "DBSIZE".to_owned(),
            "KEYS *".to_owned(),
            "FLUSHALL".to_owned(),
            "SCRIPT LOAD x".to_owned(),
        ] {
            let name = command.split(' ').next().unwrap_or_default();
            for node in 0..2 {
                fake.node(node).once(name, Action::line(error));
                fake.node(1 - node).once(
                    name,
                    match name {
                        "KEYS" => Action::line("*0"),
                        _ => Action::Default,
                    },
                );
                let reply = client.call(&command).to_string();
                assert!(reply.starts_with(error), "{command}: {reply}");
                fake.node(node).forget_rules();
                fake.node(1 - node).forget_rules();
            }
        }
    }
}

/// Only the part that was sent elsewhere is sent again; the others are not done twice.
///
/// contract: M1, R3, R4, R5
#[test]
fn only_the_redirected_part_is_sent_again() {
    let (a, b) = (keys_of(0, 2, 2), keys_of(1, 2, 1));
    let at = slot(&a[0]);
    type Make = fn(u16, &super::support::FakeNode) -> Action;
    let redirects: [(&str, Make); 4] = [
        ("MOVED", Action::moved),
        ("ASK", Action::ask),
        ("TRYAGAIN", |_, _| Action::line("-TRYAGAIN later")),
        ("CLUSTERDOWN", |_, _| {
            Action::line("-CLUSTERDOWN The cluster is down")
        }),
    ];
    for (what, redirect) in redirects {
        let (fake, keyway) = scene(2, "10s");
        let to = fake.node(1);
        fake.node(0)
            .once(&format!("DEL {}", a[0]), redirect(at, to));
        let delete = format!("DEL {} {} {} {}", a[0], b[0], a[1], b[0]);
        keyway.client().expect(&delete, ":4");
        let sent = fake.node(0).received("DEL").len() + to.received("DEL").len();
        assert_eq!(sent, 4, "{what}: three parts, one of them twice");
    }
}

/// contract: M1, F2
#[test]
fn a_part_with_unknown_outcome_says_so() {
    let (fake, keyway) = scene(2, "10s");
    let (a, b) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    for (command, name) in [
        (format!("MSET {a} 1 {b} 2"), "MSET"),
        (format!("DEL {a} {b}"), "DEL"),
        ("FLUSHALL".to_owned(), "FLUSHALL"),
    ] {
        fake.node(1).once(name, Action::close());
        let before = fake.node(1).received(name).len();
        let reply = client.call(&command).to_string();
        assert!(
            reply.starts_with('-') && reply.contains("outcome unknown"),
            "{command}: {reply}"
        );
        client.expect(&format!("GET {b}"), "'node-1'");
        assert_eq!(fake.node(1).received(name).len() - before, 1, "{command}");
    }
    // Reads go on.
    fake.node(1)
        .once("MGET", Action::ReplyAndClose(b"*1\r\n$6\r\nno".to_vec()));
    fake.node(1).once("GET", Action::close());
    client.expect(&format!("MGET {a} {b}"), "['node-0' 'node-1']");
    fake.node(1).once("EXISTS", Action::close());
    client.expect(&format!("EXISTS {a} {b} {b}"), ":3");
}

/// Replies to parts in any order, late, and while other requests pass.
///
/// contract: M1, P2
#[test]
fn parts_are_put_together_in_the_order_of_the_keys() {
    let (fake, keyway) = scene(3, "10s");
    for node in 0..3 {
        fake.node(node).on("MGET", move |request| {
            let values: Vec<_> = (1..request.arguments.len())
                .map(|n| format!("${}\r\n{}\r\n", request.text(n).len(), request.text(n)))
                .collect();
            Action::Reply(format!("*{}\r\n{}", values.len(), values.concat()).into_bytes())
        });
        tells_its_keys(fake.node(node), &node.to_string());
    }
    let keys: Vec<String> = (0..3).flat_map(|node| keys_of(node, 3, 30)).collect();
    let mut client = keyway.client();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let chosen: Vec<&String> = (0..random.usize(2..60))
            .map(|_| &keys[random.usize(..keys.len())])
            .collect();
        let mut words = vec!["MGET"];
        words.extend(chosen.iter().map(|key| key.as_str()));
        client.send_raw(super::support::client::encode(&words));
        client.send(&format!("GET {}", keys[0]));
        let got: Vec<String> = client
            .read()
            .items()
            .iter()
            .map(|item| item.text())
            .collect();
        assert!(got.iter().eq(chosen), "{got:?}");
        assert!(client.read().text().starts_with(&keys[0]));
    }
}

/// A node that gives the wrong number of values is at fault; its reply is not somebody's data.
///
/// contract: M1, F8
#[test]
fn parts_of_the_wrong_shape_are_an_error() {
    let (fake, keyway) = scene(2, "10s");
    let (a, b) = (key_of(0, 2), key_of(1, 2));
    let mut client = keyway.client();
    for (command, reply) in [
        (format!("MGET {a} {b}"), "*0\r\n"),
        (format!("MGET {a} {b}"), "*2\r\n:1\r\n:2\r\n"),
        (format!("MGET {a} {b}"), ":1\r\n"),
        (format!("MGET {a} {b}"), "*-1\r\n"),
        (format!("DEL {a} {b}"), "+OK\r\n"),
        (format!("DEL {a} {b}"), "*0\r\n"),
        (format!("EXISTS {a} {b}"), "$1\r\n1\r\n"),
        ("DBSIZE".to_owned(), "+many\r\n"),
        ("DBSIZE".to_owned(), ":9223372036854775807\r\n"),
        ("INFO".to_owned(), ":1\r\n"),
        ("SCAN 0".to_owned(), "*1\r\n$1\r\n0\r\n"),
        ("SCAN 0".to_owned(), "*2\r\n$2\r\nxx\r\n*0\r\n"),
        (
            "SCAN 0".to_owned(),
            "*2\r\n$20\r\n18446744073709551615\r\n*0\r\n",
        ),
        ("RANDOMKEY".to_owned(), "*3\r\n:1\r\n:2\r\n:3\r\n"),
    ] {
        let name = command.split(' ').next().unwrap_or_default();
        for node in fake.nodes() {
            node.always(name, Action::Reply(reply.into()));
        }
        let began = Instant::now();
        let got = client.call(&command);
        let passes = matches!(name, "RANDOMKEY" | "DBSIZE" | "SCAN");
        assert!(got.is_error() || passes, "{command} and {reply:?}: {got}");
        assert!(began.elapsed() < Duration::from_secs(5));
        for node in fake.nodes() {
            node.forget_rules();
        }
    }
    client.expect(&format!("MGET {a} {b}"), "['node-0' 'node-1']");
}
