//! A script that does not end is ended, although nothing can follow it on its own connection.

use std::time::Duration;

use super::support::{Cluster, ClusterOptions, Flavor, Keyway, each_flavor, eventually};

each_flavor! { a_script_without_end_is_ended }

/// contract: T4, M4
fn a_script_without_end_is_ended(flavor: Flavor) {
    // Redis 6.2 has no functions.
    if !flavor.is_since(7, 0) {
        return;
    }
    let cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        node_timeout_ms: 15_000,
        config: vec!["lua-time-limit 50".to_owned()],
        ..ClusterOptions::of(flavor)
    });
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let library =
        "#!lua name=endless\nredis.register_function('spin', function() while true do end end)";
    assert_eq!(
        client.call_args(&["FUNCTION", "LOAD", library]).to_string(),
        "'endless'"
    );
    client.expect_error("SCRIPT KILL", "NOTBUSY");
    client.expect_error("FUNCTION KILL", "NOTBUSY");
    let owner = cluster.node(cluster.primary_of_key("a").expect("it has an owner"));
    for (run, kill) in [
        (r#"EVAL "while true do end" 1 a"#, "SCRIPT KILL"),
        ("FCALL spin 1 a", "FUNCTION KILL"),
    ] {
        let mut runs = keyway.client();
        runs.send(run);
        eventually("the script runs", Duration::from_secs(10), || {
            owner
                .try_call("PING")
                .is_ok_and(|reply| reply.to_string().starts_with("-BUSY"))
        });
        // A client of the same worker, whose connection to the node is the script's.
        client.expect(kill, "+OK");
        let reply = runs.read().to_string();
        assert!(reply.starts_with("-ERR"), "{reply}");
        assert!(reply.to_lowercase().contains("kill"), "{reply}");
        client.expect("SET a x", "+OK");
    }
    // The connections that were opened for it are closed again.
    let connections = || keyway.metric("keyway_upstream_connections");
    eventually(
        "no connection is left over",
        Duration::from_secs(10),
        || connections() <= 3.0,
    );
}
