// BullMQ, with the prefix in one hash tag as its documentation asks for before a cluster: plain,
// bulk, delayed, prioritised, repeated, failed and retried jobs, flows, rate limits, events,
// deduplication, pausing, cleaning and obliterating.

import { begin, equal, eventually, fails, finish, load, options, pause, range } from "./checks.mjs";

const { FlowProducer, Queue, QueueEvents, Worker, UnrecoverableError } = load("bullmq");
const IORedis = load("ioredis");

begin("bullmq");
const connection = new IORedis(options.url, { maxRetriesPerRequest: null });
const common = { connection, prefix: "{bull}" };
const closing = [];
const kept = (made) => {
  closing.push(made);
  return made;
};
const queueOf = (name) => kept(new Queue(name, common));
const workerOf = (name, work, more = {}) => kept(new Worker(name, work, { ...common, ...more }));
const eventsOf = async (name) => {
  const events = kept(new QueueEvents(name, common));
  await events.waitUntilReady();
  return events;
};

async function plain() {
  const count = options.full ? 1000 : 200;
  const [queue, events] = [queueOf("plain"), await eventsOf("plain")];
  const seen = [];
  events.on("completed", ({ returnvalue }) => seen.push(returnvalue));
  workerOf("plain", async (job) => job.data.n * 2, { concurrency: 10 });
  const jobs = await Promise.all(range(count).map((n) => queue.add("double", { n })));
  const got = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
  equal(`${count} jobs give their results`, range(count).map((n) => n * 2), got);
  await eventually("every event came once", count, () => seen.length);
  const bulk = await queue.addBulk(range(50).map((n) => ({ name: "double", data: { n } })));
  const more = await Promise.all(bulk.map((job) => job.waitUntilFinished(events, 60_000)));
  equal("50 jobs at once", range(50).map((n) => n * 2), more);
  equal("counts", { completed: count + 50, waiting: 0, active: 0 }, await queue.getJobCounts("completed", "waiting", "active"));
  equal("some read again", 10, (await queue.getJobs(["completed"], 0, 9)).length);
  equal("cleaned", count + 50, (await queue.clean(0, 10_000, "completed")).length);
  const job = await queue.add("double", { n: 4 }, { jobId: "named" });
  equal("a named job", 8, await job.waitUntilFinished(events, 60_000));
  equal("its state", "completed", await job.getState());
}

async function delayed() {
  const queue = queueOf("delayed");
  const times = [];
  workerOf("delayed", async (job) => times.push([job.name, Date.now() - job.timestamp]));
  await queue.add("later", {}, { delay: 800 });
  await queue.add("sooner", {}, { delay: 300 });
  equal("two jobs are delayed", 2, await queue.getDelayedCount());
  await eventually("delayed jobs, the shorter delay first", ["sooner", "later"], () => times.map(([name]) => name));
  equal("none before its time", true, (times[0]?.[1] >= 295 && times[1]?.[1] >= 795) || times);
  const job = await queue.add("promoted", {}, { delay: 60_000 });
  await job.promote();
  await eventually("a promoted job does not wait", "promoted", () => times[2]?.[0]);
}

async function prioritised() {
  const queue = queueOf("prioritised");
  const order = [];
  for (const priority of [5, 1, 3, 2, 4]) await queue.add("job", { priority }, { priority });
  equal("five are prioritised", 5, await queue.getPrioritizedCount());
  workerOf("prioritised", async (job) => order.push(job.data.priority));
  await eventually("prioritised jobs in their order", [1, 2, 3, 4, 5], () => order);
}

async function repeated() {
  const queue = queueOf("repeated");
  let ran = 0;
  workerOf("repeated", async () => (ran += 1));
  await queue.upsertJobScheduler("each", { every: 100 }, { name: "tick" });
  await eventually("a repeated job runs again and again", true, () => ran >= 4);
  equal("its schedule is known", 1, (await queue.getJobSchedulers()).length);
  equal("and can be removed", true, await queue.removeJobScheduler("each"));
  await queue.upsertJobScheduler("cron", { pattern: "* * * * * *" }, { name: "tick" });
  const before = ran;
  await eventually("one by a cron pattern", true, () => ran > before);
  await queue.removeJobScheduler("cron");
}

