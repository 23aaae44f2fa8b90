//! Strings and counters.

use super::commands;

commands! {
    "append"        3 Write    [1]             Keyed                uses W @write @string @fast,
    "decr"          2 Write    [1]             Keyed                uses RW @write @string @fast,
    "decrby"        3 Write    [1]             Keyed                uses RW @write @string @fast,
    "delex"        -2 Write    [1]             Keyed                uses W @write @string @fast,
    "delifeq"       3 Write    [1]             Keyed                uses W @write @string @fast,
    "digest"        2 Read     [1]             Keyed                uses R @read @string @fast,
    "get"           2 Read     [1]             Keyed                uses R @read @string @fast,
    "getdel"        2 Write    [1]             Keyed                uses RW @write @string @fast,
    "getex"        -2 Write    [1]             Keyed                uses RW @write @string @fast,
    "getrange"      4 Read     [1]             Keyed                uses R @read @string @slow,
    "getset"        3 Write    [1]             Keyed                uses RW @write @string @fast,
    "incr"          2 Write    [1]             Keyed                uses RW @write @string @fast,
    "incrby"        3 Write    [1]             Keyed                uses RW @write @string @fast,
    "incrbyfloat"   3 Write    [1]             Keyed                uses RW @write @string @fast,
    "lcs"          -3 Read     [1 to 2]        Keyed                uses R @read @string @slow,
    "mget"         -2 Read     [1 to -1]       Split(ByKey)         uses R @read @string @fast,
    "mset"         -3 Write    [1 to -1 step 2] Split(AllSucceeded) uses W @write @string @slow,
    "msetex"       -4 Write    (counted 1 step 2) Keyed             uses W @write @string @slow,
    "msetnx"       -3 Write    [1 to -1 step 2] Keyed               uses W @write @string @slow,
    "psetex"        4 Write    [1]             Keyed                uses W @write @string @slow,
    "set"          -3 Write    [1]             Keyed                uses RW @write @string @slow,
    "setex"         4 Write    [1]             Keyed                uses W @write @string @slow,
    "setnx"         3 Write    [1]             Keyed                uses W @write @string @fast,
    "setrange"      4 Write    [1]             Keyed                uses W @write @string @slow,
    "strlen"        2 Read     [1]             Keyed                uses Any @read @string @fast,
    "substr"        4 Read     [1]             Keyed                uses R @read @string @slow,
}
