"""SAQ, an asyncio queue, with its worker in the same program: results by pub/sub, retries with a
back-off, jobs for later, unique keys, aborted jobs, a cron job, and the numbers it keeps.

All keys share a slot when the queue's name has a hash tag and each job's key as well: `saq:abort:KEY`
has no other place for one. The key of a cron job is not free, so these cannot be served.
"""

import asyncio
import time

from checks import Checks, arguments
from saq import CronJob, Queue, Status, Worker
from saq.queue import JobError

options = arguments()
check = Checks("saq")
ran = []
tries = []
made = 0


def new_key():
    global made
    made += 1
    return f"{{saq}}{made}"



async def add(context, *, x, y):
    return x + y


async def third_time(context):
    tries.append(1)
    if len(tries) < 3:
        raise RuntimeError("not yet")
    return len(tries)


async def fails(context):
    raise ValueError("on purpose")


async def sleeps(context):
    await asyncio.sleep(60)


async def each_second(context):
    ran.append(time.monotonic())


async def run(queue, worker):
    # The sweep of a worker that starts takes jobs that are on their way for lost ones.
    while not await queue.redis.exists("saq:{saq}:sweep"):
        await asyncio.sleep(0.02)
    count = 100 if options.full else 20
    got = await queue.map("add", [{"x": n, "y": n, "key": new_key()} for n in range(count)], timeout=30)
    check.equal(f"{count} jobs give their results", [2 * n for n in range(count)], got)
    got = await queue.apply("third_time", key=new_key(), retries=5, retry_delay=0.05, retry_backoff=True)
    check.equal("a job is tried a third time", 3, got)
    try:
        got = await queue.apply("fails", key=new_key(), timeout=10)
    except JobError as error:
        got = "on purpose" in str(error)
    check.equal("a failure reaches the caller", True, got)
    began = time.monotonic()
    later = await queue.enqueue("add", key=new_key(), x=1, y=1, scheduled=time.time() + 1)
    check.that("a job for later is scheduled", later and later.scheduled > 0)
    check.equal("jobs for later are counted", True, await queue.count("incomplete") >= 1)
    await later.refresh(until_complete=30)
    check.that("and done then", later.result == 2 and time.monotonic() - began > 0.7, later)
    unique = await queue.enqueue("sleeps", key="{saq}unique", timeout=60)
    check.equal("a key that is there is not put again", None, await queue.enqueue("sleeps", key="{saq}unique"))
    while (await queue.job("{saq}unique")).status != Status.ACTIVE:
        await asyncio.sleep(0.02)
    await unique.abort("enough")
    await unique.refresh(until_complete=30)
    check.equal("a running job is aborted", (Status.ABORTED, "enough"), (unique.status, unique.error))
    if options.before == "one":
        while len(ran) < 2:
            await asyncio.sleep(0.05)
        check.that("a cron job ran each second", 0.5 < ran[1] - ran[0] < 2.5, ran)
    await worker.worker_info()
    info = await queue.info(jobs=True)
    check.equal("the numbers it keeps", (queue.name, 1), (info["name"], len(info["workers"])))
    check.that("sweeping is harmless", isinstance(await queue.sweep(lock=1), list))


async def main():
    queue = Queue.from_url(options.url, name="{saq}")
    await queue.connect()
    worker = Worker(
        queue,
        [add, third_time, fails, sleeps],
        concurrency=4,
        cron_jobs=[CronJob(each_second, cron="* * * * * */1")] if options.before == "one" else [],
        timers={"schedule": 1, "sweep": 60, "abort": 1, "worker_info": 2},
        dequeue_timeout=1,
    )
    working = asyncio.create_task(worker.start())
    await run(queue, worker)
    await worker.stop()
    working.cancel()
    await queue.disconnect()


asyncio.run(main())
check.finish()
