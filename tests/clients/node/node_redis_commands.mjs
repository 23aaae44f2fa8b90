// Every type of value through node-redis; the same list for a single client and for its cluster.

import { anyOf, anything, between, closeTo, collect, containing, having, positive, someText, sorted } from "./check.mjs";

export async function commands(check, r, key, isCluster, { version, protocol }) {
  const reply = (expected, method, ...args) => check.reply(expected, r, method, ...args);
  await strings(reply, key);
  await manyKeys(check, reply, r, key, isCluster);
  await hashes(check, reply, r, key);
  await listsAndSets(check, reply, r, key);
  await sortedSets(check, reply, r, key);
  // Version 5 refuses to read streams in RESP3 by itself: "results may change".
  const canReadStreams = protocol === 2 || Number.parseInt(version) >= 6;
  await streams(check, reply, key, canReadStreams);
  await sketchesPlacesAndBits(reply, key);
  await generic(reply, key, isCluster);
  await oddKeysAndValues(check, reply, r, key);
  await pipelines(check, r, key);
}

async function strings(reply, key) {
  const k = key("string");
  await reply("OK", "set", k, "one");
  await reply("one", "get", k);
  await reply(null, "get", key("missing"));
  await reply(null, "set", k, "two", { NX: true });
  await reply("one", "set", k, "three", { GET: true });
  await reply(8, "append", k, " mo");
  await reply(8, "strLen", k);
  await reply("ree", "getRange", k, 2, 4);
  await reply(8, "setRange", k, 1, "HREE");
  await reply("tHREE mo", "getDel", k);
  await reply(1, "setNX", k, "1");
  await reply(2, "incr", k);
  await reply(12, "incrBy", k, 10);
  await reply(11, "decr", k);
  await reply("11.5", "incrByFloat", k, 0.5);
  await reply("11.5", "getSet", k, "x");
  await reply("x", "getEx", k, { type: "EX", value: 100 });
  await reply(between(90, 100), "ttl", k);
  await reply("OK", "mSet", { [key("{lcs}1")]: "ohmytext", [key("{lcs}2")]: "mynewtext" });
  await reply("mytext", "lcs", key("{lcs}1"), key("{lcs}2"));
  await reply(0, "mSetNX", { [key("{lcs}1")]: "a", [key("{lcs}3")]: "b" });
}

async function manyKeys(check, reply, r, key, isCluster) {
  const names = Array.from({ length: 200 }, (_, number) => key(`many:${number}`));
  await reply("OK", "mSet", Object.fromEntries(names.map((name, number) => [name, `value-${number}`])));
  await reply(names.map((_, number) => `value-${number}`), "mGet", names);
  await reply(["value-7", null, "value-7"], "mGet", [names[7], key("absent"), names[7]]);
  await reply(3, "exists", [names[0], names[0], names[1], key("absent")]);
  await reply(2, "touch", [names[0], names[1]]);
  await reply(50, "unlink", names.slice(0, 50));
  await reply(150, "del", names);
  const bulk = Array.from({ length: 2000 }, (_, number) => key(`bulk:${number}`));
  await reply("OK", "mSet", Object.fromEntries(bulk.map((name) => [name, "x"])));
  // Its cluster has no scan of its own: each node is asked, and Keyway is the only one.
  const scanner = isCluster ? await r.nodeClient(r.masters[0]) : r;
  const found = await collect(scanner.scanIterator({ MATCH: key("bulk:*"), COUNT: 200 }));
  check.compare("scanIterator over 2000 keys", [...bulk].sort(), found);
  await reply(2000, "del", bulk);
}

async function hashes(check, reply, r, key) {
  const k = key("hash");
  await reply(3, "hSet", k, { a: 1, b: "two", c: "3.5" });
  await reply("two", "hGet", k, "b");
  await reply({ a: "1", b: "two", c: "3.5" }, "hGetAll", k);
  await reply({}, "hGetAll", key("missing"));
  await reply(["1", null], "hmGet", k, ["a", "x"]);
  await reply(5, "hIncrBy", k, "a", 4);
  await reply("4", "hIncrByFloat", k, "c", 0.5);
  await reply(["a", "b", "c"], "hKeys", k);
  await reply(["5", "two", "4"], "hVals", k);
  await reply(1, "hExists", k, "a");
  await reply(anyOf("a", "b", "c"), "hRandField", k);
  await reply(2, "hDel", k, ["a", "b", "x"]);
  await reply(600, "hSet", k, Array.from({ length: 600 }, (_, number) => [`field-${number}`, `${number}`]));
  const found = new Set();
  for await (const batch of (await scannerOf(r)).hScanIterator(k, { MATCH: "field-*", COUNT: 50 })) {
    for (const { field } of batch) found.add(field);
  }
  check.compare("hScanIterator, fields", 600, found.size);
}

