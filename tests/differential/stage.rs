//! What the sequences are played to: one server, and Keyway before a cluster of the same program.

use std::net::SocketAddr;

use super::scripts;
use super::support::{Cluster, ClusterOptions, Flavor, Keyway, Server, ServerOptions};

/// Both.
pub struct Stage {
    pub flavor: Flavor,
    one: Server,
    cluster: Cluster,
    keyway: Keyway,
    /// What `DUMP` gives of a value of each type.
    pub payloads: Vec<Vec<u8>>,
}

/// Small limits, so that values change their encoding early.
const SETTINGS: &[&str] = &[
    "hash-max-listpack-entries 8",
    "hash-max-listpack-value 32",
    "list-max-listpack-size 4",
    "set-max-intset-entries 6",
    "zset-max-listpack-entries 8",
    "zset-max-listpack-value 32",
    "stream-node-max-entries 4",
    "hll-sparse-max-bytes 200",
];

impl Stage {
    pub fn new(flavor: Flavor) -> Stage {
        let config: Vec<String> = SETTINGS.iter().map(|line| (*line).to_owned()).collect();
        let one = Server::start_with(ServerOptions {
            flavor,
            config: config.clone(),
            ..ServerOptions::default()
        });
        // Without replicas: `WAIT` counts none, as with the one server.
        let cluster = Cluster::start_with(ClusterOptions {
            replicas: 0,
            config,
            // A node that is slow for half of this drops the links over which messages travel, and some
            // with them; nobody fails here.
            node_timeout_ms: 60_000,
            ..ClusterOptions::of(flavor)
        });
        // Wrong passwords are part of the sequences; waiting for each would be most of the time.
        let keyway = Keyway::before(&cluster.seeds())
            .set("acl.auth_failures", "0")
            .start();
        scripts::learn_digests(&one);
        let payloads = payloads(&one);
        Stage {
            flavor,
            one,
            cluster,
            keyway,
            payloads,
        }
    }

    /// Where the one server listens, and Keyway.
    pub fn addrs(&self) -> [SocketAddr; 2] {
        [self.one.addr(), self.keyway.addr()]
    }

    /// No keys, scripts or functions anywhere.
    pub fn clear(&self) {
        let commands = ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"];
        let mut through = self.keyway.client();
        for command in commands {
            self.one.ok(command);
            let reply = through.call(command);
            assert!(!reply.is_error(), "{command}: {reply}");
        }
    }

    /// How many clients wait in a blocking command: at the one server, and in the cluster.
    pub fn blocked(&self) -> [usize; 2] {
        let nodes = self.cluster.nodes().iter().map(blocked_at).sum();
        [blocked_at(&self.one), nodes]
    }
}

fn blocked_at(server: &Server) -> usize {
    let text = server.ok("INFO clients").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn payloads(server: &Server) -> Vec<Vec<u8>> {
    let mut client = server.client();
    let values = [
        "SET k value",
        "SET k 12345",
        "HSET k f v g w",
        "RPUSH k 1 2 3 4 5 6",
        "SADD k 1 2 3",
        "SADD k a b c",
        "ZADD k 1 a 2 b",
        "XADD k 7-1 f v",
        "PFADD k a b c",
    ];
    let dumped = values.map(|command| {
        client.call("DEL k");
        client.call(command);
        client
            .call("DUMP k")
            .bytes()
            .map(<[u8]>::to_vec)
            .unwrap_or_default()
    });
    client.call("DEL k");
    dumped.to_vec()
}
