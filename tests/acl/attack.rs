//! Somebody tries what was denied, by every route; guesses passwords; sends too much before saying who it is.

use std::time::{Duration, Instant};

use crate::announce::{Told, listing};
use crate::support::fake_view::{array, bulk};
use crate::support::{Action, Client, FakeCluster, Flavor, Keyway, Scene, each_flavor, eventually};

each_flavor!(no_route_leads_around, leases_forget_who_had_them);

const RULES: &str =
    "on >p ~app:* %R~shared:* &app:* +@all -flushall -flushdb -config -keys (~other:* +ping)";

/// Keyway whose default user may do nothing, with a user `app` and one for the test itself.
fn keyway(seeds: &[std::net::SocketAddr]) -> Keyway {
    Keyway::before(seeds)
        .set("compatibility.cross_slot_transactions", "\"split\"")
        .set("compatibility.cross_slot_reads", "\"emulate\"")
        .set("compatibility.cross_slot_blocking", "\"poll\"")
        .set("acl.auth_failures", "0")
        .env("KEYWAY_USERS_1_NAME", "default")
        .env("KEYWAY_USERS_1_RULES", "off")
        .env("KEYWAY_USERS_2_NAME", "app")
        .env("KEYWAY_USERS_2_RULES", RULES)
        .env("KEYWAY_USERS_3_NAME", "root")
        .env("KEYWAY_USERS_3_RULES", "on >r ~* &* +@all")
        .start()
}

fn client_of(keyway: &Keyway, credentials: &str) -> Client {
    let mut client = keyway.client();
    client.expect(&format!("AUTH {credentials}"), "+OK");
    client
}

