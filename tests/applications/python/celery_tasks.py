"""The tasks of the Celery check, as an application has them: imported by the worker and the client.
The environment says where the server is and what every key begins with.
"""

import os

from celery import Celery

app = Celery("celery_tasks", broker=os.environ["APP_URL"], backend=os.environ["APP_URL"])
app.conf.update(
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    result_expires=600,
    worker_hijack_root_logger=False,
)
if prefix := os.environ.get("APP_PREFIX"):
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=5)
def third_time(self):
    """Fails twice, then says how often it was tried again."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task
def fails(words):
    raise ValueError(words)


@app.task(bind=True)
def waits_for_word(self):
    self.update_state(state="PROGRESS", meta={"half": True})
    return self.request.id


@app.task(ignore_result=True)
def forgets():
    pass
