"""redis-py before Keyway: blocking, asyncio, and both cluster clients.

    main.py --mode sync|asyncio|cluster|asyncio-cluster --protocol 2|3
            --port PORT --protected-port PORT --password PASSWORD

Prints RESTART and waits for RESTARTED on standard input when Keyway is to be restarted. Ends with
status 1 when a check failed, and tells which.
"""

import argparse
import asyncio
import faulthandler

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry

import commands
from caching import caching
import connection
import pubsub
from blocking import blocking
from check import Checks
from transactions import transactions, transactions_cut_by_slot


async def main():
    options = parse_options()
    # A client that hangs tells where.
    faulthandler.dump_traceback_later(options.deadline_s, exit=True)
    check = Checks()
    prefix = f"python-{options.mode}-{options.protocol}"

    def key(name):
        # Names in braces keep their slot whatever the prefix.
        return f"{prefix}:{name}"

    def connect(**settings):
        url = f"redis://127.0.0.1:{settings.pop('port', options.port)}"
        return make_client(options.mode, url, {"protocol": options.protocol, **settings})

    def connect_once(**settings):
        # The library would repeat a refused password, with longer and longer pauses.
        retry = redis.asyncio.retry.Retry if options.mode.startswith("asyncio") else redis.retry.Retry
        return connect(retry=retry(redis.backoff.NoBackoff(), 0), **settings)

    is_cluster = options.mode.endswith("cluster")
    r = connect()
    if options.mode == "asyncio-cluster":
        await r.initialize()
    await commands.strings(check, r, key)
    await commands.many_keys(check, r, key, is_cluster)
    for section in (
        commands.hashes,
        commands.lists,
        commands.sets,
        commands.sorted_sets,
        commands.streams,
        commands.sketches_places_and_bits,
        commands.generic,
        commands.odd_keys_and_values,
        commands.scripts,
        commands.functions,
        commands.pipelines,
    ):
        await section(check, r, key)
    if not is_cluster:
        single = connect(single_connection_client=True, client_name="named")
        await connection.session(check, single)
        await connection.close(single)
    if options.mode == "sync" and options.protocol == 3 and is_redis(r):
        await caching(check, connect, r, key)
    if options.mode == "sync":
        connection.blocking_pool(check, connect, key)
    elif options.mode == "asyncio":
        await connection.asyncio_pool(check, connect, key)
    await blocking(check, r, key)
    if not is_cluster:
        await transactions(check, r, key)
        # That one cuts them by slot.
        cut = connect(port=options.protected_port, password=options.password)
        await transactions_cut_by_slot(check, cut, key)
        await connection.close(cut)
    if options.mode != "asyncio-cluster":
        await pubsub.subscriptions(check, r, key, is_cluster)
    await connection.passwords(check, connect_once, options.protected_port, options.password)
    await connection.comes_back(check, r, key)
    await connection.close(r)
    check.finish(f"redis-py {redis.__version__} {options.mode}, RESP{options.protocol}")


def is_redis(r):
    """The library's cache refuses all others."""
    return r.info("server").get("server_name", "redis") == "redis"


def make_client(mode, url, settings):
    blocking = settings.pop("blocking", False)
    library = redis.asyncio if mode.startswith("asyncio") else redis
    if mode == "asyncio":
        # Unlike the blocking client, it retries only when it is told to.
        retry = redis.asyncio.retry.Retry(redis.backoff.ExponentialBackoff(), 3)
        settings = {"retry": retry, **settings}
    if mode.endswith("cluster"):
        return library.RedisCluster.from_url(url, **settings)
    if blocking:
        pool = library.BlockingConnectionPool.from_url(url, **settings)
        return library.Redis(connection_pool=pool)
    return library.Redis.from_url(url, **settings)


def parse_options():
    parser = argparse.ArgumentParser()
    modes = ("sync", "asyncio", "cluster", "asyncio-cluster")
    parser.add_argument("--mode", choices=modes, required=True)
    parser.add_argument("--protocol", type=int, choices=(2, 3), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protected-port", type=int, required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--deadline-s", type=int, default=60)
    return parser.parse_args()


asyncio.run(main())
