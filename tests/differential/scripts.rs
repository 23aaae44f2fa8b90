//! Scripts and function libraries the sequences run. Their results do not depend on chance.

use std::sync::OnceLock;

use fastrand::Rng;

use super::support::Server;

/// One script.
#[derive(Debug)]
pub struct Script {
    /// Its text.
    pub body: &'static str,
    /// The kinds of its keys.
    pub keys: &'static [&'static str],
    /// How many arguments it takes.
    pub arguments: usize,
}

const fn script(body: &'static str, keys: &'static [&'static str], arguments: usize) -> Script {
    Script {
        body,
        keys,
        arguments,
    }
}

#[rustfmt::skip]
static SCRIPTS: &[Script] = &[
    script("return 1", &[], 0),
    script("return ARGV", &[], 2),
    script("return redis.call('SET', KEYS[1], ARGV[1])", &["string"], 1),
    script("return redis.call('GET', KEYS[1])", &["string"], 0),
    script("redis.call('INCR', KEYS[1]); return redis.call('GET', KEYS[1])", &["number"], 0),
    script("return {redis.call('LPUSH', KEYS[1], ARGV[1]), redis.call('LRANGE', KEYS[1], 0, -1)}", &["list"], 1),
    script("return redis.pcall('HGET', KEYS[1], ARGV[1])", &["hash"], 1),
    script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end", &["string"], 1),
    script("return {1, 2, {3, 'four'}, false, true, 3.99}", &[], 0),
    script("return redis.error_reply('MY error')", &[], 0),
    script("return redis.status_reply('FINE')", &[], 0),
    script("error('on purpose')", &[], 0),
    script("return redis.call('NOSUCH')", &[], 0),
    script("return redis.call('GET')", &[], 0),
    script("return nil", &[], 0),
    script("this is not lua", &[], 0),
    script("redis.setresp(3); return redis.call('ZADD', KEYS[1], 1, ARGV[1])", &["zset"], 1),
    script("redis.setresp(3); return redis.call('ZSCORE', KEYS[1], 'a')", &["zset"], 0),
    script("return cjson.encode({KEYS[1], ARGV[1] == 'a'})", &["string"], 1),
    script("return redis.sha1hex(ARGV[1])", &[], 1),
    script("return {redis.call('EXISTS', KEYS[1]), redis.call('TYPE', KEYS[2])}", &["key", "key"], 0),
    script("return redis.call('SUBSCRIBE', 'c')", &[], 0),
    script("local t = {} for i = 1, 100 do t[i] = i end return t", &[], 0),
    script("#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], 'x')", &["string"], 0),
    script("#!lua\nreturn redis.call('STRLEN', KEYS[1])", &["string"], 0),
    script("#!lua flags=nosuch\nreturn 1", &[], 0),
];

#[rustfmt::skip]
const LIBRARIES: &[&str] = &[
    "#!lua name=one\nredis.register_function('first', function(keys, args) return {#keys, args[1]} end)",
    "#!lua name=two\nredis.register_function('second', function(keys, args) if keys[1] then return redis.call('SET', keys[1], args[1]) end return 'none' end)\nredis.register_function{function_name='reads', callback=function(keys) return keys[1] and redis.call('EXISTS', keys[1]) or 7 end, flags={'no-writes'}}",
    "#!lua name=one\nredis.register_function('first', function() return 'another first' end)",
    "#!lua name=broken\nthis is not lua",
    "no header",
    "#!lua name=three\nredis.register_function('first', function() return 3 end)",
];

static SHAS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();

/// Learns the digests; to be called once before any sequence is made.
pub fn learn_digests(server: &Server) {
    SHAS.get_or_init(|| {
        let mut client = server.client();
        let digest = |body: &str| {
            // A digest of any text, also of one that is no Lua.
            client
                .call_args(&["EVAL", "return redis.sha1hex(ARGV[1])", "0", body])
                .text()
                .into_bytes()
        };
        SCRIPTS
            .iter()
            .map(|script| script.body)
            .map(digest)
            .collect()
    });
}

/// One that every server accepts: only those are asked for by digest.
pub fn any_sound(random: &mut Rng) -> &'static Script {
    loop {
        let script = any(random);
        if !script.body.contains("not lua") && !script.body.contains("nosuch") {
            return script;
        }
    }
}

/// One of them.
pub fn any(random: &mut Rng) -> &'static Script {
    &SCRIPTS[random.usize(..SCRIPTS.len())]
}

/// Its text.
pub fn body(script: &Script) -> Vec<u8> {
    script.body.into()
}

/// Its digest.
pub fn sha(script: &Script) -> Vec<u8> {
    let index = SCRIPTS.iter().position(|other| std::ptr::eq(other, script));
    let digests = SHAS.get().expect("the digests are learnt first");
    digests[index.expect("it is one of them")].clone()
}

/// The digest of this text, if it is one of them.
pub fn digest_of(body: &[u8]) -> Option<Vec<u8>> {
    let script = SCRIPTS
        .iter()
        .find(|script| script.body.as_bytes() == body)?;
    Some(sha(script))
}

/// The text of a library.
pub fn library(random: &mut Rng) -> Vec<u8> {
    LIBRARIES[random.usize(..LIBRARIES.len())].into()
}
