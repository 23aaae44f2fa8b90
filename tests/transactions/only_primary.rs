//! A cluster with one primary: what goes to all primaries goes along with the rest of a transaction.
//!
//! contract: T2

use super::exec;
use super::support::{Cluster, ClusterOptions, Flavor, Keyway, Takeover, each_flavor};

each_flavor!(one_block_is_enough);

fn one_block_is_enough(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions {
        primaries: 1,
        ..ClusterOptions::of(flavor)
    });
    let keyway = Keyway::start(&cluster.seeds());
    let mut client = keyway.client();
    let sha = client.call("SCRIPT LOAD 'return 1'").text();
    assert_eq!(
        exec(&mut client, &[&format!("SCRIPT EXISTS {sha}")]),
        "[[:1]]"
    );
    for replica in [None, Some(1)] {
        if let Some(replica) = replica {
            cluster.failover(replica, Takeover::Planned);
        }
        for before in ["PING", "WATCH a"] {
            client.call("FLUSHALL");
            client.call(before);
            let commands = ["SET a 1", "DBSIZE", "KEYS *", "RANDOMKEY", "GET a"];
            assert_eq!(
                exec(&mut client, &commands),
                "[+OK :1 ['a'] 'a' '1']",
                "{before}, {replica:?}"
            );
            assert_eq!(exec(&mut client, &["FLUSHDB", "DBSIZE"]), "[+OK :0]");
            let info = exec(&mut client, &["INFO server", "CLIENT GETNAME"]);
            assert!(info.contains("redis_version:"), "{info}");
        }
    }
    // What needs replicas or this Keyway as well; and keys of two slots stay keys of two slots.
    for line in [
        "SCAN 0",
        "CONFIG SET maxmemory 0",
        "PUBSUB NUMPAT",
        "SCRIPT FLUSH",
    ] {
        client.expect("MULTI", "+OK");
        client.expect_error(line, "CROSSSLOT");
        client.expect_error("EXEC", "EXECABORT");
    }
    client.expect("MULTI", "+OK");
    client.expect("DBSIZE", "+QUEUED");
    client.expect("SET a 1", "+QUEUED");
    client.expect_error("SET b 1", "CROSSSLOT");
    client.expect_error("EXEC", "EXECABORT");
}
