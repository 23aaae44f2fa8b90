// ioredis: a thousand subscribers of one channel, each with its connection, get every message in
// order; patterns, many channels, sharded channels, in RESP3 (its default) and RESP2.

import { begin, equal, eventually, fails, finish, load, options, range } from "./checks.mjs";

const Redis = load("ioredis");
begin("ioredis pub/sub");
const subscribers = 1000;
const messages = options.full ? 100 : 20;
const channel = `news-${Date.now()}`;
const connect = () => new Redis(options.url);
const publisher = connect();

async function thousand() {
  const clients = range(subscribers).map(connect);
  const got = clients.map(() => []);
  clients.forEach((client, n) => client.on("message", (from, text) => got[n].push(`${from} ${text}`)));
  await Promise.all(clients.map((client) => client.subscribe(channel)));
  // Through a cluster each node counts its own, so what is told is at least what Keyway needs.
  const reached = [];
  for (const n of range(messages)) reached.push(await publisher.publish(channel, `message ${n}`));
  const expected = range(messages).map((n) => `${channel} message ${n}`);
  await eventually(`${subscribers} subscribers have ${messages} messages each`, subscribers * messages, () => got.reduce((sum, list) => sum + list.length, 0), 60);
  equal("each in order", true, got.every((list) => JSON.stringify(list) === JSON.stringify(expected)));
  equal("the publisher is told how many got it", Array(messages).fill(subscribers), reached);
  equal("NUMSUB", [channel, subscribers], await publisher.pubsub("NUMSUB", channel));
  await Promise.all(clients.slice(1).map((client) => client.unsubscribe(channel)));
  await publisher.publish(channel, "last");
  await eventually("only who is still subscribed gets more", [messages + 1, messages], () => [got[0].length, got[1].length]);
  await Promise.all(clients.map((client) => client.quit()));
  await eventually("nobody is left", [channel, 0], () => publisher.pubsub("NUMSUB", channel));
}

async function kinds(protocol) {
  const client = new Redis(options.url, { protocol });
  const got = [];
  client.on("message", (from, text) => got.push(`${from}=${text}`));
  client.on("pmessage", (pattern, from, text) => got.push(`${pattern}:${from}=${text}`));
  equal("SUBSCRIBE of three", 3, await client.subscribe("a", "b", "c"));
  equal("PSUBSCRIBE counts on", 4, await client.psubscribe("ab*"));
  await publisher.publish("b", "1");
  await publisher.publish("abc", "2");
  await eventually("channel and pattern", ["b=1", "ab*:abc=2"], () => got);
  equal("PING while subscribed", "PONG", [].concat(await client.ping())[0].toUpperCase());
  if (protocol === 2) await fails("RESP2: a subscriber may not GET", "subscriber mode", client.get(channel));
  else equal("RESP3: a subscriber may GET", null, await client.get(channel));
  equal("UNSUBSCRIBE of three", 1, await client.unsubscribe("a", "b", "c"));
  equal("PUNSUBSCRIBE of all patterns", 0, await client.punsubscribe());
  equal("an ordinary client again", "PONG", await client.ping());
  const sharded = connect();
  const shards = [];
  sharded.on("smessage", (from, text) => shards.push(`${from}=${text}`));
  for (const n of range(12)) await sharded.ssubscribe(`shard-${n}`);
  for (const n of range(12)) await publisher.spublish(`shard-${n}`, n);
  await eventually("sharded channels of all shards", range(12).map((n) => `shard-${n}=${n}`), () => [...shards].sort((a, b) => a.split("=")[1] - b.split("=")[1]));
  await client.quit();
  await sharded.quit();
}

async function reconnects() {
  const client = connect();
  const got = [];
  client.on("message", (_, text) => got.push(text));
  await client.subscribe("kept");
  client.stream.destroy();
  await eventually("a lost connection subscribes again", true, async () => (await publisher.publish("kept", "x")) > 0 && got.length > 0);
  await client.quit();
}

await thousand();
await kinds(2);
await kinds(3);
await reconnects();
finish();
