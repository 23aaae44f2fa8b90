"""django-redis: Django's cache, sessions and cached counters on the server. Written as a project's
settings and a view would.

`set_many` and `delete_pattern` are transactions over all their keys. `--keys tagged` has a key prefix
with a hash tag, `--keys plain` spreads keys over all slots.
"""

import threading
import time

import django
from checks import Checks, arguments
from django.conf import settings

options = arguments()
check = Checks(f"django-redis, keys {options.keys}")
backend = "django_redis.cache.RedisCache"
prefix = f"django{time.time_ns()}"
settings.configure(
    CACHES={
        "default": {"BACKEND": backend, "LOCATION": options.url, "KEY_PREFIX": f"{{{prefix}}}" if options.keys == "tagged" else prefix},
        "json": {
            "BACKEND": backend,
            "LOCATION": options.url,
            "KEY_PREFIX": "json",
            "OPTIONS": {
                "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
                "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
            },
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
    SECRET_KEY="not one",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache, caches  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402


def values():
    check.equal("set and get", (True, {"a": [1, 2]}), (cache.set("one", {"a": [1, 2]}), cache.get("one")))
    check.equal("a default", "none", cache.get("missing", "none"))
    check.equal("add only once", (True, False), (cache.add("added", 1), cache.add("added", 2)))
    check.equal("count", (5, 3), (cache.set("n", 1) and cache.incr("n", 4), cache.decr("n", 2)))
    many = {f"many-{n}": n for n in range(100)}
    cache.set_many(many, timeout=60)
    check.equal("100 keys of all shards at once", many, cache.get_many(many))
    check.equal("get_or_set", (7, 7), (cache.get_or_set("computed", lambda: 7), cache.get("computed")))
    check.equal("delete some", 50, cache.delete_many([f"many-{n}" for n in range(50)]))
    check.equal("what is left", 50, len(cache.get_many(many)))
    check.equal("has a key", (True, False), (cache.has_key("many-99"), cache.has_key("many-0")))
    cache.set("versioned", "first", version=1)
    check.equal("a new version", 2, cache.incr_version("versioned"))
    check.equal("is found as that", (None, "first"), (cache.get("versioned"), cache.get("versioned", version=2)))


def expiry():
    cache.set("short", 1, timeout=0.2)
    check.eventually("a timeout in milliseconds", None, lambda: cache.get("short"))
    cache.set("long", 1, timeout=100)
    check.equal("time to live", True, 95 <= cache.ttl("long") <= 100)
    check.equal("touch, expire, persist", (True, True, True), (cache.touch("long", 50), cache.expire("long", 40), cache.persist("long")))
    check.equal("no time to live", None, cache.ttl("long"))
    check.equal("a timeout of nothing is for ever", None, cache.set("ever", 1, timeout=None) and cache.ttl("ever"))


def patterns():
    cache.set_many({f"find-{n}": n for n in range(200)})
    check.equal("keys by a pattern", 200, len(cache.keys("find-*")))
    check.equal("iterated as well", 200, len(list(cache.iter_keys("find-*"))))
    check.equal("deleted by a pattern", 200, cache.delete_pattern("find-*"))
    check.equal("none is left", [], cache.keys("find-*"))


def locks():
    order = []

    def hold():
        with cache.lock("lock", timeout=10):
            order.append("in")
            order.append("out")

    threads = [threading.Thread(target=hold) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check.equal("one at a time inside a lock", ["in", "out"] * 8, order)


def sessions():
    session = SessionStore()
    session["user"] = 42
    session.save()
    check.equal("a session is read again", 42, SessionStore(session.session_key)["user"])
    session.cycle_key()
    check.equal("and after its key changed", 42, SessionStore(session.session_key)["user"])
    session.flush()
    check.equal("a flushed one is gone", True, SessionStore().exists(session.session_key or "none") is False)


def sets_and_hashes():
    check.equal("a set", {1, 2, 3}, cache.sadd("set", 1, 2, 3) and cache.smembers("set"))
    check.equal("a hash", ["f"], cache.hset("hash", "f", "v") is not None and cache.hkeys("hash"))


def other():
    other = caches["json"]
    other.set("text", "x" * 10000)
    check.equal("compressed JSON", 10000, len(other.get("text")))
    raw = get_redis_connection("default")
    check.equal("the client behind it", True, raw.ping())
    # Clearing a cache is FLUSHDB: the cluster of these tests has other guests.
    if options.before == "one":
        cache.set("stays", 1)
        check.equal("clearing the cache", None, cache.clear() and cache.get("stays"))


for part in (values, expiry, patterns, locks, sessions, sets_and_hashes, other):
    part()
check.finish()
