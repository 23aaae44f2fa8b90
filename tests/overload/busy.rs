//! Ten thousand clients, each with a request at any time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::Keyway;
use super::{cluster, files_for, mib, sized, turn};

/// contract: F6 P2
#[test]
fn ten_thousand_clients_with_requests() {
    let _turn = turn();
    let count = files_for(sized(10_000, 1_000));
    let cluster = cluster();
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.max_clients", &(count + 100).to_string())
        .set("listen.backlog", "4096")
        .start();
    let before = keyway.resident_bytes();
    let time = sized(Duration::from_secs(10), Duration::from_secs(2));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let addr = keyway.addr();
    let (mut waits, ran) = runtime.block_on(async {
        let until = Instant::now() + time;
        let clients: Vec<_> = (0..count)
            .map(|number| tokio::spawn(client(addr, number, until)))
            .collect();
        let began = Instant::now();
        let mut waits = Vec::new();
        for client in clients {
            waits.extend(client.await.expect("each reply was right"));
        }
        (waits, began.elapsed())
    });
    waits.sort_unstable();
    let at = |percent: usize| waits[waits.len() * percent / 100];
    println!(
        "{count} clients with requests: {:.0} requests/s, p50 {:.1?}, p99 {:.1?}, longest {:.1?}; Keyway's \
         CPU {:.1} us for each; memory {} before, {} after",
        waits.len() as f64 / ran.as_secs_f64(),
        at(50),
        at(99),
        waits[waits.len() - 1],
        keyway.cpu_time().as_secs_f64() * 1e6 / waits.len() as f64,
        mib(before),
        mib(keyway.resident_bytes()),
    );
    assert!(waits.len() as u64 >= count * 2, "each was served");
    // Its buffers are the worker's; a client costs what an idle one does, and its request.
    let grown = keyway.resident_bytes().saturating_sub(before);
    assert!(grown < count * 8 * 1024 + (32 << 20), "{grown} bytes");
}

/// Asks until the time is over, at least once; gives how long each reply took.
async fn client(addr: SocketAddr, number: u64, until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(addr).await.expect("Keyway accepts");
    let (key, value) = (format!("busy:{number}"), format!("value:{number}"));
    let set = format!("SET {key} {value}\r\n");
    let get = format!("GET {key}\r\n");
    let held = format!("${}\r\n{value}\r\n", value.len());
    let mut waits = Vec::new();
    let mut buffer = [0; 64];
    loop {
        for (request, reply) in [(&set, "+OK\r\n"), (&get, &held)] {
            let began = Instant::now();
            stream
                .write_all(request.as_bytes())
                .await
                .expect("connected");
            let buffer = &mut buffer[..reply.len()];
            stream.read_exact(buffer).await.expect("connected");
            assert_eq!(buffer, reply.as_bytes());
            waits.push(began.elapsed());
        }
        if Instant::now() > until {
            return waits;
        }
    }
}
