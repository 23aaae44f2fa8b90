"""Celery with the server as broker and as result backend: many tasks, retries, groups, chains,
chords, tasks for later, priorities, a task that is revoked, and remote control of the worker.

Its scripts have keys of several names, so before a cluster every key begins with one hash tag (Celery's
and kombu's `global_keyprefix`): `--keys tagged`. Before one server `--keys plain` passes as well.
"""

import os
import sys
import time

from checks import Checks, arguments, worker

options = arguments()
os.environ["APP_URL"] = options.url
if options.keys == "tagged":
    os.environ["APP_PREFIX"] = "{celery}:"

from celery import chain, chord, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from celery_tasks import add, app, fails, forgets, third_time, total, waits_for_word  # noqa: E402

check = Checks(f"celery, keys {options.keys}")
patience = 60


def run():
    tasks = 500 if options.full else 100
    results = [add.delay(n, n) for n in range(tasks)]
    expected = [2 * n for n in range(tasks)]
    got = [result.get(timeout=patience) for result in results]
    check.equal(f"{tasks} tasks give their results", expected, got)

    retried = [third_time.delay() for _ in range(10)]
    got = [result.get(timeout=patience) for result in retried]
    check.equal("ten tasks that fail twice are tried a third time", [2] * 10, got)

    failed = fails.delay("on purpose")
    check.raises("a failure reaches the caller", ValueError, "on purpose", failed.get, timeout=patience)
    check.equal("its state is kept", "FAILURE", app.AsyncResult(failed.id).state)

    got = group(add.s(n, 1) for n in range(20)).delay().get(timeout=patience)
    check.equal("a group of 20", list(range(1, 21)), got)
    got = chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=patience)
    check.equal("a chain of three", 10, got)
    chords = 10 if options.full else 3
    made = [chord((add.s(n, n) for n in range(20)), total.s()).delay() for _ in range(chords)]
    got = [result.get(timeout=patience) for result in made]
    check.equal(f"{chords} chords of 20 with a body", [380] * chords, got)
    broken = chord([add.s(1, 1), fails.s("a part")], total.s()).delay()
    check.raises("a chord whose part fails", Exception, "a part", broken.get, timeout=patience)

    began = time.monotonic()
    got = add.apply_async((1, 1), countdown=1).get(timeout=patience)
    took = time.monotonic() - began
    check.that("a task with a countdown of 1 s waits for it", got == 2 and took > 0.9, took)

    got = [add.apply_async((n, 0), priority=n).get(timeout=patience) for n in (0, 3, 6, 9)]
    check.equal("a task in each of the four priority queues", [0, 3, 6, 9], got)

    revoked = add.apply_async((1, 1), countdown=2)
    revoked.revoke()
    check.raises("a revoked task", TaskRevokedError, "revoked", revoked.get, timeout=patience)

    replies = app.control.ping(timeout=3)
    check.equal("the worker answers a ping", ["pong"], [r["ok"] for reply in replies for r in reply.values()])
    registered = app.control.inspect(timeout=3).registered() or {}
    check.that("and tells its tasks", "celery_tasks.add" in sum(registered.values(), []), registered)

    known = add.delay(5, 5)
    known.get(timeout=patience)
    known.forget()
    check.equal("a forgotten result is gone", "PENDING", app.AsyncResult(known.id).state)
    some = [forgets.delay() for _ in range(5)] and waits_for_word.delay()
    check.equal("a task that tells its state on the way", some.id, some.get(timeout=patience))

    def unread():
        with app.connection_for_read() as connection:
            return connection.default_channel.client.llen("celery")

    check.eventually("the queue is empty", 0, unread)
    put = [add.apply_async((1, 1), queue="nobody-reads") for _ in range(7)]
    with app.connection_for_write() as connection:
        check.equal("purging a queue says how many", 7, connection.default_channel.queue_purge("nobody-reads"))
    del put


with worker(
    sys.executable, "-m", "celery", "--app", "celery_tasks", "worker",
    "--concurrency", "2", "--loglevel", "info", "--hostname", "checks@localhost",
) as written:
    run()
    if check.failed:
        print(written()[-6000:], file=sys.stderr)
check.finish()
