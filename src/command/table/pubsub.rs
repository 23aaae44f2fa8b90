//! Publishing and subscribing.

use super::commands;

commands! {
    "psubscribe"            -2 Harmless none            Subscription(PSubscribe),
    "publish"                3 Effect   none            Publish,
    "pubsub"                -2 Harmless none            Container,
    "pubsub|channels"       -2 Harmless none            Census(Channels),
    "pubsub|help"            2 Harmless none            Anywhere,
    "pubsub|numpat"          2 Harmless none            Census(NumPat),
    "pubsub|numsub"         -2 Harmless none            Census(NumSub),
    "pubsub|shardchannels"  -2 Harmless none            Census(ShardChannels),
    "pubsub|shardnumsub"    -2 Harmless none            Census(ShardNumSub),
    "punsubscribe"          -1 Harmless none            Subscription(PUnsubscribe),
    "spublish"               3 Effect   [1]             Publish,
    "ssubscribe"            -2 Harmless [1 to -1]       Subscription(SSubscribe),
    "subscribe"             -2 Harmless none            Subscription(Subscribe),
    "sunsubscribe"          -1 Harmless [1 to -1]       Subscription(SUnsubscribe),
    "unsubscribe"           -1 Harmless none            Subscription(Unsubscribe),
}