/// contract: C1
fn no_route_leads_around(flavor: Flavor) {
    let keyway = keyway(&Scene::shared(flavor).cluster.seeds());
    let mut root = client_of(&keyway, "root r");
    for line in [
        "SET secret:{a} gold",
        "SET shared:{a} silver",
        "RPUSH secret:{l} gold",
        "ZADD secret:{z} 1 gold",
        "XADD secret:{x} * gold 1",
        "SADD secret:{s} gold",
    ] {
        assert!(!root.call(line).is_error(), "{line}");
    }
    root.call("SCRIPT LOAD \"return redis.call('get',KEYS[1])\"");
    let routes = [
        "GET secret:{a}",
        "get secret:{a}",
        "gEt secret:{a}",
        "GETEX secret:{a}",
        "GETDEL secret:{a}",
        "STRLEN secret:{a}",
        "TYPE secret:{a}",
        "EXISTS app:x secret:{a}",
        "MGET app:{a} secret:{a}",
        "MGET app:1 app:2 app:3 secret:{a}",
        "MSET app:1 1 secret:{a} lead app:2 2",
        "MSETNX app:{a} 1 secret:{a} lead",
        "DEL app:1 secret:{a}",
        "UNLINK secret:{a} app:1 app:2",
        "TOUCH app:1 secret:{a}",
        "COPY secret:{a} app:{a}",
        "COPY app:{a} secret:{a} REPLACE",
        "RENAME secret:{a} app:{a}",
        "RENAMENX app:{a} secret:{a}",
        "DUMP secret:{a}",
        "RESTORE secret:{a} 0 x REPLACE",
        "SORT secret:{l}",
        "SORT app:{l} STORE secret:{l}",
        "SORT secret:{l} BY nosort STORE app:{l}",
        "SORT_RO secret:{l}",
        "OBJECT ENCODING secret:{a}",
        "object freq secret:{a}",
        "MEMORY USAGE secret:{a}",
        "EVAL \"return redis.call('get',KEYS[1])\" 1 secret:{a}",
        "eval \"return 1\" 2 app:{a} secret:{a}",
        "EVAL_RO \"return 1\" 1 secret:{a}",
        "EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e44c2 1 secret:{a}",
        "FCALL f 1 secret:{a}",
        "BITCOUNT secret:{a}",
        "BITOP NOT app:{a} secret:{a}",
        "BITFIELD secret:{a} GET u8 0",
        "SETRANGE secret:{a} 0 x",
        "APPEND secret:{a} x",
        "LCS app:{a} secret:{a}",
        "WATCH secret:{a}",
        "BLPOP app:{l} secret:{l} 0.1",
        "BLPOP secret:{l} app:1 0.1",
        "BLMOVE secret:{l} app:{l} LEFT LEFT 0.1",
        "LMOVE secret:{l} app:{l} LEFT LEFT",
        "BLMPOP 0.1 2 app:{l} secret:{l} LEFT",
        "LMPOP 1 secret:{l} LEFT",
        "BZPOPMIN secret:{z} 0.1",
        "ZUNION 2 app:{z} secret:{z}",
        "ZUNIONSTORE app:{z} 1 secret:{z}",
        "ZRANGESTORE app:{z} secret:{z} 0 -1",
        "SUNION app:1 secret:{s}",
        "SUNIONSTORE app:{s} secret:{s}",
        "SMOVE secret:{s} app:{s} gold",
        "SINTERCARD 2 app:{s} secret:{s}",
        "PFCOUNT app:1 secret:{a}",
        "PFMERGE app:{a} secret:{a}",
        "PFMERGE secret:{a}",
        "GEOSEARCHSTORE app:{z} secret:{z} FROMLONLAT 1 1 BYRADIUS 1 m",
        "GEORADIUS app:{z} 1 1 1 m STORE secret:{z}",
        "XREAD STREAMS app:{x} secret:{x} 0 0",
        "XREAD BLOCK 10 STREAMS secret:{x} $",
        "XREADGROUP GROUP g c STREAMS secret:{x} >",
        "XGROUP CREATE secret:{x} g 0",
        "XINFO STREAM secret:{x}",
        "XREAD NONSENSE STREAMS secret:{x} 0",
        "EVAL \"return 1\" 01 secret:{a}",
        "EVAL \"return 1\" 5 secret:{a}",
        "SET shared:{a} lead",
        "GETSET shared:{a} lead",
        "SET shared:{a} lead GET",
        "INCR shared:{a}",
        "BITFIELD shared:{a} SET u8 0 1",
        "MIGRATE 127.0.0.1 1 secret:{a} 0 1",
        "FLUSHALL",
        "flushall",
        "FLUSHDB",
        "CONFIG GET *",
        "config set maxmemory 1",
        "KEYS *",
        "SUBSCRIBE secret",
        "PSUBSCRIBE *",
        "PSUBSCRIBE app:?",
        "SSUBSCRIBE secret",
        "PUBLISH secret x",
        "SPUBLISH secret x",
        "RESTORE-ASKING secret:{a} 0 x",
        "SORT app:{l} BY secret:*",
        "SORT app:{l} GET secret:*",
    ];
    for route in routes {
        let mut plain = client_of(&keyway, "app p");
        let heard = plain.call(route).to_string();
        let is_denied = |text: &str| {
            text.starts_with("-NOPERM") || text.contains("insufficient ACL permissions")
        };
        assert!(is_denied(&heard), "{route}: {heard}");
        let mut inside = client_of(&keyway, "app p");
        inside.call("MULTI");
        let queued = inside.call(route).to_string();
        let executed = inside.call("EXEC").to_string();
        let is_stopped = executed.starts_with("-EXECABORT")
            || is_denied(&queued)
            || executed.contains("insufficient ACL permissions");
        assert!(is_stopped, "MULTI: {route}: {queued} {executed}");
        // Inline, with its reply switched off, and behind an AUTH that fails.
        let mut odd = client_of(&keyway, "app p");
        let replies = odd.pipeline(&["AUTH root wrong", "AUTH app p", route]);
        assert!(
            is_denied(&replies[2].to_string()),
            "pipelined: {route}: {}",
            replies[2]
        );
        if !route.contains('"') {
            odd.send_raw(format!("{route}\r\n"));
            let heard = odd.read().to_string();
            assert!(is_denied(&heard), "inline: {route}: {heard}");
        }
        odd.send_raw("CLIENT REPLY OFF\r\n");
        odd.send(route);
        odd.send_raw("CLIENT REPLY ON\r\n");
        odd.expect_next("+OK");
        // Nobody at all.
        let mut nobody = keyway.client();
        nobody.expect(route, "-NOAUTH Authentication required.");
        nobody.expect("MULTI", "-NOAUTH Authentication required.");
    }
    root.expect("GET secret:{a}", "'gold'");
    root.expect("GET shared:{a}", "'silver'");
    root.expect("LRANGE secret:{l} 0 -1", "['gold']");
    root.expect("SMEMBERS secret:{s}", "['gold']");
    root.expect("XLEN secret:{x}", ":1");
    for key in ["app:{a}", "app:{l}", "app:{z}", "app:{s}", "app:1", "app:2"] {
        root.expect(&format!("EXISTS {key}"), ":0");
    }
}

/// A private connection that served one client serves no other as that one, nor the same one after `RESET`.
/// contract: C1, T3
fn leases_forget_who_had_them(flavor: Flavor) {
    let keyway = keyway(&Scene::shared(flavor).cluster.seeds());
    let mut app = client_of(&keyway, "app p");
    app.expect("WATCH app:{lease}", "+OK");
    app.expect("BLPOP app:{lease}l 0.01", "nil-array");
    app.expect("MULTI", "+OK");
    app.expect("SET app:{lease} 1", "+QUEUED");
    app.expect("RESET", "+RESET");
    for line in [
        "EXEC",
        "GET app:{lease}",
        "BLPOP app:{lease}l 0.01",
        "WATCH app:{lease}",
        "SUBSCRIBE app:a",
    ] {
        app.expect_error(
            line,
            if line == "EXEC" {
                "EXECABORT Transaction discarded because of: NOAUTH"
            } else {
                "NOAUTH"
            },
        );
    }
    app.expect("AUTH app p", "+OK");
    app.expect("GET app:{lease}", "nil");
    app.expect_error("BLPOP secret:{lease} 0.01", "NOPERM");
}

