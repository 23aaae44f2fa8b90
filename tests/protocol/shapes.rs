//! Replies are the server's own bytes, in both versions of the protocol, however the requests are cut.

use std::net::SocketAddr;

use super::streams::Commands;
use super::support::client::encode;
use super::support::{Action, Client, FakeCluster, Flavor, Keyway, Scene, each_flavor};
use super::wire::{assert_same_replies, conversation_to_quit, shown, split};

each_flavor! {
    streams_in_one_slot_get_the_servers_bytes,
    streams_over_all_slots_get_the_servers_bytes,
}

/// contract: P1, P2, P4, P6
fn streams_in_one_slot_get_the_servers_bytes(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    for (round, hello) in ["HELLO 2", "HELLO 3"].iter().cycle().take(8).enumerate() {
        let seed = seed_of(round);
        let commands = Commands::in_one_slot(seed, &format!("shapes:{flavor:?}"));
        check_stream(flavor, hello, seed, commands);
    }
}

/// contract: P1, P2, M1
fn streams_over_all_slots_get_the_servers_bytes(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    for (round, hello) in ["HELLO 2", "HELLO 3"].iter().cycle().take(6).enumerate() {
        let seed = seed_of(round + 100);
        let commands = Commands::over_all_slots(seed, &format!("wide:{flavor:?}"));
        check_stream(flavor, hello, seed, commands);
    }
}

/// `KEYWAY_TEST_SEED=n` plays a failed stream again.
fn seed_of(round: usize) -> u64 {
    match std::env::var("KEYWAY_TEST_SEED") {
        Ok(seed) => seed.parse().expect("KEYWAY_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..1 << 40) * 1_000 + round as u64,
    }
}

#[track_caller]
fn check_stream(flavor: Flavor, hello: &str, seed: u64, mut commands: Commands) {
    let scene = Scene::shared(flavor);
    let commands = commands.take(1_500);
    empty(scene.plain().addr(), &commands);
    empty(scene.keyway.addr(), &commands);
    // The reply to HELLO has a client id: read apart.
    let stream: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
    let want = converse(scene.plain().addr(), hello, &[&stream[..]]);
    let mut cut = fastrand::Rng::with_seed(seed);
    let pieces = random_pieces(&stream, &mut cut);
    let got = converse(scene.keyway.addr(), hello, &pieces);
    let sent = |index: usize| {
        let words = commands.get(index).map(Vec::as_slice).unwrap_or_default();
        let words: Vec<_> = words.iter().map(|word| shown(word)).collect();
        format!("{} (KEYWAY_TEST_SEED={seed}, {hello})", words.join(" "))
    };
    assert_same_replies(&got, &want, sent);
}

/// Both begin with the same: nothing.
fn empty(addr: SocketAddr, commands: &[Vec<Vec<u8>>]) {
    let mut keys: Vec<&[u8]> = commands
        .iter()
        .flatten()
        .map(Vec::as_slice)
        .filter(|word| word.starts_with(b"{shapes:") || word.starts_with(b"wide:"))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let mut delete = vec![&b"DEL"[..]];
    delete.extend(keys);
    let reply = Client::connect(addr).call_args(&delete);
    assert!(!reply.is_error(), "{reply}");
}

fn converse<P: AsRef<[u8]>>(addr: SocketAddr, hello: &str, pieces: &[P]) -> Vec<u8> {
    let mut all = vec![format!("{hello}\r\n").into_bytes()];
    all.extend(pieces.iter().map(|piece| piece.as_ref().to_vec()));
    all.push(b"QUIT\r\n".to_vec());
    let came = conversation_to_quit(addr, &all);
    let greeting = split(&came).first().map_or(0, |reply| reply.len());
    came[greeting..].to_vec()
}

/// Pieces of 1 to 4,000 bytes, most of them short.
fn random_pieces<'a>(mut stream: &'a [u8], random: &mut fastrand::Rng) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let longest = if random.u8(..8) == 0 { 4_000 } else { 60 };
        let length = random.usize(1..=longest).min(stream.len());
        let (piece, rest) = stream.split_at(length);
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// What servers may send and these two do not, or not without being asked to.
///
/// contract: P6
#[test]
fn odd_replies_pass_untouched() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::start(&fake.seeds());
    for (protocol, reply) in [
        ("2", "*3\r\n$-1\r\n*-1\r\n$0\r\n\r\n"),
        ("2", "*-1\r\n"),
        ("2", "*2\r\n-ERR inside\r\n:-9223372036854775808\r\n"),
        ("3", "_\r\n"),
        ("3", "#t\r\n"),
        ("3", ",inf\r\n"),
        ("3", ",-1.5e-300\r\n"),
        ("3", "(-3492890328409238509324850943850943825024385\r\n"),
        ("3", "!21\r\nSYNTAX invalid syntax\r\n"),
        ("3", "=16\r\ntxt:Some\r\nstring\r\n"),
        ("3", "%2\r\n+a\r\n~2\r\n:1\r\n#f\r\n*0\r\n%0\r\n"),
        ("3", "|1\r\n+ttl\r\n:3600\r\n$2\r\nab\r\n"),
        ("3", "*2\r\n:1\r\n|1\r\n+k\r\n*1\r\n,0.5\r\n:2\r\n"),
        (
            "3",
            "|1\r\n$1\r\na\r\n%1\r\n:1\r\n:2\r\n-ERR with an attribute\r\n",
        ),
        ("3", "~0\r\n"),
    ] {
        let mut client = keyway.client();
        client.call(&format!("HELLO {protocol}"));
        for node in fake.nodes() {
            node.once("GET odd", Action::Reply(reply.into()));
        }
        client.send_raw("GET odd\r\nGET after\r\n");
        let got = client.read_raw();
        assert_eq!(shown(&got), shown(reply.as_bytes()), "RESP{protocol}");
        assert!(client.read().text().starts_with("node-"), "after {reply:?}");
        for node in fake.nodes() {
            node.forget_rules();
        }
    }
}

/// A push from a node is nobody's reply: before a reply, behind it, and in the middle of a pipeline.
///
/// contract: P6, F3
#[test]
fn a_push_never_answers_a_request() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::start(&fake.seeds());
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    fake.node(0).on("GET", move |request| {
        let value = request.text(1);
        Action::Reply(format!("{push}${}\r\n{value}\r\n{push}", value.len()).into_bytes())
    });
    let mut client = keyway.client_resp3();
    let commands: Vec<_> = (0..50).map(|number| format!("GET key-{number}")).collect();
    let bytes: String = commands.iter().map(|line| format!("{line}\r\n")).collect();
    client.send_raw(bytes);
    for number in 0..50 {
        // A client that asked for no pushes may get none, or may get them; between replies only.
        let reply = std::iter::repeat_with(|| client.read())
            .find(|value| !matches!(value, super::support::Value::Push(_)));
        assert_eq!(
            reply.map(|reply| reply.text()),
            Some(format!("key-{number}"))
        );
    }
}
