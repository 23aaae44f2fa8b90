//! Streams. `XREAD` and `XREADGROUP` block only with the word `BLOCK`: see [`Command::blocks`](crate::command::Command::blocks).

use super::commands;

commands! {
    "xack"                   -4 Write    [1]             Keyed,
    "xackdel"                -6 Write    [1]             Keyed,
    "xadd"                   -5 Write    [1]             Keyed,
    "xautoclaim"             -6 Write    [1]             Keyed,
    "xclaim"                 -6 Write    [1]             Keyed,
    "xdel"                   -3 Write    [1]             Keyed,
    "xdelex"                 -5 Write    [1]             Keyed,
    "xgroup"                 -2 Harmless none            Container,
    "xgroup|create"          -5 Write    [2]             Keyed,
    "xgroup|createconsumer"   5 Write    [2]             Keyed,
    "xgroup|delconsumer"      5 Write    [2]             Keyed,
    "xgroup|destroy"          4 Write    [2]             Keyed,
    "xgroup|help"             2 Harmless none            Anywhere,
    "xgroup|setid"           -5 Write    [2]             Keyed,
    "xinfo"                  -2 Harmless none            Container,
    "xinfo|consumers"         4 Read     [2]             Keyed,
    "xinfo|groups"            3 Read     [2]             Keyed,
    "xinfo|help"              2 Harmless none            Anywhere,
    "xinfo|stream"           -3 Read     [2]             Keyed,
    "xlen"                    2 Read     [1]             Keyed,
    "xpending"               -3 Read     [1]             Keyed,
    "xrange"                 -4 Read     [1]             Keyed,
    "xread"                  -4 Read     streams         Blocking,
    "xreadgroup"             -7 Write    streams         Blocking,
    "xrevrange"              -4 Read     [1]             Keyed,
    "xsetid"                 -3 Write    [1]             Keyed,
    "xtrim"                  -4 Write    [1]             Keyed,
}
