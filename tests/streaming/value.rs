//! Values that are too large to be held twice, and the scene for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::support::keyway::KeywayOptions;
use super::support::{Client, Cluster, ClusterOptions, Flavor, Keyway};

/// The largest value that a server takes (proto-max-bulk-len).
pub const LARGEST: usize = 512 << 20;
/// What Keyway may grow by while one passes, whatever its client does.
pub const GROWTH_MAX: u64 = 64 << 20;

/// How long half a gigabyte may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A prime, so that no buffer's size divides it.
const BLOCK_BYTES: usize = 1_000_003;

fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(8);
        // With line ends in it, and what looks like replies.
        let mut block: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(BLOCK_BYTES)
            .collect();
        block[1_000..1_012].copy_from_slice(b"\r\n$3\r\n+OK\r\n-");
        block
    })
}

/// The same bytes each time, `len` of them.
pub fn pieces(len: usize) -> impl Iterator<Item = &'static [u8]> {
    let whole = std::iter::repeat_n(block(), len / BLOCK_BYTES);
    whole.chain([&block()[..len % BLOCK_BYTES]])
}

/// Writes a command whose last argument is a value of this length.
pub fn write_command(stream: &mut TcpStream, words: &[&str], len: usize) -> std::io::Result<()> {
    let mut head = format!("*{}\r\n", words.len() + 1);
    for word in words {
        head.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    head.push_str(&format!("${len}\r\n"));
    stream.write_all(head.as_bytes())?;
    for piece in pieces(len) {
        stream.write_all(piece)?;
    }
    stream.write_all(b"\r\n")
}

/// Reads a bulk string of this length and compares it; what was `read` of its head before is left out.
pub fn read_value(stream: &mut TcpStream, len: usize) {
    let head = format!("${len}\r\n");
    let mut got = vec![0; head.len()];
    stream
        .read_exact(&mut got)
        .expect("the head of the value comes");
    assert_eq!(
        got.escape_ascii().to_string(),
        head.as_bytes().escape_ascii().to_string()
    );
    read_body(stream, len);
}

/// Reads the rest of it.
pub fn read_body(stream: &mut TcpStream, len: usize) {
    let mut got = vec![0; BLOCK_BYTES];
    for (number, piece) in pieces(len).enumerate() {
        let got = &mut got[..piece.len()];
        stream.read_exact(got).expect("the value comes whole");
        assert!(got == piece, "block {number} differs");
    }
    let mut end = [0; 2];
    stream
        .read_exact(&mut end)
        .expect("the end of the value comes");
    assert_eq!(&end, b"\r\n");
}

/// Three primaries without replicas, patient with a node that is busy with a large value.
pub fn cluster(flavor: Flavor) -> Cluster {
    Cluster::start_with(ClusterOptions {
        replicas: 0,
        node_timeout_ms: 20_000,
        ..ClusterOptions::of(flavor)
    })
}

/// A Keyway that gives the nodes time, too.
pub fn patient_keyway(cluster: &Cluster) -> KeywayOptions {
    Keyway::before(&cluster.seeds())
        .set("timeouts.request", "\"180s\"")
        .set("timeouts.request_arrival", "\"600s\"")
}

/// One of each version.
pub fn any_client(keyway: &Keyway, flavor: Flavor) -> Client {
    match flavor {
        Flavor::Redis => keyway.client(),
        Flavor::Valkey => keyway.client_resp3(),
    }
}

/// A cluster of this kind that tests with keys of their own share, and a Keyway before it: one that takes no
/// node for dead because the machine is busy.
pub fn shared(flavor: Flavor) -> &'static (Cluster, Keyway) {
    static SCENES: [OnceLock<(Cluster, Keyway)>; 2] = [OnceLock::new(), OnceLock::new()];
    SCENES[flavor as usize].get_or_init(|| {
        let cluster = cluster(flavor);
        let keyway = patient_keyway(&cluster).start();
        (cluster, keyway)
    })
}

/// Gives a key a value of this length, without Keyway.
pub fn place(cluster: &Cluster, key: &str, len: usize) {
    let mut client = cluster.client_of_key(key).with_patience(PATIENCE);
    let mut stream = client.stream().try_clone().expect("a socket can be cloned");
    write_command(&mut stream, &["SET", key], len).expect("the node takes it");
    client.expect_next("+OK");
}

/// A client's socket, patient enough for a large value.
pub fn patient(client: &Client) -> TcpStream {
    let stream = client.stream().try_clone().expect("a socket can be cloned");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// One test at a time has values of half a gigabyte: a node holds each two or three times.
pub fn alone() -> MutexGuard<'static, ()> {
    static LARGE: Mutex<()> = Mutex::new(());
    LARGE.lock().unwrap_or_else(PoisonError::into_inner)
}
