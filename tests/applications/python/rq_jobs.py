"""The jobs of the RQ check, as an application has them: imported by the worker."""

from rq import get_current_job


def add(x, y):
    return x + y


def product_of_dependencies():
    """The product of what the jobs before this one gave."""
    result = 1
    for job in get_current_job().fetch_dependencies():
        result *= job.return_value()
    return result


def fails(words):
    raise ValueError(words)


def third_time(key):
    """Fails twice; a key counts how often it was tried."""
    tries = get_current_job().connection.incr(key)
    if tries < 3:
        raise RuntimeError(f"try {tries}")
    return tries


def notes(key, word):
    """Appends a word to a list: tells in which order jobs ran."""
    get_current_job().connection.rpush(key, word)


def success(job, connection, result, *args, **kwargs):
    connection.set(f"{job.id}:succeeded", result)
