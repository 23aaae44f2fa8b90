//! Scripts and functions, by their keys and on every primary.

use super::Stage;
use super::support::{Flavor, Value, each_flavor};

each_flavor! {
    scripts_run_where_their_keys_are,
    script_commands_speak_of_every_primary,
    functions_are_on_every_primary,
    sort_follows_the_nodes_rules,
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// contract: T4, R2
fn scripts_run_where_their_keys_are(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    for key in KEYS {
        client.expect(
            &format!(r#"EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 {key} v{key}"#),
            "+OK",
        );
        client.expect(
            &format!(r#"EVAL_RO "return redis.call('GET', KEYS[1])" 1 {key}"#),
            &format!("'v{key}'"),
        );
        client.expect(&format!("GET {key}"), &format!("'v{key}'"));
    }
    client.expect(
        r#"EVAL "return {KEYS[1], KEYS[2], ARGV[1]}" 2 {t}1 {t}2 x"#,
        "['{t}1' '{t}2' 'x']",
    );
    client.expect(r#"EVAL "return 7" 0"#, ":7");
    client.expect(r#"EVAL "return ARGV" 0 a b"#, "['a' 'b']");
    // The servers' own words.
    let node = stage.scene.cluster.node(0);
    for command in [
        r#"EVAL "return 1" -1"#,
        r#"EVAL "return 1" x a"#,
        r#"EVAL "return 1" 3 a"#,
        r#"EVAL "return 1" 99999999999999999999 a"#,
        r#"EVAL "return nonsense(" 0"#,
    ] {
        let (got, want) = (
            client.call(command).to_string(),
            node.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
    client.expect_error(
        r#"EVAL "return redis.call('GET', 'undeclared' .. ARGV[1])" 1 a x"#,
        "ERR",
    );
    client.expect_error(
        "EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 a",
        "NOSCRIPT",
    );
}

/// contract: M4, T4
fn script_commands_speak_of_every_primary(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    client.expect("SCRIPT FLUSH", "+OK");
    let sha = client
        .call(r#"SCRIPT LOAD "return redis.call('INCR', KEYS[1])""#)
        .text();
    assert_eq!(sha.len(), 40);
    for key in KEYS {
        client.expect(&format!("EVALSHA {sha} 1 {key}"), ":1");
        client.expect(&format!("evalsha {} 1 {key}", sha.to_uppercase()), ":2");
    }
    let none = "0".repeat(40);
    client.expect(&format!("SCRIPT EXISTS {sha} {none} {sha}"), "[:1 :0 :1]");
    for &primary in &cluster.primaries() {
        let reply = cluster.node(primary).ok(&format!("SCRIPT EXISTS {sha}"));
        assert_eq!(reply.to_string(), "[:1]", "on every primary");
    }
    // Where one primary lacks it, Keyway sends it along.
    cluster.node(cluster.primaries()[1]).ok("SCRIPT FLUSH");
    client.expect(&format!("SCRIPT EXISTS {sha}"), "[:1]");
    client.expect("SCRIPT FLUSH ASYNC", "+OK");
    for &primary in &cluster.primaries() {
        let reply = cluster.node(primary).ok(&format!("SCRIPT EXISTS {sha}"));
        assert_eq!(reply.to_string(), "[:0]", "on no primary");
    }
    client.expect_error("SCRIPT KILL", "NOTBUSY");
    client.expect_error("SCRIPT LOAD nonsense(", "ERR");
}

/// contract: M4, T4
fn functions_are_on_every_primary(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.expect("FUNCTION FLUSH", "+OK");
    let library = "#!lua name=mylib\nredis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)\nredis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}";
    assert_eq!(
        client.call_args(&["FUNCTION", "LOAD", library]).to_string(),
        "'mylib'"
    );
    let again = client.call_args(&["FUNCTION", "LOAD", library]).to_string();
    assert_eq!(again, "-ERR Library 'mylib' already exists");
    assert_eq!(
        client
            .call_args(&["FUNCTION", "LOAD", "REPLACE", library])
            .to_string(),
        "'mylib'"
    );
    for key in KEYS {
        client.expect(&format!("FCALL put 1 {key} f{key}"), "+OK");
        client.expect(&format!("FCALL_RO peek 1 {key}"), &format!("'f{key}'"));
    }
    client.expect("FCALL nosuch 1 a", "-ERR Function not found");
    assert_eq!(client.call("FUNCTION LIST").items().len(), 1);
    let dump = client.call("FUNCTION DUMP");
    let dump = dump.bytes().expect("a dump is a string").to_vec();
    client.expect("FUNCTION DELETE mylib", "+OK");
    client.expect("FCALL put 1 a x", "-ERR Function not found");
    let restored = client.call_args(&[&b"FUNCTION"[..], b"RESTORE", &dump]);
    assert_eq!(restored.to_string(), "+OK");
    for key in KEYS {
        client.expect(&format!("FCALL_RO peek 1 {key}"), &format!("'f{key}'"));
    }
    client.expect("FUNCTION FLUSH", "+OK");
    client.expect("FUNCTION LIST", "[]");
    assert!(matches!(client.call("FUNCTION STATS"), Value::Array(_)));
}

/// contract: R2, M2
fn sort_follows_the_nodes_rules(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    client.expect("RPUSH {s}l 3 1 2", ":3");
    client.expect("SORT {s}l", "['1' '2' '3']");
    client.expect("SORT {s}l DESC LIMIT 0 2", "['3' '2']");
    client.expect("SORT {s}l BY nosort", "['3' '1' '2']");
    client.expect("SORT_RO {s}l", "['1' '2' '3']");
    client.expect("SORT {s}l STORE {s}m", ":3");
    client.expect("LRANGE {s}m 0 -1", "['1' '2' '3']");
    client.expect(
        "SORT {s}l STORE elsewhere",
        "-CROSSSLOT Keys in request don't hash to the same slot",
    );
    // BY and GET with patterns: what the node that owns the key says.
    let mut owner = cluster.client_of_key("{s}l");
    for command in [
        "SORT {s}l BY weight_*",
        "SORT {s}l GET data_*",
        "SORT {s}l BY {s}w_* GET {s}d_*",
        "SORT {s}l GET #",
        "SORT {s}l BY {s}w->*",
        "SORT {s}l NONSENSE",
        "SORT {s}l LIMIT 0",
    ] {
        let (got, want) = (
            client.call(command).to_string(),
            owner.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
}
