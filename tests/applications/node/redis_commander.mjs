// redis-commander: the web interface, started as its users start it, asked what a browser asks:
// the tree of keys over all shards, every type of value, changes, commands, server information.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join, resolve } from "node:path";

import { begin, equal, eventually, finish, load, options, range } from "./checks.mjs";

const Redis = load("ioredis");
begin("redis-commander");
const { hostname, port } = new URL(options.url);
const web = await freePort();
const prefix = `commander${Date.now()}`;
const program = join(resolve(options.modules), "redis-commander/bin/redis-commander.js");
const server = spawn(
  process.execPath,
  [program, "--redis-host", hostname, "--redis-port", port, "--address", "127.0.0.1", "--port", web, "--nosave", "--no-log-data"],
  { stdio: ["ignore", "pipe", "pipe"] },
);
let wrote = "";
for (const stream of [server.stdout, server.stderr]) stream.on("data", (data) => (wrote += data));
process.on("exit", (code) => {
  server.kill();
  if (code) console.log(`redis-commander wrote:\n${wrote.slice(-4000)}`);
});

const redis = new Redis(options.url);
for (const n of range(50)) await redis.set(`${prefix}:texts:${n}`, `text ${n}`);
await redis.rpush(`${prefix}:list`, "a", "b", "c");
await redis.sadd(`${prefix}:set`, "x", "y");
await redis.zadd(`${prefix}:zset`, 1, "one", 2, "two");
await redis.hset(`${prefix}:hash`, "field", "value");
await redis.xadd(`${prefix}:stream`, "*", "field", "value");

const at = `http://127.0.0.1:${web}`;
await eventually("the page is served", 200, () => fetch(at).then((answer) => answer.status, () => 0));
const connected = await (await fetch(`${at}/connections`)).json();
const id = connected.connections[0]?.conId;
equal("it is connected", `R:${hostname}:${port}:0`, id);
const api = `${at}/apiv2`;
const json = async (path, init) => (await fetch(`${api}${path}`, init)).json();
const post = async (path, form, method = "POST") => {
  const answer = await fetch(`${api}${path}`, { method, body: new URLSearchParams(form) });
  return answer.status;
};

const tree = (await json(`/keystree/${id}/${prefix}:?absolute=false`)).data;
const branches = ["hash", "list (3)", "set (2)", "stream (1)", "texts:* (50)", "zset (2)"];
equal("the tree of keys", branches, tree.map((node) => node.text));
const leaves = (await json(`/keystree/${id}/${prefix}:texts:?absolute=false`)).data;
equal("a branch of it, from all shards", 50, leaves.length);
equal("keys by a pattern", 50, (await json(`/keys/${id}/${prefix}:texts:*`)).data.length);

const details = (key) => json(`/key/${id}/${prefix}:${key}`);
equal("a string", ["string", "text 7"], pick(await details("texts:7"), "type", "value"));
equal("a list", ["list", 3], pick(await details("list"), "type", "length"));
equal("its items", ["a", "b", "c"], (await details("list")).items.map((item) => item.value));
equal("a set", ["x", "y"], (await details("set")).members.sort());
equal("a sorted set", [["one", "1"], ["two", "2"]], (await details("zset")).items.map((item) => [item.value, String(item.score)]).sort());
equal("a hash", { field: "value" }, (await details("hash")).data);
equal("a stream", "stream", (await details("stream")).type);

const about = { connectionId: id };
equal("a value is added to a list", 200, await post("/list/value", { ...about, key: `${prefix}:list`, value: "d", type: "rpush" }));
equal("it is there", "d", await redis.lindex(`${prefix}:list`, -1));
equal("a list item is edited", 200, await post("/list/value", { ...about, key: `${prefix}:list`, value: "A", index: 0 }, "PUT"));
equal("it is changed", "A", await redis.lindex(`${prefix}:list`, 0));
equal("a list item is deleted", 200, await post("/list/value", { ...about, key: `${prefix}:list`, index: 1 }, "DELETE"));
equal("it is gone", ["A", "c", "d"], await redis.lrange(`${prefix}:list`, 0, -1));
equal("a member is added", 200, await post("/set/member", { ...about, key: `${prefix}:set`, value: "z" }));
equal("a hash field is added", 200, await post("/hash/field", { ...about, key: `${prefix}:hash`, field: "more", value: "1" }));
equal("it is read", "1", await redis.hget(`${prefix}:hash`, "more"));
equal("a string is saved", 200, await post(`/key/${id}/${prefix}:texts:7`, { stringValue: "new" }));
equal("it is new", "new", await redis.get(`${prefix}:texts:7`));
equal("a key is deleted", 200, await post(`/key/${id}/${prefix}:texts:7?action=delete`, {}));
equal("it is not there", 0, await redis.exists(`${prefix}:texts:7`));

const run = async (cmd) => {
  const answer = await fetch(`${api}/exec/${id}`, { method: "POST", body: new URLSearchParams({ cmd }) });
  return answer.json();
};
equal("a command typed in", "text 8", (await run(`get ${prefix}:texts:8`)).data);
equal("one of several keys", ["text 8", "text 9"], (await run(`mget ${prefix}:texts:8 ${prefix}:texts:9`)).data);
const { data } = await json("/server/info");
equal("server information", "standalone", data[0]?.info.find(({ key }) => key === "Redis mode")?.value);
finish();

function pick(object, ...names) {
  return names.map((name) => object[name]);
}

// A port that was free a moment ago.
function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.on("error", fail);
    probe.listen(0, "127.0.0.1", () => {
      const { port: free } = probe.address();
      probe.close(() => done(free));
    });
  });
}
