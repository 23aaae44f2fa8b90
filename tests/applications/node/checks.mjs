// What every script of this folder needs: its arguments, where the packages are, and checks that
// say what was expected and what came. Prints a line for each check and ends with a count; the exit
// status is 1 when a check failed.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { isDeepStrictEqual, inspect, parseArgs } from "node:util";

export const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    // Where node_modules is.
    modules: { type: "string" },
    // As many jobs as the issue asks for.
    full: { type: "boolean", default: false },
    keys: { type: "string", default: "tagged" },
    before: { type: "string", default: "one" },
    "deadline-s": { type: "string", default: "120" },
  },
});

export const load = createRequire(join(resolve(options.modules), "from-here.js"));
const began = Date.now();

let title = "";
let passed = 0;
let failed = 0;
let last = "nothing";

setTimeout(() => {
  console.log(`FAILED: not done within ${options["deadline-s"]} s; the last check was: ${last}`);
  process.exit(1);
}, Number(options["deadline-s"]) * 1000).unref();

process.on("unhandledRejection", (error) => {
  console.log("FAILED: a promise nobody waited for was rejected:", error);
  process.exit(1);
});

export function begin(name) {
  title = name;
}

export function equal(what, expected, got) {
  last = what;
  if (isDeepStrictEqual(expected, got)) {
    passed += 1;
    console.log(`ok     ${what}`);
  } else {
    failed += 1;
    console.log(`FAILED ${what}\n  expected ${short(expected)}\n  got      ${short(got)}`);
  }
}

// What the function gives becomes the expected within some seconds.
export async function eventually(what, expected, act, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  let got = await act();
  while (!isDeepStrictEqual(expected, got) && Date.now() < deadline) {
    await pause(20);
    got = await act();
  }
  equal(what, expected, got);
}

export async function fails(what, words, promise) {
  try {
    equal(what, `an error: ${words}`, await promise);
  } catch (error) {
    equal(what, true, error.message.includes(words) || error.message);
  }
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export const range = (count) => Array.from({ length: count }, (_, n) => n);

export function finish() {
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`${title}: ${passed} passed, ${failed} failed in ${seconds} s`);
  process.exit(failed ? 1 : 0);
}

function short(value) {
  const text = inspect(value, { depth: 5 });
  return text.length <= 600 ? text : `${text.slice(0, 600)}... (${text.length} characters)`;
}
