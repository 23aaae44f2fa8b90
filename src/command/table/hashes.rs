//! Hashes, and the expiry of their fields (Redis 7.4, Valkey 9).

use super::commands;

commands! {
    "hdel"          -3 Write    [1]             Keyed uses W @write @hash @fast,
    "hexists"        3 Read     [1]             Keyed uses Any @read @hash @fast,
    "hexpire"       -6 Write    [1]             Keyed uses W @write @hash @fast,
    "hexpireat"     -6 Write    [1]             Keyed uses W @write @hash @fast,
    "hexpiretime"   -5 Read     [1]             Keyed uses R @read @hash @fast,
    "hget"           3 Read     [1]             Keyed uses R @read @hash @fast,
    "hgetall"        2 Read     [1]             Keyed uses R @read @hash @slow,
    "hgetdel"       -5 Write    [1]             Keyed uses RW @write @hash @fast,
    "hgetex"        -5 Write    [1]             Keyed uses RW @write @hash @fast,
    "hincrby"        4 Write    [1]             Keyed uses RW @write @hash @fast,
    "hincrbyfloat"   4 Write    [1]             Keyed uses RW @write @hash @fast,
    "hkeys"          2 Read     [1]             Keyed uses R @read @hash @slow,
    "hlen"           2 Read     [1]             Keyed uses Any @read @hash @fast,
    "hmget"         -3 Read     [1]             Keyed uses R @read @hash @fast,
    "hmset"         -4 Write    [1]             Keyed uses W @write @hash @fast,
    "hpersist"      -5 Write    [1]             Keyed uses W @write @hash @fast,
    "hpexpire"      -6 Write    [1]             Keyed uses W @write @hash @fast,
    "hpexpireat"    -6 Write    [1]             Keyed uses W @write @hash @fast,
    "hpexpiretime"  -5 Read     [1]             Keyed uses R @read @hash @fast,
    "hpttl"         -5 Read     [1]             Keyed uses R @read @hash @fast,
    "hrandfield"    -2 Read     [1]             Keyed uses R @read @hash @slow,
    "hscan"         -3 Read     [1]             Keyed uses R @read @hash @slow,
    "hset"          -4 Write    [1]             Keyed uses W @write @hash @fast,
    "hsetex"        -6 Write    [1]             Keyed uses W @write @hash @fast,
    "hsetnx"         4 Write    [1]             Keyed uses W @write @hash @fast,
    "hstrlen"        3 Read     [1]             Keyed uses Any @read @hash @fast,
    "httl"          -5 Read     [1]             Keyed uses R @read @hash @fast,
    "hvals"          2 Read     [1]             Keyed uses R @read @hash @slow,
}
