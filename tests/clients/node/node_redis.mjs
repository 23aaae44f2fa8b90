// node-redis before Keyway: its single client, its pool, and its cluster, which knows this one
// port alone.

import { anything, askForRestart, containing, having, positive, someText, until } from "./check.mjs";
import { commands, scripts } from "./node_redis_commands.mjs";

export async function run(check, library, options) {
  const isCluster = options.mode === "cluster";
  const key = (name) => `node-redis-${options.mode}-${options.protocol}:${name}`;
  const connect = (settings) => makeClient(library, isCluster, key, { ...options, ...settings });
  const r = await connect({});
  await commands(check, r, key, isCluster, options);
  await scripts(check, r, key);
  await blocking(check, r, key);
  await transactions(check, r, key, isCluster);
  if (!isCluster) {
    await session(check, connect, options);
    await pool(check, library, options, key);
  }
  await subscriptions(check, connect, r, key, isCluster);
  await passwords(check, connect, options);
  await check.reply("OK", r, "set", key("restart"), "kept");
  await askForRestart();
  await check.reply("kept", r, "get", key("restart"));
  await check.reply("OK", r, "set", key("restart"), "again");
  await check.reply("again", r, "get", key("restart"));
  r.destroy();
}

async function makeClient({ createClient, createCluster, defineScript }, isCluster, key, settings) {
  const { port, protocol, password, username, name, once } = settings;
  const setAndGet = defineScript({
    NUMBER_OF_KEYS: 1,
    FIRST_KEY_INDEX: 1,
    SCRIPT: `-- ${key("")}\nredis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])`,
    parseCommand(parser, name, value) {
      parser.pushKey(name);
      parser.push(value);
    },
    transformReply: undefined,
  });
  const url = `redis://127.0.0.1:${port}`;
  // A refused password would be tried again and again.
  const socket = once ? { reconnectStrategy: false } : {};
  const base = { RESP: protocol, scripts: { setAndGet } };
  const client = isCluster
    ? createCluster({ rootNodes: [{ url }], defaults: { password, username, socket }, ...base })
    : createClient({ url, password, username, name, socket, ...base });
  // What goes wrong is told by the call that was made.
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function blocking(check, r, key) {
  const [queue, sorted] = [key("queue"), key("sorted")];
  await check.reply(anything, r, "del", queue);
  await check.reply(2, r, "rPush", queue, ["1", "2"]);
  await check.reply(having({ key: queue, element: "1" }), r, "blPop", queue, 1);
  await check.reply(having({ key: queue, element: "2" }), r, "brPop", queue, 1);
  await check.reply(null, r, "blPop", queue, 0.1);
  await check.reply(anything, r, "zAdd", sorted, { value: "m", score: 1 });
  await check.reply(having({ value: "m", score: 1 }), r, "bzPopMin", sorted, 1);
}

async function transactions(check, r, key, isCluster) {
  const [a, b] = [key("{tx}a"), key("{tx}b")];
  await check.reply(anything, r, "del", [a, b]);
  const exec = (multi) => ({ exec: () => multi.exec() });
  const multi = r.multi().set(a, "1").incr(a).mGet([a, b]).lPush(b, "x");
  await check.reply(["OK", 2, ["2", null], 1], exec(multi), "exec");
  if (!isCluster) {
    await check.reply("OK", r, "watch", a);
    await check.reply("OK", r, "set", a, "touched");
    await check.rejects("watched", "exec after a touch", () => r.multi().set(a, "lost").exec());
    await check.reply("touched", r, "get", a);
    await check.rejects("CROSSSLOT", "exec over slots", () => r.multi().set(a, "1").set(key("other"), "1").exec());
  }
}

async function session(check, connect, options) {
  const r = await connect({ name: "named" });
  await check.reply("PONG", r, "ping");
  await check.reply("hello", r, "echo", "hello");
  await check.reply("named", r, "clientGetName");
  await check.reply("OK", r, "clientSetName", "my-name");
  await check.reply("my-name", r, "clientGetName");
  await check.reply(positive, r, "clientId");
  await check.reply(having({ name: "my-name", resp: options.protocol }), r, "clientInfo");
  const listed = await r.clientList();
  check.compare("clientList names us", true, listed.some((one) => one.name === "my-name"));
  // Redis says redis_mode, Valkey server_mode.
  await check.reply(containing("_mode:standalone"), r, "info");
  await check.reply(containing("redis_version:"), r, "info", "server");
  await check.reply(having({ length: 2 }), r, "time");
  await check.reply(having({ maxmemory: someText }), r, "configGet", "maxmemory");
  await check.reply(positive, r, "commandCount");
  await check.reply(["a", "b"], r, "commandGetKeys", ["MSET", "a", "1", "b", "2"]);
  await check.reply("OK", r, "sendCommand", ["SELECT", "0"]);
  await check.error("unknown command", r, "sendCommand", ["NOSUCHCOMMAND", "x"]);
  await check.error("wrong number", r, "sendCommand", ["GET"]);
  r.destroy();
}

/** Many tasks share ten connections; each must read what it wrote. */
async function pool(check, { createClientPool }, { port, protocol }, key) {
  const clients = createClientPool({ url: `redis://127.0.0.1:${port}`, RESP: protocol }, { minimum: 2, maximum: 10 });
  clients.on("error", () => {});
  await clients.connect();
  const wrong = [];
  const work = async (worker) => {
    for (let number = 0; number < 100; number += 1) {
      const name = key(`pool:${worker}:${number}`);
      await clients.set(name, name);
      const got = await clients.get(name);
      if (got !== name) wrong.push([name, got]);
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, worker) => work(worker))).catch((error) => wrong.push(error));
  check.compare("20 tasks over a pool of 10: wrong replies", [], wrong);
  clients.destroy();
}

async function passwords(check, connect, { protectedPort, secret }) {
  const library = {
    async ask(credentials) {
      const client = await connect({ port: protectedPort, once: true, ...credentials });
      try {
        return await client.get("anything");
      } finally {
        client.destroy();
      }
    },
  };
  await check.reply(null, library, "ask", { password: secret });
  await check.reply(null, library, "ask", { username: "default", password: secret });
  // The cluster client keeps the reason to itself.
  const words = ["WRONGPASS", "NOAUTH", "authenticat", "root nodes are unavailable"];
  await check.error(words, library, "ask", { password: "wrong" });
  await check.error(words, library, "ask", { username: "nobody", password: secret });
  await check.error(words, library, "ask", {});
}

async function subscriptions(check, connect, r, key, isCluster) {
  const s = await connect({});
  const got = [];
  const hear = (kind) => (text, channel) => got.push([kind, channel, text]);
  const [news, pattern, shard] = [key("news"), key("n*"), key("shard")];
  await s.subscribe(news, hear("message"));
  await s.pSubscribe(pattern, hear("pmessage"));
  await s.sSubscribe(shard, hear("smessage"));
  await check.reply(isCluster ? positive : 2, r, "publish", news, "hello");
  await check.reply(isCluster ? positive : 1, r, "sPublish", shard, "shard");
  await until(() => got.length >= 3);
  const expected = [
    ["message", news, "hello"],
    ["pmessage", news, "hello"],
    ["smessage", shard, "shard"],
  ];
  check.compare("messages", expected, got.sort());
  await s.unsubscribe(news);
  await s.pUnsubscribe(pattern);
  await s.sUnsubscribe(shard);
  await check.reply(0, r, "publish", news, "nobody");
  await check.reply(null, s, "get", key("absent"));
  s.destroy();
}
