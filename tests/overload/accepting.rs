//! Connections that come by the thousand, and when there is no file descriptor left for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::holder::connect;
use super::neighbors::{Neighbors, pass};
use super::support::{Client, Keyway, eventually};
use super::{SOON, cluster, sized, turn};

/// Threads that open connections.
const OPENERS: u8 = 4;

/// contract: F6 F7
#[test]
fn an_accept_storm() {
    let _turn = turn();
    let rate = sized(5_000, 500);
    let time = sized(Duration::from_secs(10), Duration::from_secs(2));
    let cluster = cluster();
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.backlog", "4096")
        .start();
    let neighbors = Neighbors::start(keyway.addr());
    let alone = neighbors.figures(time / 2);
    let opened = AtomicU64::new(0);
    let began = Instant::now();
    let beside = std::thread::scope(|scope| {
        for number in 1..=OPENERS {
            let (opened, addr) = (&opened, keyway.addr());
            scope.spawn(move || {
                let from = SocketAddr::from((Ipv4Addr::new(127, 0, 2, number), 0));
                while began.elapsed() < time {
                    let due = began.elapsed().as_secs_f64() * f64::from(rate);
                    if opened.load(Ordering::Relaxed) as f64 >= due {
                        pass(Duration::from_millis(1));
                        continue;
                    }
                    drop(connect(from, addr));
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        neighbors.figures(time)
    });
    let opened = opened.load(Ordering::Relaxed);
    println!(
        "accept storm: {:.0} connections/s for {time:?}, each answered ({rate} wanted); neighbors alone: {alone}; meanwhile: {beside}",
        opened as f64 / time.as_secs_f64(),
    );
    assert!(opened > 0);
    neighbors.leave();
    eventually("all have left", SOON, || {
        keyway.metric("keyway_clients") < 1.0
    });
}

/// contract: F7
#[test]
fn no_file_descriptors_left() {
    let _turn = turn();
    let cluster = cluster();
    let keyway = Keyway::start(&cluster.seeds());
    let neighbors = Neighbors::start(keyway.addr());
    let time = sized(Duration::from_secs(5), Duration::from_secs(1));
    let alone = neighbors.figures(time);
    let pid = Pid::from_raw(keyway.pid().cast_signed());
    let limit = keyway.open_files() as u64 + 10;
    let tight = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid, Resource::Nofile, tight).expect("it is our own child");
    let mut crowd: Vec<Client> = (0..sized(500, 100)).map(|_| keyway.client()).collect();
    for client in &mut crowd {
        client.send("PING");
    }
    let spent = keyway.cpu_time();
    let beside = neighbors.figures(time);
    let spent = keyway.cpu_time().saturating_sub(spent);
    println!(
        "no file descriptors for {} clients: {spent:.1?} CPU in {time:?}; neighbors alone: {alone}; meanwhile: {beside}",
        crowd.len()
    );
    // Those who wait are served when others leave.
    for client in &mut crowd {
        client.expect_next("+PONG");
        client.finish_sending();
        client.expect_closed();
    }
    neighbors.leave();
}