/** Iterators over one key belong to a node's client. */
async function scannerOf(r) {
  return r.masters ? r.nodeClient(r.masters[0]) : r;
}

async function listsAndSets(check, reply, r, key) {
  const [k, other] = [key("{list}1"), key("{list}2")];
  await reply(3, "rPush", k, ["b", "c", "d"]);
  await reply(4, "lPush", k, "a");
  await reply(["a", "b", "c", "d"], "lRange", k, 0, -1);
  await reply("b", "lIndex", k, 1);
  await reply(5, "lInsert", k, "BEFORE", "b", "x");
  await reply("OK", "lSet", k, 1, "y");
  await reply(1, "lPos", k, "y");
  await reply(1, "lRem", k, 0, "y");
  await reply(["a", "b"], "lPopCount", k, 2);
  await reply("d", "lMove", k, other, "RIGHT", "LEFT");
  await reply("d", "rPopLPush", other, k);
  await reply([k, ["c"]], "lmPop", [other, k], "RIGHT", { COUNT: 1 });
  await reply("OK", "lTrim", k, 0, 0);
  await reply("d", "rPop", k);
  await reply(null, "rPop", k);

  const [a, b, store] = [key("{set}a"), key("{set}b"), key("{set}c")];
  await reply(3, "sAdd", a, ["1", "2", "3"]);
  await reply(2, "sAdd", b, ["3", "4"]);
  await reply(sorted("1", "2", "3"), "sMembers", a);
  await reply(1, "sIsMember", a, "1");
  await reply([1, 0], "smIsMember", a, ["1", "9"]);
  await reply(["3"], "sInter", [a, b]);
  await reply(sorted("1", "2"), "sDiff", [a, b]);
  await reply(sorted("1", "2", "3", "4"), "sUnion", [a, b]);
  await reply(1, "sInterCard", [a, b]);
  await reply(4, "sUnionStore", store, [a, b]);
  await reply(1, "sMove", a, b, "1");
  await reply(anyOf("2", "3"), "sPop", a);
  await reply(500, "sAdd", store, Array.from({ length: 500 }, (_, number) => `m${number}`));
  const found = await collect((await scannerOf(r)).sScanIterator(store, { MATCH: "m*", COUNT: 40 }));
  check.compare("sScanIterator", 500, found.length);
}

async function sortedSets(check, reply, r, key) {
  const [a, b, store] = [key("{zset}a"), key("{zset}b"), key("{zset}c")];
  const members = (...pairs) => pairs.map(([value, score]) => ({ value, score }));
  await reply(3, "zAdd", a, members(["one", 1], ["two", 2], ["three", 3.5]));
  await reply(2, "zAdd", b, members(["two", 20], ["four", 4]));
  await reply(3.5, "zScore", a, "three");
  await reply([1, null], "zmScore", a, ["one", "nine"]);
  await reply(members(["one", 1], ["two", 2], ["three", 3.5]), "zRangeWithScores", a, 0, -1);
  await reply(["three", "two"], "zRange", a, 0, 1, { REV: true });
  await reply(["two"], "zRangeByScore", a, "(1", 3);
  await reply(3, "zIncrBy", a, 2, "one");
  await reply(1, "zRank", a, "one");
  await reply(null, "zRank", a, "nine");
  await reply(2, "zCount", a, "-inf", 3);
  await reply(["two"], "zInter", [a, b]);
  await reply(sorted("one", "three"), "zDiff", [a, b]);
  await reply(4, "zUnionStore", store, [a, b]);
  await reply({ value: "one", score: 3 }, "zPopMin", store);
  await reply({ value: "two", score: 22 }, "zPopMax", store);
  await reply(2, "zRangeStore", b, store, 0, -1);
  await reply(2, "zRemRangeByScore", b, 0, 10);
  await reply(400, "zAdd", b, Array.from({ length: 400 }, (_, number) => ({ value: `m${number}`, score: number })));
  const found = new Set();
  for await (const batch of (await scannerOf(r)).zScanIterator(b, { COUNT: 50 })) {
    for (const { value, score } of batch) found.add(`${value}=${score}`);
  }
  check.compare("zScanIterator, members with scores", 400, found.size);
}

