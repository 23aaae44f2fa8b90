//! Publishing and subscribing.

use super::commands;

commands! {
    "psubscribe"            -2 Harmless none            Subscription(PSubscribe),
    "publish"                3 Effect   none            HashArgument(1),
    "pubsub"                -2 Harmless none            Container,
    "pubsub|channels"       -2 Harmless none            Nodes(Union),
    "pubsub|help"            2 Harmless none            Anywhere,
    "pubsub|numpat"          2 Harmless none            Nodes(Sum),
    "pubsub|numsub"         -2 Harmless none            Nodes(SumByName),
    "pubsub|shardchannels"  -2 Harmless none            Nodes(Union),
    "pubsub|shardnumsub"    -2 Harmless none            Nodes(SumByName),
    "punsubscribe"          -1 Harmless none            Subscription(PUnsubscribe),
    "spublish"               3 Effect   [1]             Keyed,
    "ssubscribe"            -2 Harmless [1 to -1]       Subscription(SSubscribe),
    "subscribe"             -2 Harmless none            Subscription(Subscribe),
    "sunsubscribe"          -1 Harmless [1 to -1]       Subscription(SUnsubscribe),
    "unsubscribe"           -1 Harmless none            Subscription(Unsubscribe),
}
