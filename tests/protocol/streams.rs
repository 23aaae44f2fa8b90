//! Random streams of commands whose replies depend on nothing but the commands.

use crate::support::client::words;

/// Commands on keys of one slot. Single letters stand for something random:
///
/// | letter | stands for |
/// |---|---|
/// | `S L H Z T X G P` | a key: string, list, hash, sorted set, set of numbers, stream, geo, hyperloglog |
/// | `K` | any of these |
/// | `v` | a value, any bytes, short enough for the encodings that keep their order |
/// | `w` | the same, or longer |
/// | `i` | a small number |
/// | `f` | a field or member |
/// | `d` | a score |
///
/// `dumped` is a key that nothing is moved to: what `DUMP` gives of a stream's consumers has times of the
/// server's clock.
#[rustfmt::skip]
const ONE_KEY: &[&str] = &[
    // Strings and bitmaps.
    "SET S w", "SET S i", "SET S v NX", "SET S v XX GET", "SET S v GET", "SET S v BADOPTION", "GET S", "GET K", "GETDEL S",
    "GETEX S PERSIST", "GETRANGE S i -1", "SETRANGE S i v", "APPEND S v", "STRLEN S", "INCR S", "INCRBY S i", "DECR S",
    "INCRBYFLOAT S d", "INCRBY S notanumber", "SETNX S v", "GETSET S v", "SETBIT S i 1", "GETBIT S i", "BITCOUNT S",
    "BITPOS S 1", "BITFIELD S INCRBY u5 100 1 GET u4 0", "BITFIELD_RO S GET u8 i", "SUBSTR S 0 3",
    // Keys of any type.
    "TYPE K", "EXISTS K", "DEL K", "UNLINK K", "TOUCH K", "OBJECT ENCODING K", "OBJECT FOO K", "PERSIST K", "TTL none",
    "EXPIREAT K 33177117420", "EXPIRETIME K", "PEXPIREAT K 33177117420123", "PEXPIRETIME K", "SET dumped w", "DUMP dumped",
    "RESTORE K 0 v",
    "EXPIRE K", "RENAME K", "OBJECT", "MEMORY USAGE nothing", "SORT T", "SORT L ALPHA LIMIT 0 2 DESC", "SORT_RO T DESC", "SORT H",
    // Lists.
    "LPUSH L v v", "RPUSH L v f f", "LPUSHX L v", "RPUSHX L f", "LRANGE L 0 -1", "LRANGE L -2 i", "LLEN L", "LINDEX L i",
    "LSET L i v", "LREM L 0 f", "LTRIM L 0 i", "LPOP L", "RPOP L 2", "LINSERT L BEFORE f v", "LPOS L f RANK -1", "LPOS L f COUNT 0",
    "LMPOP 1 L RIGHT COUNT 2", "LPUSH K f",
    // Hashes.
    "HSET H f v f v", "HSETNX H f v", "HGET H f", "HMGET H f f f", "HGETALL H", "HDEL H f f", "HLEN H", "HEXISTS H f", "HKEYS H",
    "HVALS H", "HINCRBY H i i", "HINCRBYFLOAT H i d", "HSTRLEN H f", "HMSET H f v", "HSCAN H 0", "HRANDFIELD none", "HSET H f",
    "HRANDFIELD none 2 WITHVALUES", "HGETALL none", "HSET K f v",
    // Sorted sets.
    "ZADD Z d f d f", "ZADD Z GT CH d f", "ZADD Z INCR d f", "ZADD Z NX XX d f", "ZSCORE Z f", "ZMSCORE Z f f", "ZRANGE Z 0 -1",
    "ZRANGE Z 0 -1 WITHSCORES", "ZRANGE Z -inf +inf BYSCORE LIMIT 0 2", "ZRANGE Z - + BYLEX REV", "ZREVRANGE Z 0 2 WITHSCORES",
    "ZRANGEBYSCORE Z d (d WITHSCORES", "ZRANK Z f", "ZREVRANK Z f", "ZCOUNT Z -inf d", "ZCARD Z", "ZREM Z f", "ZINCRBY Z d f",
    "ZPOPMIN Z", "ZPOPMAX Z 2", "ZMPOP 1 Z MIN", "ZSCAN Z 0", "ZLEXCOUNT Z - +", "ZREMRANGEBYRANK Z 0 0", "ZADD Z inf f", "ZADD Z nan f",
    "ZRANDMEMBER none", "ZRANDMEMBER none 2 WITHSCORES", "ZADD K d f",
    // Sets of numbers: in their order.
    "SADD T i i i", "SREM T i", "SMEMBERS T", "SISMEMBER T i", "SMISMEMBER T i i", "SCARD T", "SSCAN T 0", "SRANDMEMBER none",
    "SPOP none", "SPOP none 2", "SMEMBERS none", "SADD K i",
    // Streams.
    "XADD X i-i f v", "XADD X NOMKSTREAM 99-i f v", "XADD X MAXLEN 5 i-99 f v f v", "XLEN X", "XRANGE X - +", "XRANGE X i + COUNT 2",
    "XREVRANGE X + - COUNT 1", "XREAD COUNT 2 STREAMS X 0", "XREAD STREAMS X 999999", "XDEL X i-i", "XTRIM X MAXLEN i",
    "XGROUP CREATE X g 0 MKSTREAM", "XGROUP CREATECONSUMER X g c", "XGROUP DESTROY X g", "XINFO GROUPS X", "XINFO STREAM X",
    "XREADGROUP GROUP g c COUNT 1 STREAMS X >", "XACK X g i-i", "XPENDING X g", "XGROUP FOO X", "XADD X",
    // Geo and hyperloglog.
    "GEOADD G 13.361389 38.115556 f 15.087269 37.502669 f", "GEOPOS G f f", "GEODIST G f f km", "GEOHASH G f",
    "GEOSEARCH G FROMLONLAT 15 37 BYRADIUS 300 km ASC WITHDIST WITHCOORD", "GEORADIUS G 15 37 300 km ASC COUNT 2",
    "PFADD P v f", "PFADD P i", "PFCOUNT P", "PFCOUNT K",
    // Many keys that are one.
    "MGET K", "MSET S v", "MSETNX S v", "SINTER T", "SUNION T", "SDIFF T", "ZUNION 1 Z WITHSCORES", "SINTERCARD 1 T",
    // Scripts: every type a reply can have.
    r#"EVAL "return redis.call('GET', KEYS[1])" 1 K"#, r#"EVAL "return {1, 'two', {3, false, {}}, 4.5}" 1 K"#,
    r#"EVAL "redis.setresp(3) return redis.call('HGETALL', KEYS[1])" 1 H"#,
    r#"EVAL "redis.setresp(3) return redis.call('SMEMBERS', KEYS[1])" 1 T"#,
    r#"EVAL "redis.setresp(3) return redis.call('ZSCORE', KEYS[1], ARGV[1])" 1 Z f"#,
    r#"EVAL "return {double = 3.25}" 1 K"#, r#"EVAL "return {double = -1e300}" 1 K"#,
    r#"EVAL "return {big_number = '1234567999999999999999999999999999999'}" 1 K"#, r#"EVAL "return {map = {a = {1, 2}}}" 1 K"#,
    r#"EVAL "return {verbatim_string = {format = 'txt', string = 'a b'}}" 1 K"#, r#"EVAL "return {set = {a = true}}" 1 K"#,
    r#"EVAL "redis.setresp(3) return true" 1 K"#, r#"EVAL "redis.setresp(3) return {false, true, false}" 1 K"#,
    r#"EVAL "return nil" 1 K"#, r#"EVAL "return {err = 'MY error'}" 1 K"#, r#"EVAL "return {ok = 'fine'}" 1 K"#,
    r#"EVAL "return {1, {err = 'MOVED 1 127.0.0.1:1'}, 3}" 1 K"#, r#"EVAL "return redis.call('GET', KEYS[1])" -1"#,
    r#"EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 K"#, r#"EVAL_RO "return ARGV" 1 K v f"#, "FCALL nothing 1 K", "EVAL x",
    r#"EVAL "return redis.call('NOSUCH')" 1 K"#, r#"EVAL "return redis.call('GET')" 1 K"#, r#"EVAL "syntax error" 1 K"#,
    // What is no command.
    "FOO f v", "GET", "GET S S", "SET S", "GETT S", "CONFIG FOO", "PING", "PING v", "PING a b", "ECHO v", "ECHO", "SELECT 0",
    "LMPOP 0 L LEFT", "ZUNION 0 Z", "LMPOP x L LEFT", "ZUNION -1 Z", "SINTERCARD 5 T", "XREAD STREAMS X", "XREAD COUNT 1 FOO X 0",
];

