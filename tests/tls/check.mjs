// ioredis and node-redis over TLS with a client certificate: modules, port, CA, certificate, key.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, port, ca, certificate, key] = process.argv.slice(2);
const require = createRequire(join(modules, "here.js"));
const tls = { ca: readFileSync(ca), cert: readFileSync(certificate), key: readFileSync(key) };
const large = "x".repeat(4 << 20);

async function check(name, call) {
  assert.equal(await call("ACL", "WHOAMI"), "client");
  await Promise.all(Array.from({ length: 200 }, (_, n) => call("SET", `${name}:${n}`, `${n}`)));
  assert.equal(await call("GET", `${name}:199`), "199");
  await call("SET", `${name}:large`, large);
  assert.equal(await call("GET", `${name}:large`), large);
  await call("RPUSH", `${name}:list`, "a");
  assert.deepEqual(await call("BLPOP", `${name}:list`, "5"), [`${name}:list`, "a"]);
}

const Redis = require("ioredis");
const single = new Redis({ host: "localhost", port: Number(port), tls });
await check("ioredis", (...words) => single.call(...words));
single.disconnect();

const cluster = new Redis.Cluster([{ host: "localhost", port: Number(port) }], {
  dnsLookup: (address, callback) => callback(null, address),
  redisOptions: { tls: { ...tls, checkServerIdentity: () => undefined } },
});
await cluster.set("ioredis:cluster", "1");
assert.equal(await cluster.get("ioredis:cluster"), "1");
cluster.disconnect();

const { createClient } = require("redis");
const client = createClient({ socket: { host: "localhost", port: Number(port), tls: true, ...tls } });
await client.connect();
await check("node-redis", (...words) => client.sendCommand(words));
const subscriber = client.duplicate();
await subscriber.connect();
const heard = new Promise((resolve) => subscriber.subscribe("node:channel", resolve).then(() => client.publish("node:channel", "hello")));
assert.equal(await heard, "hello");
subscriber.destroy();
client.destroy();
console.log("ioredis and node-redis: all is well");
process.exit(0);
