//! Sets.

use super::commands;

commands! {
    "sadd"         -3 Write    [1]             Keyed,
    "scard"         2 Read     [1]             Keyed,
    "sdiff"        -2 Read     [1 to -1]       Keyed across Difference,
    "sdiffstore"   -3 Write    [1 to -1]       Keyed,
    "sinter"       -2 Read     [1 to -1]       Keyed across Intersection,
    "sintercard"   -3 Read     (counted 1)     Keyed across IntersectionSize,
    "sinterstore"  -3 Write    [1 to -1]       Keyed,
    "sismember"     3 Read     [1]             Keyed,
    "smembers"      2 Read     [1]             Keyed,
    "smismember"   -3 Read     [1]             Keyed,
    "smove"         4 Write    [1 to 2]        Keyed,
    "spop"         -2 Write    [1]             Keyed,
    "srandmember"  -2 Read     [1]             Keyed,
    "srem"         -3 Write    [1]             Keyed,
    "sscan"        -3 Read     [1]             Keyed,
    "sunion"       -2 Read     [1 to -1]       Keyed across Union,
    "sunionstore"  -3 Write    [1 to -1]       Keyed,
}
