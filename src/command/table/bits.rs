//! Bitmaps and HyperLogLogs.

use super::commands;

commands! {
    "bitcount"     -2 Read     [1]             Keyed,
    "bitfield"     -2 Write    [1]             Keyed,
    "bitfield_ro"  -2 Read     [1]             Keyed,
    "bitop"        -4 Write    [2 to -1]       Keyed,
    "bitpos"       -3 Read     [1]             Keyed,
    "getbit"        3 Read     [1]             Keyed,
    "pfadd"        -2 Write    [1]             Keyed,
    "pfcount"      -2 Read     [1 to -1]       Keyed across DistinctCount,
    "pfdebug"       3 Write    [2]             Refused,
    "pfmerge"      -2 Write    [1 to -1]       Keyed,
    "pfselftest"    1 Harmless none            Refused,
    "setbit"        4 Write    [1]             Keyed,
}
