"""dramatiq with the server as broker, result backend and rate limiter: many messages, retries,
delayed and dead messages, pipelines, groups with a callback, priorities, and a mutex.
"""

import os
import sys
import time

from checks import Checks, arguments, worker

options = arguments()
os.environ["APP_URL"] = options.url

import dramatiq  # noqa: E402
from dramatiq_tasks import add, alone, broker, client, fails, notes, third_time  # noqa: E402

check = Checks("dramatiq")
patience = 30_000


def run():
    count = 500 if options.full else 100
    sent = [add.send(n, n) for n in range(count)]
    got = [message.get_result(block=True, timeout=patience) for message in sent]
    check.equal(f"{count} messages give their results", [2 * n for n in range(count)], got)

    again = third_time.send("dramatiq-tries")
    check.equal("an actor that fails twice is tried a third time", 3, again.get_result(block=True, timeout=patience))

    fails.send()
    check.eventually("a message that fails for good is kept", 1, lambda: client.zcard("{dramatiq}:default.XQ"))

    began = time.monotonic()
    late = add.send_with_options(args=(1, 1), delay=1000)
    got = late.get_result(block=True, timeout=patience)
    check.that("a message with a delay of 1 s", got == 2 and time.monotonic() - began > 0.9, got)

    chain = (add.message(1, 2) | add.message(3) | add.message(4)).run()
    check.equal("a pipeline of three", 10, chain.get_result(block=True, timeout=patience))

    group = dramatiq.group([add.message(n, 1) for n in range(20)])
    group.add_completion_callback(notes.message("dramatiq-told", "group done"))
    group.run()
    check.equal("a group of 20", list(range(1, 21)), list(group.get_results(block=True, timeout=patience)))
    check.eventually("its callback ran once", [b"group done"], lambda: client.lrange("dramatiq-told", 0, -1))

    once = [alone.send("dramatiq-inside") for _ in range(10)]
    got = [message.get_result(block=True, timeout=patience) for message in once]
    check.equal("never two inside the mutex", [1] * 10, got)

    broker.join("default", timeout=patience)
    check.equal("the queue is empty", 0, client.llen("{dramatiq}:default"))


with worker(
    sys.executable, "-m", "dramatiq", "dramatiq_tasks", "--processes", "1", "--threads", "4",
) as written:  # fmt: skip
    run()
    if check.failed:
        print(written()[-6000:], file=sys.stderr)
for _ in range(7):
    add.send(1, 1)
check.equal("messages that nobody reads", 7, client.llen("{dramatiq}:default"))
broker.flush_all()
check.equal("are flushed", 0, client.exists("{dramatiq}:default"))
check.finish()
