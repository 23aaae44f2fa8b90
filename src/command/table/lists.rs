//! Lists.

use super::commands;

commands! {
    "blmove"       6 Write    [1 to 2]        Blocking,
    "blmpop"      -5 Write    (counted 2)     Blocking,
    "blpop"       -3 Write    [1 to -2]       Blocking,
    "brpop"       -3 Write    [1 to -2]       Blocking,
    "brpoplpush"   4 Write    [1 to 2]        Blocking,
    "lindex"       3 Read     [1]             Keyed,
    "linsert"      5 Write    [1]             Keyed,
    "llen"         2 Read     [1]             Keyed,
    "lmove"        5 Write    [1 to 2]        Keyed,
    "lmpop"       -4 Write    (counted 1)     Keyed,
    "lpop"        -2 Write    [1]             Keyed,
    "lpos"        -3 Read     [1]             Keyed,
    "lpush"       -3 Write    [1]             Keyed,
    "lpushx"      -3 Write    [1]             Keyed,
    "lrange"       4 Read     [1]             Keyed,
    "lrem"         4 Write    [1]             Keyed,
    "lset"         4 Write    [1]             Keyed,
    "ltrim"        4 Write    [1]             Keyed,
    "rpop"        -2 Write    [1]             Keyed,
    "rpoplpush"    3 Write    [1 to 2]        Keyed,
    "rpush"       -3 Write    [1]             Keyed,
    "rpushx"      -3 Write    [1]             Keyed,
}