/// Commands on several keys of one slot.
#[rustfmt::skip]
const MANY_KEYS: &[&str] = &[
    "MGET K K K", "MSET S v S v", "MSETNX S v S v", "DEL K K", "EXISTS K K K", "TOUCH K K", "UNLINK K K", "RENAME K K", "RENAMENX K K",
    "COPY K K REPLACE", "LMOVE L L LEFT RIGHT", "RPOPLPUSH L L", "LMPOP 2 L L LEFT", "SMOVE T T i", "SINTER T T", "SUNION T T", "SDIFF T T",
    "SINTERSTORE T T T", "SUNIONSTORE T T T", "SDIFFSTORE T T T", "SINTERCARD 2 T T LIMIT 1", "ZUNION 2 Z Z WITHSCORES", "ZINTER 2 Z Z",
    "ZDIFF 2 Z Z WITHSCORES", "ZINTERCARD 2 Z Z", "ZUNIONSTORE Z 2 Z Z WEIGHTS 2 3", "ZINTERSTORE Z 2 Z Z AGGREGATE MAX",
    "ZDIFFSTORE Z 2 Z Z", "ZRANGESTORE Z Z 0 1", "ZMPOP 2 Z Z MAX COUNT 2", "BITOP AND S S S", "BITOP NOT S S", "BITOP FOO S S",
    "PFMERGE P P P", "PFCOUNT P P", "GEOSEARCHSTORE G G FROMLONLAT 15 37 BYRADIUS 300 km", "SORT T STORE L", "LCS S S", "LCS S S LEN",
    "XREAD COUNT 1 STREAMS X X 0 0", r#"EVAL "return redis.call('MGET', KEYS[1], KEYS[2])" 2 S S"#, "MSET S v S",
];