async function failed() {
  const [queue, events] = [queueOf("failed"), await eventsOf("failed")];
  workerOf("failed", async (job) => {
    if (job.name === "flaky" && job.attemptsMade < 2) throw new Error("not yet");
    if (job.name === "hopeless") throw new UnrecoverableError("never");
    if (job.name === "fails" && !job.data.mended) throw new Error("on purpose");
    return job.attemptsMade;
  });
  const flaky = await queue.add("flaky", {}, { attempts: 5, backoff: { type: "exponential", delay: 20 } });
  equal("a job is tried a third time", 2, await flaky.waitUntilFinished(events, 30_000));
  const broken = await queue.add("fails", {});
  await fails("a failure reaches the caller", "on purpose", broken.waitUntilFinished(events, 30_000));
  const hopeless = await queue.add("hopeless", {}, { attempts: 5 });
  await fails("one that must not be tried again", "never", hopeless.waitUntilFinished(events, 30_000));
  equal("two are failed", 2, await queue.getFailedCount());
  const again = await queue.getJob(broken.id);
  equal("its reason is kept", "on purpose", again.failedReason);
  await again.updateData({ mended: true });
  await again.retry();
  await eventually("retried by hand it is done", "completed", () => again.getState());
  await queue.retryJobs({ state: "failed" });
  await eventually("all retried: one fails again", 1, () => queue.getFailedCount());
}

async function flows() {
  const producer = kept(new FlowProducer(common));
  const events = await eventsOf("flow-parents");
  workerOf("flow-children", async (job) => job.data.n * 10, { concurrency: 4 });
  workerOf("flow-parents", async (job) => {
    const values = Object.values(await job.getChildrenValues());
    return values.reduce((sum, n) => sum + n, 0);
  });
  const child = (n) => ({ name: "child", queueName: "flow-children", data: { n } });
  const middle = { name: "middle", queueName: "flow-parents", children: range(5).map(child) };
  const flow = await producer.add({ name: "top", queueName: "flow-parents", children: [middle, child(7)] });
  equal("a flow of two levels", 170, await flow.job.waitUntilFinished(events, 30_000));
  const tree = await producer.getFlow({ id: flow.job.id, queueName: "flow-parents" });
  equal("its tree", 2, tree.children.length);
  const many = await producer.addBulk(range(10).map((n) => ({ name: "top", queueName: "flow-parents", children: [child(n)] })));
  const got = await Promise.all(many.map(({ job }) => job.waitUntilFinished(events, 30_000)));
  equal("ten flows at once", range(10).map((n) => n * 10), got);
}

async function limited() {
  const queue = queueOf("limited");
  const times = [];
  await queue.addBulk(range(6).map(() => ({ name: "job", data: {} })));
  workerOf("limited", async () => times.push(Date.now()), { limiter: { max: 2, duration: 300 } });
  await eventually("six jobs, two in 300 ms", 6, () => times.length);
  equal("not faster", true, times[5] - times[0] >= 550 || times);
}

async function rest() {
  const [queue, events] = [queueOf("rest"), await eventsOf("rest")];
  const progress = [];
  events.on("progress", ({ data }) => progress.push(data));
  await queue.pause();
  const first = await queue.add("job", {}, { deduplication: { id: "same" } });
  const second = await queue.add("job", {}, { deduplication: { id: "same" } });
  equal("a deduplicated job", first.id, second.id);
  workerOf("rest", async (job) => {
    await job.log("a line");
    await job.updateProgress(50);
    return "done";
  });
  await pause(100);
  equal("paused: nothing ran", 1, (await queue.getJobCounts("paused")).paused || (await queue.getWaitingCount()));
  await queue.resume();
  equal("resumed: it ran", "done", await first.waitUntilFinished(events, 30_000));
  await eventually("progress is told", [50], () => progress);
  equal("its log", ["a line"], (await queue.getJobLogs(first.id)).logs);
  await eventually("workers are known", 1, async () => (await queue.getWorkers()).length);
  await queue.add("job", {}, { delay: 60_000 });
  await queue.obliterate({ force: true });
  equal("obliterated", [], await connection.keys("{bull}:rest:*").then((keys) => keys.filter((key) => !/:(events|meta|stalled-check)$/.test(key))));
}

for (const part of [plain, delayed, prioritised, repeated, failed, flows, limited, rest]) await part();
for (const made of closing.reverse()) await made.close();
await connection.quit();
finish();
