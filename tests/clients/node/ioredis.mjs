// ioredis before Keyway: its single client and its Cluster, which knows this one port alone.

import { anything, askForRestart, containing, having, positive, someText, until } from "./check.mjs";
import { commands } from "./ioredis_commands.mjs";

export async function run(check, Redis, options) {
  const isCluster = options.mode === "cluster";
  const key = (name) => `ioredis-${options.mode}-${options.protocol}:${name}`;
  const connect = (settings) => makeClient(Redis, isCluster, { ...options, ...settings });
  const r = connect({});
  await commands(check, r, key, isCluster);
  await blocking(check, r, key);
  await transactions(check, r, key, isCluster);
  if (!isCluster) {
    await session(check, connect);
    await shapes(check, connect, options);
  }
  await subscriptions(check, connect, r, key, isCluster);
  await passwords(check, connect, options);
  await check.reply("OK", r, "set", key("restart"), "kept");
  await askForRestart();
  await check.reply("kept", r, "get", key("restart"));
  await check.reply("OK", r, "set", key("restart"), "again");
  await check.reply("again", r, "get", key("restart"));
  r.disconnect();
}

function makeClient(Redis, isCluster, { port, protocol, ...settings }) {
  const { password, username, connectionName, replyMapping, once } = settings;
  const url = `redis://127.0.0.1:${port}`;
  const base = { protocol, password, username, connectionName, replyMapping };
  // A refused password would be tried again and again.
  const retry = once ? { retryStrategy: () => null, maxRetriesPerRequest: 0 } : {};
  const client = isCluster
    ? new Redis.Cluster([url], {
        redisOptions: { ...base, ...retry },
        ...(once ? { clusterRetryStrategy: () => null } : {}),
      })
    : new Redis(url, { ...base, ...retry });
  // What goes wrong is told by the call that was made.
  client.on("error", () => {});
  return client;
}

async function blocking(check, r, key) {
  const [queue, sorted, stream] = [key("queue"), key("sorted"), key("stream")];
  await check.reply(anything, r, "del", queue);
  await check.reply(2, r, "rpush", queue, 1, 2);
  await check.reply([queue, "1"], r, "blpop", queue, 1);
  await check.reply([queue, "2"], r, "brpop", queue, 1);
  await check.reply(null, r, "blpop", queue, 0.1);
  await check.reply(anything, r, "zadd", sorted, 1, "m");
  await check.reply(containing("m"), r, "bzpopmin", sorted, 1);
  await check.reply(anything, r, "xadd", stream, "*", "f", "v");
  await check.reply(containing("f,v"), r, "xread", "BLOCK", 1000, "STREAMS", stream, "0");
}

async function transactions(check, r, key, isCluster) {
  const [a, b] = [key("{tx}a"), key("{tx}b")];
  await check.reply(anything, r, "del", a, b);
  const done = (...replies) => replies.map((reply) => [null, reply]);
  const exec = (multi) => ({ exec: () => multi.exec() });
  await check.reply(done("OK", 2, ["2", null], 1), exec(r.multi().set(a, 1).incr(a).mget(a, b).lpush(b, "x")), "exec");
  await check.reply(containing("not an integer"), exec(r.multi().set(a, "text").incr(a)), "exec");
  if (!isCluster) {
    await check.reply("OK", r, "watch", a);
    await check.reply("OK", r, "set", a, "touched");
    await check.reply(null, exec(r.multi().set(a, "lost")), "exec");
    await check.reply("touched", r, "get", a);
    await check.rejects("EXECABORT", "exec over slots", () => r.multi().set(a, 1).set(key("other"), 1).exec());
  }
}

