//! Bitmaps and HyperLogLogs.

use super::commands;

commands! {
    "bitcount"     -2 Read     [1]             Keyed   uses R @read @bitmap @slow,
    "bitfield"     -2 Write    [1]             Keyed   uses RW @write @bitmap @slow,
    "bitfield_ro"  -2 Read     [1]             Keyed   uses R @read @bitmap @fast,
    "bitop"        -4 Write    [2 to -1]       Keyed   uses W R @write @bitmap @slow,
    "bitpos"       -3 Read     [1]             Keyed   uses R @read @bitmap @slow,
    "getbit"        3 Read     [1]             Keyed   uses R @read @bitmap @fast,
    "pfadd"        -2 Write    [1]             Keyed   uses W @write @hyperloglog @fast,
    "pfcount"      -2 Read     [1 to -1]       Keyed across DistinctCount uses R @read @hyperloglog @slow,
    "pfdebug"       3 Write    [2]             Refused uses R @write @hyperloglog @admin @slow @dangerous,
    "pfmerge"      -2 Write    [1 to -1]       Keyed   uses RW R @write @hyperloglog @slow,
    "pfselftest"    1 Harmless none            Refused @hyperloglog @admin @slow @dangerous,
    "setbit"        4 Write    [1]             Keyed   uses RW @write @bitmap @slow,
}
