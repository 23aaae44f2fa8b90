//! The calls that redis-rs makes through Keyway and through one real server, which must be answered
//! alike: the server is the oracle, so a line here needs no expectation. To add a call, add a line.

use redis::{RedisError, Value};

use crate::support::client::words;

/// The calls, in order. Names in braces share a slot; `rs` is replaced by the test's own name.
const CALLS: &str = r"
    SET rs:string one
    GET rs:string
    GET rs:absent
    SET rs:string two NX
    SET rs:string three XX GET
    APPEND rs:string ' more'
    STRLEN rs:string
    GETRANGE rs:string 1 -2
    SETRANGE rs:string 2 X
    GETEX rs:string PERSIST
    GETDEL rs:string
    SETNX rs:number 10
    INCR rs:number
    INCRBY rs:number 5
    DECRBY rs:number 3
    INCRBYFLOAT rs:number 0.25
    INCR rs:number
    GETSET rs:number 7
    MSET rs:m1 1 rs:m2 2 rs:m3 3 rs:m4 4 rs:m1 one
    MGET rs:m1 rs:m2 rs:absent rs:m4 rs:m1
    EXISTS rs:m1 rs:m1 rs:m2 rs:absent
    TOUCH rs:m1 rs:m2 rs:m2
    UNLINK rs:m1 rs:absent
    DEL rs:m2 rs:m3 rs:m3 rs:m4
    MSETNX {rs}a 1 {rs}b 2
    MSETNX {rs}b 1 {rs}c 2
    LCS {rs}a {rs}b LEN
    HSET rs:hash a 1 b two c 3.5
    HGET rs:hash b
    HGETALL rs:hash
    HGETALL rs:absent
    HMGET rs:hash a x c
    HINCRBY rs:hash a 4
    HINCRBYFLOAT rs:hash c 0.5
    HKEYS rs:hash
    HVALS rs:hash
    HLEN rs:hash
    HEXISTS rs:hash a
    HSTRLEN rs:hash b
    HSETNX rs:hash a 1
    HRANDFIELD rs:absent 3 WITHVALUES
    HDEL rs:hash a b x
    HSCAN rs:hash 0 COUNT 10
    RPUSH {rs}list b c d
    LPUSH {rs}list a
    LRANGE {rs}list 0 -1
    LINDEX {rs}list 1
    LINSERT {rs}list BEFORE b x
    LSET {rs}list 1 y
    LSET rs:absent 1 y
    LPOS {rs}list y
    LREM {rs}list 0 y
    LPOP {rs}list 2
    LMOVE {rs}list {rs}other RIGHT LEFT
    RPOPLPUSH {rs}other {rs}list
    LMPOP 2 {rs}other {rs}list LEFT COUNT 2
    LLEN {rs}list
    RPOP rs:absent
    LPOP rs:absent 2
    RPUSH rs:sort 3 1 2
    SORT rs:sort DESC
    SADD {rs}set1 1 2 3
    SADD {rs}set2 3 4
    SMEMBERS {rs}set1
    SISMEMBER {rs}set1 1
    SMISMEMBER {rs}set1 1 9
    SCARD {rs}set1
    SINTER {rs}set1 {rs}set2
    SUNION {rs}set1 {rs}set2
    SDIFF {rs}set1 {rs}set2
    SINTERCARD 2 {rs}set1 {rs}set2
    SUNIONSTORE {rs}set3 {rs}set1 {rs}set2
    SMOVE {rs}set1 {rs}set2 1
    SREM {rs}set2 1 9
    SSCAN {rs}set1 0
    SPOP rs:absent 2
    SRANDMEMBER rs:absent
    ZADD {rs}zset1 1 one 2 two 3.5 three
    ZADD {rs}zset2 20 two 4 four
    ZADD {rs}zset1 XX CH INCR 1 one
    ZSCORE {rs}zset1 three
    ZSCORE {rs}zset1 nine
    ZMSCORE {rs}zset1 one nine
    ZRANGE {rs}zset1 0 -1
    ZRANGE {rs}zset1 0 -1 REV WITHSCORES
    ZRANGEBYSCORE {rs}zset1 (1 inf WITHSCORES
    ZRANGEBYLEX {rs}zset2 - + LIMIT 0 1
    ZRANK {rs}zset1 two
    ZRANK {rs}zset1 nine
    ZCOUNT {rs}zset1 -inf 3
    ZINCRBY {rs}zset1 2 one
    ZINTER 2 {rs}zset1 {rs}zset2 WITHSCORES
    ZUNION 2 {rs}zset1 {rs}zset2 WEIGHTS 1 2 AGGREGATE MAX WITHSCORES
    ZDIFF 2 {rs}zset1 {rs}zset2
    ZUNIONSTORE {rs}zset3 2 {rs}zset1 {rs}zset2
    ZRANGESTORE {rs}zset4 {rs}zset3 0 1
    ZPOPMIN {rs}zset3
    ZPOPMAX {rs}zset3 2
    ZMPOP 1 {rs}zset4 MIN
    ZMPOP 1 rs:absent MIN
    ZRANDMEMBER rs:absent
    ZSCAN {rs}zset1 0 MATCH t*
    ZREM {rs}zset1 two nine
    XADD rs:stream 1-0 n 1
    XADD rs:stream 2-0 n 2 m 3
    XADD rs:stream 1-5 n 1
    XLEN rs:stream
    XRANGE rs:stream - +
    XREVRANGE rs:stream + - COUNT 1
    XREAD COUNT 10 STREAMS rs:stream 0
    XREAD STREAMS rs:stream 9-0
    XGROUP CREATE rs:stream group 0
    XGROUP CREATE rs:stream group 0
    XREADGROUP GROUP group me COUNT 1 STREAMS rs:stream >
    XREADGROUP GROUP absent me STREAMS rs:stream >
    XPENDING rs:stream group
    XACK rs:stream group 1-0
    XAUTOCLAIM rs:stream group you 0 0
    XINFO GROUPS rs:stream
    XDEL rs:stream 1-0
    XTRIM rs:stream MAXLEN 0
    PFADD {rs}pf1 a b c
    PFADD {rs}pf2 c d
    PFCOUNT {rs}pf1 {rs}pf2
    PFMERGE {rs}pf3 {rs}pf1 {rs}pf2
    PFCOUNT {rs}pf3
    GEOADD rs:geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
    GEODIST rs:geo Palermo Catania km
    GEODIST rs:geo Palermo Rome
    GEOHASH rs:geo Palermo Rome
    GEOPOS rs:geo Palermo Rome
    GEOSEARCH rs:geo FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHCOORD WITHDIST WITHHASH
    SETBIT {rs}bit1 7 1
    GETBIT {rs}bit1 7
    SET {rs}bit2 '\xff\x0f'
    BITCOUNT {rs}bit2
    BITPOS {rs}bit2 0
    BITOP XOR {rs}bit3 {rs}bit1 {rs}bit2
    GET {rs}bit3
    BITFIELD {rs}bit3 INCRBY u8 0 10 GET u4 4 OVERFLOW FAIL INCRBY u2 0 3
    TYPE {rs}zset1
    TYPE rs:absent
    OBJECT ENCODING {rs}a
    COPY {rs}a {rs}d
    RENAME {rs}a {rs}e
    RENAME rs:absent rs:absent
    RENAMENX {rs}e {rs}d
    KEYS {rs}zset*
    EXPIRE {rs}d 100
    EXPIRE {rs}d 50 GT
    PEXPIREAT {rs}d 32503680000000
    EXPIRETIME {rs}d
    PEXPIRETIME {rs}d
    PERSIST {rs}d
    TTL {rs}d
    PTTL rs:absent
    EXPIRE {rs}d -1
    EXISTS {rs}d
    EVAL 'return {1, ARGV[1], {KEYS[1], false}}' 1 rs:key value
    EVAL 'return redis.call(\'SET\', KEYS[1], ARGV[1])' 1 rs:key value
    EVAL 'return redis.call(\'GET\', KEYS[1])' 1 rs:key
    EVAL 'return redis.error_reply(\'MINE told so\')' 1 rs:key
    EVAL 'return redis.call(\'INCR\', KEYS[1])' 1 rs:key
    EVAL_RO 'return redis.call(\'SET\', KEYS[1], 1)' 1 rs:key
    EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 rs:key
    LPUSH rs:key x
    GET
    SET rs:key value NOSUCHOPTION
    NOSUCHCOMMAND rs:key x
    SET '' empty
    GET ''
    SET 'rs:sp ace \x00\r\n' '\r\n$-1\r\n'
    GET 'rs:sp ace \x00\r\n'
";

/// What is left of a single client's calls when a cluster client has refused, split or merged some
/// of them itself: that is the library's doing, and not what is tested here.
const NOT_FOR_CLUSTER_CLIENTS: &[&str] = &["KEYS", "NOSUCHCOMMAND", "GET"];

/// One call: its words.
#[derive(Debug)]
pub struct Call(Vec<Vec<u8>>);

impl Call {
    /// Every call of the table, on keys that begin with `name`.
    pub fn all(name: &str) -> Vec<Call> {
        let table = CALLS
            .replace("rs:", &format!("{name}:"))
            .replace("{rs}", &format!("{{{name}}}"));
        // Words have escapes only in double quotes.
        let lines = table.trim().lines().map(str::trim);
        lines
            .map(|line| Call(words(&line.replace('\'', "\"").replace("\\\"", "'"))))
            .collect()
    }

    /// Whether a cluster client passes the call on as it is.
    pub fn suits_cluster_clients(&self) -> bool {
        let name = String::from_utf8_lossy(&self.0[0]).into_owned();
        self.0.len() > 2 || !NOT_FOR_CLUSTER_CLIENTS.contains(&name.as_str())
    }

    /// As redis-rs wants it.
    pub fn command(&self) -> redis::Cmd {
        let mut command = redis::Cmd::new();
        for word in &self.0 {
            command.arg(word.as_slice());
        }
        command
    }

    /// The reply or error in a form that can be compared: members of sets in an order.
    pub fn outcome(&self, reply: Result<Value, RedisError>) -> String {
        match reply {
            Ok(Value::Set(items)) => format!("set {}", sorted(items)),
            Ok(Value::Array(items)) if self.is_unordered() => sorted(items),
            // The blocking connection gives errors as values, the cluster client as errors.
            Ok(Value::ServerError(error)) => self.outcome(Err(error.into())),
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("error {:?} {:?}", error.code(), error.detail()),
        }
    }

    fn is_unordered(&self) -> bool {
        let unordered = ["KEYS", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "ZSCAN"];
        unordered.iter().any(|name| name.as_bytes() == self.0[0])
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for word in &self.0 {
            write!(f, "{} ", word.escape_ascii())?;
        }
        Ok(())
    }
}

fn sorted(items: Vec<Value>) -> String {
    let mut items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    items.sort();
    format!("{items:?}")
}

/// Collects the calls that were answered differently, and tells all of them at the end.
#[derive(Default)]
pub struct Differences(Vec<String>);

impl Differences {
    /// Compares what the server said with what Keyway said.
    pub fn compare(&mut self, call: &Call, server: String, keyway: String) {
        if server != keyway {
            let text = format!("{call}\n  expected {server}\n  got      {keyway}");
            self.0.push(text);
        }
    }

    /// Panics when there is any.
    #[track_caller]
    pub fn none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}
