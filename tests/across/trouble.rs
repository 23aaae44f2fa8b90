//! Parts that are redirected, told to come again, or lost.

use keyway::cluster::Slot;

use super::support::{Action, FakeCluster, Keyway};

fn keyway(fake: &FakeCluster) -> Keyway {
    Keyway::before(&fake.seeds())
        .set("compatibility.cross_slot_reads", "\"emulate\"")
        .start()
}

/// Two keys, of node 0 and node 1.
fn keys() -> [&'static str; 2] {
    let slot = |key: &str| Slot::of_key(key.as_bytes()).number();
    assert!(slot("b") < 8192 && slot("a") >= 8192);
    ["b", "a"]
}

/// contract: M3 R3 R5
#[test]
fn parts_follow_redirects() {
    let fake = FakeCluster::start(2);
    let [low, high] = keys();
    let slot = Slot::of_key(low.as_bytes()).number();
    fake.node(0)
        .once("SUNION", Action::moved(slot, fake.node(1)));
    fake.node(1).once(
        "SUNION",
        Action::Reply("-TRYAGAIN Multiple keys request during rehashing of slot\r\n".into()),
    );
    fake.node(1).always(
        "SUNION",
        Action::Reply("*2\r\n$1\r\nx\r\n$1\r\ny\r\n".into()),
    );
    let keyway = keyway(&fake);
    let mut client = keyway.client();
    client.expect(&format!("SUNION {low} {high}"), "['x' 'y']");
}

/// One part that fails is the reply. contract: M1 M3
#[test]
fn a_part_that_fails_fails_the_whole() {
    let fake = FakeCluster::start(2);
    let [low, high] = keys();
    fake.node(0).always(
        "ZUNION",
        Action::Reply("*2\r\n$1\r\nm\r\n$1\r\n1\r\n".into()),
    );
    fake.node(1)
        .always("ZUNION", Action::Reply("-OOM no more\r\n".into()));
    fake.node(0).always("GET", Action::Reply("$-1\r\n".into()));
    fake.node(1)
        .always("GET", Action::Reply("-NOPERM no\r\n".into()));
    let keyway = keyway(&fake);
    let mut client = keyway.client();
    client.expect(&format!("ZUNION 2 {low} {high}"), "-OOM no more");
    client.expect(&format!("PFCOUNT {low} {high}"), "-NOPERM no");
    client.expect("PING", "+PONG");
}

/// They are reads: a lost connection is no lost request. contract: F2 M3
#[test]
fn parts_are_asked_again_after_a_lost_connection() {
    let fake = FakeCluster::start(2);
    let [low, high] = keys();
    fake.node(1).once("SINTER", Action::close());
    for node in [0, 1] {
        fake.node(node)
            .always("SINTER", Action::Reply("*1\r\n$1\r\nx\r\n".into()));
    }
    let keyway = keyway(&fake);
    let mut client = keyway.client();
    client.expect(&format!("SINTER {low} {high}"), "['x']");
}
