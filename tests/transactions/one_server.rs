//! What a client in a transaction sees is what it sees on one server, byte for byte.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::client::{encode, words};
use super::support::{Client, Flavor, Scene, each_flavor};

each_flavor!(
    replies_are_one_servers,
    this_clients_own_state,
    subscriptions_inside,
    withheld_replies,
    in_one_write,
);

/// Each a talk of its own, on a new connection.
const TALKS: &[&str] = &[
    "EXEC | DISCARD | EXEC x | DISCARD x | MULTI x | PING",
    "MULTI | EXEC | MULTI | DISCARD | EXEC",
    "MULTI | SET {one}a 1 | GET {one}a | INCR {one}a | HSET {one}h f v | HGETALL {one}h | SMEMBERS {one}none \
     | ZADD {one}z 1.5 m | ZSCORE {one}z m | GET {one}nokey | EXEC | GET {one}a",
    "MULTI | NOSUCH a b | SET {one}a 1 | EXEC | GET {one}a",
    "MULTI | CLIENT NOSUCH | EXEC | MULTI | OBJECT | EXEC | MULTI | OBJECT ENCODING | EXEC",
    "MULTI | GET | SET {one}a | EXEC | GET {one}a",
    "MULTI | SET {one}a 1 | EXEC x | EXEC | GET {one}a",
    "MULTI | SET {one}a 1 | DISCARD x | EXEC | MULTI | MULTI x | EXEC | MULTI | WATCH | EXEC",
    "MULTI | SET {one}a 1 | MULTI | SET {one}b 2 | EXEC | GET {one}b",
    "MULTI | WATCH {one}a | SET {one}b 2 | EXEC | GET {one}b",
    "MULTI | UNWATCH | SET {one}b 2 | EXEC | MULTI | UNWATCH x | EXEC",
    "MULTI | NOSUCH | DISCARD | MULTI | SET {one}a 1 | EXEC",
    "SET {one}a abc | MULTI | INCR {one}a | LPUSH {one}a x | GET {one}a | SET {one}a x NOSUCHOPTION \
     | SET {one}b 1 | EXEC | GET {one}b",
    "MULTI | SET {one}a 1 | RESET | EXEC | GET {one}a",
    "MULTI | RESET x | EXEC",
    "MULTI | BLPOP {one}l 0 | BRPOP {one}l 1 | BLMOVE {one}l {one}m LEFT RIGHT 0 | BRPOPLPUSH {one}l {one}m 0 \
     | BLMPOP 0 1 {one}l LEFT | BZPOPMIN {one}z 0 | BZMPOP 0 1 {one}z MIN | XREAD BLOCK 0 STREAMS {one}s $ | EXEC",
    "RPUSH {one}l 1 2 3 | MULTI | BLPOP {one}none {one}l 0 | BLPOP {one}l -1 | BLPOP {one}l abc \
     | BLMPOP 0 1 {one}l LEFT COUNT 5 | EXEC",
    "MULTI | EVAL \"return 1\" 0 | EVAL \"return redis.call('set',KEYS[1],ARGV[1])\" 1 {one}a v \
     | EVALSHA ffffffffffffffffffffffffffffffffffffffff 0 \
     | EVAL \"return {1,2,redis.error_reply('MY ERR')}\" 0 | EVAL \"return 1\" 3 a | EVAL \"return 1\" x \
     | FCALL nosuch 0 | GET {one}a | EXEC",
    "MULTI | PING | PING hello | PING a b | ECHO x | PUBLISH c m | SPUBLISH {one} m | EXEC",
    "MULTI | MSET {one}a 1 {one}b 2 | MGET {one}a {one}none {one}b | DEL {one}a {one}b {one}a | EXEC",
    "MULTI | MSET {one}a 1 {one}b | GET {one}a | EXEC",
    "MULTI | ZUNIONSTORE {one}d 3 {one}a | XREAD STREAMS {one}a | EXEC",
    "MULTI | XREAD STREAMS {one}a b | EXEC",
    "MULTI | SYNC | EXEC | MULTI | PSYNC ? -1 | EXEC | MULTI | SAVE | EXEC | MULTI | SHUTDOWN NOPE | EXEC",
    "MULTI | MONITOR | SSUBSCRIBE {one} | GET {one}a | EXEC | PING",
    "MULTI | SCRIPT HELP | OBJECT HELP | EXEC",
    "WATCH {one}a | MULTI | SET {one}a 5 | EXEC | GET {one}a",
    "WATCH {one}a | SET {one}a 6 | MULTI | SET {one}a 5 | EXEC | GET {one}a | MULTI | GET {one}a | EXEC",
    "WATCH {one}a | SET {one}a 6 | MULTI | NOSUCH | EXEC | MULTI | GET {one}a | EXEC",
    "WATCH {one}a | SET {one}a 6 | MULTI | EXEC | WATCH {one}a | MULTI | EXEC",
    "WATCH {one}a | SET {one}a 6 | UNWATCH | MULTI | GET {one}a | EXEC",
    "WATCH {one}a | SET {one}a 6 | MULTI | DISCARD | MULTI | GET {one}a | EXEC",
    "WATCH {one}a | SET {one}a 6 | MULTI | EXEC x | MULTI | GET {one}a | EXEC",
    "WATCH {one}a | WATCH {one}b {one}c | MULTI | GET {one}b | PING | EXEC",
    "WATCH {one}a | SET {one}a 6 | RESET | MULTI | GET {one}a | EXEC",
];