async function session(check, connect) {
  const r = connect({ connectionName: "named" });
  await check.reply("PONG", r, "ping");
  await check.reply("hello", r, "echo", "hello");
  await check.reply("named", r, "client", "GETNAME");
  await check.reply("OK", r, "client", "SETNAME", "my-name");
  await check.reply("my-name", r, "client", "GETNAME");
  await check.reply(positive, r, "client", "ID");
  await check.reply(containing("name=my-name"), r, "client", "INFO");
  await check.reply(containing("name=my-name"), r, "client", "LIST");
  // Redis says redis_mode, Valkey server_mode.
  await check.reply(containing("_mode:standalone"), r, "info");
  await check.reply(containing("redis_version:"), r, "info", "server");
  await check.reply(having({ length: 2 }), r, "time");
  await check.reply(someText, r, "config", "GET", "maxmemory");
  await check.reply(positive, r, "command", "COUNT");
  await check.reply(["a", "b"], r, "command", "GETKEYS", "MSET", "a", 1, "b", 2);
  await check.reply("OK", r, "select", 0);
  await check.error("unknown command", r, "call", "NOSUCHCOMMAND", "x");
  await check.error("wrong number", r, "call", "GET");
  r.disconnect();
}

/** RESP3's own types, where this version of the library can show them. */
async function shapes(check, connect, { protocol, version, port }) {
  if (protocol !== 3 || Number.parseInt(version) < 6) return;
  const r = connect({ replyMapping: "resp3" });
  await check.reply(1, r, "zadd", "ioredis-shapes:zset", 1.5, "member");
  await check.reply(1.5, r, "zscore", "ioredis-shapes:zset", "member");
  await check.reply(having({ maxmemory: someText }), r, "config", "GET", "maxmemory");
  await check.reply(having({ proto: 3, mode: "standalone", role: "master" }), r, "hello", 3);
  await check.reply(1, r, "del", "ioredis-shapes:zset");
  r.disconnect();
}

async function passwords(check, connect, { protectedPort, secret: password }) {
  const ask = async (credentials) => {
    const client = connect({ port: protectedPort, once: true, ...credentials });
    const refusal = new Promise((_, reject) => client.on("error", reject));
    refusal.catch(() => {});
    try {
      return await Promise.race([client.get("anything"), refusal]);
    } finally {
      client.disconnect();
    }
  };
  await check.reply(null, { ask }, "ask", { password });
  await check.reply(null, { ask }, "ask", { username: "default", password });
  const words = ["WRONGPASS", "NOAUTH", "authenticat"];
  await check.error(words, { ask }, "ask", { password: "wrong" });
  await check.error(words, { ask }, "ask", { username: "nobody", password });
  await check.error(words, { ask }, "ask", {});
}

/** A subscriber that also speaks, in RESP3, and a thousand of its kind. */
async function subscriptions(check, connect, r, key, isCluster) {
  const s = connect({});
  const got = [];
  s.on("message", (channel, text) => got.push(["message", channel, text]));
  s.on("pmessage", (pattern, channel, text) => got.push(["pmessage", pattern, channel, text]));
  s.on("smessage", (channel, text) => got.push(["smessage", channel, text]));
  const [news, pattern, shard] = [key("news"), key("n*"), key("shard")];
  await check.reply(1, s, "subscribe", news);
  await check.reply(2, s, "psubscribe", pattern);
  if (!isCluster) await check.reply(1, s, "ssubscribe", shard);
  await check.reply(2, r, "publish", news, "hello");
  if (!isCluster) await check.reply(1, r, "spublish", shard, "shard");
  const expected = [
    ["message", news, "hello"],
    ["pmessage", pattern, news, "hello"],
    ...(isCluster ? [] : [["smessage", shard, "shard"]]),
  ];
  await until(() => got.length >= expected.length);
  check.compare("messages", expected.sort(), got.sort());
  await check.reply(1, s, "unsubscribe", news);
  await check.reply(0, s, "punsubscribe");
  if (!isCluster) await check.reply(0, s, "sunsubscribe", shard);
  await check.reply(null, s, "get", key("absent"));
  s.disconnect();
  if (isCluster) return;
  const crowd = Array.from({ length: 1000 }, () => connect({}));
  let heard = 0;
  for (const one of crowd) one.on("message", (_, text) => (heard += Number(text)));
  await Promise.all(crowd.map((one) => one.subscribe(news)));
  for (let number = 1; number <= 10; number += 1) await check.reply(1000, r, "publish", news, number);
  await until(() => heard === 55_000);
  check.compare("a thousand subscribers heard", 55_000, heard);
  for (const one of crowd) one.disconnect();
}
