//! Every user sends every one of these requests, plainly and inside `MULTI`, to Keyway and to one server. Where
//! either says that it may not, both must say the same, word for word.

use std::collections::BTreeMap;

use crate::scene::Pair;
use crate::support::{Flavor, each_flavor};
use crate::users::USERS;

each_flavor!(verdicts_are_the_servers);

/// Requests. What is not of the ACL differs (a cluster answers `CROSSSLOT`, operators' commands are refused) and is
/// not looked at.
const REQUESTS: &[&str] = &[
    "GET cache:{1}a",
    "get a:1",
    "GeT b:1",
    "GET c:1",
    "GET r:1",
    "GET w:1",
    "GET rw:1",
    "GET m:1",
    "GET k:1",
    "GET kab",
    "GET kac",
    "GET kad",
    "GET x*y",
    "GET xzy",
    "GET zend",
    "GET aend",
    "GET q",
    "GET \"\"",
    "SET a:1 v",
    "SET b:1 v",
    "SET w:1 v",
    "SET w:1 v GET",
    "SET r:1 v",
    "SET rw:1 v GET",
    "SET m:1 v GET",
    "SET t:1 v",
    "SETNX w:1 v",
    "GETDEL w:2",
    "GETSET rw:1 v",
    "APPEND w:3 v",
    "INCR w:4",
    "INCR rw:4",
    "STRLEN r:1",
    "EXISTS w:1",
    "EXISTS r:1 w:1 rw:1",
    "TYPE w:1",
    "TTL w:1",
    "TTL r:1",
    "OBJECT ENCODING w:1",
    "OBJECT HELP",
    "DUMP w:1",
    "MGET cache:{1}a cache:{1}b",
    "MGET cache:{1}a other",
    "MGET r:1 r:2 r:3 w:1",
    "MSET w:1 1 w:2 2",
    "MSET w:1 1 r:2 2",
    "MSETNX {w}1 1 {r}2 2",
    "DEL w:1 w:2",
    "DEL w:1 r:2",
    "UNLINK r:2",
    "TOUCH r:1 w:1",
    "COPY r:{1}a w:{1}b",
    "COPY w:{1}a r:{1}b",
    "RENAME rw:{1}a w:{1}b",
    "RENAME r:{1}a w:{1}b",
    "SMOVE rw:{1}a w:{1}b m",
    "LMOVE rw:{1}a w:{1}b LEFT LEFT",
    "RPOPLPUSH rw:{1} w:{1}",
    "BITOP AND w:{1}d r:{1}a r:{1}b",
    "BITOP NOT w:{1}d w:{1}a",
    "BITFIELD r:5 GET u8 0",
    "BITFIELD r:5 SET u8 0 1",
    "BITFIELD_RO w:5 GET u8 0",
    "SDIFFSTORE out:{1} in:{1}a in:{1}b",
    "SDIFFSTORE out:{1} in:{1}a out:{1}b",
    "SINTERCARD 2 in:{1}a in:{1}b",
    "SINTERCARD 2 in:{1}a out:{1}b",
    "ZUNIONSTORE out:{1} 2 in:{1}a in:{1}b",
    "ZUNIONSTORE in:{1} 1 in:{1}a",
    "ZUNION 2 in:{1}a w:{1}b",
    "ZRANGESTORE out:{1} in:{1} 0 -1",
    "ZRANGESTORE in:{1} out:{1} 0 -1",
    "ZADD out:1 1 a",
    "ZADD in:1 1 a",
    "ZMPOP 1 out:2 MIN",
    "PFADD w:7 a",
    "PFCOUNT r:7",
    "PFMERGE rw:{1}d r:{1}s",
    "GEOADD w:8 1 1 a",
    "GEORADIUS r:{1}8 1 1 1 m STORE w:{1}8",
    "GEORADIUS r:{1}8 1 1 1 m STORE r:{1}9",
    "SORT r:{1}l STORE w:{1}l",
    "SORT r:{1}l STORE r:{1}m",
    "SORT r:1 BY nosort",
    "SORT r:1 BY x_*",
    "SORT_RO r:1 GET x_*",
    "SORT r:1 LIMIT 0 1 GET #",
    "XADD out:9 * a 1",
    "XADD in:9 * a 1",
    "XREAD STREAMS in:{1}a in:{1}b 0 0",
    "XREAD STREAMS in:{1}a out:{1}b 0 0",
    "XREAD BLOCK 1 STREAMS in:{1}a 0",
    "XGROUP CREATE out:9 g $ MKSTREAM",
    "XGROUP HELP",
    "XINFO STREAM in:9",
    "XREADGROUP GROUP g c STREAMS in:{1} >",
    "BLPOP out:1 0.01",
    "BLPOP cache:1 0.01",
    "BLMOVE rw:{1}a w:{1}b LEFT LEFT 0.01",
    "BZPOPMIN in:1 0.01",
    "BLMPOP 0.01 1 w:1 LEFT",
    "HSET w:10 f v",
    "HGETALL r:10",
    "HGET r:10 f",
    "HSETNX r:10 f v",
    "HRANDFIELD r:10",
    "LPUSH w:11 a",
    "LRANGE r:11 0 -1",
    "SADD w:12 a",
    "SMEMBERS r:12",
    "RESTORE w:13 0 x",
    "EXPIRE w:1 10",
    "PERSIST r:1",
    "MEMORY USAGE r:1",
    "MEMORY DOCTOR",
    "EVAL \"return 1\" 0",
    "eval \"return 1\" 1 s:1",
    "EVAL \"return 1\" 1 other",
    "EVAL \"return 1\" 2 s:{1}1 other",
    "EVAL_RO \"return 1\" 1 s:1",
    "EVAL_RO \"return 1\" 1 w:1",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 s:1",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 r:1",
    "FCALL nosuch 1 s:1",
    "FCALL nosuch 1 t:1",
    "FCALL_RO nosuch 1 r:1",
    "SCRIPT LOAD \"return 1\"",
    "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
    "FUNCTION FLUSH",
    "PUBLISH news m",
    "PUBLISH news:1 m",
    "PUBLISH log:1 m",
    "publish other m",
    "SPUBLISH news m",
    "SPUBLISH other m",
    "PUBLISH pxa m",
    "SUBSCRIBE news",
    "SUBSCRIBE news log:1",
    "SUBSCRIBE news other",
    "SUBSCRIBE cache:1",
    "subscribe pxb1",
    "PSUBSCRIBE log:*",
    "PSUBSCRIBE log:1",
    "PSUBSCRIBE news:*",
    "PSUBSCRIBE *",
    "PSUBSCRIBE cache:*",
    "SSUBSCRIBE news",
    "SSUBSCRIBE other",
    "UNSUBSCRIBE other",
    "PUNSUBSCRIBE *",
    "SUNSUBSCRIBE other",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "CONFIG GET maxmemory",
    "config get maxmemory",
    "CONFIG SET maxmemory 0",
    "CONFIG RESETSTAT",
    "Config Help",
    "CLIENT ID",
    "CLIENT LIST",
    "CLIENT KILL 1.1.1.1:1",
    "client kill 1.1.1.1:1",
    "CLIENT SETNAME x",
    "CLIENT NO-EVICT on",
    "CLIENT TRACKING off",
    "CLIENT INFO",
    "CLIENT GETNAME",
    "SELECT 0",
    "select 0",
    "SELECT 1",
    "PING",
    "ECHO x",
    "TIME",
    "COMMAND COUNT",
    "COMMAND INFO get",
    "COMMAND GETKEYS GET other",
    "COMMAND",
    "INFO",
    "DBSIZE",
    "KEYS *",
    "KEYS cache:*",
    "SCAN 0",
    "SCAN 0 MATCH other*",
    "RANDOMKEY",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB 0 0",
    "WAIT 0 0",
    "LASTSAVE",
    "SLOWLOG LEN",
    "SLOWLOG RESET",
    "LATENCY LATEST",
    "ACL WHOAMI",
    "ACL CAT",
    "ACL LIST",
    "ACL USERS",
    "ACL GETUSER all",
    "ACL LOG",
    "ACL GENPASS",
    "ACL DRYRUN all GET x",
    "acl whoami",
    "ROLE",
    "READONLY",
    "LOLWUT",
    "WATCH r:1",
    "WATCH t:1",
    "UNWATCH",
    "DISCARD",
    "EXEC",
    "MULTI",
    "DEBUG JMAP",
    "CLUSTER INFO",
    "CLUSTER KEYSLOT other",
    "MIGRATE 127.0.0.1 1 w:1 0 1",
    "MODULE LIST",
    "HELLO",
    "AUTH all p",
    "RESET",
    "QUIT",
    "MONITOR",
    "NOSUCH x",
    "CONFIG NOSUCH",
    "GET",
    "GET a b c",
    "CLIENT KILL",
];