/// contract: T1 T3 P1
fn replies_are_one_servers(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    for version in ["2", "3"] {
        for talk in TALKS {
            compare(scene, version, talk);
        }
    }
}

/// What this Keyway answers itself takes effect in `EXEC`, at its place. contract: T1 C1
fn this_clients_own_state(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    for version in ["2", "3"] {
        for talk in [
            "MULTI | CLIENT SETNAME foo | CLIENT GETNAME | SET {one}a 1 | CLIENT SETNAME bar | GET {one}a \
             | CLIENT GETNAME | EXEC | CLIENT GETNAME",
            "MULTI | CLIENT SETNAME foo | DISCARD | CLIENT GETNAME",
            "MULTI | CLIENT SETNAME foo | NOSUCH | EXEC | CLIENT GETNAME",
            "WATCH {one}a | SET {one}a 1 | MULTI | CLIENT SETNAME foo | EXEC | CLIENT GETNAME",
            "WATCH {one}a | MULTI | CLIENT SETNAME foo | INCR {one}a | EXEC | CLIENT GETNAME",
            "MULTI | AUTH x | AUTH default | SELECT 0 | SELECT x | EXEC | PING",
            "MULTI | CLIENT NO-EVICT on | CLIENT NO-EVICT nope | ACL WHOAMI | EXEC",
            "MULTI | CLIENT KILL ID 999999999 | GET {one}a | CLIENT UNBLOCK 999999999 | EXEC",
            "MULTI | ROLE | EXEC",
        ] {
            compare(scene, version, talk);
        }
    }
    let mut client = scene.keyway.client();
    client.call("MULTI");
    client.call("CLIENT INFO");
    client.call("CLIENT ID");
    client.call("HELLO");
    client.call("CLIENT LIST");
    let mut other = scene.keyway.client();
    let list = other.call("CLIENT LIST").text();
    assert!(
        list.contains(" flags=x ") && list.contains(" multi=4 "),
        "{list}"
    );
    let reply = client.call("EXEC");
    let items = reply.items();
    assert_eq!(items.len(), 4, "{reply}");
    assert!(items[0].text().contains(" flags=x "), "{reply}");
    let id = items[1].to_string().replace(':', "id=");
    assert!(items[0].text().starts_with(&format!("{id} ")), "{reply}");
    assert!(items[2].to_string().contains("'standalone'"), "{reply}");
    assert!(items[3].text().contains(&format!("{id} ")), "{reply}");
    // A switch of the version cannot be carried out in the middle of a block.
    client.call("MULTI");
    client.expect_error("HELLO 3", "ERR HELLO with another protocol version");
    client.expect_error("EXEC", "EXECABORT");
    client.expect("PING", "+PONG");
}

/// Confirmations are elements of `EXEC`'s array: with two channels it holds more than it says. Then the
/// client is subscribed. contract: S1 T1
fn subscriptions_inside(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    for version in ["2", "3"] {
        for talk in [
            "MULTI | SUBSCRIBE {one}c | EXEC | PING | GET {one}a",
            "MULTI | PSUBSCRIBE {one}p* | GET {one}a | EXEC | PING",
            "MULTI | SET {one}a 1 | SUBSCRIBE {one}c | GET {one}a | UNSUBSCRIBE {one}c | EXEC | GET {one}a",
            "MULTI | SUBSCRIBE {one}c | DISCARD | GET {one}a",
            "MULTI | SSUBSCRIBE {one}c | EXEC | PING",
            "MULTI | PING | SUBSCRIBE {one}c | PING | PING hello | EXEC | PING",
        ] {
            // Valkey lets only subscribers unsubscribe, and looks when it queues.
            if flavor == Flavor::Valkey && talk.contains("UNSUBSCRIBE") {
                continue;
            }
            compare(scene, version, talk);
        }
    }
    let mut both: Vec<Client> = vec![scene.plain().client(), scene.keyway.client()];
    for client in &mut both {
        client.expect_raw(
            "MULTI\r\nSUBSCRIBE {one}c {one}d\r\nPING\r\nEXEC\r\n",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*3\r\n$9\r\nsubscribe\r\n$6\r\n{one}c\r\n:1\r\n\
             *3\r\n$9\r\nsubscribe\r\n$6\r\n{one}d\r\n:2\r\n",
        );
        client.read();
    }
    let mut other = scene.keyway.client();
    other.expect("PUBLISH {one}d hello", ":1");
    both[1].expect_next("['message' '{one}d' 'hello']");
}

