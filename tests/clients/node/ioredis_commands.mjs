// Every type of value through ioredis; the same list for a single client and for its Cluster.

import { anything, anyOf, between, closeTo, collect, containing, positive, someText, sorted } from "./check.mjs";

export async function commands(check, r, key, isCluster) {
  const reply = (expected, method, ...args) => check.reply(expected, r, method, ...args);
  await strings(reply, key);
  await manyKeys(check, reply, r, key, isCluster);
  await hashes(check, reply, r, key);
  await listsAndSets(check, reply, r, key);
  await sortedSets(check, reply, r, key);
  await streams(reply, key);
  await sketchesPlacesAndBits(reply, key);
  await generic(reply, key);
  await oddKeysAndValues(check, reply, r, key);
  await scripts(check, reply, r, key);
  await pipelines(check, r, key);
}

async function strings(reply, key) {
  const k = key("string");
  await reply("OK", "set", k, "one");
  await reply("one", "get", k);
  await reply(null, "get", key("missing"));
  await reply(null, "set", k, "two", "NX");
  await reply("one", "set", k, "three", "GET");
  await reply(8, "append", k, " mo");
  await reply(8, "strlen", k);
  await reply("ree", "getrange", k, 2, 4);
  await reply(8, "setrange", k, 1, "HREE");
  await reply("tHREE mo", "getdel", k);
  await reply(1, "setnx", k, "1");
  await reply(2, "incr", k);
  await reply(12, "incrby", k, 10);
  await reply(11, "decr", k);
  await reply("11.5", "incrbyfloat", k, 0.5);
  await reply("11.5", "getset", k, "x");
  await reply("x", "getex", k, "EX", 100);
  await reply(between(90, 100), "ttl", k);
  await reply("OK", "mset", key("{lcs}1"), "ohmytext", key("{lcs}2"), "mynewtext");
  await reply("mytext", "lcs", key("{lcs}1"), key("{lcs}2"));
  await reply(0, "msetnx", key("{lcs}1"), "a", key("{lcs}3"), "b");
}

async function manyKeys(check, reply, r, key, isCluster) {
  const names = Array.from({ length: 200 }, (_, number) => key(`many:${number}`));
  await reply("OK", "mset", new Map(names.map((name, number) => [name, `value-${number}`])));
  await reply(names.map((_, number) => `value-${number}`), "mget", ...names);
  await reply(["value-7", null, "value-7"], "mget", names[7], key("absent"), names[7]);
  await reply(3, "exists", names[0], names[0], names[1], key("absent"));
  await reply(2, "touch", names[0], names[1]);
  await reply(50, "unlink", ...names.slice(0, 50));
  await reply(150, "del", ...names);
  const bulk = Array.from({ length: 2000 }, (_, number) => key(`bulk:${number}`));
  await reply("OK", "mset", Object.fromEntries(bulk.map((name) => [name, "x"])));
  // Its Cluster has no scan of its own: each node is asked, and Keyway is the only one.
  const scanner = isCluster ? r.nodes("master")[0] : r;
  const found = await collect(scanner.scanStream({ match: key("bulk:*"), count: 200 }));
  check.compare("scanStream over 2000 keys", [...bulk].sort(), found);
  await reply(2000, "del", ...bulk);
}

async function hashes(check, reply, r, key) {
  const k = key("hash");
  await reply(3, "hset", k, { a: 1, b: "two", c: "3.5" });
  await reply("two", "hget", k, "b");
  await reply({ a: "1", b: "two", c: "3.5" }, "hgetall", k);
  await reply({}, "hgetall", key("missing"));
  await reply(["1", null], "hmget", k, "a", "x");
  await reply(5, "hincrby", k, "a", 4);
  await reply("4", "hincrbyfloat", k, "c", 0.5);
  await reply(["a", "b", "c"], "hkeys", k);
  await reply(["5", "two", "4"], "hvals", k);
  await reply(1, "hexists", k, "a");
  await reply(anyOf("a", "b", "c"), "hrandfield", k);
  await reply(2, "hdel", k, "a", "b", "x");
  const many = Object.fromEntries(Array.from({ length: 600 }, (_, number) => [`field-${number}`, `${number}`]));
  await reply(600, "hset", k, many);
  const found = await collect(r.hscanStream(k, { match: "field-*", count: 50 }));
  check.compare("hscanStream, fields and values", 1200, found.length);
}

