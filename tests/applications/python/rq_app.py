"""RQ: jobs and their results, two queues of which one goes first, retries, failures, jobs that
depend on others, jobs for later, callbacks, registries, and a worker with a scheduler.

RQ's keys cannot be kept in one hash tag: a queue's name may have one (`--keys tagged`), but a job's
may not, and `rq:queues`, `rq:workers` and the like are fixed.
"""

import datetime
import os
import sys

import redis
import rq_jobs
from checks import Checks, arguments, worker
from rq import Queue, Retry, Worker
from rq.command import send_shutdown_command
from rq.job import Callback, Dependency, Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry

options = arguments()
connection = redis.Redis.from_url(options.url)
check = Checks(f"rq, keys {options.keys}")
tag = "{rq}" if options.keys == "tagged" else ""
high = Queue(f"{tag}high", connection=connection)
default = Queue(f"{tag}default", connection=connection)
made = 0


def new_id():
    global made
    made += 1
    # A run before, with other keys, may have left its jobs in the same cluster.
    return f"{options.keys}-{made}"


def result_of(job, seconds=30):
    """What the job gave, waited for as RQ waits: with XREAD BLOCK."""
    result = job.latest_result(timeout=seconds)
    return result and result.return_value


def order():
    """Jobs put while nobody works are done queue by queue, each in its order."""
    key = f"{tag}rq-order"
    for n in range(3):
        default.enqueue(rq_jobs.notes, key, f"default-{n}", job_id=new_id())
        high.enqueue(rq_jobs.notes, key, f"high-{n}", job_id=new_id())
    check.equal("lengths of the queues", (3, 3), (len(high), len(default)))
    check.that("known queues", {high.name, default.name} <= {queue.name for queue in Queue.all(connection)})
    return key


def run(key):
    expected = [f"{queue}-{n}".encode() for queue in ("high", "default") for n in range(3)]
    check.eventually("the first queue goes first", expected, lambda: connection.lrange(key, 0, -1))

    count = 100 if options.full else 20
    jobs = [default.enqueue(rq_jobs.add, n, n, job_id=new_id()) for n in range(count)]
    check.equal(f"{count} jobs give their results", [2 * n for n in range(count)], [result_of(job) for job in jobs])
    finished = FinishedJobRegistry(queue=default)
    # The result is there a moment before the registry knows.
    check.eventually("they are in the registry of finished jobs", True, lambda: set(finished.get_job_ids()) >= {job.id for job in jobs})
    many = default.enqueue_many([Queue.prepare_data(rq_jobs.add, (n, 1), job_id=new_id()) for n in range(10)])
    check.equal("ten jobs put at once", list(range(1, 11)), [result_of(job) for job in many])

    again = default.enqueue(rq_jobs.third_time, f"{tag}rq-tries", retry=Retry(max=3), job_id=new_id())
    check.equal("a job that fails twice is tried a third time", 3, succeeded(again))

    failed = default.enqueue(rq_jobs.fails, "on purpose", job_id=new_id())
    check.eventually("a job fails", "failed", lambda: failed.get_status(refresh=True).value)
    check.that("and tells why", "on purpose" in failed.latest_result().exc_string)
    registry = FailedJobRegistry(queue=default)
    check.eventually("the registry of failed jobs", [failed.id], registry.get_job_ids)
    registry.requeue(failed)
    check.eventually("a requeued job fails again", 2, lambda: len(failed.results()))

    first = default.enqueue(rq_jobs.add, 2, 1, job_id=new_id())
    second = default.enqueue(rq_jobs.add, 3, 4, job_id=new_id())
    after = {"depends_on": Dependency(jobs=[first, second]), "job_id": new_id()}
    if options.before == "one":
        both = default.enqueue(rq_jobs.product_of_dependencies, **after)
        check.equal("a job after two others has their results", 21, result_of(both))
    else:
        # It watches keys of all these jobs at once, and a job's key cannot have a hash tag.
        words = "hash to the same slot"
        args = (rq_jobs.product_of_dependencies,)
        check.raises("a job after others cannot be served", redis.ResponseError, words, default.enqueue, *args, **after)

    told = default.enqueue(rq_jobs.add, 20, 3, on_success=Callback(rq_jobs.success), job_id=new_id())
    check.equal("a job with a callback", 23, result_of(told))
    check.eventually("the callback ran", b"23", lambda: connection.get(f"{told.id}:succeeded"))

    later = default.enqueue_in(datetime.timedelta(seconds=1), rq_jobs.add, 1, 1, job_id=new_id())
    check.equal("a job for later waits in a registry", [later.id], ScheduledJobRegistry(queue=default).get_job_ids())
    check.equal("the scheduler puts it", 2, result_of(later))

    job = Job.fetch(jobs[0].id, connection=connection)
    check.equal("a job read again", (0, 0), job.args)
    job.delete()
    check.equal("a deleted job is gone", False, Job.exists(job.id, connection=connection))

    workers = Worker.all(connection=connection)
    check.equal("one worker is known", 1, len(workers))
    send_shutdown_command(connection, workers[0].name)
    check.eventually("it ends when it is told to, by a message", 0, lambda: Worker.count(connection=connection))


def succeeded(job):
    """The value of a job that may fail on the way."""
    check.eventually("a retried job ends well", "finished", lambda: job.get_status(refresh=True).value)
    return job.return_value()


def rq_worker(name, *queues):
    """RQ's own command line; its scheduler comes with it. Jobs run in the worker's process."""
    return worker(
        os.path.join(os.path.dirname(sys.executable), "rq"), "worker", "--url", options.url, "--name", name,
        "--with-scheduler", "--worker-class", "rq.SimpleWorker", *[queue.name for queue in queues],
    )  # fmt: skip


key = order()
with rq_worker("two-queues", high, default) as written:
    run(key)
    if check.failed:
        print(written()[-8000:], file=sys.stderr)

# A worker of one queue takes a job by moving it to `QUEUE:intermediate`.
if options.keys == "tagged" or options.before == "one":
    with rq_worker("one-queue", default):
        check.equal("a worker of one queue", 7, result_of(default.enqueue(rq_jobs.add, 3, 4, job_id=new_id())))

# Nobody reads now.
for n in range(5):
    default.enqueue(rq_jobs.add, n, n, job_id=new_id())
if options.before == "one":
    check.equal("emptying a queue says how many", 5, default.empty())
else:
    # Its script deletes jobs that it was not given as keys.
    check.raises("emptying a queue cannot be served", redis.ResponseError, "ttempted to access", default.empty)
check.finish()
