"""What every script of this folder needs: its arguments, the worker processes it starts, and checks
that say what was expected and what came. Prints a line for each check and ends with a count; the
exit status is 1 when a check failed.
"""

import argparse
import contextlib
import faulthandler
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    """The URL of the server, how much to do, and whether keys are kept in one hash tag."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--full", action="store_true", help="as many jobs as the issue asks for")
    parser.add_argument("--keys", choices=["tagged", "plain"], default="tagged")
    parser.add_argument("--before", choices=["cluster", "one"], default="one", help="what serves")
    parser.add_argument("--deadline-s", type=float, default=120)
    options = parser.parse_args()
    # Where it hangs is told before the end.
    faulthandler.dump_traceback_later(options.deadline_s, exit=True)
    return options


class Checks:
    def __init__(self, title):
        self.title = title
        self.passed = 0
        self.failed = 0
        self.began = time.monotonic()

    def equal(self, what, expected, got):
        if expected == got:
            self.passed += 1
            print(f"ok     {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED {what}\n  expected {short(expected)}\n  got      {short(got)}", flush=True)

    def that(self, what, holds, got=""):
        self.equal(what, True, bool(holds) or got or False)

    def raises(self, what, kind, words, function, *args, **options):
        """The call must fail with this kind of error and these words in its text."""
        try:
            got = function(*args, **options)
        except kind as error:
            self.that(what, words in str(error), str(error))
        else:
            self.equal(what, f"{kind.__name__}: {words}", got)

    def eventually(self, what, expected, function, seconds=30):
        """What the call gives becomes the expected within some seconds."""
        deadline = time.monotonic() + seconds
        while (got := function()) != expected and time.monotonic() < deadline:
            time.sleep(0.02)
        self.equal(what, expected, got)

    def finish(self):
        took = time.monotonic() - self.began
        print(f"{self.title}: {self.passed} passed, {self.failed} failed in {took:.1f} s", flush=True)
        # Threads of a library that wait for ever must not keep a finished program.
        os._exit(1 if self.failed else 0)


@contextlib.contextmanager
def worker(*command, **environment):
    """A worker process of an application; ended with SIGTERM. What it wrote is shown when the
    block raises, and can be read by calling the yielded function."""
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=HERE,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

        def written():
            log.seek(0)
            return log.read().decode(errors="replace")

        try:
            yield written
        except BaseException:
            print("the worker wrote:", written()[-6000:], file=sys.stderr, flush=True)
            raise
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def short(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