async function listsAndSets(check, reply, r, key) {
  const [k, other] = [key("{list}1"), key("{list}2")];
  await reply(3, "rpush", k, "b", "c", "d");
  await reply(4, "lpush", k, "a");
  await reply(["a", "b", "c", "d"], "lrange", k, 0, -1);
  await reply("b", "lindex", k, 1);
  await reply(5, "linsert", k, "BEFORE", "b", "x");
  await reply("OK", "lset", k, 1, "y");
  await reply(1, "lpos", k, "y");
  await reply(1, "lrem", k, 0, "y");
  await reply(["a", "b"], "lpop", k, 2);
  await reply("d", "lmove", k, other, "RIGHT", "LEFT");
  await reply("d", "rpoplpush", other, k);
  await reply("OK", "ltrim", k, 0, 0);
  await reply("d", "rpop", k);
  await reply(null, "rpop", k);

  const [a, b, store] = [key("{set}a"), key("{set}b"), key("{set}c")];
  await reply(3, "sadd", a, "1", "2", "3");
  await reply(2, "sadd", b, "3", "4");
  await reply(sorted("1", "2", "3"), "smembers", a);
  await reply(1, "sismember", a, "1");
  await reply([1, 0], "smismember", a, "1", "9");
  await reply(["3"], "sinter", a, b);
  await reply(sorted("1", "2"), "sdiff", a, b);
  await reply(sorted("1", "2", "3", "4"), "sunion", a, b);
  await reply(1, "sintercard", 2, a, b);
  await reply(4, "sunionstore", store, a, b);
  await reply(1, "smove", a, b, "1");
  await reply(anyOf("2", "3"), "spop", a);
  await reply(500, "sadd", store, ...Array.from({ length: 500 }, (_, number) => `m${number}`));
  const found = await collect(r.sscanStream(store, { match: "m*", count: 40 }));
  check.compare("sscanStream", 500, found.length);
}

async function sortedSets(check, reply, r, key) {
  const [a, b, store] = [key("{zset}a"), key("{zset}b"), key("{zset}c")];
  await reply(3, "zadd", a, 1, "one", 2, "two", 3.5, "three");
  await reply(2, "zadd", b, 20, "two", 4, "four");
  await reply("3.5", "zscore", a, "three");
  await reply(["1", null], "zmscore", a, "one", "nine");
  await reply(["one", "1", "two", "2", "three", "3.5"], "zrange", a, 0, -1, "WITHSCORES");
  await reply(["three", "two"], "zrevrange", a, 0, 1);
  await reply(["two"], "zrangebyscore", a, "(1", 3);
  await reply("3", "zincrby", a, 2, "one");
  await reply(1, "zrank", a, "one");
  await reply(null, "zrank", a, "nine");
  await reply(2, "zcount", a, "-inf", 3);
  await reply(["two"], "zinter", 2, a, b);
  await reply(sorted("one", "three"), "zdiff", 2, a, b);
  await reply(4, "zunionstore", store, 2, a, b);
  await reply(["one", "3"], "zpopmin", store);
  await reply(["two", "22"], "zpopmax", store);
  await reply(2, "zrangestore", b, store, 0, -1);
  await reply(2, "zremrangebyscore", b, 0, 10);
  const many = Array.from({ length: 400 }, (_, number) => [number, `m${number}`]).flat();
  await reply(400, "zadd", b, ...many);
  const found = await collect(r.zscanStream(b, { match: "m*", count: 50 }));
  check.compare("zscanStream, members and scores", 800, found.length);
}

