//! Geographic indexes.

use super::commands;

commands! {
    "geoadd"                -5 Write    [1]             Keyed,
    "geodist"               -4 Read     [1]             Keyed,
    "geohash"               -2 Read     [1]             Keyed,
    "geopos"                -2 Read     [1]             Keyed,
    "georadius"             -6 Write    georadius       Keyed,
    "georadius_ro"          -6 Read     [1]             Keyed,
    "georadiusbymember"     -5 Write    georadius       Keyed,
    "georadiusbymember_ro"  -5 Read     [1]             Keyed,
    "geosearch"             -7 Read     [1]             Keyed,
    "geosearchstore"        -8 Write    [1 to 2]        Keyed,
}
