//! A node that accepts and never answers: SIGSTOP.

use std::time::{Duration, Instant};

use super::support::{Client, Cluster, ClusterOptions, Flavor, Keyway, each_flavor, eventually};
use super::watcher::Watcher;
use super::{GRACE, SOON, keys_of};

each_flavor!(each_request_ends_and_no_late_reply_is_taken_for_another);

const DEADLINE: Duration = Duration::from_secs(4);

/// contract: F2 F3 F4 F5
fn each_request_ends_and_no_late_reply_is_taken_for_another(flavor: Flavor) {
    // Nobody takes over, and nobody calls it dead.
    let cluster = Cluster::start_with(ClusterOptions {
        replicas: 0,
        node_timeout_ms: 60_000,
        ..ClusterOptions::of(flavor)
    });
    let keyway = Keyway::before(&cluster.seeds())
        .set("timeouts.request", "\"4s\"")
        .start();
    let stuck = keys_of(&cluster, 0, 30, "stopped");
    let mut others = keys_of(&cluster, 1, 3, "stopped");
    others.extend(keys_of(&cluster, 2, 3, "stopped"));
    let mut clients: Vec<Client> = (0..10).map(|_| keyway.client()).collect();
    for key in &stuck {
        clients[0].expect(&format!("SET {key} {key}"), "+OK");
    }
    let watcher = Watcher::start(keyway.addr(), others);
    for round in 0..2 {
        cluster.pause(0);
        let began = Instant::now();
        for (number, client) in clients.iter_mut().enumerate() {
            for key in &stuck[number * 3..number * 3 + 3] {
                client.send(&format!("GET {key}"));
                client.send(&format!("APPEND {{{key}}}:{round} x"));
            }
        }
        for client in &mut clients {
            for _ in 0..3 {
                let read = client.read().to_string();
                assert!(read.starts_with('-'), "{read}");
                let write = client.read().to_string();
                // Unknown when it was sent, not executed when the connection was not open yet.
                assert!(
                    write.contains("outcome unknown") || write.contains("was not executed"),
                    "{write}"
                );
            }
        }
        let took = began.elapsed();
        assert!(took < DEADLINE + GRACE, "{took:?}");
        // What Keyway answers itself does not wait.
        clients[0].expect("PING", "+PONG");
        cluster.resume(0);
        eventually("the shard is back", SOON, || {
            !clients[0].call(&format!("GET {}", stuck[0])).is_error()
        });
        // The node has answered by now what was asked before, too.
        for (number, client) in clients.iter_mut().enumerate() {
            let own = &stuck[number * 3..number * 3 + 3];
            for key in own.iter().cycle().take(30) {
                client.expect(&format!("GET {key}"), &format!("'{key}'"));
            }
            for key in own {
                let length = client.call(&format!("STRLEN {{{key}}}:{round}")).integer();
                assert!((0..=1).contains(&length), "APPEND was done {length} times");
            }
        }
    }
    watcher.assert_undisturbed();
}
