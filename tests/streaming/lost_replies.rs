//! Large replies that end in the middle, on either side.

use super::DEADLINE;
use super::support::{Action, FakeCluster, Keyway, eventually};

fn scene(primaries: usize, buffer: &str) -> (FakeCluster, Keyway) {
    let fake = FakeCluster::start(primaries);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.stream_threshold_bytes", "\"4kb\"")
        .set("limits.stream_buffer_bytes", buffer)
        .start();
    (fake, keyway)
}

fn large(len: usize) -> Vec<u8> {
    format!("${len}\r\n{}\r\n", "v".repeat(len)).into_bytes()
}

/// The node dies in the middle: the client, which saw a part, is closed and not told anything else.
///
/// contract: P8, F2
#[test]
fn half_a_reply_ends_its_client() {
    for buffer in ["\"0\"", "\"1mb\""] {
        let (fake, keyway) = scene(1, buffer);
        let mut client = keyway.client();
        let half = large(50_000)[..25_000].to_vec();
        fake.node(0)
            .once("GET half", Action::ReplyAndClose(half.clone()));
        client.send_raw("GET half\r\nGET other\r\n");
        // What had not reached it is not said any more.
        assert!(half.starts_with(&client.read_to_end()));
        keyway.client().expect("GET half", "'node-0'");
    }
}

/// The node dies in the middle of a reply whose turn had not come: nobody saw any of it, it is fetched
/// again.
///
/// contract: P8, F2
#[test]
fn half_a_reply_that_nobody_saw_is_fetched_again() {
    let (fake, keyway) = scene(3, "\"1mb\"");
    let gate = super::support::Gate::new();
    let (first, second) = (key_of(&fake, 0), key_of(&fake, 1));
    let later = Action::After(gate.clone(), Box::new(Action::line("+first")));
    fake.node(0).once(&format!("GET {first}"), later);
    let half = large(50_000)[..25_000].to_vec();
    let asked = format!("GET {second}");
    fake.node(1).once(&asked, Action::ReplyAndClose(half));
    fake.node(1).once(&asked, Action::Reply(large(60_000)));
    let mut client = keyway.client();
    client.send_raw(format!("GET {first}\r\nGET {second}\r\n"));
    fake.node(1).wait_for(2, &asked);
    gate.open();
    client.expect_next("+first");
    assert!(client.read_raw() == large(60_000));
}

/// The client leaves in the middle: the connection it had to itself is closed, and others go on.
///
/// contract: P8, F3
#[test]
fn a_client_that_leaves_in_the_middle_takes_its_connection_along() {
    let (fake, keyway) = scene(1, "\"0\"");
    fake.node(0)
        .always("GET large", Action::Reply(large(64 << 20)));
    let mut other = keyway.client();
    other.expect("GET k", "'node-0'");
    for _ in 0..10 {
        let mut client = keyway.client();
        client.send("GET large");
        eventually("the reply began", DEADLINE, || {
            client.stream().peek(&mut [0]).is_ok_and(|count| count == 1)
        });
        drop(client);
        other.expect("GET k", "'node-0'");
    }
    eventually("their connections are closed", DEADLINE, || {
        keyway.metric("keyway_upstream_connections") <= 2.0
    });
    assert!(keyway.resident_bytes() < 200 << 20);
}

/// A key of a node.
pub fn key_of(fake: &FakeCluster, node: usize) -> String {
    let share = 16_384 / fake.nodes().len();
    let mut names = (0..).map(|number: u32| format!("key-{number}"));
    let slot = |name: &String| usize::from(keyway::cluster::Slot::of_key(name.as_bytes()).number());
    let found = names.find(|name| slot(name) / share == node);
    found.expect("some key lies there")
}
