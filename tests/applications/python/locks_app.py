"""Locks as they are written by hand and by redis-py: Lock with contention, loss and extension; the
compare-and-delete script of every cookbook; an optimistic transaction with WATCH; and a semaphore.
"""

import asyncio
import threading
import time
import uuid

import redis
import redis.asyncio
from checks import Checks, arguments
from redis.exceptions import LockError, LockNotOwnedError

options = arguments()
check = Checks("locks")
r = redis.Redis.from_url(options.url)
run_id = uuid.uuid4().hex

COMPARE_AND_DELETE = """
if redis.call("get", KEYS[1]) == ARGV[1] then
    return redis.call("del", KEYS[1])
else
    return 0
end
"""


def redis_py_lock():
    name = f"lock:{run_id}"
    rounds = 20 if options.full else 5
    counter = {"inside": 0, "most": 0, "done": 0}

    def work():
        for _ in range(rounds):
            with r.lock(name, timeout=10, sleep=0.001):
                counter["inside"] += 1
                counter["most"] = max(counter["most"], counter["inside"])
                counter["done"] += 1
                counter["inside"] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check.equal("Lock: eight threads, one at a time", (1, 8 * rounds), (counter["most"], counter["done"]))

    lock = r.lock(name, timeout=0.2)
    check.equal("Lock: taken", True, lock.acquire())
    check.equal("Lock: not twice", False, r.lock(name, timeout=1).acquire(blocking=False))
    check.equal("Lock: extended", True, lock.extend(1, replace_ttl=True))
    check.equal("Lock: taken again for the same time", True, lock.reacquire())
    check.eventually("Lock: lost after its time", False, lock.locked)
    check.raises("Lock: a lost lock is not released", LockNotOwnedError, "no longer owned", lock.release)
    check.raises("Lock: nor one never taken", LockError, "unlocked", r.lock(name).release)


def by_hand():
    key, token = f"mutex:{run_id}", uuid.uuid4().hex
    check.equal("SET NX PX", True, r.set(key, token, nx=True, px=10_000))
    check.equal("a second one does not get it", None, r.set(key, "other", nx=True, px=10_000))
    delete = r.register_script(COMPARE_AND_DELETE)
    check.equal("compare and delete: not the owner", 0, delete(keys=[key], args=["other"]))
    check.equal("it is still there", token.encode(), r.get(key))
    check.equal("compare and delete: the owner", 1, delete(keys=[key], args=[token]))
    check.equal("it is gone", 0, r.exists(key))
    # Every shard gets the script when it needs it.
    keys = [f"mutex:{run_id}:{n}" for n in range(100)]
    for one in keys:
        r.set(one, token)
    check.equal("on 100 keys of all shards", 100, sum(delete(keys=[one], args=[token]) for one in keys))
    r.script_flush()
    r.set(key, token)
    check.equal("after SCRIPT FLUSH by its hash", 1, delete(keys=[key], args=[token]))


def optimistic():
    key = f"account:{run_id}"
    r.set(key, 0)

    def transfer():
        for _ in range(10):
            r.transaction(lambda pipe: add_one(pipe, key), key)

    def add_one(pipe, key):
        value = int(pipe.get(key))
        pipe.multi()
        pipe.set(key, value + 1)

    threads = [threading.Thread(target=transfer) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check.equal("WATCH: 4 times 10 increments, none lost", b"40", r.get(key))


async def asynchronous():
    client = redis.asyncio.Redis.from_url(options.url)
    name = f"async-lock:{run_id}"
    inside, most = 0, 0

    async def work():
        nonlocal inside, most
        async with client.lock(name, timeout=10, sleep=0.001):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*[work() for _ in range(10)])
    check.equal("asyncio Lock: ten tasks, one at a time", 1, most)
    await client.aclose()


def semaphore():
    """A list of tokens, taken with a blocking pop: fair, and without polling."""
    key, took = f"tokens:{run_id}", []
    r.rpush(key, 1, 2, 3)
    now = {"inside": 0}
    guard = threading.Lock()

    def work():
        _, token = r.blpop([key], timeout=20)
        with guard:
            now["inside"] += 1
            took.append(now["inside"])
        time.sleep(0.01)
        with guard:
            now["inside"] -= 1
        r.rpush(key, token)

    threads = [threading.Thread(target=work) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check.equal("BLPOP semaphore: 20 came in, never more than 3", (20, True), (len(took), max(took) <= 3))
    check.equal("its tokens are all there again", 3, r.llen(key))


redis_py_lock()
by_hand()
optimistic()
asyncio.run(asynchronous())
semaphore()
check.finish()
