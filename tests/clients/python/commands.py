"""Every type of value, through one client; written once for blocking, asyncio and cluster clients.

Keys begin with the run's own prefix, so runs side by side do not meet. Names in braces share a
slot; all others are spread over the cluster.
"""

import redis

from check import ANYTHING, POSITIVE, SOME_BYTES, any_of, between, close_to, collect, settle


async def strings(check, r, key):
    k = key("string")
    await check.reply(True, r.set, k, "one")
    await check.reply(b"one", r.get, k)
    await check.reply(None, r.get, key("missing"))
    await check.reply(None, r.set, k, "two", nx=True)
    await check.reply(b"one", r.set, k, "three", get=True)
    await check.reply(8, r.append, k, " mo")
    await check.reply(8, r.strlen, k)
    await check.reply(b"three mo", r.getrange, k, 0, -1)
    await check.reply(8, r.setrange, k, 1, "HREE")
    await check.reply(b"tHREE mo", r.getdel, k)
    await check.reply(True, r.setnx, k, "1")
    await check.reply(2, r.incr, k)
    await check.reply(12, r.incrby, k, 10)
    await check.reply(11, r.decr, k)
    await check.reply(11.5, r.incrbyfloat, k, 0.5)
    await check.reply(b"11.5", r.getset, k, "x")
    await check.reply(b"x", r.getex, k, ex=100)
    await check.reply(between(90, 100), r.ttl, k)
    first, second = key("{lcs}1"), key("{lcs}2")
    await check.reply(True, r.mset, {first: "ohmytext", second: "mynewtext"})
    await check.reply(b"mytext", r.lcs, first, second)
    await check.reply(False, r.msetnx, {first: "a", key("{lcs}3"): "b"})


async def many_keys(check, r, key, is_cluster):
    """Contract M1: parts go to their nodes, and the reply is one server's."""
    names = [key(f"many:{number}") for number in range(200)]
    values = {name: f"value-{number}" for number, name in enumerate(names)}
    expected = [value.encode() for value in values.values()]
    # A cluster client splits these itself, and refuses the others before they are sent.
    mset = r.mset_nonatomic if is_cluster else r.mset
    mget = r.mget_nonatomic if is_cluster else r.mget
    written = await check.reply(ANYTHING, mset, values)
    check.compare("mset, all parts", True, written is True or bool(written) and all(written))
    await check.reply(expected, mget, names)
    await check.reply([expected[7], None, expected[7]], mget, [names[7], key("absent"), names[7]])
    await check.reply(200, r.exists, *names)
    await check.reply(3, r.exists, names[0], names[0], names[1], key("absent"))
    await check.reply(2, r.touch, names[0], names[1])
    await check.reply(50, r.unlink, *names[:50])
    await check.reply(150, r.delete, *names)
    pairs = {key(f"bulk:{number}"): b"x" * 10 for number in range(2000)}
    await check.reply(ANYTHING, mset, pairs)
    found = await collect(r.scan_iter(match=key("bulk:*"), count=200))
    check.compare("scan_iter over 2000 keys", sorted(name.encode() for name in pairs), found)
    await check.reply(2000, r.delete, *pairs)


async def hashes(check, r, key):
    k = key("hash")
    await check.reply(3, r.hset, k, mapping={"a": 1, "b": "two", "c": "3.5"})
    await check.reply(b"two", r.hget, k, "b")
    await check.reply({b"a": b"1", b"b": b"two", b"c": b"3.5"}, r.hgetall, k)
    await check.reply({}, r.hgetall, key("missing"))
    await check.reply([b"1", None, b"3.5"], r.hmget, k, ["a", "x", "c"])
    await check.reply(5, r.hincrby, k, "a", 4)
    await check.reply(4.0, r.hincrbyfloat, k, "c", 0.5)
    await check.reply([b"a", b"b", b"c"], r.hkeys, k)
    await check.reply([b"5", b"two", b"4"], r.hvals, k)
    await check.reply(3, r.hlen, k)
    await check.reply(True, r.hexists, k, "a")
    await check.reply(3, r.hstrlen, k, "b")
    await check.reply(0, r.hsetnx, k, "a", 9)
    await check.reply(any_of(b"a", b"b", b"c"), r.hrandfield, k)
    await check.reply(2, r.hdel, k, "a", "b", "x")
    many = {f"field-{number}": number for number in range(600)}
    await check.reply(600, r.hset, k, mapping=many)
    found = await collect(r.hscan_iter(k, match="field-*", count=50))
    check.compare("hscan_iter", sorted((f.encode(), str(n).encode()) for f, n in many.items()), found)


