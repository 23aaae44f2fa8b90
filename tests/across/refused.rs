//! Without the opt-in, and beyond what it covers, a cluster's own words.

use super::emulating;
use super::support::{Flavor, Keyway, Scene, each_flavor};

each_flavor!(
    without_the_opt_in_crossslot,
    what_writes_stays_refused,
    too_much_is_an_error_that_says_so,
    keys_of_one_slot_go_to_its_owner,
);

const CROSSSLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

const READS: [&str; 9] = [
    "SUNION a b",
    "SINTER a b",
    "SDIFF a b",
    "SINTERCARD 2 a b",
    "ZUNION 2 a b",
    "ZINTER 2 a b",
    "ZDIFF 2 a b",
    "ZINTERCARD 2 a b",
    "PFCOUNT a b",
];

/// contract: M2 M3
fn without_the_opt_in_crossslot(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    let mut node = scene.cluster.node(0).client();
    for line in READS {
        let words = super::support::client::words(line);
        let bytes = super::support::client::encode(&words);
        client.expect_raw(&bytes, CROSSSLOT);
        node.expect_raw(&bytes, CROSSSLOT);
    }
}

/// contract: M2
fn what_writes_stays_refused(flavor: Flavor) {
    let mut client = emulating(flavor).client();
    for line in [
        "SUNIONSTORE a b c",
        "ZUNIONSTORE a 2 b c",
        "PFMERGE a b",
        "SMOVE a b m",
        "LCS a b",
    ] {
        client.expect_raw(
            super::support::client::encode(&super::support::client::words(line)),
            CROSSSLOT,
        );
    }
}

/// The next read works: what came too late for the first is not taken for the second's. contract: M3 F6
fn too_much_is_an_error_that_says_so(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set("compatibility.cross_slot_reads", "\"emulate\"")
        .set("limits.cross_slot_read_bytes", "\"64kb\"")
        .start();
    let mut client = keyway.client();
    for key in ["{large}1", "{large}2", "{other}1"] {
        let mut words = vec!["SADD".to_owned(), key.to_owned()];
        words.extend((0..700).map(|number| format!("{key}{number:060}")));
        client.call_args(&words);
    }
    client.expect_error(
        "SUNION {large}1 {other}1",
        "ERR what this read over several slots needs is more than 65536 bytes (limits.cross_slot_read_bytes)",
    );
    client.expect("SINTERCARD 2 {large}1 {small}none", ":0");
    let replies = client.pipeline(&[
        "SUNION {large}1 {other}1 {large}2",
        "PING",
        "SINTER {large}1 {small}none",
        "SCARD {other}1",
    ]);
    assert!(replies[0].is_error(), "{}", replies[0]);
    let rest: Vec<_> = replies[1..].iter().map(ToString::to_string).collect();
    assert_eq!(rest, ["+PONG", "[]", ":700"]);
    // In one slot the node computes it, whatever the size.
    assert_eq!(client.call("SUNION {large}1 {large}2").items().len(), 1400);
}

/// contract: R1
fn keys_of_one_slot_go_to_its_owner(flavor: Flavor) {
    let mut client = emulating(flavor).client();
    for line in ["DEL {s}1 {s}2", "SADD {s}1 a b", "SADD {s}2 b c"] {
        client.call(line);
    }
    client.expect("SINTER {s}1 {s}2", "['b']");
    client.expect("SINTERCARD 2 {s}1 {s}2 LIMIT 1", ":1");
}
