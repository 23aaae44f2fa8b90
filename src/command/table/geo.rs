//! Geographic indexes.

use super::commands;

commands! {
    "geoadd"                -5 Write    [1]             Keyed uses W @write @geo @slow,
    "geodist"               -4 Read     [1]             Keyed uses R @read @geo @slow,
    "geohash"               -2 Read     [1]             Keyed uses R @read @geo @slow,
    "geopos"                -2 Read     [1]             Keyed uses R @read @geo @slow,
    "georadius"             -6 Write    georadius       Keyed uses R W @write @geo @slow,
    "georadius_ro"          -6 Read     [1]             Keyed uses R @read @geo @slow,
    "georadiusbymember"     -5 Write    georadius       Keyed uses R W @write @geo @slow,
    "georadiusbymember_ro"  -5 Read     [1]             Keyed uses R @read @geo @slow,
    "geosearch"             -7 Read     [1]             Keyed uses R @read @geo @slow,
    "geosearchstore"        -8 Write    [1 to 2]        Keyed uses W R @write @geo @slow,
}
