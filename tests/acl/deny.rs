//! `listen.deny` and `listen.allow`: what nobody may do on a listener, and what is allowed all the same (contract C7).

use crate::support::{Flavor, Keyway, Scene, each_flavor};

each_flavor!(
    one_line_denies,
    exceptions_are_allowed,
    operators_may_be_allowed
);

/// contract: C7
fn one_line_denies(flavor: Flavor) {
    let keyway = Keyway::before(&Scene::shared(flavor).cluster.seeds())
        .set(
            "listen.deny",
            "[\"flushall\", \"keys\", \"config\", \"debug\", \"@scripting\", \"client|list\"]",
        )
        .start();
    let mut client = keyway.client();
    let denied = |name: &str, rule: &str| {
        format!("-ERR '{name}' is refused by Keyway: listen.deny has \"{rule}\"")
    };
    for (line, name, rule) in [
        ("FLUSHALL", "flushall", "flushall"),
        ("flushall async", "flushall", "flushall"),
        ("KEYS *", "keys", "keys"),
        ("CONFIG GET x", "config|get", "config"),
        ("Config Set maxmemory 1", "config|set", "config"),
        ("DEBUG SLEEP 0", "debug", "debug"),
        ("EVAL \"return 1\" 0", "eval", "@scripting"),
        ("EVALSHA x 0", "evalsha", "@scripting"),
        ("CLIENT LIST", "client|list", "client|list"),
    ] {
        client.expect(line, &denied(name, rule));
    }
    client.expect("SET deny:a 1", "+OK");
    client.expect("DEL deny:a", ":1");
    assert!(client.call("CLIENT ID").integer() > 0);
    client.expect("MULTI", "+OK");
    client.expect("SET deny:a 1", "+QUEUED");
    client.expect("FLUSHALL", &denied("flushall", "flushall"));
    client.expect_error("EXEC", "EXECABORT");
    client.expect("AUTH default x", "+OK");
    client.expect("FLUSHALL", &denied("flushall", "flushall"));
    client.expect("RESET", "+RESET");
    client.expect("FLUSHALL", &denied("flushall", "flushall"));
}

fn exceptions_are_allowed(flavor: Flavor) {
    let keyway = Keyway::before(&Scene::shared(flavor).cluster.seeds())
        .set("listen.deny", "[\"@dangerous\", \"@all\"]")
        .set("listen.allow", "[\"@string\", \"client|id\", \"select|0\"]")
        .start();
    let mut client = keyway.client();
    client.expect("SET allow:a 1", "+OK");
    client.expect("GET allow:a", "'1'");
    assert!(client.call("CLIENT ID").integer() > 0);
    for line in ["CLIENT LIST", "DEL allow:a", "KEYS *", "PING", "MULTI"] {
        client.expect_error(line, "ERR '");
    }
    client.expect("SELECT 0", "+OK");
    client.expect_error(
        "SELECT 1",
        "ERR 'select' is refused by Keyway: listen.deny has \"@all\"",
    );
    // To become somebody is always possible.
    client.expect("AUTH default x", "+OK");
    client.expect("QUIT", "+OK");
}

/// contract: C7
fn operators_may_be_allowed(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let keyway = Keyway::before(&scene.cluster.seeds())
        .set(
            "listen.allow",
            "[\"debug\", \"acl\", \"script\", \"@dangerous\"]",
        )
        .start();
    let mut client = keyway.client();
    client.expect("DEBUG SLEEP 0", "+OK");
    client.expect("MULTI", "+OK");
    client.expect_error(
        "DEBUG SLEEP 0",
        "ERR 'debug' is not possible inside MULTI through Keyway",
    );
    client.expect_error("EXEC", "EXECABORT");
    for line in ["PSYNC ? -1", "SCRIPT DEBUG YES", "SYNC"] {
        client.expect_error(line, "ERR '");
    }
    for line in ["ACL SETUSER x on", "ACL DELUSER x", "ACL SAVE", "ACL LOAD"] {
        client.expect_error(line, "ERR users are configured in Keyway");
    }
    let mut other = scene.keyway.client();
    other.expect_error("DEBUG SLEEP 0", "ERR 'debug' is refused by Keyway");
}