/// A module's command whose keys only a node can tell is sent only once they are told, and permitted.
/// contract: R2
#[test]
fn learnt_commands_are_no_route() {
    let fake = FakeCluster::start(2);
    let told = [
        Told::new("X.ANY", "write movablekeys", (1, 1, 1)).specs(&["1 0 1", "?"]),
        Told::new("X.SET", "write", (1, 1, 1)).specs(&["1 0 1"]),
        Told::new("X.ALL", "write", (0, 0, 0)),
    ];
    for node in fake.nodes() {
        node.on("COMMAND GETKEYS", |request| {
            let words: Vec<String> = (0..request.arguments.len())
                .map(|at| request.text(at))
                .collect();
            match words.iter().position(|word| word == "KEYS") {
                Some(at) => Action::Reply(array(
                    &words[at + 1..]
                        .iter()
                        .map(|key| bulk(key))
                        .collect::<Vec<_>>(),
                )),
                None => Action::line("-ERR The command has no key arguments"),
            }
        });
        for name in ["X.ANY", "X.SET", "X.ALL"] {
            node.always(name, Action::line("+OK"));
        }
        node.always("COMMAND", Action::Reply(listing(&told)));
    }
    let keyway = Keyway::before(&fake.seeds())
        .env("KEYWAY_USERS_1_NAME", "app")
        .env("KEYWAY_USERS_1_RULES", "on >p ~app:* +@all -x.all")
        .env("KEYWAY_USERS_2_NAME", "reader")
        .env("KEYWAY_USERS_2_RULES", "on >p %R~app:* +@all")
        .start();
    let mut app = client_of(&keyway, "app p");
    for _ in 0..2 {
        app.expect("X.SET app:1 v", "+OK");
        app.expect("X.ANY 7 KEYS app:1", "+OK");
        for denied in [
            "X.SET secret v",
            "x.set secret v",
            "X.ALL",
            "x.all",
            "X.ANY 7 KEYS secret",
            "x.any 7 KEYS secret",
            "X.ANY secret",
        ] {
            app.expect_error(denied, "NOPERM");
        }
        for denied in ["X.SET secret v", "X.ANY 8 KEYS secret", "X.ALL"] {
            app.expect("MULTI", "+OK");
            app.expect_error(denied, "NOPERM");
            app.expect_error("EXEC", "EXECABORT");
        }
    }
    let mut reader = client_of(&keyway, "reader p");
    reader.expect_error("X.SET app:1 v", "NOPERM");
    reader.expect_error("X.ANY 7 KEYS app:1", "NOPERM");
    for node in fake.nodes() {
        for name in ["X.SET", "X.ANY", "X.ALL"] {
            assert!(
                !node
                    .received(name)
                    .iter()
                    .any(|line| line.contains("secret")),
                "{:?}",
                node.received(name)
            );
        }
    }
}

#[test]
fn guessing_is_slow_and_counted() {
    const FREE: u32 = 3;
    const TRIES: u32 = 7;
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.password", "\"sesame\"")
        .set("acl.auth_failures", &FREE.to_string())
        .start();
    let began = Instant::now();
    // Over many connections at once it is no faster.
    let mut clients: Vec<Client> = (0..TRIES).map(|_| keyway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!("AUTH guess-{number}"));
    }
    for client in &mut clients {
        assert!(client.read().to_string().starts_with("-WRONGPASS"));
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(u64::from(TRIES - FREE) - 1),
        "{took:?}"
    );
    eprintln!("{TRIES} guesses took {took:?}");
    assert!(keyway.metric("keyway_auth_failures_total") >= f64::from(TRIES));
    // The right one is let in when its turn comes, and does others no harm meanwhile.
    let mut right = keyway.client();
    right.expect("AUTH sesame", "+OK");
    right.expect("PING", "+PONG");
    // Inside EXEC nothing can wait: it is told so.
    right.expect("MULTI", "+OK");
    for _ in 0..5 {
        right.expect("AUTH wrong", "+QUEUED");
    }
    let executed = right.call("EXEC").to_string();
    assert!(executed.contains("too many wrong passwords"), "{executed}");
    let log = keyway.log();
    assert!(log.contains("a wrong password"), "{log}");
    assert!(!log.contains("guess-") && !log.contains("sesame"), "{log}");
    assert!(log.matches("a wrong password").count() <= 10, "{log}");
}

/// contract: P5
#[test]
fn strangers_send_little() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.password", "\"sesame\"")
        .start();
    let before = keyway.resident_bytes();
    for _ in 0..200 {
        let mut client = keyway.client();
        client.send_raw("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n");
        client.expect_next("-ERR Protocol error: unauthenticated bulk length");
        client.expect_closed();
        let mut client = keyway.client();
        client.send_raw("*1000000\r\n");
        client.expect_next("-ERR Protocol error: unauthenticated multibulk length");
        client.expect_closed();
    }
    // A user that was switched off is a stranger again.
    let grown = keyway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    eventually("all have left", Duration::from_secs(20), || {
        keyway.metric("keyway_clients") == 0.0
    });
}
