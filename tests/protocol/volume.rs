//! Much at once: deep pipelines, and clients that write long before they read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::{Client, Flavor, Keyway, Scene, Value, each_flavor};

each_flavor! {
    a_hundred_thousand_commands_in_one_write,
    gigabytes_before_reading_neither_deadlock_nor_fill_memory,
}

/// What Keyway may grow by, whatever one client sends: outboxes (8 MB a node), the client's own
/// output and requests in flight, and what the allocator keeps.
const GROWTH_MAX: u64 = 64 << 20;

/// Commands on 1,000 keys over all slots; each reply is known beforehand.
///
/// contract: P2, R13
fn a_hundred_thousand_commands_in_one_write(flavor: Flavor) {
    const COUNT: usize = 100_000;
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    for batch in 0..10 {
        let keys = (0..100).map(|key| format!("deep:{}", batch * 100 + key));
        let delete: Vec<String> = std::iter::once("DEL".to_owned()).chain(keys).collect();
        client.call_args(&delete);
    }
    let mut held = vec![0_u64; 1_000];
    let mut random = fastrand::Rng::with_seed(7);
    let (mut bytes, mut want) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        let key = random.usize(..held.len());
        match random.u8(..3) {
            0 => {
                held[key] += 1;
                bytes.extend(format!("INCR deep:{key}\r\n").bytes());
                want.extend(format!(":{}\r\n", held[key]).bytes());
            }
            1 => {
                held[key] = random.u64(..1_000);
                bytes.extend(format!("SET deep:{key} {}\r\n", held[key]).bytes());
                want.extend(b"+OK\r\n");
            }
            _ if held[key] == 0 => {
                bytes.extend(b"PING\r\n");
                want.extend(b"+PONG\r\n");
            }
            _ => {
                let text = held[key].to_string();
                bytes.extend(format!("GET deep:{key}\r\n").bytes());
                want.extend(format!("${}\r\n{text}\r\n", text.len()).bytes());
            }
        }
    }
    let began = Instant::now();
    let mut writing = client.stream().try_clone().expect("a socket can be cloned");
    let writer = std::thread::spawn(move || writing.write_all(&bytes));
    let mut got = vec![0; want.len()];
    let patience = Some(Duration::from_secs(30));
    client
        .stream()
        .set_read_timeout(patience)
        .expect("not zero");
    client
        .stream()
        .read_exact(&mut got)
        .expect("all replies come");
    println!("{COUNT} commands in one write: {:.2?}", began.elapsed());
    assert!(writer.join().is_ok_and(|written| written.is_ok()));
    let differs = got.iter().zip(&want).position(|(got, want)| got != want);
    if let Some(at) = differs {
        let near = |bytes: &[u8]| {
            bytes[at.saturating_sub(40)..]
                .iter()
                .take(80)
                .copied()
                .collect::<Vec<_>>()
        };
        let (got, want) = (near(&got), near(&want));
        panic!(
            "at {at}:\n got {}\nwant {}",
            got.escape_ascii(),
            want.escape_ascii()
        );
    }
    client.expect("PING", "+PONG");
}

/// 200 MB of SETs. The client reads only when its socket takes no more, and then as little as it
/// finds, as `redis-cli --pipe` does.
///
/// contract: P9, F6
fn gigabytes_before_reading_neither_deadlock_nor_fill_memory(flavor: Flavor) {
    const BYTES: usize = 200 << 20;
    let cluster = &Scene::shared(flavor).cluster;
    let keyway = Keyway::start(&cluster.seeds());
    keyway.client().expect("SET much:0 x", "+OK");
    let before = keyway.resident_bytes();
    for value_bytes in [30, 20_000] {
        let most = write_much(
            &keyway,
            BYTES / if value_bytes == 30 { 8 } else { 1 },
            value_bytes,
        );
        let growth = most.saturating_sub(before);
        println!(
            "values of {value_bytes} B: grew by at most {} KiB",
            growth / 1024
        );
        assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    }
}