async def lists(check, r, key):
    k, other = key("{list}1"), key("{list}2")
    await check.reply(3, r.rpush, k, "b", "c", "d")
    await check.reply(4, r.lpush, k, "a")
    await check.reply([b"a", b"b", b"c", b"d"], r.lrange, k, 0, -1)
    await check.reply(4, r.llen, k)
    await check.reply(b"b", r.lindex, k, 1)
    await check.reply(5, r.linsert, k, "before", "b", "x")
    await check.reply(True, r.lset, k, 1, "y")
    await check.reply(1, r.lpos, k, "y")
    await check.reply(1, r.lrem, k, 0, "y")
    await check.reply([b"a", b"b"], r.lpop, k, 2)
    await check.reply(b"d", r.lmove, k, other, "RIGHT", "LEFT")
    await check.reply(b"d", r.rpoplpush, other, k)
    await check.reply(True, r.ltrim, k, 0, 0)
    await check.reply(b"d", r.rpop, k)
    await check.reply(None, r.rpop, k)
    await check.reply(3, r.rpush, k, "3", "1", "2")
    await check.reply([b"1", b"2", b"3"], r.sort, k)
    await check.reply(2, r.sort, k, start=0, num=2, store=other)


async def sets(check, r, key):
    a, b, store = key("{set}a"), key("{set}b"), key("{set}c")
    await check.reply(3, r.sadd, a, "1", "2", "3")
    await check.reply(2, r.sadd, b, "3", "4")
    await check.reply({b"1", b"2", b"3"}, r.smembers, a)
    await check.reply(any_of(1, True), r.sismember, a, "1")
    await check.reply([1, 0], r.smismember, a, ["1", "9"])
    await check.reply(3, r.scard, a)
    await check.reply({b"3"}, r.sinter, a, b)
    await check.reply({b"1", b"2"}, r.sdiff, a, b)
    await check.reply({b"1", b"2", b"3", b"4"}, r.sunion, a, b)
    await check.reply(1, r.sintercard, 2, [a, b])
    await check.reply(4, r.sunionstore, store, a, b)
    await check.reply(any_of(1, True), r.smove, a, b, "1")
    await check.reply(any_of(b"2", b"3"), r.srandmember, a)
    await check.reply(any_of(b"2", b"3"), r.spop, a)
    await check.reply(1, r.srem, b, "4", "9")
    await check.reply(500, r.sadd, store, *(f"m{number}" for number in range(500)))
    found = await collect(r.sscan_iter(store, match="m*", count=40))
    check.compare("sscan_iter", sorted(f"m{number}".encode() for number in range(500)), found)