async function streams(check, reply, key, canReadStreams) {
  const k = key("stream");
  for (const number of [1, 2, 3]) {
    await reply(`${number}-0`, "xAdd", k, `${number}-0`, { n: `${number}` });
  }
  const ids = (entries) => (entries ?? []).map((entry) => entry.id);
  await reply(3, "xLen", k);
  check.compare("xRange, ids", ["1-0", "2-0", "3-0"], ids(await reply(anything, "xRange", k, "-", "+")));
  check.compare("xRevRange, ids", ["3-0"], ids(await reply(anything, "xRevRange", k, "+", "-", { COUNT: 1 })));
  if (canReadStreams) await readStreams(check, reply, k);
  await reply(having({ length: 3 }), "xInfoStream", k);
  await reply(1, "xDel", k, "1-0");
  await reply(1, "xTrim", k, "MAXLEN", 1);
}

async function readStreams(check, reply, k) {
  const entries = (read) => read?.[0]?.messages ?? read?.[k] ?? [];
  const ids = (read) => entries(read).map((entry) => entry.id);
  const read = await reply(anything, "xRead", { key: k, id: "1-0" }, { COUNT: 10 });
  check.compare("xRead, ids", ["2-0", "3-0"], ids(read));
  check.compare("xRead, last entry", "3", entries(read)[1]?.message?.n);
  await reply(null, "xRead", { key: k, id: "9-0" });
  await reply("OK", "xGroupCreate", k, "group", "0");
  const group = await reply(anything, "xReadGroup", "group", "me", { key: k, id: ">" }, { COUNT: 2 });
  check.compare("xReadGroup, ids", ["1-0", "2-0"], ids(group));
  await reply(1, "xAck", k, "group", "1-0");
  await reply(having({ pending: 1, firstId: "2-0", lastId: "2-0" }), "xPending", k, "group");
  const claimed = (await reply(anything, "xClaim", k, "group", "you", 0, "2-0")) ?? [];
  check.compare("xClaim, ids", ["2-0"], claimed.map((entry) => entry.id));
  await reply(having({ nextId: "0-0" }), "xAutoClaim", k, "group", "me", 0, "0");
}

async function sketchesPlacesAndBits(reply, key) {
  const [a, b, both] = [key("{pf}a"), key("{pf}b"), key("{pf}both")];
  await reply(1, "pfAdd", a, Array.from({ length: 100 }, (_, number) => `${number}`));
  await reply(1, "pfAdd", b, Array.from({ length: 100 }, (_, number) => `${number + 50}`));
  await reply(between(95, 105), "pfCount", a);
  await reply("OK", "pfMerge", both, [a, b]);
  await reply(between(142, 158), "pfCount", both);

  const k = key("{geo}a");
  const palermo = { longitude: 13.361389, latitude: 38.115556, member: "Palermo" };
  const catania = { longitude: 15.087269, latitude: 37.502669, member: "Catania" };
  await reply(2, "geoAdd", k, [palermo, catania]);
  await reply(closeTo(166.2742), "geoDist", k, "Palermo", "Catania", "km");
  await reply(["sqc8b49rny0", null], "geoHash", k, ["Palermo", "Rome"]);
  await reply(having({ 0: having({ longitude: closeTo(13.361389) }), 1: null }), "geoPos", k, ["Palermo", "Rome"]);
  const [from, by] = [{ longitude: 15, latitude: 37 }, { radius: 100, unit: "km" }];
  await reply(["Catania"], "geoSearch", k, from, by);
  await reply(1, "geoSearchStore", key("{geo}b"), k, from, by);

  const [x, y, z] = [key("{bit}x"), key("{bit}y"), key("{bit}z")];
  await reply(0, "setBit", x, 7, 1);
  await reply(1, "getBit", x, 7);
  await reply("OK", "set", y, Buffer.from([0xff, 0x0f]));
  await reply(12, "bitCount", y);
  await reply(8, "bitPos", y, 0);
  await reply(2, "bitOp", "AND", z, [x, y]);
  await reply("\x01\x00", "get", z);
  const increment = { operation: "INCRBY", encoding: "u8", offset: 0, increment: 10 };
  await reply([11, 0], "bitField", z, [increment, { operation: "GET", encoding: "u8", offset: 8 }]);
}

