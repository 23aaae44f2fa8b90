//! "10,000 subscribers of one channel through one Keyway: memory and upstream connections printed; a
//! publisher's 1,000 messages reach each in order; the same after the subscribed node is killed."
//!
//! A run is a small crowd; `KEYWAY_TEST_FULL=1` makes it the one that is promised.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keyway::cluster::Slot;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::listener::metric;
use crate::support::{Client, Cluster, Flavor, Keyway, eventually};

/// Subscribers and messages.
fn size() -> (usize, usize) {
    match std::env::var_os("KEYWAY_TEST_FULL") {
        Some(_) => (10_000, 1_000),
        None => (500, 200),
    }
}

/// A subscriber that knows what has to come, and keeps nothing of it.
struct Listener {
    stream: TcpStream,
    /// What was read of what is expected, in bytes.
    read: usize,
}

impl Listener {
    fn connect(keyway: &Keyway) -> Listener {
        let stream = TcpStream::connect(keyway.addr()).expect("Keyway listens");
        let mut listener = Listener { stream, read: 0 };
        let subscribe = crate::support::client::encode(&["SUBSCRIBE", "crowd"]);
        let written = listener.stream.write_all(&subscribe);
        written.expect("a new socket takes it");
        listener
    }

    fn confirm(&mut self) {
        let expected = b"*3\r\n$9\r\nsubscribe\r\n$5\r\ncrowd\r\n:1\r\n";
        let mut got = vec![0; expected.len()];
        self.stream.read_exact(&mut got).expect("it is confirmed");
        assert_eq!(got, expected);
        let set = self.stream.set_nonblocking(true);
        set.expect("a socket may be set so");
    }

    /// Reads what is there; it must be the next of what is expected. Whether it has all.
    fn advance(&mut self, expected: &[u8], scratch: &mut [u8]) -> bool {
        match self.stream.read(scratch) {
            Ok(0) => panic!("closed"),
            Ok(count) => {
                let next = &expected[self.read..];
                assert!(
                    next.starts_with(&scratch[..count]),
                    "got {}",
                    scratch[..count.min(200)].escape_ascii()
                );
                self.read += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("read: {error}"),
        }
        self.read == expected.len()
    }
}

/// Publishes, a few messages at a time, and reads them from every subscriber. Returns how long it took.
fn deliver(publisher: &mut Client, crowd: &mut [Listener], messages: usize) -> Duration {
    let mut expected = Vec::new();
    let numbers: Vec<String> = (0..messages).map(|number| format!("{number:06}")).collect();
    for number in &numbers {
        expected.extend_from_slice(b"*3\r\n$7\r\nmessage\r\n$5\r\ncrowd\r\n$6\r\n");
        expected.extend_from_slice(number.as_bytes());
        expected.extend_from_slice(b"\r\n");
    }
    let began = Instant::now();
    let mut scratch = vec![0; 64 << 10];
    let mut bytes = Vec::new();
    for number in &numbers {
        let publish = ["PUBLISH", "crowd", number];
        bytes.extend(crate::support::client::encode(&publish));
    }
    publisher.send_raw(&bytes);
    for listener in crowd.iter_mut() {
        listener.read = 0;
    }
    let mut left: Vec<&mut Listener> = crowd.iter_mut().collect();
    eventually("every message has come", Duration::from_secs(300), || {
        left.retain_mut(|listener| !listener.advance(&expected, &mut scratch));
        left.is_empty()
    });
    for _ in &numbers {
        let heard = publisher.read().integer();
        assert_eq!(heard, crowd.len() as i64);
    }
    began.elapsed()
}

/// contract: S1 S2
#[test]
fn a_crowd_on_redis() {
    a_crowd(Flavor::Redis);
}

/// contract: S1 S2
#[test]
fn a_crowd_on_valkey() {
    a_crowd(Flavor::Valkey);
}

fn a_crowd(flavor: Flavor) {
    let (count, messages) = size();
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may reach the hard one");
    let cluster = Cluster::start(flavor);
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.max_clients", "20000")
        .start();
    let mut publisher = keyway.client();
    publisher.call("PUBLISH crowd nobody");
    let memory = keyway.resident_bytes();
    let connections = metric(&keyway, "keyway_upstream_connections");
    let began = Instant::now();
    let mut crowd = Vec::new();
    while crowd.len() < count {
        // As many at once as surely fit into the listen queue.
        let from = crowd.len();
        for _ in 0..100.min(count - from) {
            crowd.push(Listener::connect(&keyway));
        }
        crowd[from..].iter_mut().for_each(Listener::confirm);
    }
    let joined = began.elapsed();
    let idle = keyway.resident_bytes().saturating_sub(memory);
    let upstream = metric(&keyway, "keyway_upstream_connections") - connections;
    assert_eq!(upstream, 1.0, "one more connection, for the hub");
    assert_eq!(metric(&keyway, "keyway_upstream_subscriptions"), 1.0);
    let took = deliver(&mut publisher, &mut crowd, messages);
    let busy = keyway.resident_bytes().saturating_sub(memory);
    println!(
        "{flavor:?}: {count} subscribers joined in {joined:.1?}, {} bytes each while idle, {} after \
         {messages} messages; {upstream} upstream connection; {messages} messages to each in {took:.1?} \
         ({:.0} a second)",
        idle / count as u64,
        busy / count as u64,
        (count * messages) as f64 / took.as_secs_f64(),
    );
    // A client is below 2 KiB, and one with a subscription costs a little more; the allocator takes some
    // steps of 2 MiB as well.
    assert!(idle < (16 << 20) + 4096 * count as u64, "{idle} bytes");

    let home = cluster.primary_of_key("crowd").expect("somebody owns it");
    cluster.kill(home);
    cluster.wait_for_new_primary(Slot::of_key(b"crowd").number(), home);
    eventually(
        "it is subscribed elsewhere",
        Duration::from_secs(20),
        || {
            metric(&keyway, "keyway_subscription_gaps_total") == 1.0
                && metric(&keyway, "keyway_upstream_subscriptions") == 1.0
                && metric(&keyway, "keyway_upstream_subscription_changes") == 0.0
        },
    );
    assert_eq!(keyway.log().matches("lost subscriptions").count(), 1);
    let took = deliver(&mut publisher, &mut crowd, messages);
    println!("{flavor:?}: after the node was killed, {messages} messages to each in {took:.1?}");
}
