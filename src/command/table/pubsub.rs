//! Publishing and subscribing.

use super::commands;

commands! {
    "psubscribe"            -2 Harmless none            Subscription(PSubscribe)   @pubsub @slow,
    "publish"                3 Effect   none            Publish                    @pubsub @fast,
    "pubsub"                -2 Harmless none            Container                  @slow,
    "pubsub|channels"       -2 Harmless none            Census(Channels)           @pubsub @slow,
    "pubsub|help"            2 Harmless none            Anywhere                   @slow,
    "pubsub|numpat"          2 Harmless none            Census(NumPat)             @pubsub @slow,
    "pubsub|numsub"         -2 Harmless none            Census(NumSub)             @pubsub @slow,
    "pubsub|shardchannels"  -2 Harmless none            Census(ShardChannels)      @pubsub @slow,
    "pubsub|shardnumsub"    -2 Harmless none            Census(ShardNumSub)        @pubsub @slow,
    "punsubscribe"          -1 Harmless none            Subscription(PUnsubscribe) @pubsub @slow,
    "spublish"               3 Effect   [1]             Publish                    @pubsub @fast,
    "ssubscribe"            -2 Harmless [1 to -1]       Subscription(SSubscribe)   @pubsub @slow,
    "subscribe"             -2 Harmless none            Subscription(Subscribe)    @pubsub @slow,
    "sunsubscribe"          -1 Harmless [1 to -1]       Subscription(SUnsubscribe) @pubsub @slow,
    "unsubscribe"           -1 Harmless none            Subscription(Unsubscribe)  @pubsub @slow,
}
