//! Vector sets (Redis 8).

use super::commands;

commands! {
    "vadd"         -2 Write    [1]             Keyed,
    "vcard"        -2 Read     [1]             Keyed,
    "vdim"         -2 Read     [1]             Keyed,
    "vemb"         -2 Read     [1]             Keyed,
    "vgetattr"     -2 Read     [1]             Keyed,
    "vinfo"        -2 Read     [1]             Keyed,
    "vismember"    -2 Read     [1]             Keyed,
    "vlinks"       -2 Read     [1]             Keyed,
    "vrandmember"  -2 Read     [1]             Keyed,
    "vrange"       -2 Read     [1]             Keyed,
    "vrem"         -2 Write    [1]             Keyed,
    "vsetattr"     -2 Write    [1]             Keyed,
    "vsim"         -2 Read     [1]             Keyed,
}
