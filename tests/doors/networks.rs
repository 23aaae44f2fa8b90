//! Where clients come from, how many of one address, how many a second.

use std::io::Write;
use std::time::{Duration, Instant};

use super::support::{FakeCluster, Keyway, eventually};
use super::{DEADLINE, connect_from, read_line, read_to_end};

#[test]
fn only_networks_that_are_allowed() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.clients_from", "[\"127.0.0.2\", \"10.0.0.0/8\"]")
        .start();
    let mut welcome = connect_from(2, keyway.addr());
    welcome.write_all(b"PING\r\n").expect("connected");
    assert_eq!(read_line(&mut welcome), "+PONG");
    for _ in 0..200 {
        assert_eq!(read_to_end(&mut connect_from(1, keyway.addr())), "");
    }
    let refused = keyway.metric("keyway_connections_refused_total{kind=\"network\"}");
    assert_eq!(refused, 200.0);
    let log = keyway.log();
    assert!(log.contains("listener=\"main\""), "{log}");
    let lines = log.matches("network that is not allowed").count();
    assert!((1..60).contains(&lines), "{lines}");
}

#[test]
fn one_address_has_its_share() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.clients_per_address", "3")
        .start();
    let ping = |last: u8| {
        let mut stream = connect_from(last, keyway.addr());
        // It may be refused before that is read.
        let _ = stream.write_all(b"PING\r\n");
        let line = read_line(&mut stream);
        (stream, line)
    };
    let mut guests = Vec::new();
    for _ in 0..3 {
        let (stream, line) = ping(1);
        assert_eq!(line, "+PONG");
        guests.push(stream);
    }
    let (_, line) = ping(1);
    assert_eq!(line, "-ERR max number of clients of this address reached");
    assert_eq!(ping(2).1, "+PONG");
    guests.pop();
    eventually("one has left, one may come", DEADLINE, || {
        ping(1).1 == "+PONG"
    });
    let refused = keyway.metric("keyway_connections_refused_total{kind=\"address\"}");
    assert!(refused >= 1.0, "{refused}");
}

/// All come at once, none is refused, and they are let in at their pace.
#[test]
fn a_crowd_is_let_in_at_a_pace() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.connections_per_second", "40")
        .start();
    let began = Instant::now();
    let mut crowd: Vec<_> = (0..120).map(|_| connect_from(1, keyway.addr())).collect();
    for stream in &mut crowd {
        stream.write_all(b"PING\r\n").expect("connected");
    }
    for stream in &mut crowd {
        assert_eq!(read_line(stream), "+PONG");
    }
    let took = began.elapsed();
    // 40 at once, the others in two seconds.
    assert!(took >= Duration::from_millis(1_800), "{took:?}");
    println!("120 clients at 40 a second were served within {took:?}");
}
