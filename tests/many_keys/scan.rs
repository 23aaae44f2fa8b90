//! SCAN walks every primary, and nothing is missed.

use std::collections::BTreeMap;

use super::support::{Client, Flavor, Value, each_flavor};
use super::{Stage, fill};

each_flavor! {
    a_walk_sees_every_key,
    options_are_the_servers,
    a_pattern_with_a_tag_asks_one_node,
    odd_cursors_get_the_servers_words,
    two_walks_do_not_know_of_each_other,
    a_few_keys_are_one_call,
    many_keys_are_walked_in_pages_of_any_size,
}

/// One step: the next cursor and the names. Cursors fit into a signed number of 64 bits.
#[track_caller]
pub fn step(client: &mut Client, cursor: &str, options: &str) -> (String, Vec<String>) {
    let reply = client.call(&format!("SCAN {cursor} {options}"));
    let [next, names] = reply.items() else {
        panic!("SCAN {cursor} {options}: {reply}");
    };
    let next = next.text();
    assert!(
        next.parse::<i64>().is_ok_and(|number| number >= 0),
        "cursor {next}"
    );
    (next, names.items().iter().map(Value::text).collect())
}

/// A whole walk: how often each name came, and how many steps it took.
#[track_caller]
pub fn walk(client: &mut Client, options: &str) -> (BTreeMap<String, usize>, usize) {
    let mut names = BTreeMap::new();
    let mut cursor = "0".to_owned();
    for steps in 1..100_000 {
        let (next, found) = step(client, &cursor, options);
        for name in found {
            *names.entry(name).or_default() += 1;
        }
        if next == "0" {
            return (names, steps);
        }
        cursor = next;
    }
    panic!("SCAN {options} does not end");
}

/// contract: M5
fn a_walk_sees_every_key(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let (names, _) = walk(&mut client, "");
    assert!(names.is_empty(), "{names:?}");
    fill(
        &mut client,
        (0..2_000).map(|number| format!("walk:{number}")),
    );
    for (options, steps_max) in [
        ("", 600),
        ("COUNT 1", 9_000),
        ("COUNT 7", 900),
        ("COUNT 100", 60),
        ("COUNT 100000", 6),
    ] {
        let (names, steps) = walk(&mut client, options);
        assert_eq!(names.len(), 2_000, "SCAN {options}");
        // Nothing grows or shrinks: no reason for a name to come twice.
        assert!(names.values().all(|&times| times == 1), "SCAN {options}");
        assert!(steps <= steps_max, "SCAN {options}: {steps} steps");
    }
    client.call("HELLO 3");
    assert_eq!(walk(&mut client, "COUNT 300").0.len(), 2_000);
    // One node is full, two are empty.
    client.expect("FLUSHALL", "+OK");
    fill(
        &mut client,
        (0..50).map(|number| format!("{{one}}{number}")),
    );
    assert_eq!(walk(&mut client, "").0.len(), 50);
}

/// contract: M5
fn options_are_the_servers(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    fill(
        &mut client,
        (0..500).map(|number| format!("string:{number}")),
    );
    for number in 0..100 {
        client.send(&format!("HSET hash:{number} f v"));
    }
    for _ in 0..100 {
        client.expect_next(":1");
    }
    for (options, count) in [
        ("MATCH string:1?", 10),
        ("MATCH * COUNT 50", 600),
        ("COUNT 50 MATCH hash:*", 100),
        ("TYPE hash", 100),
        ("type string count 1000", 500),
        ("MATCH *:7 TYPE hash", 1),
        ("MATCH none", 0),
    ] {
        assert_eq!(walk(&mut client, options).0.len(), count, "SCAN {options}");
    }
    let node = stage.scene.cluster.node(0);
    let odd = "SCAN 0 TYPE nosuchtype COUNT 1";
    assert_eq!(client.call(odd).is_error(), node.call(odd).is_error());
    for command in [
        "SCAN 0 COUNT 0",
        "SCAN 0 COUNT x",
        "SCAN 0 COUNT -5",
        "SCAN 0 MATCH",
        "SCAN 0 FOO",
        "SCAN 0 COUNT 1 FOO bar",
    ] {
        assert_eq!(
            client.call(command).to_string(),
            node.call(command).to_string(),
            "{command}"
        );
    }
}

