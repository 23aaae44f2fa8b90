"""huey, with its consumer in the same program: plain and priority queues, retries, tasks for later,
pipelines, chords, locks, revoked and expired tasks, waiting for results with a blocking read.
No transaction and no script of huey has keys of several slots: it needs no hash tag.
"""

import time

from checks import Checks, arguments
from huey import PriorityRedisHuey, RedisHuey
from huey.exceptions import ResultTimeout, TaskException

options = arguments()
check = Checks("huey")


def run(kind, name):
    huey = kind(f"checks-{name}", url=options.url, notify_result=True, clean_name=False)
    tries, ran = [], []

    @huey.task()
    def add(x, y):
        return x + y

    @huey.task(retries=5)
    def third_time():
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return len(tries)

    @huey.task()
    def fails():
        raise ValueError("on purpose")

    @huey.task()
    @huey.lock_task("only-one")
    def locked():
        return "got it"

    @huey.task()
    def notes(word):
        ran.append(word)

    title = kind.__name__
    if kind is PriorityRedisHuey:
        for priority in (1, 3, 2):
            notes(priority, priority=priority)
    consumer = huey.create_consumer(workers=2, periodic=False, initial_delay=0.01, max_delay=0.1, scheduler_interval=0.2)
    if kind is PriorityRedisHuey:
        consumer = huey.create_consumer(workers=1, periodic=False, scheduler_interval=0.2)
    consumer.start()
    if kind is PriorityRedisHuey:
        check.eventually(f"{title}: the highest priority goes first", [3, 2, 1], lambda: list(ran))
    count = 100 if options.full else 20
    results = [add(n, n) for n in range(count)]
    got = [result.get(blocking=True, timeout=30) for result in results]
    check.equal(f"{title}: {count} tasks give their results", [2 * n for n in range(count)], got)
    check.equal(f"{title}: a task is tried a third time", 3, eventual(third_time()))
    failed = fails()
    check.raises(f"{title}: a failure reaches the caller", TaskException, "on purpose", failed.get, blocking=True, timeout=30)
    began = time.monotonic()
    got = add.schedule((1, 1), delay=1).get(blocking=True, timeout=30)
    check.that(f"{title}: a task for later", got == 2 and time.monotonic() - began > 0.7, got)
    pipeline = add.s(1, 2).then(add, 3).then(add, 4)
    check.equal(f"{title}: a pipeline", [3, 6, 10], huey.enqueue(pipeline).get(blocking=True, timeout=30))
    check.equal(f"{title}: a task with a lock", "got it", locked().get(blocking=True, timeout=30))
    with huey.lock_task("only-one"):
        check.equal(f"{title}: its lock is seen", True, huey.is_locked("only-one"))
    revoked = add.schedule((1, 1), delay=0.5)
    revoked.revoke()
    check.equal(f"{title}: a revoked task", True, revoked.is_revoked())
    check.equal(f"{title}: gives nothing", None, revoked.get(blocking=False))
    check.equal(f"{title}: a value of its own", b"value", put_and_get(huey))
    consumer.stop(graceful=True)
    for _ in range(3):
        notes("unread")
    # Beside these, the revoked task may be there: its scheduler may end after the workers.
    pending = [task.args for task in huey.pending()]
    check.equal(f"{title}: pending tasks", [("unread",)] * 3, [args for args in pending if args != (1, 1)])
    huey.flush()
    check.equal(f"{title}: flushed", 0, len(huey))


def put_and_get(huey):
    huey.put("own", b"value")
    return huey.get("own")


def eventual(result):
    """A retried task stores its failures on the way."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return result.get(blocking=True, timeout=1)
        except (TaskException, ResultTimeout):
            result.reset()
    return None


run(RedisHuey, "plain")
run(PriorityRedisHuey, "priorities")
check.finish()
