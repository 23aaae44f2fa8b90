"""Commands that wait: with something there, and until the time is over."""

from check import ANYTHING


async def blocking(check, r, key):
    queue, other = key("{q}a"), key("{q}b")
    await check.reply(ANYTHING, r.delete, queue, other, key("{q}z"), key("{q}s"))
    await check.reply(3, r.rpush, queue, "1", "2", "3")
    got = await check.reply(ANYTHING, r.blpop, queue, timeout=1)
    check.compare("blpop", [queue.encode(), b"1"], list(got or []))
    got = await check.reply(ANYTHING, r.brpop, queue, timeout=1)
    check.compare("brpop", [queue.encode(), b"3"], list(got or []))
    await check.reply(b"2", r.blmove, queue, other, 1)
    await check.reply(None, r.blpop, queue, timeout=0.1)
    await check.reply(1, r.zadd, key("{q}z"), {"m": 1.5})
    got = await check.reply(ANYTHING, r.bzpopmin, key("{q}z"), timeout=1)
    check.compare("bzpopmin", [b"m", 1.5], list(got or [])[1:])
    await check.reply(ANYTHING, r.xadd, key("{q}s"), {"f": "v"})
    got = await check.reply(ANYTHING, r.xread, {key("{q}s"): "0"}, block=1000)
    check.compare("xread finds it", True, "'v'" in str(got))
