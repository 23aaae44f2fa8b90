//! Streams. `XREAD` and `XREADGROUP` block only with the word `BLOCK`: see [`Command::blocks`](crate::command::Command::blocks).

use super::commands;

commands! {
    "xack"                   -4 Write    [1]             Keyed     uses W @write @stream @fast,
    "xackdel"                -6 Write    [1]             Keyed     uses W @write @stream @fast,
    "xadd"                   -5 Write    [1]             Keyed     uses W @write @stream @fast,
    "xautoclaim"             -6 Write    [1]             Keyed     uses W @write @stream @fast,
    "xclaim"                 -6 Write    [1]             Keyed     uses W @write @stream @fast,
    "xdel"                   -3 Write    [1]             Keyed     uses W @write @stream @fast,
    "xdelex"                 -5 Write    [1]             Keyed     uses W @write @stream @fast,
    "xgroup"                 -2 Harmless none            Container @slow,
    "xgroup|create"          -5 Write    [2]             Keyed     uses W @write @stream @slow,
    "xgroup|createconsumer"   5 Write    [2]             Keyed     uses W @write @stream @slow,
    "xgroup|delconsumer"      5 Write    [2]             Keyed     uses W @write @stream @slow,
    "xgroup|destroy"          4 Write    [2]             Keyed     uses W @write @stream @slow,
    "xgroup|help"             2 Harmless none            Anywhere  @stream @slow,
    "xgroup|setid"           -5 Write    [2]             Keyed     uses W @write @stream @slow,
    "xinfo"                  -2 Harmless none            Container @slow,
    "xinfo|consumers"         4 Read     [2]             Keyed     uses R @read @stream @slow,
    "xinfo|groups"            3 Read     [2]             Keyed     uses R @read @stream @slow,
    "xinfo|help"              2 Harmless none            Anywhere  @stream @slow,
    "xinfo|stream"           -3 Read     [2]             Keyed     uses R @read @stream @slow,
    "xlen"                    2 Read     [1]             Keyed     uses Any @read @stream @fast,
    "xpending"               -3 Read     [1]             Keyed     uses R @read @stream @slow,
    "xrange"                 -4 Read     [1]             Keyed     uses R @read @stream @slow,
    "xread"                  -4 Read     streams         Blocking  uses R @read @stream @slow @blocking,
    "xreadgroup"             -7 Write    streams         Blocking  uses R @write @stream @slow @blocking,
    "xrevrange"              -4 Read     [1]             Keyed     uses R @read @stream @slow,
    "xsetid"                 -3 Write    [1]             Keyed     uses W @write @stream @fast,
    "xtrim"                  -4 Write    [1]             Keyed     uses W @write @stream @slow,
}
