"""redis-py's own client-side cache (RESP3): it serves from memory until Keyway says otherwise."""

import time

import redis
import redis.connection
from redis.cache import CacheConfig

# The library asks for Redis 7.4 by name, although what it uses is older.
redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"

# How long something may take that takes milliseconds.
SOON_S = 20


async def caching(check, connect, other, key):
    r = connect(cache_config=CacheConfig())
    cache = r.get_cache()
    names = [key(f"cached-{number}") for number in range(20)]
    for name in names:
        await check.reply(True, other.set, name, "old")
        await check.reply(b"old", r.get, name)
    check.compare("the cache holds them all", len(names), cache.size)
    for name in names:
        await check.reply(b"old", r.get, name)
        await check.reply(True, other.set, name, "new")
    for name in names:
        check.compare(f"{name} is new soon", True, becomes(b"new", r.get, name))
    await check.reply([b"new"] * len(names), r.mget, names)
    await check.reply([b"new"] * len(names), r.mget, names)
    await check.reply(1, other.delete, names[0])
    expected = [None] + [b"new"] * (len(names) - 1)
    check.compare("one is gone soon", True, becomes(expected, r.mget, names))
    # Its own writes as well.
    await check.reply(True, r.set, names[1], "own")
    check.compare("its own is new soon", True, becomes(b"own", r.get, names[1]))
    # What nobody changes stays in memory. Other programs, which hardly ask for lengths, are at work as well.
    def lengths():
        return other.info("commandstats").get("cmdstat_strlen", {}).get("calls", 0)

    before = lengths()
    for _ in range(1000):
        r.strlen(names[1])
    after = lengths()
    check.compare("a thousand reads from memory", True, after - before < 1000)
    r.close()


def becomes(expected, function, *arguments):
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        if function(*arguments) == expected:
            return True
    return False
