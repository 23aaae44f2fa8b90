//! Hashes, and the expiry of their fields (Redis 7.4, Valkey 9).

use super::commands;

commands! {
    "hdel"          -3 Write    [1]             Keyed,
    "hexists"        3 Read     [1]             Keyed,
    "hexpire"       -6 Write    [1]             Keyed,
    "hexpireat"     -6 Write    [1]             Keyed,
    "hexpiretime"   -5 Read     [1]             Keyed,
    "hget"           3 Read     [1]             Keyed,
    "hgetall"        2 Read     [1]             Keyed,
    "hgetdel"       -5 Write    [1]             Keyed,
    "hgetex"        -5 Write    [1]             Keyed,
    "hincrby"        4 Write    [1]             Keyed,
    "hincrbyfloat"   4 Write    [1]             Keyed,
    "hkeys"          2 Read     [1]             Keyed,
    "hlen"           2 Read     [1]             Keyed,
    "hmget"         -3 Read     [1]             Keyed,
    "hmset"         -4 Write    [1]             Keyed,
    "hpersist"      -5 Write    [1]             Keyed,
    "hpexpire"      -6 Write    [1]             Keyed,
    "hpexpireat"    -6 Write    [1]             Keyed,
    "hpexpiretime"  -5 Read     [1]             Keyed,
    "hpttl"         -5 Read     [1]             Keyed,
    "hrandfield"    -2 Read     [1]             Keyed,
    "hscan"         -3 Read     [1]             Keyed,
    "hset"          -4 Write    [1]             Keyed,
    "hsetex"        -6 Write    [1]             Keyed,
    "hsetnx"         4 Write    [1]             Keyed,
    "hstrlen"        3 Read     [1]             Keyed,
    "httl"          -5 Read     [1]             Keyed,
    "hvals"          2 Read     [1]             Keyed,
}
