//! redis-benchmark's whole default list, with no error.

use std::net::SocketAddr;
use std::process::Command;

use crate::scene::{Scene, cluster};
use crate::support::{Flavor, Keyway};

/// Tests of the default list of redis-benchmark 7.0, by how their lines begin.
#[rustfmt::skip]
const TESTS: &[&str] = &[
    "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD",
    "HSET", "SPOP", "ZADD", "ZPOPMIN", "LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600",
    "MSET (10 keys)",
];

#[test]
fn default_list() {
    check(&[]);
}

#[test]
fn default_list_over_all_slots() {
    check(&["-r", "100000"]);
}

#[test]
fn default_list_with_a_pipeline() {
    check(&["-P", "16", "-r", "100000"]);
}

#[test]
fn default_list_with_threads() {
    check(&["--threads", "2", "-P", "16"]);
}

#[test]
fn default_list_in_resp3() {
    check(&["-3", "-P", "4"]);
}

/// It asks Keyway for the nodes, wants more than one, and then goes to them.
// contract: C4
#[test]
fn default_list_in_cluster_mode() {
    let cluster = cluster(Flavor::Redis);
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.cluster_view", "\"nodes\"")
        .start();
    run(keyway.addr(), &["--cluster"]);
}

#[track_caller]
fn check(arguments: &[&str]) {
    let scene = Scene::start();
    run(scene.addr(), arguments);
}

#[track_caller]
fn run(addr: SocketAddr, arguments: &[&str]) {
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &addr.port().to_string()])
        .args(["-n", "1000", "-q"])
        .args(arguments)
        .output()
        .expect("redis-benchmark is installed");
    let told = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    let complaints = String::from_utf8_lossy(&output.stderr);
    let all = format!("{arguments:?}: {}\n{told}{complaints}", output.status);
    assert!(output.status.success(), "{all}");
    for word in ["error", "warning", "could not"] {
        let has = |text: &str| text.to_lowercase().contains(word);
        assert!(!has(&told) && !has(&complaints), "{all}");
    }
    for test in TESTS {
        let ended = |line: &str| {
            let rest = line.strip_prefix(test);
            rest.is_some_and(|rest| {
                rest.starts_with([':', ' ']) && rest.contains("requests per second")
            })
        };
        assert!(told.lines().any(ended), "{test} is missing; {all}");
    }
}