/// Returns the most memory that was seen.
fn write_much(keyway: &Keyway, bytes: usize, value_bytes: usize) -> u64 {
    let value = "v".repeat(value_bytes);
    let mut stream = TcpStream::connect(keyway.addr()).expect("keyway listens");
    stream.set_nonblocking(true).expect("a socket can be so");
    let deadline = Instant::now() + Duration::from_secs(120);
    let (mut unwritten, mut sent, mut answered) = (Vec::new(), 0_usize, 0_usize);
    let mut replies = Vec::new();
    let mut piece = vec![0; 1 << 16];
    let mut written = 0;
    let mut most = 0;
    while written < bytes || answered < sent {
        assert!(
            Instant::now() < deadline,
            "stuck: {sent} sent, {answered} answered"
        );
        let mut is_blocked = written >= bytes;
        while !is_blocked && written < bytes {
            while unwritten.len() < 1 << 16 {
                unwritten.extend(format!("SET much:{} {value}\r\n", sent % 1_000).bytes());
                sent += 1;
            }
            match stream.write(&unwritten) {
                Ok(count) => {
                    written += count;
                    unwritten.drain(..count);
                    if written >= bytes {
                        // The rest of the last request, whatever it takes.
                        finish_write(&mut stream, &unwritten);
                        unwritten.clear();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => is_blocked = true,
                Err(error) => panic!("write: {error}"),
            }
        }
        most = most.max(keyway.resident_bytes());
        match stream.read(&mut piece) {
            Ok(0) => panic!("closed after {answered} of {sent} replies"),
            Ok(count) => replies.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("read: {error}"),
        }
        let whole = replies.len() / 5 * 5;
        assert!(replies[..whole].chunks(5).all(|reply| reply == b"+OK\r\n"));
        answered += whole / 5;
        replies.drain(..whole);
    }
    most
}

fn finish_write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(false).expect("a socket can be so");
    stream.write_all(bytes).expect("the rest is taken");
    stream.set_nonblocking(true).expect("a socket can be so");
}

/// A client that asks for much and takes it late gets all of it, and the others do not notice.
///
/// contract: F6, P2
#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    let scene = Scene::shared(Flavor::Redis);
    let keyway = &scene.keyway;
    let mut other = keyway.client();
    let value = "0123456789".repeat(5_000);
    other.call_args(&["SET", "slow:large", &value]);
    let mut slow = keyway.client();
    const COUNT: usize = 6_000;
    let mut writing = slow.stream().try_clone().expect("a socket can be cloned");
    let asking = std::thread::spawn(move || {
        let lines = "GET slow:large\r\n".repeat(COUNT);
        writing.write_all(lines.as_bytes())
    });
    let before = keyway.resident_bytes();
    let (mut longest, mut most) = (Duration::ZERO, 0);
    for number in 0..2_000 {
        let began = Instant::now();
        other.expect("GET slow:none", "nil");
        longest = longest.max(began.elapsed());
        if number % 100 == 0 {
            let growth = keyway.resident_bytes().saturating_sub(before);
            most = most.max(growth);
        }
    }
    println!(
        "others waited at most {longest:.2?}; grew by {} KiB",
        most / 1024
    );
    // 1,024 requests are in flight, and 50 MB of replies doubled while they grow.
    assert!(most < 192 << 20, "grew by {most} bytes");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    for _ in 0..COUNT {
        assert_eq!(slow.read().bytes().map(<[u8]>::len), Some(value.len()));
    }
    assert!(asking.join().is_ok_and(|written| written.is_ok()));
    other.expect("DEL slow:large", ":1");
}

/// Many clients at once, each with a pipeline: every one gets its own replies.
///
/// contract: P2
#[test]
fn a_thousand_pipelining_clients_keep_their_own_replies() {
    let scene = Scene::shared(Flavor::Valkey);
    let mut clients: Vec<Client> = (0..1_000).map(|_| scene.keyway.client()).collect();
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            let lines: String = (0..10)
                .map(|n| {
                    format!(
                        "SET many:{number}:{n} {round}-{number}-{n}\r\nGET many:{number}:{n}\r\n"
                    )
                })
                .collect();
            client.send_raw(lines);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            for n in 0..10 {
                assert_eq!(client.read(), Value::Simple("OK".to_owned()));
                assert_eq!(client.read().text(), format!("{round}-{number}-{n}"));
            }
        }
    }
}
