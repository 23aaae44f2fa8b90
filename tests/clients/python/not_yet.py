"""What this version of Keyway does not serve: a clear error that names the command.

When one of these is served, its lines here go, and checks of what it does take their place in
commands.py.
"""

import redis

from check import settle


async def not_yet(check, r, key, is_cluster):
    refused = redis.ResponseError
    if is_cluster:
        return
    await check.error(refused, "subscribe", first_message, r, "subscribe")
    await check.error(refused, "psubscribe", first_message, r, "psubscribe")


async def first_message(r, command):
    subscriber = r.pubsub()
    try:
        await settle(getattr(subscriber, command)("channel*"))
        return await settle(subscriber.get_message(timeout=5))
    finally:
        await settle(subscriber.aclose() if hasattr(subscriber, "aclose") else subscriber.close())
