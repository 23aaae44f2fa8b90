//! Commands that are split by slot.

use std::collections::BTreeSet;

use keyway::cluster::Slot;

use super::support::{Flavor, Scene, each_flavor};
use super::{Stage, fill};

each_flavor! {
    order_and_duplicates_are_kept,
    counts_count_as_one_server_does,
    a_thousand_keys_over_all_slots,
    a_hundred_thousand_keys_in_bounded_memory,
    several_slots_where_one_is_needed,
    wrong_counts_get_the_servers_words,
    lists_of_keys_equal_one_server,
}

/// contract: M1
fn order_and_duplicates_are_kept(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.expect("MSET a 1 b 2 c 3 a 4 d 5 b 6", "+OK");
    client.expect("MGET a b c d", "['4' '6' '3' '5']");
    client.expect("MGET d d a none a d", "['5' '5' '4' nil '4' '5']");
    client.expect("HSET h f v", ":1");
    client.expect("LPUSH l v", ":1");
    // Of another type is nil, not an error, in its place.
    client.expect("MGET h a l b", "[nil '4' nil '6']");
    client.call("HELLO 3");
    client.expect("MGET h a l b none", "[null '4' null '6' null]");
    client.expect("MGET {x}1 {x}2", "[null null]");
    client.expect("MGET a", "['4']");
    // Values are bytes.
    client.expect(r#"MSET a "\r\n" b "\0" c "" d "$-1\r\n""#, "+OK");
    client.expect("MGET d c b a", r"['$-1\r\n' '' '\x00' '\r\n']");
}

/// contract: M1
fn counts_count_as_one_server_does(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.call("MSET a 1 b 2 c 3 d 4");
    client.expect("EXISTS a a a", ":3");
    client.expect("EXISTS a b none a c none", ":4");
    client.expect("TOUCH a b none a", ":3");
    client.expect("DEL a a b none", ":2");
    client.expect("UNLINK c none c d", ":2");
    client.expect("EXISTS a b c d", ":0");
    client.expect("DEL a b c d", ":0");
}

/// contract: M1, M6
fn a_thousand_keys_over_all_slots(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut slots = BTreeSet::new();
    let names: Vec<String> = (0..)
        .map(|number: u32| format!("wide-{number}"))
        .filter(|name| slots.insert(Slot::of_key(name.as_bytes()).number()))
        .take(1_000)
        .collect();
    fill(&mut client, names.iter().cloned());
    let mut words = vec!["MGET".to_owned()];
    words.extend(names.iter().rev().cloned());
    for _ in 0..3 {
        let reply = client.call_args(&words);
        let want = names.iter().rev().map(|name| format!("value of {name}"));
        assert!(reply.items().iter().map(|item| item.text()).eq(want));
    }
    words[0] = "DEL".to_owned();
    assert_eq!(client.call_args(&words).integer(), 1_000);
}

/// contract: M6, F6
fn a_hundred_thousand_keys_in_bounded_memory(flavor: Flavor) {
    const COUNT: usize = 100_000;
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let names: Vec<String> = (0..COUNT).map(|number| format!("much-{number}")).collect();
    fill(&mut client, names.iter().cloned());
    let before = stage.scene.keyway.resident_bytes();
    let mut words = vec!["EXISTS".to_owned()];
    words.extend(names.iter().cloned());
    assert_eq!(client.call_args(&words).integer(), COUNT as i64);
    words[0] = "MGET".to_owned();
    let reply = client.call_args(&words);
    assert_eq!(reply.items().len(), COUNT);
    for (name, value) in names.iter().zip(reply.items()) {
        assert_eq!(value.text(), format!("value of {name}"));
    }
    words[0] = "DEL".to_owned();
    assert_eq!(client.call_args(&words).integer(), COUNT as i64);
    client.expect("DBSIZE", ":0");
    let growth = stage.scene.keyway.resident_bytes().saturating_sub(before);
    println!("requests of {COUNT} keys: grew by {} KiB", growth / 1024);
    // Each request has 1.6 MB, its reply 2.5 MB.
    assert!(growth < 64 << 20, "grew by {growth} bytes");
}

/// contract: M2
fn several_slots_where_one_is_needed(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.call("MSET a 1 {a}b 2 c 3");
    let crossslot = "-CROSSSLOT Keys in request don't hash to the same slot";
    for command in [
        "MSETNX a 1 b 2",
        "RENAME a b",
        "RENAMENX a b",
        "COPY a b",
        "SMOVE a b m",
        "LMOVE a b LEFT RIGHT",
        "RPOPLPUSH a b",
        "LMPOP 2 a b LEFT",
        "ZMPOP 2 a b MIN",
        "SINTER a b",
        "SUNION a b",
        "SDIFF a b c",
        "SINTERCARD 2 a b",
        "SINTERSTORE a b c",
        "SUNIONSTORE a b",
        "SDIFFSTORE a b",
        "ZUNION 2 a b",
        "ZINTER 2 a b",
        "ZDIFF 2 a b",
        "ZINTERCARD 2 a b",
        "ZUNIONSTORE a 1 b",
        "ZINTERSTORE a 2 a b",
        "ZDIFFSTORE a 1 b",
        "ZRANGESTORE a b 0 -1",
        "BITOP AND a b c",
        "BITOP NOT a b",
        "PFMERGE a b",
        "PFCOUNT a b",
        "GEOSEARCHSTORE a b FROMLONLAT 1 1 BYRADIUS 1 km",
        "GEORADIUS a 1 1 1 km STORE b",
        "SORT a STORE b",
        "LCS a b",
        "XREAD STREAMS a b 0 0",
        "XREADGROUP GROUP g c STREAMS a b > >",
        "EVAL x 2 a b",
        "EVALSHA x 2 a b",
        "EVAL_RO x 2 a b",
        "FCALL f 2 a b",
    ] {
        client.expect(command, crossslot);
    }
    // In one slot they work, and nothing of the above was carried out.
    client.expect("MGET a {a}b c", "['1' '2' '3']");
    client.expect("RENAME a {a}c", "+OK");
    client.expect("MSETNX {a}x 1 {a}y 2", ":1");
    client.expect("MSETNX {a}z 1 {a}y 2", ":0");
    client.expect("COPY {a}x {a}z", ":1");
    client.expect("MGET {a}c {a}x {a}y {a}z", "['1' '1' '2' '1']");
}

/// contract: M1, C6
fn wrong_counts_get_the_servers_words(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut plain = stage.scene.plain().client();
    for command in [
        "MGET",
        "MSET",
        "MSET a",
        "MSET a 1 b",
        "MSET a 1 b 2 c",
        "DEL",
        "EXISTS",
        "TOUCH",
        "UNLINK",
        "MSETNX a 1 b",
        "KEYS",
        "KEYS a b",
        "DBSIZE x",
        "SCAN",
        "RANDOMKEY x",
        "FLUSHALL NOW",
        "FLUSHALL ASYNC SYNC",
        "FLUSHDB x",
        "SCRIPT LOAD",
        "SCRIPT EXISTS",
        "SCRIPT FLUSH x",
        "OBJECT ENCODING",
        "EVAL x",
        "EVAL x y",
        "PUBLISH a",
        "CONFIG GET",
        "CONFIG SET a",
    ] {
        let (got, want) = (
            client.call(command).to_string(),
            plain.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
}

/// Random lists of keys of all lengths, against one server.
///
/// contract: M1
fn lists_of_keys_equal_one_server(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let scene: &Scene = stage.scene;
    scene.plain().ok("FLUSHALL");
    let (mut client, mut plain) = (stage.client(), scene.plain().client());
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for step in 0..600 {
        let name = [
            "MGET", "EXISTS", "TOUCH", "DEL", "UNLINK", "MSET", "MSET", "MSET",
        ][random.usize(..8)];
        let count = if random.u8(..20) == 0 {
            300
        } else {
            random.usize(1..9)
        };
        let mut words = vec![name.to_owned()];
        for _ in 0..count {
            words.push(format!("list-{}", random.u32(..60)));
            if name == "MSET" {
                words.push(format!("{step}"));
            }
        }
        let (got, want) = (client.call_args(&words), plain.call_args(&words));
        assert_eq!(
            got.to_string(),
            want.to_string(),
            "seed {seed}, step {step}: {words:?}"
        );
    }
}