/// contract: M5
fn a_pattern_with_a_tag_asks_one_node(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    fill(
        &mut client,
        (0..300).map(|number| format!("{{tag}}:{number}")),
    );
    fill(
        &mut client,
        (0..300).map(|number| format!("other:{number}")),
    );
    let owner = cluster
        .primary_of_key("{tag}")
        .expect("somebody owns the slot");
    for pattern in ["{tag}*", "{tag}:1*", "{tag}:[12]*"] {
        for node in cluster.nodes() {
            node.ok("CONFIG RESETSTAT");
        }
        let (names, _) = walk(&mut client, &format!("MATCH {pattern} COUNT 50"));
        assert!(names.keys().all(|name| name.starts_with("{tag}:")));
        assert!(names.len() >= 100, "{pattern}: {}", names.len());
        for index in 0..cluster.nodes().len() {
            let stats = cluster.node(index).ok("INFO commandstats").text();
            let is_asked = stats.contains("cmdstat_scan:");
            assert_eq!(is_asked, index == owner, "{pattern} at node {index}");
        }
    }
    // What only looks like a tag asks everybody, and finds everything.
    client.expect("FLUSHALL", "+OK");
    fill(
        &mut client,
        (0..90).map(|number| format!("{{{}}}x", number)),
    );
    fill(&mut client, (0..10).map(|number| format!("{{}}x{number}")));
    for (pattern, count) in [
        ("{*}*", 100),
        ("{?}x", 10),
        ("{[0-9]}x", 10),
        ("{}x*", 10),
        ("*{1}x", 1),
        ("\\{1}x", 1),
        ("{1\\0}x", 1),
        ("{1", 0),
    ] {
        let (names, _) = walk(&mut client, &format!("MATCH '{pattern}' COUNT 100"));
        assert_eq!(names.len(), count, "{pattern}: {names:?}");
    }
}

/// contract: M5, F8
fn odd_cursors_get_the_servers_words(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    fill(&mut client, (0..100).map(|number| format!("odd:{number}")));
    let mut plain = stage.scene.plain().client();
    for cursor in [
        "x",
        "''",
        "-1",
        "1x",
        "99999999999999999999999",
        "0x10",
        "1.5",
    ] {
        let command = format!("SCAN {cursor}");
        let (got, want) = (client.call(&command), plain.call(&command).to_string());
        // A server takes some of them for a number that leads nowhere; an error is as good.
        assert!(
            got.is_error() || !want.starts_with('-'),
            "{command}: {got}, a server says {want}"
        );
        if got.is_error() && want.starts_with('-') {
            assert_eq!(got.to_string(), want, "{command}");
        }
    }
    // Cursors nobody gave out lead somewhere or nowhere, but never astray for ever.
    for cursor in [
        1,
        2,
        16_384,
        1 << 14,
        1 << 32,
        1 << 48,
        (1 << 62) + 5,
        i64::MAX,
    ] {
        let mut at = cursor.to_string();
        for steps in 0.. {
            assert!(steps < 1_000, "SCAN {cursor} does not end");
            let reply = client.call(&format!("SCAN {at}"));
            if reply.is_error() || reply.items()[0].text() == "0" {
                break;
            }
            at = reply.items()[0].text();
        }
    }
    client.expect("PING", "+PONG");
}

/// contract: M5
fn two_walks_do_not_know_of_each_other(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    fill(&mut client, (0..600).map(|number| format!("two:{number}")));
    // Three walks taken step by step in turn, on one connection and another.
    let mut other = stage.client();
    let mut walks = vec![(String::from("0"), BTreeMap::<String, usize>::new(), false); 3];
    while walks.iter().any(|(_, _, is_over)| !is_over) {
        for (number, (cursor, names, is_over)) in walks.iter_mut().enumerate() {
            if *is_over {
                continue;
            }
            let who = if number == 2 { &mut other } else { &mut client };
            let (next, found) = step(who, cursor, ["COUNT 5", "COUNT 50", "COUNT 11"][number]);
            for name in found {
                *names.entry(name).or_default() += 1;
            }
            *is_over = next == "0";
            *cursor = next;
        }
    }
    for (_, names, _) in walks {
        assert_eq!(names.len(), 600);
    }
}

/// Clients that call `SCAN` once see what is there, as before one server. contract: M5
fn a_few_keys_are_one_call(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let all: Vec<String> = (0..5).map(|number| format!("few:{number}")).collect();
    fill(&mut client, all.iter().cloned());
    let mut once = |options: &str| -> Vec<String> {
        let (next, mut names) = step(&mut client, "0", options);
        assert_eq!(next, "0", "SCAN 0 {options}");
        names.sort();
        names
    };
    for options in ["", "COUNT 10", "COUNT 1000", "TYPE string", "MATCH few:*"] {
        assert_eq!(once(options), all, "SCAN 0 {options}");
    }
    assert_eq!(once("MATCH few:[13] COUNT 20"), ["few:1", "few:3"]);
    assert_eq!(once("TYPE hash"), Vec::<String>::new());
    let mut client = stage.client();
    fill(
        &mut client,
        (0..300).map(|number| format!("other:{number}")),
    );
    client.call("HELLO 3");
    let (next, mut names) = step(&mut client, "0", "MATCH few:* COUNT 1000");
    names.sort();
    assert_eq!((next.as_str(), names), ("0", all));
}

/// contract: M5
fn many_keys_are_walked_in_pages_of_any_size(flavor: Flavor) {
    const KEYS: usize = 10_000;
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    fill(
        &mut client,
        (0..KEYS).map(|number| format!("many:{number}")),
    );
    for (options, steps_max) in [("COUNT 1", KEYS), ("", KEYS / 5), ("COUNT 1000", 15)] {
        let (names, steps) = walk(&mut client, options);
        assert_eq!(names.len(), KEYS, "SCAN {options}");
        assert!(names.values().all(|&times| times == 1), "SCAN {options}");
        assert!(steps <= steps_max, "SCAN {options}: {steps} steps");
    }
}
