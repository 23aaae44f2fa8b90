"""Compares what a client returned with what one server would have returned.

Every check awaits what it is given when that can be awaited, so one list of checks serves the
blocking client and the asyncio one. A check that fails says which call, what was expected and what
came, and the next one follows: one run tells everything that is wrong.
"""

import inspect
import sys


class Matches:
    """An expectation in words, for replies that are not the same each time."""

    def __init__(self, words, test):
        self.words = words
        self.test = test

    def __repr__(self):
        return f"<{self.words}>"


ANYTHING = Matches("anything", lambda got: True)
SOME_BYTES = Matches("some bytes", lambda got: isinstance(got, (bytes, str)) and len(got) > 0)
POSITIVE = Matches("a number above 0", lambda got: isinstance(got, int) and got > 0)


def any_of(*values):
    return Matches(f"one of {values}", lambda got: got in values)


def between(low, high):
    return Matches(f"{low} to {high}", lambda got: low <= got <= high)


def close_to(value):
    return Matches(f"about {value}", lambda got: abs(float(got) - value) < 0.01)


class Checks:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    async def reply(self, expected, function, *arguments, **options):
        """The call's reply must be as expected. Returns what came."""
        call = show_call(function, arguments, options)
        try:
            got = await settle(function(*arguments, **options))
        except Exception as error:
            self.fail(call, expected, f"{type(error).__name__}: {error}")
            return None
        self.compare(call, expected, got)
        return got

    async def error(self, kind, words, function, *arguments, **options):
        """The call must raise this kind of error, with one of these words in its text."""
        call = show_call(function, arguments, options)
        words = [words] if isinstance(words, str) else words
        expected = f"{kind.__name__} with {' or '.join(words)}"
        try:
            got = await settle(function(*arguments, **options))
        except Exception as error:
            is_right = isinstance(error, kind) and any(
                word.lower() in str(error).lower() for word in words
            )
            if is_right:
                self.passed += 1
            else:
                self.fail(call, expected, f"{type(error).__name__}: {error}")
            return
        self.fail(call, expected, got)

    def compare(self, call, expected, got):
        if isinstance(expected, Matches):
            try:
                is_right = expected.test(got)
            except Exception:
                is_right = False
        else:
            is_right = plain(expected) == plain(got)
        if is_right:
            self.passed += 1
        else:
            self.fail(call, expected, got)

    def fail(self, call, expected, got):
        self.failed += 1
        print(f"FAILED {call}\n  expected {short(expected)}\n  got      {short(got)}", flush=True)

    def finish(self, title):
        """Ends the program: with 1 when a check failed."""
        print(f"{title}: {self.passed} checks passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


async def settle(result):
    return await result if inspect.isawaitable(result) else result


async def collect(iterator):
    """Everything a scan iterator gives, blocking or asynchronous, sorted and without duplicates."""
    if hasattr(iterator, "__aiter__"):
        found = [item async for item in iterator]
    else:
        found = list(iterator)
    return sorted(set(found))


def plain(value):
    """Whether a reply is decoded, and a list or a tuple, is the library's own choice."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return {plain(item) for item in value}
    return value.decode("latin-1") if isinstance(value, bytes) else value


def show_call(function, arguments, options):
    words = [short(argument, 60) for argument in arguments[:6]]
    if len(arguments) > 6:
        words.append(f"... {len(arguments)} arguments")
    words += [f"{name}={short(value, 60)}" for name, value in options.items()]
    return f"{getattr(function, '__name__', function)}({', '.join(words)})"


def short(value, limit=400):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
