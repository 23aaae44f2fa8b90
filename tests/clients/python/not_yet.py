"""What this version of Keyway does not serve: a clear error that names the command.

When one of these is served, its lines here go, and checks of what it does take their place in
commands.py.
"""

import redis

from check import settle


async def not_yet(check, r, key, is_cluster):
    refused = redis.ResponseError
    for name, call in (
        ("blpop", lambda: r.blpop(key("queue"), timeout=1)),
        ("brpop", lambda: r.brpop(key("queue"), timeout=1)),
        ("blmove", lambda: r.blmove(key("{q}a"), key("{q}b"), 1)),
        ("bzpopmin", lambda: r.bzpopmin(key("queue"), timeout=1)),
        ("xread", lambda: r.xread({key("stream"): "$"}, block=1000)),
    ):
        await check.error(refused, name, call)
    if is_cluster:
        return
    await check.error(refused, ["multi", "exec"], transaction, r, key("transaction"))


async def transaction(r, name):
    pipe = r.pipeline(transaction=True)
    pipe.set(name, "v")
    return await settle(pipe.execute())
