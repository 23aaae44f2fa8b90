//! SIGTERM drains (contract: F7).

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::DEADLINE;
use super::support::process::Folder;
use super::support::{Action, FakeCluster, Gate, Keyway, eventually};

/// A node that holds all GETs back until the gate opens.
fn gated() -> (FakeCluster, Gate) {
    let fake = FakeCluster::start(1);
    let gate = Gate::new();
    let answer = Action::After(gate.clone(), Box::new(Action::bulk("late")));
    fake.node(0).always("GET", answer);
    (fake, gate)
}

/// More than are taken at once: what was not taken is not executed, and not answered.
const DEEP: usize = 3_000;

/// contract: F7
#[test]
fn a_pipeline_in_the_middle_gets_what_was_taken() {
    let (fake, gate) = gated();
    let keyway = Keyway::start(&fake.seeds());
    let mut short = keyway.client();
    let mut deep = keyway.client();
    let mut idle = keyway.client();
    idle.expect("PING", "+PONG");
    short.send_raw("PING\r\nGET a\r\nPING\r\nGET b\r\nPING\r\n");
    deep.send_raw("GET c\r\n".repeat(DEEP));
    short.expect_next("+PONG");
    fake.node(0).wait_for(1, "GET a");
    fake.node(0).wait_for(50, "GET c");

    keyway.signal(Signal::TERM);
    eventually("it is not ready", DEADLINE, || {
        keyway.admin("/ready").0 == 503
    });
    eventually("new connections are refused", DEADLINE, || {
        TcpStream::connect(keyway.addr()).is_err()
    });
    idle.expect_closed();
    assert!(!keyway.has_ended());

    gate.open();
    for reply in ["'late'", "+PONG", "'late'", "+PONG"] {
        short.expect_next(reply);
    }
    short.expect_closed();
    let answered = deep.read_to_end();
    let status = keyway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{status}");
    let executed = fake.node(0).received("GET c").len();
    println!("{executed} of {DEEP} were executed");
    let expected = b"$4\r\nlate\r\n".repeat(executed);
    assert_eq!(answered.len(), expected.len());
    assert_eq!(answered, expected);
}

/// Closing a socket whose input was not all read makes the kernel drop what the peer has not
/// received yet; the replies must arrive all the same.
/// contract: F7
#[test]
fn replies_arrive_though_more_was_sent_than_is_read() {
    let fake = FakeCluster::start(1);
    let gate = Gate::new();
    let value = "v".repeat(1_000);
    let answer = Action::After(gate.clone(), Box::new(Action::bulk(&value)));
    fake.node(0).always("GET", answer);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    client.send_raw("GET a\r\n".repeat(100_000));
    fake.node(0).wait_for(50, "GET a");
    keyway.signal(Signal::TERM);
    eventually("it drains", DEADLINE, || keyway.log().contains("draining"));
    gate.open();
    // Reads nothing until Keyway is gone: all of it has to be in the kernel's hands.
    let status = keyway.wait(DEADLINE);
    assert_eq!(status.code(), Some(0), "{status}");
    let executed = fake.node(0).received("GET a").len();
    for number in 0..executed {
        let reply = client.try_read();
        let reply = reply.unwrap_or_else(|error| panic!("reply {number} of {executed}: {error}"));
        assert_eq!(reply.text(), value);
    }
    client.expect_closed();
}

/// contract: F7
#[test]
fn a_client_that_never_finishes_ends_with_the_deadline() {
    let (fake, _closed) = gated();
    let keyway = Keyway::before(&fake.seeds())
        .set("timeouts.drain", "\"1s\"")
        .start();
    let mut waiting = keyway.client();
    waiting.send("GET a");
    fake.node(0).wait_for(1, "GET a");
    let asked = Instant::now();
    keyway.signal(Signal::TERM);
    let status = keyway.wait(DEADLINE);
    let took = asked.elapsed();
    println!("ended after {took:?} with {status}");
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_millis(1_900), "{took:?}");
    assert!(keyway.log().contains("deadline of draining"));
    waiting.expect_closed();
}

/// A client that always has something more to send is closed between two replies.
/// contract: F7
#[test]
fn a_client_that_never_pauses_is_closed_between_replies() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let mut client = keyway.client();
    let talker = std::thread::spawn(move || {
        let mut replies = 0;
        while client.try_call(&["GET", "a"]).is_ok() {
            replies += 1;
        }
        replies
    });
    fake.node(0).wait_for(50, "GET a");
    let asked = Instant::now();
    let status = keyway.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    let replies = talker.join().expect("it does not panic");
    assert_eq!(fake.node(0).received("GET a").len(), replies);
}

/// contract: F7
#[test]
fn a_second_signal_ends_the_wait() {
    let (fake, _closed) = gated();
    let keyway = Keyway::start(&fake.seeds());
    keyway.client().expect("PING", "+PONG");
    let mut waiting = keyway.client();
    waiting.send("GET a");
    fake.node(0).wait_for(1, "GET a");
    keyway.signal(Signal::INT);
    eventually("it drains", DEADLINE, || keyway.log().contains("draining"));
    let asked = Instant::now();
    keyway.signal(Signal::INT);
    let status = keyway.wait(DEADLINE);
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(5));
}

/// contract: F7
#[test]
fn it_stops_at_once_when_it_never_found_a_cluster() {
    let fake = FakeCluster::start(1);
    fake.node(0).go_down();
    let keyway = Keyway::before(&fake.seeds()).start_unready();
    let status = keyway.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// A name server that says nothing keeps the process for as long as the resolver is patient.
/// contract: F7
#[test]
fn a_look_up_that_hangs_does_not_hold_up_the_end() {
    let silent = match std::net::UdpSocket::bind("127.0.0.99:53") {
        Ok(silent) => silent,
        Err(error) => return println!("no name server may be made here: not checked ({error})"),
    };
    let folder = Folder::new("resolver");
    let path = folder.path().join("resolv.conf");
    let text = "nameserver 127.0.0.99\noptions timeout:30 attempts:1\n";
    std::fs::write(&path, text).expect("our own folder can be written");
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$@\"",
        path.display()
    );
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned);
    let may_mount = Command::new(&wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .status();
    if !may_mount.is_ok_and(|status| status.success()) {
        return println!("nothing may be mounted here: not checked");
    }
    let keyway = Keyway::before(&[])
        .set("cluster.seeds", "[\"nowhere.test:1\"]")
        .through(wrapper.to_vec())
        .start_unready();
    silent
        .set_read_timeout(Some(DEADLINE))
        .expect("it can be set");
    silent.recv(&mut [0; 512]).expect("it looks the name up");
    let told = Instant::now();
    keyway.signal(Signal::TERM);
    assert_eq!(keyway.wait(DEADLINE).code(), Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