async function streams(reply, key) {
  const k = key("stream");
  for (const number of [1, 2, 3]) {
    await reply(`${number}-0`, "xadd", k, `${number}-0`, "n", number);
  }
  const entries = [1, 2, 3].map((number) => [`${number}-0`, ["n", `${number}`]]);
  await reply(3, "xlen", k);
  await reply(entries, "xrange", k, "-", "+");
  await reply([entries[2]], "xrevrange", k, "+", "-", "COUNT", 1);
  await reply([[k, entries.slice(1)]], "xread", "COUNT", 10, "STREAMS", k, "1-0");
  await reply(null, "xread", "STREAMS", k, "9-0");
  await reply("OK", "xgroup", "CREATE", k, "group", "0");
  await reply([[k, entries.slice(0, 2)]], "xreadgroup", "GROUP", "group", "me", "COUNT", 2, "STREAMS", k, ">");
  await reply(1, "xack", k, "group", "1-0");
  await reply([1, "2-0", "2-0", [["me", "1"]]], "xpending", k, "group");
  await reply([entries[1]], "xclaim", k, "group", "you", 0, "2-0");
  await reply(["0-0", [entries[1]], []], "xautoclaim", k, "group", "me", 0, "0");
  await reply(containing("length"), "xinfo", "STREAM", k);
  await reply(1, "xdel", k, "1-0");
  await reply(1, "xtrim", k, "MAXLEN", 1);
}

