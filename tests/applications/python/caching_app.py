"""redis-py's client-side cache (RESP3, CLIENT TRACKING): what is cached is dropped when another
client writes it, for keys of all shards.

redis-py wants a server that calls itself Redis 7.4 or later, for the sake of products that lack
tracking; the servers tested here say 7.0 and 7.2.4 and have it. This one wish is lowered.
"""

import time

import redis
from checks import Checks, arguments
from redis.cache import CacheConfig

redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
options = arguments()
check = Checks("client-side caching")
run_id = str(time.time_ns())
cached = redis.Redis.from_url(options.url, protocol=3, cache_config=CacheConfig(max_size=1000), decode_responses=True)
writer = redis.Redis.from_url(options.url)
keys = [f"cached:{run_id}:{n}" for n in range(100 if options.full else 30)]


def read_all():
    return [cached.get(key) for key in keys]


for key in keys:
    writer.set(key, "first")
check.equal("values of all shards", ["first"] * len(keys), read_all())
check.equal("they are in the cache", len(keys), cached.get_cache().size)


check.equal("read again", ["first"] * len(keys), read_all())


# Counted with a command that the other programs before these servers do not use.
def lengths():
    return [cached.strlen(key) for key in keys]


def lengths_asked():
    return writer.info("commandstats").get("cmdstat_strlen", {}).get("calls", 0)


check.equal("lengths", [len("first")] * len(keys), lengths())
before = lengths_asked()
check.equal("lengths again", [len("first")] * len(keys), lengths())
check.equal("without asking a server", before, lengths_asked())
for key in keys:
    writer.set(key, "second")
check.eventually("what another client wrote is read", ["second"] * len(keys), read_all)
writer.hset(f"{keys[0]}:hash", "field", "one")
check.equal("a hash field", "one", cached.hget(f"{keys[0]}:hash", "field"))
writer.hset(f"{keys[0]}:hash", "field", "two")
check.eventually("and when it changed", "two", lambda: cached.hget(f"{keys[0]}:hash", "field"))
check.equal("a missing key", None, cached.get(f"{keys[0]}:missing"))
writer.set(f"{keys[0]}:missing", "there")
check.eventually("that came to be", "there", lambda: cached.get(f"{keys[0]}:missing"))
writer.delete(*keys)
check.eventually("and deleted ones", [None] * len(keys), read_all)
check.finish()
