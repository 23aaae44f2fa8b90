// Compares what a client returned with what one server would have returned. A check that fails
// says which call, what was expected and what came, and the next one follows.

import { createInterface } from "node:readline";
import { inspect, isDeepStrictEqual } from "node:util";

/** An expectation in words, for replies that are not the same each time. */
class Matches {
  constructor(words, test) {
    this.words = words;
    this.test = test;
  }
  [inspect.custom]() {
    return `<${this.words}>`;
  }
}

export const anything = new Matches("anything", () => true);
export const someText = new Matches("some text", (got) => got != null && got.length > 0);
export const positive = new Matches("a number above 0", (got) => got > 0);
export const anyOf = (...values) =>
  new Matches(`one of ${inspect(values)}`, (got) => values.some((value) => isSame(value, got)));
export const between = (low, high) =>
  new Matches(`${low} to ${high}`, (got) => got >= low && got <= high);
export const closeTo = (value) => new Matches(`about ${value}`, (got) => Math.abs(got - value) < 0.01);
export const sorted = (...values) =>
  new Matches(`${inspect(values)} in any order`, (got) => isSame([...got].sort(), values.sort()));
export const having = (entries) =>
  new Matches(`having ${inspect(entries)}`, (got) =>
    Object.entries(entries).every(([name, value]) =>
      value instanceof Matches ? value.test(got[name]) : isSame(value, got[name]),
    ),
  );
export const containing = (text) => new Matches(`containing ${text}`, (got) => String(got).includes(text));

export class Checks {
  passed = 0;
  failed = 0;

  /** The call's reply must be as expected. Returns what came. */
  async reply(expected, client, method, ...args) {
    const call = showCall(method, args);
    let got;
    try {
      got = await client[method](...args);
    } catch (error) {
      this.fail(call, expected, error);
      return undefined;
    }
    this.compare(call, expected, got);
    return got;
  }

  /** The call must be refused with one of these words in the text. */
  async error(words, client, method, ...args) {
    return this.rejects(words, showCall(method, args), () => client[method](...args));
  }

  async rejects(words, call, attempt) {
    const expected = `an error with ${[words].flat().join(" or ")}`;
    try {
      this.fail(call, expected, await attempt());
    } catch (error) {
      const text = errorText(error).toLowerCase();
      if ([words].flat().some((word) => text.includes(word.toLowerCase()))) {
        this.passed += 1;
      } else {
        this.fail(call, expected, error);
      }
    }
  }

  compare(call, expected, got) {
    let isRight = false;
    try {
      isRight = expected instanceof Matches ? expected.test(got) : isSame(expected, got);
    } catch {
      // The reply is not even of the shape that the test asks about.
    }
    if (isRight) {
      this.passed += 1;
    } else {
      this.fail(call, expected, got);
    }
  }

  fail(call, expected, got) {
    this.failed += 1;
    console.log(`FAILED ${call}\n  expected ${short(expected)}\n  got      ${short(got)}`);
  }

  /** Ends the program: with 1 when a check failed. */
  finish(title) {
    console.log(`${title}: ${this.passed} checks passed, ${this.failed} failed`);
    process.exit(this.failed ? 1 : 0);
  }
}

/** The test program that started us restarts Keyway and says when it serves. */
export async function askForRestart() {
  const lines = createInterface({ input: process.stdin });
  console.log("RESTART");
  for await (const line of lines) {
    if (line.trim() === "RESTARTED") {
      lines.close();
      return;
    }
    throw new Error(`expected RESTARTED, got ${line}`);
  }
  throw new Error("expected RESTARTED, got the end of the input");
}

/** Everything an asynchronous iterator of batches gives, sorted and without duplicates. */
export async function collect(batches) {
  const found = new Set();
  for await (const batch of batches) {
    for (const item of [batch].flat()) found.add(item);
  }
  return [...found].sort();
}

function isSame(expected, got) {
  return isDeepStrictEqual(plain(expected), plain(got));
}

/** Buffers as text, objects with and without a prototype alike. */
function plain(value) {
  if (Buffer.isBuffer(value)) return value.toString("latin1");
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Set) return [...value].map(plain).sort();
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

function errorText(error) {
  const causes = [...(error.errors ?? []), error.lastNodeError, error.cause, ...(error.previousErrors ?? [])];
  return [`${error.name}: ${error.message}`, ...causes.filter(Boolean).map(errorText)].join("; ");
}

function showCall(method, args) {
  const shown = args.slice(0, 6).map((argument) => short(argument, 80));
  if (args.length > shown.length) shown.push(`... ${args.length} arguments`);
  return `${method}(${shown.join(", ")})`;
}

function short(value, limit = 400) {
  const text =
    value instanceof Error
      ? errorText(value)
      : inspect(value, { depth: 6, breakLength: Infinity, maxArrayLength: 20, maxStringLength: 200 });
  return text.length <= limit ? text : `${text.slice(0, limit)}... (${text.length} characters)`;
}

/** Waits until it holds, for ten seconds at most; what is wrong then is told by the check that follows. */
export async function until(holds) {
  const deadline = Date.now() + 10_000;
  while (!holds() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
}
