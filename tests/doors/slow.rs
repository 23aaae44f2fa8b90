//! Clients that hold connections and send next to nothing.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::{FakeCluster, Keyway, eventually};
use super::{DEADLINE, connect_from, read_line, read_to_end};

fn closed(keyway: &Keyway, kind: &str) -> f64 {
    keyway.metric(&format!(
        "keyway_slow_clients_closed_total{{kind=\"{kind}\"}}"
    ))
}

#[test]
fn strangers_and_requests_without_end() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.password", "\"sesame\"")
        .set("timeouts.authentication", "\"2s\"")
        .set("timeouts.request_arrival", "\"3s\"")
        .start();
    let mut idle = keyway.client();
    idle.expect("AUTH sesame", "+OK");
    let mut again = keyway.client();
    again.expect("AUTH sesame", "+OK");
    let mut stalled = keyway.client();
    stalled.expect("AUTH sesame", "+OK");
    stalled.send_raw("*2\r\n$4\r\nECHO\r\n$9\r\nhal");
    let mut silent = connect_from(1, keyway.addr());
    let mut guessing = connect_from(1, keyway.addr());
    guessing.write_all(b"AUTH nonsense\r\n").expect("connected");
    assert_eq!(read_to_end(&mut silent), "");
    assert!(read_to_end(&mut guessing).starts_with("-WRONGPASS"));
    assert_eq!(closed(&keyway, "authentication"), 2.0);
    stalled.expect_closed();
    assert_eq!(closed(&keyway, "request"), 1.0);
    // A client that did nothing wrong stays, and one that says RESET may think about it.
    idle.expect("PING", "+PONG");
    again.expect("RESET", "+RESET");
    again.expect("AUTH sesame", "+OK");
    assert_eq!(closed(&keyway, "authentication"), 2.0);
}

/// Thousands of connections that send a byte now and then: memory stays bounded, others are served, and all of
/// them are closed in time. `KEYWAY_SLOW_CONNECTIONS` says how many (4,000).
#[test]
fn slow_loris() {
    let count = std::env::var("KEYWAY_SLOW_CONNECTIONS").ok();
    let count: usize = count.map_or(4_000, |text| text.parse().expect("a number"));
    keyway::net::raise_file_limit(count as u64 * 2);
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request_arrival", "\"5s\"")
        .set("limits.max_clients", &(count + 100).to_string())
        .start();
    keyway.client().expect("PING", "+PONG");
    let before = keyway.resident_bytes();
    let cpu_before = keyway.cpu_time();
    let began = Instant::now();
    let mut loris: Vec<TcpStream> = (0..count)
        .map(|number| connect_from(1 + (number % 200) as u8, keyway.addr()))
        .collect();
    let request = b"*3\r\n$3\r\nSET\r\n$5\r\nloris\r\n$100000000\r\n";
    let mut sent = 0;
    let mut worst = Duration::ZERO;
    let mut most = before;
    let mut client = keyway.client();
    eventually("all of them are closed", DEADLINE * 6, || {
        for stream in &mut loris {
            // Some are closed by now.
            let _ = stream.write(&request[sent % request.len()..][..1]);
        }
        sent += 1;
        let asked = Instant::now();
        client.expect("PING", "+PONG");
        worst = worst.max(asked.elapsed());
        most = most.max(keyway.resident_bytes());
        closed(&keyway, "request") == count as f64
    });
    let each = (most - before) / count as u64;
    println!(
        "{count} connections with {sent} bytes each at most, one now and then: {} MB more at most, {each} bytes each, {:?} of CPU \
         in {:?}; the slowest PING beside them took {worst:?}",
        (most - before) >> 20,
        keyway.cpu_time() - cpu_before,
        began.elapsed(),
    );
    // An allocator with its checks on, as in tests, touches all it gives.
    assert!(each < 80 << 10, "{each} bytes for each");
    for stream in loris.iter_mut().take(100) {
        read_to_end(stream);
    }
}

/// A large request on a slow line is no attack.
#[test]
fn a_large_request_may_take_its_time() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.request_arrival", "\"1s\"")
        .start();
    let mut stream = connect_from(1, keyway.addr());
    let value = vec![b'x'; 1 << 20];
    stream
        .write_all(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", value.len()).as_bytes())
        .expect("connected");
    let began = Instant::now();
    let mut sent = 0;
    // Slower than the limit for a small request, faster than a crawl.
    eventually("the value is sent", DEADLINE, || {
        let due = (began.elapsed().as_millis() as usize * 350).min(value.len());
        if due > sent {
            stream.write_all(&value[sent..due]).expect("not closed");
            sent = due;
        }
        sent == value.len()
    });
    assert!(began.elapsed() > Duration::from_secs(2));
    stream.write_all(b"\r\n").expect("not closed");
    assert_eq!(read_line(&mut stream), format!("${}", value.len()));
    assert_eq!(closed(&keyway, "request"), 0.0);
}
