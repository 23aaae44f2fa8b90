//! Vector sets (Redis 8).

use super::commands;

commands! {
    "vadd"         -2 Write    [1]             Keyed uses RW @write @slow,
    "vcard"        -2 Read     [1]             Keyed uses R @read @slow,
    "vdim"         -2 Read     [1]             Keyed uses R @read @slow,
    "vemb"         -2 Read     [1]             Keyed uses R @read @slow,
    "vgetattr"     -2 Read     [1]             Keyed uses R @read @slow,
    "vinfo"        -2 Read     [1]             Keyed uses R @read @slow,
    "vismember"    -2 Read     [1]             Keyed uses R @read @slow,
    "vlinks"       -2 Read     [1]             Keyed uses R @read @slow,
    "vrandmember"  -2 Read     [1]             Keyed uses R @read @slow,
    "vrange"       -2 Read     [1]             Keyed uses R @read @slow,
    "vrem"         -2 Write    [1]             Keyed uses RW @write @slow,
    "vsetattr"     -2 Write    [1]             Keyed uses RW @write @slow,
    "vsim"         -2 Read     [1]             Keyed uses R @read @slow,
}
