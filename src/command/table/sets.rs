//! Sets.

use super::commands;

commands! {
    "sadd"         -3 Write    [1]             Keyed uses W @write @set @fast,
    "scard"         2 Read     [1]             Keyed uses Any @read @set @fast,
    "sdiff"        -2 Read     [1 to -1]       Keyed across Difference uses R @read @set @slow,
    "sdiffstore"   -3 Write    [1 to -1]       Keyed uses W R @write @set @slow,
    "sinter"       -2 Read     [1 to -1]       Keyed across Intersection uses R @read @set @slow,
    "sintercard"   -3 Read     (counted 1)     Keyed across IntersectionSize uses R @read @set @slow,
    "sinterstore"  -3 Write    [1 to -1]       Keyed uses W R @write @set @slow,
    "sismember"     3 Read     [1]             Keyed uses Any @read @set @fast,
    "smembers"      2 Read     [1]             Keyed uses R @read @set @slow,
    "smismember"   -3 Read     [1]             Keyed uses R @read @set @fast,
    "smove"         4 Write    [1 to 2]        Keyed uses RW W @write @set @fast,
    "spop"         -2 Write    [1]             Keyed uses RW @write @set @fast,
    "srandmember"  -2 Read     [1]             Keyed uses R @read @set @slow,
    "srem"         -3 Write    [1]             Keyed uses W @write @set @fast,
    "sscan"        -3 Read     [1]             Keyed uses R @read @set @slow,
    "sunion"       -2 Read     [1 to -1]       Keyed across Union uses R @read @set @slow,
    "sunionstore"  -3 Write    [1 to -1]       Keyed uses W R @write @set @slow,
}
