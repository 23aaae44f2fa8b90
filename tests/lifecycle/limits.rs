//! Clients without number, memory, file descriptors (contract: F6 F7).

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use super::DEADLINE;
use super::support::{Client, FakeCluster, Keyway, eventually};

/// contract: F6
#[test]
fn one_client_too_many_reads_why() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.max_clients", "3")
        .set("proxy.workers", "2")
        .start();
    let mut clients: Vec<Client> = (0..3).map(|_| keyway.client()).collect();
    for client in &mut clients {
        client.expect("PING", "+PONG");
    }
    for _ in 0..5 {
        let mut refused = keyway.client();
        let came = refused.read_to_end();
        assert_eq!(
            came.escape_ascii().to_string(),
            r"-ERR max number of clients reached\r\n"
        );
    }
    assert!((keyway.metric("keyway_clients_refused_total") - 5.0).abs() < 0.1);
    assert!(keyway.is_ready(), "those inside are served");
    for client in &mut clients {
        assert!(!client.call("GET a").is_error());
    }
    clients.pop();
    eventually("there is room again", DEADLINE, || {
        keyway
            .client()
            .try_call(&["PING"])
            .is_ok_and(|reply| !reply.is_error())
    });
}

/// File descriptors this test needs beside its clients'.
const OWN_FILES: u64 = 500;
/// What an idle client may cost.
const BYTES_PER_IDLE_CLIENT: u64 = 4 * 1024;

/// Ten thousand clients that have said PING and wait.
#[test]
fn ten_thousand_idle_clients() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may reach the hard one");
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    let count = allowed.saturating_sub(OWN_FILES).min(10_000);
    assert!(
        count >= 500,
        "the hard limit of open files, {allowed}, is too low for this test; raise it (ulimit -Hn)"
    );
    if count < 10_000 {
        println!("only {count} clients: the hard limit of open files is {allowed}");
    }
    let fake = FakeCluster::start(3);
    let keyway = Keyway::before(&fake.seeds())
        .set("limits.max_clients", "10100")
        .start();
    // What the first clients cost is not theirs alone: buffers of the worker.
    let mut first: Vec<Client> = (0..20).map(|_| keyway.client()).collect();
    for client in &mut first {
        client.expect("PING", "+PONG");
        assert!(!client.call("GET a").is_error());
    }
    let before = keyway.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = keyway.client();
        client.expect("PING", "+PONG");
        clients.push(client.stream().try_clone().expect("a file is free"));
        // Its buffer is this test's memory, and of no use here; the socket stays.
        drop(client);
    }
    let after = keyway.resident_bytes();
    let each = after.saturating_sub(before) / count;
    println!("{count} idle clients: {before} bytes before, {after} after, {each} for each client");
    assert!((keyway.metric("keyway_clients") - (count + 20) as f64).abs() < 0.5);
    assert!(
        each <= BYTES_PER_IDLE_CLIENT,
        "{each} bytes for each idle client"
    );

    let idle = keyway.cpu_time();
    first[0].expect_silence(Duration::from_secs(1));
    let spent = keyway.cpu_time().saturating_sub(idle);
    println!("{spent:?} CPU in a second with {count} idle clients");
    assert!(spent <= Duration::from_millis(100), "{spent:?}");

    for client in &mut first {
        assert!(!client.call("GET a").is_error(), "the others are served");
    }
    drop(clients);
    eventually("all have left", DEADLINE, || {
        keyway.metric("keyway_clients") < 20.5
    });
}

/// Accepting pauses when file descriptors run out, nothing spins, and it goes on when some are free.
/// contract: F7
#[test]
fn file_descriptors_run_out() {
    let fake = FakeCluster::start(2);
    // What it has open is looked at from outside.
    let keyway = Keyway::before(&fake.seeds())
        .set("proxy.core_dumps", "\"on\"")
        .start();
    let mut inside = keyway.client();
    // Its connections to the nodes are open before it gets tight.
    for number in 0..100 {
        assert!(!inside.call(&format!("GET {number}")).is_error());
    }
    let pid = i32::try_from(keyway.pid()).expect("a pid");
    let limit = keyway.open_files() as u64 + 3;
    let tight = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, tight).expect("it is our own child");

    let mut outside: Vec<Client> = (0..12).map(|_| keyway.client()).collect();
    for client in &mut outside {
        client.send("PING");
    }
    eventually("all file descriptors are taken", DEADLINE, || {
        keyway.open_files() as u64 >= limit
    });
    eventually("the log says so", DEADLINE, || {
        keyway.log().contains("accepting pauses")
    });
    let (spent, began) = (keyway.cpu_time(), Instant::now());
    outside[11].expect_silence(Duration::from_secs(2));
    let spent = keyway.cpu_time().saturating_sub(spent);
    println!(
        "{spent:?} CPU in {:?} without file descriptors",
        began.elapsed()
    );
    assert!(spent < Duration::from_millis(300), "{spent:?}");
    for number in 0..100 {
        assert!(!inside.call(&format!("GET {number}")).is_error());
    }
    let lines = keyway.log().matches("accepting pauses").count();
    assert_eq!(lines, 1, "one line, not one for each attempt");

    // Each that leaves lets the next one in; none was lost in the queue.
    for client in &mut outside {
        client.expect_next("+PONG");
        client.finish_sending();
        client.expect_closed();
    }
    assert!(keyway.metric("keyway_accept_pauses_total") >= 1.0);
    assert!(keyway.is_ready());
    keyway.client().expect("PING", "+PONG");
}
