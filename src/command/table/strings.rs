//! Strings and counters.

use super::commands;

commands! {
    "append"        3 Write    [1]             Keyed,
    "decr"          2 Write    [1]             Keyed,
    "decrby"        3 Write    [1]             Keyed,
    "delex"        -2 Write    [1]             Keyed,
    "delifeq"       3 Write    [1]             Keyed,
    "digest"        2 Read     [1]             Keyed,
    "get"           2 Read     [1]             Keyed,
    "getdel"        2 Write    [1]             Keyed,
    "getex"        -2 Write    [1]             Keyed,
    "getrange"      4 Read     [1]             Keyed,
    "getset"        3 Write    [1]             Keyed,
    "incr"          2 Write    [1]             Keyed,
    "incrby"        3 Write    [1]             Keyed,
    "incrbyfloat"   3 Write    [1]             Keyed,
    "lcs"          -3 Read     [1 to 2]        Keyed,
    "mget"         -2 Read     [1 to -1]       Split(ByKey),
    "mset"         -3 Write    [1 to -1 step 2] Split(AllSucceeded),
    "msetex"       -4 Write    (counted 1 step 2) Keyed,
    "msetnx"       -3 Write    [1 to -1 step 2] Keyed,
    "psetex"        4 Write    [1]             Keyed,
    "set"          -3 Write    [1]             Keyed,
    "setex"         4 Write    [1]             Keyed,
    "setnx"         3 Write    [1]             Keyed,
    "setrange"      4 Write    [1]             Keyed,
    "strlen"        2 Read     [1]             Keyed,
    "substr"        4 Read     [1]             Keyed,
}