async function sketchesPlacesAndBits(reply, key) {
  const [a, b, both] = [key("{pf}a"), key("{pf}b"), key("{pf}both")];
  await reply(1, "pfadd", a, ...Array.from({ length: 100 }, (_, number) => number));
  await reply(1, "pfadd", b, ...Array.from({ length: 100 }, (_, number) => number + 50));
  await reply(between(95, 105), "pfcount", a);
  await reply("OK", "pfmerge", both, a, b);
  await reply(between(142, 158), "pfcount", both);

  const k = key("{geo}a");
  await reply(2, "geoadd", k, 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania");
  await reply(closeTo(166.2742), "geodist", k, "Palermo", "Catania", "km");
  await reply(["sqc8b49rny0", null], "geohash", k, "Palermo", "Rome");
  // Redis 8 writes as many digits as are needed.
  const places = [["13.36138933897018433", "38.11555639549629859"], ["13.361389338970184", "38.1155563954963"]];
  await reply(anyOf(...places.map((place) => [place, null])), "geopos", k, "Palermo", "Rome");
  await reply(["Catania"], "geosearch", k, "FROMLONLAT", 15, 37, "BYRADIUS", 100, "km");
  await reply(2, "geosearchstore", key("{geo}b"), k, "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km");

  const [x, y, z] = [key("{bit}x"), key("{bit}y"), key("{bit}z")];
  await reply(0, "setbit", x, 7, 1);
  await reply(1, "getbit", x, 7);
  await reply("OK", "set", y, Buffer.from([0xff, 0x0f]));
  await reply(12, "bitcount", y);
  await reply(8, "bitpos", y, 0);
  await reply(2, "bitop", "AND", z, x, y);
  await reply(Buffer.from([1, 0]), "getBuffer", z);
  await reply([11, 0], "bitfield", z, "INCRBY", "u8", 0, 10, "GET", "u8", 8);
}

async function generic(reply, key) {
  const [a, b, c] = [key("{generic}a"), key("{generic}b"), key("{generic}c")];
  await reply("OK", "set", a, "v");
  await reply("string", "type", a);
  await reply("embstr", "object", "ENCODING", a);
  await reply(1, "copy", a, b);
  await reply("OK", "rename", a, c);
  await reply(0, "renamenx", b, c);
  const dumped = await reply(someText, "dumpBuffer", b);
  await reply("OK", "restore", a, 0, dumped, "REPLACE");
  await reply("v", "get", a);
  await reply(sorted(a, b, c), "keys", key("{generic}*"));
  await reply(positive, "dbsize");
  await reply(someText, "randomkey");
  await reply(positive, "memory", "USAGE", a);
  await reply(1, "expire", a, 100);
  await reply(between(98, 100), "ttl", a);
  await reply(0, "expire", a, 50, "GT");
  await reply(1, "persist", a);
  await reply(-1, "ttl", a);
  await reply(-2, "ttl", key("missing"));
  await reply(1, "pexpireat", a, 32503680000000);
  await reply(32503680000, "expiretime", a);
  await reply("OK", "psetex", b, 100000, "v");
  await reply(between(90000, 100000), "pttl", b);
  await reply(3, "rpush", key("sort"), 3, 1, 2);
  await reply(["1", "2", "3"], "sort", key("sort"));
}

async function oddKeysAndValues(check, reply, r, key) {
  const large = Buffer.alloc(5 * 1024 * 1024, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  await reply("OK", "set", key("large"), large);
  const got = await r.getBuffer(key("large"));
  check.compare("get of 5 MiB comes back whole", true, large.equals(got));
  await reply(large.length, "strlen", key("large"));
  await reply(1, "del", key("large"));
  for (const name of ["schlüssel-ключ-鍵-🔑", "with space\r\nand line", "nul\0byte", "open{brace", "{}empty"]) {
    await reply("OK", "set", key(name), name);
    await reply(name, "get", key(name));
  }
  const binary = Buffer.concat([Buffer.from(key("")), Buffer.from([0xff, 0xfe, 0, 13, 10])]);
  await reply("OK", "set", binary, Buffer.from("\r\n$-1\r\n"));
  await reply("\r\n$-1\r\n", "get", binary);
  await reply("OK", "set", key("empty-value"), "");
  await reply("", "get", key("empty-value"));
}

async function scripts(check, reply, r, key) {
  // Not known anywhere yet: the client falls back from EVALSHA to EVAL by itself.
  const lua = `-- ${key("")}\nredis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])`;
  r.defineCommand("setAndGet", { numberOfKeys: 1, lua });
  for (let number = 0; number < 20; number += 1) {
    await reply(`v${number}`, "setAndGet", key(`script:${number}`), `v${number}`);
  }
  await reply([1, "two", [3]], "eval", "return {1, 'two', {3}}", 0);
  const sha = await reply(someText, "script", "LOAD", "return ARGV[1]");
  await reply([1], "script", "EXISTS", sha);
  for (let number = 0; number < 20; number += 1) {
    await reply("x", "evalsha", sha, 1, key(`sha:${number}`), "x");
  }
  await check.error("NOSCRIPT", r, "evalsha", "f".repeat(40), 1, key("x"));
  await check.error("wrong kind", r, "eval", "return redis.error_reply('ERR wrong kind')", 0);
}

async function pipelines(check, r, key) {
  const pipeline = r.pipeline();
  const expected = [];
  for (let number = 0; number < 1000; number += 1) {
    pipeline.set(key(`pipe:${number}`), number).get(key(`pipe:${number}`)).incr(key("pipe:counter"));
    expected.push([null, "OK"], [null, `${number}`], [null, number + 1]);
  }
  await check.reply(expected, pipeline, "exec");
  const failing = r.pipeline().set(key("pipe:0"), "text").incr(key("pipe:0")).get(key("pipe:0"));
  const got = await check.reply(anything, failing, "exec");
  check.compare("pipeline with an error: around it", ["OK", "text"], [got[0][1], got[2][1]]);
  check.compare("pipeline with an error: itself", containing("not an integer"), got[1][0]);
  // Commands that were not awaited go out together as well.
  const names = Array.from({ length: 3000 }, (_, number) => key(`loose:${number}`));
  await Promise.all(names.map((name) => r.set(name, name)));
  check.compare("3000 calls at once", names, await Promise.all(names.map((name) => r.get(name))));
}
