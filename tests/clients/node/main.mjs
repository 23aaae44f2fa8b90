// ioredis and node-redis before Keyway.
//
//     main.mjs --library ioredis|node-redis --mode single|cluster --protocol 2|3 --modules FOLDER
//              --port PORT --protected-port PORT --password PASSWORD
//
// Prints RESTART and waits for RESTARTED on standard input when Keyway is to be restarted. Ends
// with status 1 when a check failed, and tells which.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { Checks } from "./check.mjs";

const text = { type: "string" };
const { values } = parseArgs({
  options: {
    library: text,
    mode: text,
    protocol: text,
    modules: text,
    port: text,
    "protected-port": text,
    password: text,
    "deadline-s": { type: "string", default: "60" },
  },
});

setTimeout(() => {
  console.log(`FAILED: not done within ${values["deadline-s"]} s`);
  process.exit(1);
}, Number(values["deadline-s"]) * 1000).unref();

const names = { ioredis: "ioredis", "node-redis": "redis" };
const load = createRequire(join(resolve(values.modules), "from-here.js"));
const library = load(names[values.library]);
const { version } = load(`${names[values.library]}/package.json`);
const { run } = await import(values.library === "ioredis" ? "./ioredis.mjs" : "./node_redis.mjs");

const check = new Checks();
await run(check, library, {
  mode: values.mode,
  protocol: Number(values.protocol),
  port: Number(values.port),
  protectedPort: Number(values["protected-port"]),
  password: undefined,
  secret: values.password,
  version,
});
check.finish(`${values.library} ${version} ${values.mode}, RESP${values.protocol}`);
