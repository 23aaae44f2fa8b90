"""Transactions: redis-py's default pipelines (MULTI), WATCH, and keys of several slots."""

import redis

from check import ANYTHING, settle


async def transactions(check, r, key):
    a, b = key("{tx}a"), key("{tx}b")
    await check.reply(ANYTHING, r.delete, a, b)
    pipe = r.pipeline()
    pipe.set(a, 1).incr(a).get(a).mget(a, b).lpush(b, "x")
    await check.reply([True, 2, b"2", [b"2", None], 1], pipe.execute)
    pipe = r.pipeline()
    pipe.set(a, "text").incr(a).get(a)
    got = await check.reply(ANYTHING, pipe.execute, raise_on_error=False)
    check.compare("transaction with an error: around it", [True, b"text"], (got or [])[::2])
    check.compare("transaction with an error: itself", True, "not an integer" in str((got or [0, 0])[1]))
    pipe = r.pipeline()
    for number in range(1000):
        pipe.set(a, number).get(a)
    expected = [reply for number in range(1000) for reply in (True, b"%d" % number)]
    await check.reply(expected, pipe.execute)
    await check.reply(True, r.set, a, 5)
    await check.reply([True], optimistic, r, a, False)
    await check.reply(b"6", r.get, a)
    await check.error(redis.WatchError, "changed", optimistic, r, a, True)
    await check.reply(b"7", r.get, a)
    # Keys of several slots, without the opt-in: the documented error.
    pipe = r.pipeline()
    for number in range(50):
        pipe.set(key(f"slot:{number}"), number)
    await check.error(redis.ResponseError, "hash to the same slot", pipe.execute)
    await check.reply(None, r.get, key("slot:0"))


async def optimistic(r, name, disturb):
    """Adds one, if nobody else did meanwhile."""
    pipe = r.pipeline()
    try:
        await settle(pipe.watch(name))
        number = int(await settle(pipe.get(name)))
        if disturb:
            await settle(r.incr(name))
        pipe.multi()
        pipe.set(name, number + 1)
        return await settle(pipe.execute())
    finally:
        await settle(pipe.reset())


async def transactions_cut_by_slot(check, r, key):
    """Before a Keyway with cross_slot_transactions = "split": default pipelines, unchanged."""
    counter = key("cut:counter")
    await check.reply(ANYTHING, r.delete, counter)
    pipe = r.pipeline()
    expected = []
    for number in range(500):
        pipe.set(key(f"cut:{number}"), number)
        pipe.get(key(f"cut:{number}"))
        pipe.incr(counter)
        expected += [True, b"%d" % number, number + 1]
    pipe.mget([key(f"cut:{number}") for number in range(500)])
    expected.append([b"%d" % number for number in range(500)])
    pipe.delete(*(key(f"cut:{number}") for number in range(500)))
    expected.append(500)
    await check.reply(expected, pipe.execute)
    pipe = r.pipeline()
    pipe.set(key("cut:text"), "text").incr(key("cut:text")).incr(counter)
    got = await check.reply(ANYTHING, pipe.execute, raise_on_error=False)
    check.compare("cut with an error: around it", [True, 501], (got or [])[::2])
    check.compare("cut with an error: itself", True, "not an integer" in str((got or [0, 0])[1]))
    await check.reply([True], optimistic, r, counter, False)