/// `CLIENT REPLY` in a transaction: a server leaves elements out of `EXEC`'s array. contract: P7
fn withheld_replies(flavor: Flavor) {
    if flavor == Flavor::Valkey && flavor.is_since(9, 0) {
        // It refuses CLIENT REPLY there; Keyway does as the others.
        return;
    }
    let scene = Scene::shared(flavor);
    for (talk, bytes) in [
        (
            "MULTI | CLIENT REPLY OFF | SET {withheld}a 1 | EXEC | PING | CLIENT REPLY ON | PING",
            "+OK +QUEUED +QUEUED *2 +OK +PONG ",
        ),
        (
            "MULTI | SET {withheld}a 1 | CLIENT REPLY SKIP | GET {withheld}a | EXEC | PING | PING",
            "+OK +QUEUED +QUEUED +QUEUED *3 +OK $1 1 +PONG ",
        ),
        (
            "CLIENT REPLY OFF | MULTI | SET {withheld}a 1 | EXEC | CLIENT REPLY ON",
            "+OK ",
        ),
        (
            "CLIENT REPLY OFF | MULTI | GET {withheld}a | SUBSCRIBE {withheld} | EXEC | UNSUBSCRIBE",
            "*3 $9 subscribe $10 {withheld} :1 *3 $11 unsubscribe $10 {withheld} :0 ",
        ),
        (
            "CLIENT REPLY SKIP | MULTI | SET {withheld}a 1 | EXEC | PING",
            "+QUEUED *1 +OK +PONG ",
        ),
        (
            "CLIENT REPLY OFF | MULTI | SET {withheld}a 1 | CLIENT REPLY ON | GET {withheld}a | EXEC | PING",
            "+OK $1 1 +PONG ",
        ),
        (
            "MULTI | CLIENT REPLY ON | GET {withheld}none | EXEC",
            "+OK +QUEUED +QUEUED *2 +OK $-1 ",
        ),
    ] {
        for mut client in [scene.plain().client(), scene.keyway.client()] {
            client.call("DEL {withheld}a");
            for line in talk.split(" | ") {
                client.send(line);
            }
            client.finish_sending();
            let got = String::from_utf8_lossy(&client.read_to_end()).replace("\r\n", " ");
            assert_eq!(got, bytes, "{talk}");
        }
    }
}

/// contract: T1 P2
fn in_one_write(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    for mut client in [scene.plain().client(), scene.keyway.client()] {
        client.call("DEL {one}w");
        client.expect_raw(
            "MULTI\r\nINCR {one}w\r\n\r\nGET {one}w\r\n*0\r\nEXEC\r\nGET {one}w\r\nMULTI\r\nPING\r\nDISCARD\r\nEXEC\r\n",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n$1\r\n1\r\n+OK\r\n+QUEUED\r\n+OK\r\n\
             -ERR EXEC without MULTI\r\n",
        );
        // QUIT inside: nothing is executed.
        client.send_raw("MULTI\r\nINCR {one}w\r\nQUIT\r\nEXEC\r\n");
        assert_eq!(client.read_to_end(), b"+OK\r\n+QUEUED\r\n+OK\r\n");
    }
    scene.keyway.client().expect("GET {one}w", "'1'");
}

/// `{one}` in a talk stands for a hash tag that no other comparison uses: others are made at the same time.
fn compare(scene: &Scene, version: &str, talk: &str) {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let tag = format!("{{one{}}}", MADE.fetch_add(1, Ordering::Relaxed));
    let own = |text: &str| text.replace("{one}", &tag);
    let talk = own(talk);
    let mut said = Vec::new();
    for mut client in [scene.plain().client(), scene.keyway.client()] {
        let keys = "DEL {one}a {one}b {one}c {one}d {one}h {one}l {one}m {one}s {one}z";
        client.call(&own(keys));
        let hello = client.call(&format!("HELLO {version}"));
        assert!(!hello.is_error(), "{hello}");
        let lines = talk.split(" | ");
        said.push(
            lines
                .map(|line| raw_reply(&mut client, line))
                .collect::<Vec<_>>(),
        );
    }
    for ((line, server), keyway) in talk.split(" | ").zip(&said[0]).zip(&said[1]) {
        assert_eq!(keyway, server, "RESP{version}: {line}\nin: {talk}");
    }
}

/// The bytes of the reply.
fn raw_reply(client: &mut Client, line: &str) -> String {
    client.send_raw(encode(&words(line)));
    client.read_raw().escape_ascii().to_string()
}