async def sorted_sets(check, r, key):
    a, b, store = key("{zset}a"), key("{zset}b"), key("{zset}c")
    await check.reply(3, r.zadd, a, {"one": 1, "two": 2, "three": 3.5})
    await check.reply(2, r.zadd, b, {"two": 20, "four": 4})
    await check.reply(3.5, r.zscore, a, "three")
    await check.reply([1.0, None], r.zmscore, a, ["one", "nine"])
    await check.reply([[b"one", 1.0], [b"two", 2.0], [b"three", 3.5]], r.zrange, a, 0, -1, withscores=True)
    await check.reply([b"three", b"two"], r.zrevrange, a, 0, 1)
    await check.reply([b"two"], r.zrangebyscore, a, "(1", 3)
    await check.reply(3.0, r.zincrby, a, 2, "one")
    await check.reply(1, r.zrank, a, "one")
    await check.reply(None, r.zrank, a, "nine")
    await check.reply(2, r.zcount, a, "-inf", 3)
    await check.reply(3, r.zcard, a)
    await check.reply([b"two"], r.zinter, [a, b])
    await check.reply([b"one", b"three"], r.zdiff, [a, b])
    await check.reply(4, r.zunionstore, store, [a, b])
    await check.reply([[b"two", 22.0]], r.zrange, store, 0, 0, desc=True, withscores=True)
    # The library leaves the servers' own shapes: pairs in RESP2, one flat pair in RESP3.
    await check.reply(pair(b"one", 3.0), r.zpopmin, store)
    await check.reply(pair(b"two", 22.0), r.zpopmax, store)
    await check.reply(any_of(b"three", b"four"), r.zrandmember, store)
    await check.reply(2, r.zrangestore, b, store, 0, -1)
    await check.reply(2, r.zremrangebyscore, b, 0, 10)
    await check.reply(1, r.zrem, a, "two", "nine")
    many = {f"m{number:03}": number for number in range(400)}
    await check.reply(400, r.zadd, b, many)
    found = await collect(r.zscan_iter(b, count=50))
    check.compare("zscan_iter", sorted((m.encode(), float(n)) for m, n in many.items()), found)
    await check.reply(400, r.zlexcount, b, "-", "+")


def pair(member, score):
    return any_of([(member, score)], [[member, score]], [member, score])


async def streams(check, r, key):
    k = key("stream")
    for number in (1, 2, 3):
        await check.reply(f"{number}-0".encode(), r.xadd, k, {"n": number}, id=f"{number}-0")
    entries = [[f"{number}-0".encode(), {b"n": str(number).encode()}] for number in (1, 2, 3)]
    await check.reply(3, r.xlen, k)
    await check.reply(entries, r.xrange, k)
    await check.reply(entries[::-1][:1], r.xrevrange, k, count=1)
    read = await check.reply(ANYTHING, r.xread, {k: "1-0"}, count=10)
    check.compare("xread, entries", entries[1:], entries_of(read, k))
    nothing = await check.reply(ANYTHING, r.xread, {k: "9-0"})
    check.compare("xread, nothing new", True, not nothing)
    await check.reply(True, r.xgroup_create, k, "group", id="0")
    read = await check.reply(ANYTHING, r.xreadgroup, "group", "me", {k: ">"}, count=2)
    check.compare("xreadgroup, entries", entries[:2], entries_of(read, k))
    await check.reply(1, r.xack, k, "group", "1-0")
    pending = await check.reply(ANYTHING, r.xpending, k, "group")
    check.compare("xpending, how many", 1, (pending or {}).get("pending"))
    await check.reply([entries[1]], r.xclaim, k, "group", "you", 0, ["2-0"])
    claimed = await check.reply(ANYTHING, r.xautoclaim, k, "group", "me", 0)
    check.compare("xautoclaim, entries", [entries[1]], (claimed or [None, None])[1])
    stream = await check.reply(ANYTHING, r.xinfo_stream, k)
    check.compare("xinfo_stream, length", 3, (stream or {}).get("length"))
    groups = await check.reply(ANYTHING, r.xinfo_groups, k)
    check.compare("xinfo_groups, name", b"group", (groups or [{}])[0].get("name"))
    await check.reply(1, r.xdel, k, "1-0")
    await check.reply(1, r.xtrim, k, maxlen=1, approximate=False)