/// A source of commands; the same seed gives the same ones.
pub struct Commands {
    random: fastrand::Rng,
    /// What stands before each key, such as `{tag}`; keys are spread over the slots without one.
    prefix: String,
    is_one_slot: bool,
}

impl Commands {
    /// Commands whose keys are in one slot.
    pub fn in_one_slot(seed: u64, tag: &str) -> Commands {
        Commands {
            random: fastrand::Rng::with_seed(seed),
            prefix: format!("{{{tag}}}"),
            is_one_slot: true,
        }
    }

    /// Commands over all slots; none that one node could not do has keys of several.
    pub fn over_all_slots(seed: u64, prefix: &str) -> Commands {
        Commands {
            random: fastrand::Rng::with_seed(seed),
            prefix: prefix.to_owned(),
            is_one_slot: false,
        }
    }

    /// So many.
    pub fn take(&mut self, count: usize) -> Vec<Vec<Vec<u8>>> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Vec<Vec<u8>> {
        // The first of the list of many keys are those that are split by slot.
        const SPLIT: &[&str] = &[
            "MGET K K K",
            "MSET S v S v S v",
            "DEL K K",
            "EXISTS K K K",
            "TOUCH K K",
        ];
        let many = if self.is_one_slot { MANY_KEYS } else { SPLIT };
        let templates = if self.random.u8(..4) == 0 {
            many
        } else {
            ONE_KEY
        };
        let template = templates[self.random.usize(..templates.len())];
        let mut arguments: Vec<Vec<u8>> = words(template)
            .into_iter()
            .enumerate()
            .map(|(index, word)| match index {
                0 => word,
                _ => self.fill(word),
            })
            .collect();
        if self.random.u8(..5) == 0 {
            arguments[0] = self.mixed_case(&arguments[0]);
        }
        arguments
    }

    fn fill(&mut self, word: Vec<u8>) -> Vec<u8> {
        match word.as_slice() {
            [kind @ (b'S' | b'L' | b'H' | b'Z' | b'T' | b'X' | b'G' | b'P')] => self.key(*kind),
            b"K" => {
                let kinds = b"SLHZTXGP";
                let kind = kinds[self.random.usize(..kinds.len())];
                self.key(kind)
            }
            b"none" | b"nothing" => format!("{}none", self.prefix).into_bytes(),
            b"dumped" => format!("{}dumped", self.prefix).into_bytes(),
            b"v" => self.value(false),
            b"w" => self.value(true),
            b"i" => self.random.u8(..12).to_string().into_bytes(),
            b"i-i" => format!("{}-{}", self.random.u8(..50), self.random.u8(1..9)).into_bytes(),
            b"99-i" => format!("99-{}", self.random.u8(1..9)).into_bytes(),
            b"i-99" => format!("{}-99", self.random.u8(..99)).into_bytes(),
            b"f" => format!("f{}", self.random.u8(..5)).into_bytes(),
            b"d" => self.score().into_bytes(),
            b"(d" => format!("({}", self.score()).into_bytes(),
            _ => word,
        }
    }

    fn key(&mut self, kind: u8) -> Vec<u8> {
        let letter = char::from(kind);
        let number = self.random.u8(..3);
        let mut key = format!("{}:{letter}:{number}", self.prefix).into_bytes();
        if number == 2 {
            key.extend(b"\0\r\n\xff}{ ");
        }
        key
    }

    fn value(&mut self, may_be_long: bool) -> Vec<u8> {
        let length = match self.random.u8(..10) {
            0 => 0,
            1 if may_be_long => self.random.usize(..100_000),
            _ => self.random.usize(..20),
        };
        let odd = b"\r\n\0{}$*-+:_\xff\x80 \"'ab0";
        let bytes = (0..length).map(|_| odd[self.random.usize(..odd.len())]);
        bytes.collect()
    }

    fn score(&mut self) -> String {
        let scores = ["0", "1", "-1", "2.5", "1e20", "0.1", "3", "-inf", "17"];
        scores[self.random.usize(..scores.len())].to_owned()
    }

    fn mixed_case(&mut self, name: &[u8]) -> Vec<u8> {
        let change = |byte: &u8| match self.random.bool() {
            true => byte.to_ascii_lowercase(),
            false => *byte,
        };
        name.iter().map(change).collect()
    }
}
