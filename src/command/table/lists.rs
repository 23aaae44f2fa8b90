//! Lists.

use super::commands;

commands! {
    "blmove"       6 Write    [1 to 2]        Blocking uses RW W @write @list @slow @blocking,
    "blmpop"      -5 Write    (counted 2)     Blocking uses RW @write @list @slow @blocking,
    "blpop"       -3 Write    [1 to -2]       Blocking uses RW @write @list @slow @blocking,
    "brpop"       -3 Write    [1 to -2]       Blocking uses RW @write @list @slow @blocking,
    "brpoplpush"   4 Write    [1 to 2]        Blocking uses RW W @write @list @slow @blocking,
    "lindex"       3 Read     [1]             Keyed    uses R @read @list @slow,
    "linsert"      5 Write    [1]             Keyed    uses W @write @list @slow,
    "llen"         2 Read     [1]             Keyed    uses Any @read @list @fast,
    "lmove"        5 Write    [1 to 2]        Keyed    uses RW W @write @list @slow,
    "lmpop"       -4 Write    (counted 1)     Keyed    uses RW @write @list @slow,
    "lpop"        -2 Write    [1]             Keyed    uses RW @write @list @fast,
    "lpos"        -3 Read     [1]             Keyed    uses R @read @list @slow,
    "lpush"       -3 Write    [1]             Keyed    uses W @write @list @fast,
    "lpushx"      -3 Write    [1]             Keyed    uses W @write @list @fast,
    "lrange"       4 Read     [1]             Keyed    uses R @read @list @slow,
    "lrem"         4 Write    [1]             Keyed    uses W @write @list @slow,
    "lset"         4 Write    [1]             Keyed    uses W @write @list @slow,
    "ltrim"        4 Write    [1]             Keyed    uses W @write @list @slow,
    "rpop"        -2 Write    [1]             Keyed    uses RW @write @list @fast,
    "rpoplpush"    3 Write    [1 to 2]        Keyed    uses RW W @write @list @slow,
    "rpush"       -3 Write    [1]             Keyed    uses W @write @list @fast,
    "rpushx"      -3 Write    [1]             Keyed    uses W @write @list @fast,
}