def entries_of(read, name):
    """XREAD's reply is pairs in RESP2 and a map in RESP3; redis-py keeps some of that."""
    if isinstance(read, dict):
        read = list(read.items())
    for stream, entries in read or []:
        if stream == name.encode():
            is_nested = len(entries) == 1 and isinstance(entries[0], list)
            return entries[0] if is_nested else entries
    return None


async def sketches_places_and_bits(check, r, key):
    a, b, both = key("{pf}a"), key("{pf}b"), key("{pf}both")
    await check.reply(1, r.pfadd, a, *range(100))
    await check.reply(1, r.pfadd, b, *range(50, 150))
    await check.reply(between(95, 105), r.pfcount, a)
    await check.reply(True, r.pfmerge, both, a, b)
    await check.reply(between(142, 158), r.pfcount, both)

    k, near = key("{geo}a"), key("{geo}b")
    places = (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
    await check.reply(2, r.geoadd, k, places)
    await check.reply(close_to(166.2742), r.geodist, k, "Palermo", "Catania", unit="km")
    await check.reply(["sqc8b49rny0", None], r.geohash, k, "Palermo", "Rome")
    position = await check.reply(ANYTHING, r.geopos, k, "Palermo", "Rome")
    check.compare("geopos", close_to(13.361389), (position or [[0]])[0][0])
    await check.reply([b"Catania"], r.geosearch, k, longitude=15, latitude=37, radius=100, unit="km")
    await check.reply(2, r.geosearchstore, near, k, longitude=15, latitude=37, radius=200, unit="km")

    x, y, z = key("{bit}x"), key("{bit}y"), key("{bit}z")
    await check.reply(0, r.setbit, x, 7, 1)
    await check.reply(1, r.getbit, x, 7)
    await check.reply(True, r.set, y, b"\xff\x0f")
    await check.reply(12, r.bitcount, y)
    await check.reply(8, r.bitpos, y, 0)
    await check.reply(2, r.bitop, "AND", z, x, y)
    await check.reply(b"\x01\x00", r.get, z)
    field = r.bitfield(z)
    field.incrby("u8", 0, 10).get("u4", 4)
    await check.reply([11, 11], field.execute)


async def generic(check, r, key):
    a, b = key("{generic}a"), key("{generic}b")
    await check.reply(True, r.set, a, "v")
    await check.reply(b"string", r.type, a)
    await check.reply(b"embstr", r.object, "encoding", a)
    await check.reply(any_of(1, True), r.copy, a, b)
    await check.reply(True, r.rename, a, key("{generic}c"))
    await check.reply(any_of(0, False), r.renamenx, b, key("{generic}c"))
    dumped = await check.reply(SOME_BYTES, r.dump, b)
    await check.reply(b"OK", r.restore, a, 0, dumped, replace=True)
    await check.reply(b"v", r.get, a)
    found = await check.reply(ANYTHING, r.keys, key("{generic}*"))
    check.compare("keys", 3, len(found or []))
    await check.reply(POSITIVE, r.dbsize)
    await check.reply(SOME_BYTES, r.randomkey)
    await check.reply(POSITIVE, r.memory_usage, a)

    await check.reply(True, r.expire, a, 100)
    await check.reply(between(98, 100), r.ttl, a)
    await check.reply(any_of(0, False), r.expire, a, 50, gt=True)
    await check.reply(True, r.persist, a)
    await check.reply(-1, r.ttl, a)
    await check.reply(-2, r.ttl, key("missing"))
    await check.reply(True, r.pexpireat, a, 32503680000000)
    await check.reply(32503680000, r.expiretime, a)
    await check.reply(True, r.psetex, b, 100000, "v")
    await check.reply(between(90000, 100000), r.pttl, b)
    await check.reply(True, r.set, b, "v", px=1)
    for _ in range(1000):
        if await settle(r.get(b)) is None:
            break
    await check.reply(None, r.get, b)


async def odd_keys_and_values(check, r, key):
    large = bytes(range(256)) * 4 * 5 * 1024
    await check.reply(True, r.set, key("large"), large)
    got = await check.reply(ANYTHING, r.get, key("large"))
    check.compare("get of 5 MiB comes back whole", True, got == large)
    await check.reply(len(large), r.strlen, key("large"))
    await check.reply(1, r.delete, key("large"))
    for name in ("schlüssel-ключ-鍵-🔑", "with space\r\nand line", "nul\0byte", "open{brace", "{}empty"):
        await check.reply(True, r.set, key(name), name)
        await check.reply(name.encode(), r.get, key(name))
    binary = key("").encode() + b"\xff\xfe\x00\r\n"
    await check.reply(True, r.set, binary, b"\r\n$-1\r\n")
    await check.reply(b"\r\n$-1\r\n", r.get, binary)
    await check.reply(True, r.set, key("empty-value"), "")
    await check.reply(b"", r.get, key("empty-value"))


async def scripts(check, r, key):
    body = f"-- {key('')}\nredis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"
    script = r.register_script(body)
    # Not known anywhere yet: the client falls back from EVALSHA by itself, on every shard.
    for number in range(20):
        await check.reply(b"v%d" % number, script, keys=[key(f"script:{number}")], args=[f"v{number}"])
    await check.reply([True], r.script_exists, script.sha)
    await check.reply(b"direct", r.evalsha, script.sha, 1, key("script:x"), "direct")
    await check.reply([1, b"two", [3]], r.eval, "return {1, 'two', {3}}", 0)
    await check.reply(True, r.set, key("ro"), "v")
    await check.reply(b"v", r.eval_ro, "return redis.call('GET', KEYS[1])", 1, key("ro"))
    await check.error(redis.exceptions.NoScriptError, "", r.evalsha, "f" * 40, 1, key("x"))
    await check.error(redis.exceptions.ResponseError, "wrong kind", r.eval, "return redis.error_reply('ERR wrong kind')", 0)
    sha = await check.reply(ANYTHING, r.script_load, "return 7")
    await check.reply(7, r.evalsha, sha, 1, key("anywhere"))


async def functions(check, r, key):
    library = "".join(letter for letter in key("") if letter.isalnum())
    code = f"""#!lua name={library}
        redis.register_function('{library}_put', function(keys, args)
            redis.call('SET', keys[1], args[1])
            return redis.call('GET', keys[1])
        end)
        redis.register_function{{function_name='{library}_get', flags={{'no-writes'}},
            callback=function(keys) return redis.call('GET', keys[1]) end}}
    """
    await check.reply(ANYTHING, r.function_load, code, replace=True)
    # Every primary has to have it.
    for number in range(20):
        name = key(f"function:{number}")
        await check.reply(b"v%d" % number, r.fcall, f"{library}_put", 1, name, f"v{number}")
        await check.reply(b"v%d" % number, r.fcall_ro, f"{library}_get", 1, name)
    listed = await check.reply(ANYTHING, r.function_list, library=library)
    check.compare("function_list names it", True, library in str(listed))
    await check.reply(ANYTHING, r.function_delete, library)
    await check.error(redis.ResponseError, "not found", r.fcall, f"{library}_put", 1, key("x"), 1)


async def pipelines(check, r, key):
    pipe = r.pipeline(transaction=False)
    expected = []
    for number in range(1000):
        pipe.set(key(f"pipe:{number}"), number)
        pipe.get(key(f"pipe:{number}"))
        pipe.incr(key("pipe:counter"))
        expected += [True, str(number).encode(), number + 1]
    await check.reply(expected, pipe.execute)
    pipe = r.pipeline(transaction=False)
    pipe.set(key("pipe:0"), "text").incr(key("pipe:0")).get(key("pipe:0"))
    got = await check.reply(ANYTHING, pipe.execute, raise_on_error=False)
    check.compare("pipeline with an error: around it", [True, b"text"], (got or [])[::2])
    check.compare("pipeline with an error: itself", True, "not an integer" in str((got or [0, 0])[1]))
