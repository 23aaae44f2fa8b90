//! A real module, in real clusters.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::support::{Cluster, ClusterOptions, Flavor, Keyway, each_flavor, eventually};

each_flavor! { a_real_module_is_served }

/// Compiles the module into a folder that lasts as long as the test.
fn compile(folder: &tempfile::TempDir) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/learnt/module.c");
    let object = folder.path().join("module.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&object, &source])
        .output()
        .expect("a C compiler, which Rust needs as well");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    object
}

/// contract: R2, M1, M4
fn a_real_module_is_served(flavor: Flavor) {
    // Redis 6.2 lacks what the module uses.
    if !flavor.is_since(7, 0) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = compile(&folder);
    let cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        config: vec!["enable-module-command yes".to_owned()],
        ..ClusterOptions::of(flavor)
    });
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    client.expect(
        "TEST.SET a 1",
        "-ERR unknown command 'TEST.SET', with args beginning with: 'a' '1' ",
    );
    for &primary in &cluster.primaries() {
        cluster
            .node(primary)
            .ok(&format!("MODULE LOAD {}", module.display()));
    }
    eventually("it is learnt", Duration::from_secs(20), || {
        client.call("TEST.SET a 1").to_string() == "+OK"
    });
    let keys = ["a", "b", "c", "d", "e", "{t}1", "{t}2"];
    for (number, key) in keys.iter().enumerate() {
        client.expect(&format!("test.set {key} {number}"), "+OK");
        client.expect(&format!("TEST.GET {key}"), &format!("'{number}'"));
        client.expect(&format!("GET {key}"), &format!("'{number}'"));
    }
    // Split by slot, as its tips say.
    client.expect("TEST.MGET a b c none d", "['0' '1' '2' nil '3']");
    // Added up over all primaries.
    client.expect("TEST.COUNT", &format!(":{}", keys.len()));
    // It finds its keys itself: the first argument says where the key is. The server tells.
    for (number, key) in keys.iter().enumerate() {
        client.expect(&format!("TEST.AT 2 {key}"), &format!("'{number}'"));
        client.expect(&format!("TEST.AT 3 x {key}"), &format!("'{number}'"));
    }
    client.expect("TEST.AT 3 x {t}1", "'5'");
    // In transactions as well.
    for (command, reply) in [
        ("MULTI", "+OK"),
        ("TEST.SET {t}1 new", "+QUEUED"),
        ("TEST.GET {t}1", "+QUEUED"),
        ("TEST.AT 2 {t}1", "+QUEUED"),
        ("EXEC", "[+OK 'new' 'new']"),
        ("TEST.SET {t}1 5", "+OK"),
        ("MULTI", "+OK"),
        ("TEST.GET a", "+QUEUED"),
    ] {
        client.expect(command, reply);
    }
    client.expect_error("TEST.GET b", "CROSSSLOT");
    client.expect_error("EXEC", "EXECABORT");
    // What it says is wrong is its own word.
    let plain = cluster.client_of_key("a").call("TEST.GET").to_string();
    client.expect("TEST.GET", &plain);
    let plain = cluster.client_of_key("a").call("TEST.AT 9 a").to_string();
    client.expect("TEST.AT 9 a", &plain);
    // Slots move, and it follows.
    for key in keys {
        let slot = keyway::cluster::Slot::of_key(key.as_bytes()).number();
        cluster.move_slot(slot, 0);
    }
    for (number, key) in keys.iter().enumerate() {
        client.expect(&format!("TEST.AT 2 {key}"), &format!("'{number}'"));
        client.expect(&format!("TEST.GET {key}"), &format!("'{number}'"));
    }
    // A greeting tells of it as the servers' own does; each node was greeted before the module was there, so of a
    // Keyway that greets anew.
    let later = Keyway::start(&cluster.seeds());
    for hello in ["HELLO 2", "HELLO 3"] {
        let [own, theirs] = [later.client(), cluster.client_of_key("a")].map(|mut client| {
            let greeting = client.call(hello);
            greeting.field("modules").map(ToString::to_string)
        });
        assert_eq!(own, theirs, "{hello}");
        assert!(own.is_some_and(|modules| modules.contains("'name'")));
    }
}
