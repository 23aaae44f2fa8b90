"""arq, with its worker in the same program: results, jobs that are put twice, for later, tried
again, failed, aborted, a repeated (cron) job, and the health record.

Names of queues, jobs and cron jobs are free: `--keys tagged` puts one hash tag into each. `arq:abort`
is not, and stands in the transaction after each job. Without tags one transaction over several slots
looks for a result and for its job, which before a cluster is two looks: then it may see neither.
"""

import asyncio
import datetime
import time
from urllib.parse import urlsplit

from arq import Retry, create_pool, cron
from arq.connections import RedisSettings
from arq.jobs import JobStatus
from arq.worker import Worker
from checks import Checks, arguments

options = arguments()
check = Checks(f"arq, keys {options.keys}")
tag = "{arq}" if options.keys == "tagged" else ""
queue = f"{tag}arq:queue"
made = 0
ran = []


async def add(context, x, y):
    return x + y


async def third_time(context):
    if context["job_try"] < 3:
        raise Retry(defer=0.05)
    return context["job_try"]


async def fails(context, words):
    raise ValueError(words)


async def sleeps(context):
    await asyncio.sleep(60)


async def each_second(context):
    ran.append(time.time())


def new_id():
    global made
    made += 1
    return f"{tag}job-{made}"


async def failure(job):
    try:
        return await job.result(timeout=30, poll_delay=0.02)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def run(pool):
    async def put(function, *args, **how):
        return await pool.enqueue_job(function.__name__, *args, _job_id=how.pop("_job_id", new_id()), **how)

    count = 100 if options.full else 20
    jobs = [await put(add, n, n) for n in range(count)]
    got = [await job.result(timeout=30, poll_delay=0.02) for job in jobs]
    check.equal(f"{count} jobs give their results", [2 * n for n in range(count)], got)
    check.equal("a job that is there already is not put again", None, await put(add, 1, 1, _job_id=jobs[0].job_id))
    check.equal("status of a job that is done", JobStatus.complete, await jobs[0].status())
    check.equal("its arguments are kept", (0, 0), (await jobs[0].info()).args)
    again = await put(third_time)
    check.equal("a job that wants to be tried again", 3, await again.result(timeout=30, poll_delay=0.02))
    check.equal("a failure reaches the caller", "ValueError: on purpose", await failure(await put(fails, "on purpose")))
    began = time.monotonic()
    later = await put(add, 1, 1, _defer_by=datetime.timedelta(seconds=1))
    check.equal("status of a job for later", JobStatus.deferred, await later.status())
    got = await later.result(timeout=30, poll_delay=0.02)
    check.that("it waits until then", got == 2 and time.monotonic() - began > 0.9, got)
    long = await put(sleeps)
    while await long.status() != JobStatus.in_progress:
        await asyncio.sleep(0.02)
    check.equal("a running job is aborted", True, await long.abort(timeout=30, poll_delay=0.02))
    results = await pool.all_job_results()
    check.that("all results are found", {job.job_id for job in jobs} <= {result.job_id for result in results})
    while len(ran) < 3:
        await asyncio.sleep(0.05)
    # On a busy machine one may begin late, and the next one right behind it.
    check.that("a cron job ran once a second", len(ran) <= ran[-1] - ran[0] + 2, ran)
    check.that("the health record is there", await pool.get(f"{queue}:health-check"))
    await pool.enqueue_job("add", 1, 1, _job_id=new_id(), _queue_name=f"{tag}unread")
    check.equal("queued jobs", 1, len(await pool.queued_jobs(queue_name=f"{tag}unread")))


async def main():
    url = urlsplit(options.url)
    settings = RedisSettings(host=url.hostname, port=url.port)
    worker = Worker(
        functions=[add, third_time, fails, sleeps],
        cron_jobs=[cron(each_second, name=f"{tag}each-second", second=set(range(60)), unique=True)],
        redis_settings=settings,
        queue_name=queue,
        allow_abort_jobs=True,
        poll_delay=0.05,
        handle_signals=False,
        keep_result=600,
    )
    working = asyncio.create_task(worker.async_run())
    pool = await create_pool(settings, default_queue_name=queue)
    checks = asyncio.create_task(run(pool))
    done, _ = await asyncio.wait([working, checks], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    check.equal("the worker still works", False, working.done())


# arq wants to find its loop the old way.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
check.finish()
