"""The actors of the dramatiq check, as an application has them: imported by the worker and the
client. A namespace in one hash tag: dramatiq's script is given no other key.
"""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as RateLimitBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultBackend

url = os.environ["APP_URL"]
results = ResultBackend(url=url)
limits = RateLimitBackend(url=url)
broker = RedisBroker(url=url, namespace="{dramatiq}", maintenance_chance=100_000)
broker.add_middleware(Results(backend=results))
broker.add_middleware(GroupCallbacks(limits))
dramatiq.set_broker(broker)
mutex = ConcurrentRateLimiter(limits, "one-at-a-time", limit=1)
client = broker.client


@dramatiq.actor(store_results=True)
def add(x, y):
    return x + y


@dramatiq.actor(store_results=True, max_retries=5, min_backoff=20, max_backoff=50)
def third_time(key):
    tries = client.incr(key)
    if tries < 3:
        raise RuntimeError(f"try {tries}")
    return tries


@dramatiq.actor(max_retries=0)
def fails():
    raise ValueError("on purpose")


@dramatiq.actor(priority=0)
def notes(key, word):
    client.rpush(key, word)


@dramatiq.actor(store_results=True, max_retries=1000, min_backoff=5, max_backoff=20)
def alone(key):
    with mutex.acquire():
        inside = client.incr(key)
        client.decr(key)
        return inside
