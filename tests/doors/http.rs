//! HTTP to the port: a page that was lured into speaking to a Redis.

use std::io::Write;

use super::support::{FakeCluster, Keyway};
use super::{connect_from, read_to_end};

#[test]
fn a_browser_executes_nothing() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    for request in [
        "POST / HTTP/1.1\r\nHost: cache\r\nContent-Length: 9\r\n\r\nSET http 1\r\n",
        "POST /\r\nSET http 1\r\n",
        "GET / HTTP/1.1\r\nHost: cache\r\nX: y\r\n\r\nSET http 1\r\n",
        "post / HTTP/1.1\r\n\r\nSET http 1\r\n",
        "Host: cache\r\nSET http 1\r\n",
        "*1\r\n$4\r\nPOST\r\n*3\r\n$3\r\nSET\r\n$4\r\nhttp\r\n$1\r\n1\r\n",
    ] {
        let mut stream = connect_from(1, keyway.addr());
        stream.write_all(request.as_bytes()).expect("connected");
        let came = read_to_end(&mut stream);
        assert!(!came.contains("+OK"), "{request:?}: {came}");
    }
    assert_eq!(fake.node(0).received("SET").len(), 0);
    for _ in 0..200 {
        let mut stream = connect_from(1, keyway.addr());
        stream.write_all(b"POST / HTTP/1.1\r\n").expect("connected");
        read_to_end(&mut stream);
    }
    let lines = keyway.log().matches("speaks HTTP").count();
    assert!(lines < 60, "{lines} lines for 206 connections");
    keyway.client().expect("PING", "+PONG");
}