/// What differs, and why: `flavor user request` with `*` for any.
const DIFFERENCES: &[(&str, &str)] = &[];

/// What is said about permission.
fn verdict(reply: &str) -> Option<&str> {
    let words = [
        "-NOPERM",
        "-NOAUTH",
        "-EXECABORT",
        "option of SORT denied due to insufficient ACL",
    ];
    words
        .iter()
        .any(|word| reply.contains(word))
        .then_some(reply)
}

fn verdicts_are_the_servers(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    let mut differences = Vec::new();
    let (mut cases, mut denied) = (0, BTreeMap::<&str, usize>::new());
    for (user, _) in USERS.iter().filter(|(user, _)| *user != "off") {
        for request in REQUESTS {
            let plain = pair
                .clients(user)
                .map(|mut client| client.call(request).to_string());
            let inside = pair.clients(user).map(|mut client| {
                client.call("MULTI");
                let queued = client.call(request).to_string();
                // These have ended the transaction, or the connection.
                let is_over = ["EXEC", "DISCARD", "RESET", "QUIT"].contains(request);
                let exec = if is_over {
                    String::new()
                } else {
                    client.call("EXEC").to_string()
                };
                // It may have been aborted for what is not of the ACL, such as keys in several slots.
                let is_of_acl = verdict(&queued).is_some() || exec.contains("NOPERM");
                let exec = if is_of_acl { exec } else { String::new() };
                (queued, exec)
            });
            let [own, server] = &inside;
            let pairs = [
                ("", [&plain[0], &plain[1]]),
                ("MULTI: ", [&own.0, &server.0]),
                ("EXEC after ", [&own.1, &server.1]),
            ];
            for (context, [own, server]) in pairs {
                cases += 1;
                let verdicts = (verdict(own), verdict(server));
                if verdicts.1.is_some() {
                    *denied.entry(user).or_default() += 1;
                }
                let is_known = DIFFERENCES
                    .iter()
                    .any(|(known, _)| *known == format!("{context}{request}"));
                if verdicts.0 != verdicts.1 && !is_known {
                    differences.push(format!(
                        "{user}: {context}{request}\n  keyway: {own}\n  server: {server}"
                    ));
                }
            }
        }
    }
    let refusals: usize = denied.values().sum();
    eprintln!(
        "{cases} verdicts compared with {}, {refusals} of them refusals",
        flavor.program()
    );
    assert!(refusals > 3_000, "{denied:?}");
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences[..differences.len().min(60)].join("\n")
    );
}
