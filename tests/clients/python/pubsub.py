"""Subscriptions: PubSub of the single clients, blocking and asyncio. The cluster clients subscribe at the
one node they know; the blocking one has shard channels as well."""

import redis.cluster

from check import settle

DEADLINE_S = 10


async def subscriptions(check, r, key, is_cluster):
    subscriber = r.pubsub()
    publish = r.publish if hasattr(r, "publish") else None
    try:
        await channels_and_patterns(check, subscriber, publish, key)
        if isinstance(r, redis.cluster.RedisCluster):
            await shard_channels(check, r, subscriber, key)
    finally:
        await close(subscriber)


async def channels_and_patterns(check, subscriber, publish, key):
    news, sport, pattern = key("news"), key("sport"), key("s*")
    await settle(subscriber.subscribe(news, sport))
    await settle(subscriber.psubscribe(pattern))
    for kind, name, count in (
        ("subscribe", news, 1),
        ("subscribe", sport, 2),
        ("psubscribe", pattern, 3),
    ):
        await expect(check, subscriber, kind, None, name, count)
    await check.reply(1, publish, news, "hello")
    await expect(check, subscriber, "message", None, news, "hello")
    await check.reply(2, publish, sport, "goal")
    kinds = sorted([(await next_message(subscriber))["type"] for _ in range(2)])
    check.compare("a channel and a pattern", ["message", "pmessage"], kinds)
    await settle(subscriber.ping("still there"))
    await expect(check, subscriber, "pong", None, None, "still there")
    await settle(subscriber.unsubscribe(news))
    await expect(check, subscriber, "unsubscribe", None, news, 2)
    await check.reply(0, publish, news, "nobody")
    for number in range(200):
        await settle(publish(key("sx"), str(number)))
    for number in range(200):
        await expect(check, subscriber, "pmessage", pattern, key("sx"), str(number))


async def shard_channels(check, r, subscriber, key):
    name = key("shard")
    await settle(subscriber.ssubscribe(name))
    seen = []
    for _ in range(2):
        message = subscriber.get_sharded_message(timeout=DEADLINE_S)
        if message is None:
            break
        seen.append((message["type"], message["data"]))
        if len(seen) == 1:
            # What is published before the confirmation may come too early.
            await settle(r.spublish(name, "hello"))
    check.compare("shard channel", [("ssubscribe", 1), ("smessage", b"hello")], seen)


async def expect(check, subscriber, kind, pattern, name, data):
    got = await next_message(subscriber)
    wanted = {"type": kind, "pattern": pattern, "channel": name, "data": data}
    check.compare(f"message {wanted}", wanted, got)


async def next_message(subscriber):
    return await settle(subscriber.get_message(timeout=DEADLINE_S))


async def close(subscriber):
    await settle(subscriber.aclose() if hasattr(subscriber, "aclose") else subscriber.close())