async function generic(reply, key, isCluster) {
  const [a, b, c] = [key("{generic}a"), key("{generic}b"), key("{generic}c")];
  await reply("OK", "set", a, "v");
  await reply("string", "type", a);
  await reply("embstr", "objectEncoding", a);
  await reply(1, "copy", a, b);
  await reply("OK", "rename", a, c);
  await reply(0, "renameNX", b, c);
  if (!isCluster) {
    await reply(sorted(b, c), "keys", key("{generic}*"));
    await reply(positive, "dbSize");
    await reply(someText, "randomKey");
  }
  await reply("OK", "set", a, "v");
  await reply(positive, "memoryUsage", a);
  await reply(1, "expire", a, 100);
  await reply(between(98, 100), "ttl", a);
  await reply(0, "expire", a, 50, "GT");
  await reply(1, "persist", a);
  await reply(-1, "ttl", a);
  await reply(-2, "ttl", key("missing"));
  await reply(1, "pExpireAt", a, 32503680000000);
  await reply(32503680000, "expireTime", a);
  await reply("OK", "pSetEx", b, 100000, "v");
  await reply(between(90000, 100000), "pTTL", b);
  await reply(3, "rPush", key("sort"), ["3", "1", "2"]);
  await reply(["1", "2", "3"], "sort", key("sort"));
}

async function oddKeysAndValues(check, reply, r, key) {
  const large = Buffer.alloc(5 * 1024 * 1024, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
  await reply("OK", "set", key("large"), large);
  // As bytes, not as text: a type mapping of the library ($ is 36).
  const got = await r.withTypeMapping({ 36: Buffer }).get(key("large"));
  check.compare("get of 5 MiB comes back whole", true, large.equals(got));
  await reply(large.length, "strLen", key("large"));
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

async function pipelines(check, r, key) {
  // Calls that were not awaited go out together.
  const names = Array.from({ length: 3000 }, (_, number) => key(`loose:${number}`));
  await Promise.all(names.map((name) => r.set(name, name)));
  check.compare("3000 calls at once", names, await Promise.all(names.map((name) => r.get(name))));
  const pipeline = r.multi();
  const expected = [];
  for (let number = 0; number < 500; number += 1) {
    // The cluster's pipeline goes to the node of its first key, which is Keyway for every key.
    pipeline.set(key(`pipe:${number}`), `${number}`).get(key(`pipe:${number}`)).incr(key("pipe:counter"));
    expected.push("OK", `${number}`, number + 1);
  }
  await check.reply(expected, pipeline, "execAsPipeline");
  const failing = r.multi().set(key("pipe:0"), "text").incr(key("pipe:0")).get(key("pipe:0"));
  await check.error("not an integer", { run: () => failing.execAsPipeline() }, "run");
  await check.reply("text", r, "get", key("pipe:0"));
}

/** Lua scripts that the client was told of when it was made; `setAndGet` comes from there. */
export async function scripts(check, r, key) {
  const reply = (expected, method, ...args) => check.reply(expected, r, method, ...args);
  // Not known anywhere yet: the client falls back from EVALSHA to EVAL by itself.
  for (let number = 0; number < 20; number += 1) {
    await reply(`v${number}`, "setAndGet", key(`script:${number}`), `v${number}`);
  }
  const [keys, args] = [[key("x")], ["x"]];
  await reply([1, "two", [3]], "eval", "return {1, 'two', {3}}", { keys, arguments: args });
  await check.error("NOSCRIPT", r, "evalSha", "f".repeat(40), { keys, arguments: args });
  await check.error("wrong kind", r, "eval", "return redis.error_reply('ERR wrong kind')", { keys });
  if (r.masters) return;
  const sha = await reply(someText, "scriptLoad", "return ARGV[1]");
  await reply([1], "scriptExists", sha);
  for (let number = 0; number < 20; number += 1) {
    await reply("x", "evalSha", sha, { keys: [key(`sha:${number}`)], arguments: ["x"] });
  }
  await reply(containing("x"), "evalRo", "return ARGV[1]", { keys, arguments: args });
}
