//! A thousand clients that ask for much and read little of it at a time.
//!
//! Each has read one reply first: Keyway asks the nodes for no more than a client will probably take, and
//! learns from a client's replies how long they are. Of one it does not know yet it sends on all that it may
//! (`limits.requests_in_flight_per_client`), and others wait behind those replies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use super::neighbors::Neighbors;
use super::support::{Keyway, eventually};
use super::{SOON, cluster, mib, sized, turn};

/// Length of the values they ask for, and how many requests each sends at once.
const VALUE: usize = 100_000;
const REQUESTS: usize = 50;
/// What each reads at a time, and how often.
const BITE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);
/// `limits.client_output_soft_bytes` here.
const SOFT: u64 = 256 * 1024;

/// contract: F6 P8
#[test]
fn a_thousand_slow_readers() {
    let _turn = turn();
    let count: u64 = sized(1_000, 100);
    let cluster = cluster();
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.client_output_soft_bytes", "\"256kb\"")
        .start();
    let mut setting = keyway.client();
    let value = "v".repeat(VALUE);
    setting.expect(&format!("SET slow:value {value}"), "+OK");
    let neighbors = Neighbors::start(keyway.addr());
    let time = sized(Duration::from_secs(10), Duration::from_secs(2));
    let alone = neighbors.figures(time / 2);
    let before = keyway.resident_bytes();
    let state = Arc::new(State::default());
    let (shared, addr) = (Arc::clone(&state), keyway.addr());
    let readers = std::thread::spawn(move || read_slowly(addr, count, &shared));
    eventually("all have asked", SOON * 4, || {
        state.have_asked.load(Ordering::Relaxed)
    });
    let spent = keyway.cpu_time();
    let beside = neighbors.figures(time);
    let spent = keyway.cpu_time().saturating_sub(spent);
    let grown = keyway.resident_bytes().saturating_sub(before);
    state.is_over.store(true, Ordering::Relaxed);
    readers.join().expect("the readers were served");
    // What each may leave unread, of which a first reply lets expect an eighth of its length.
    let each = 8 * SOFT + VALUE as u64;
    println!(
        "{count} slow readers ({} read): {} more memory, {} for each; neighbors alone: {alone}; \
         meanwhile: {beside}, {spent:.1?} CPU in {time:?}",
        mib(state.bytes.load(Ordering::Relaxed)),
        mib(grown),
        mib(grown / count),
    );
    assert!(grown < count * each + (64 << 20), "{grown} bytes");
    assert!(beside.rate > 0.0);
    neighbors.leave();
}

/// What the test and the readers share.
#[derive(Default)]
struct State {
    have_asked: AtomicBool,
    is_over: AtomicBool,
    bytes: AtomicU64,
}

fn read_slowly(addr: SocketAddr, count: u64, state: &State) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(addr).await.expect("Keyway accepts");
            let request = "GET slow:value\r\n";
            stream
                .write_all(request.as_bytes())
                .await
                .expect("connected");
            let mut reply = vec![0; format!("${VALUE}\r\n\r\n").len() + VALUE];
            stream.read_exact(&mut reply).await.expect("connected");
            let requests = request.repeat(REQUESTS);
            stream
                .write_all(requests.as_bytes())
                .await
                .expect("connected");
            streams.push(stream);
        }
        state.have_asked.store(true, Ordering::Relaxed);
        let mut buffer = vec![0; BITE];
        let mut ticks = interval(PAUSE);
        while !state.is_over.load(Ordering::Relaxed) {
            ticks.tick().await;
            for stream in &mut streams {
                // Those that have nothing yet are not waited for.
                if let Ok(count) = stream.try_read(&mut buffer) {
                    assert!(count > 0, "a slow reader was closed");
                    state.bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }
        // The first is sure to have something.
        let first = streams[0].read(&mut buffer).await;
        assert!(first.is_ok_and(|count| count > 0));
    });
}
