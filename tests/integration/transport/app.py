"""A small Celery project on the transport, as any project might have one. Settings come from the environment.

Every task writes what it does into a journal file, one JSON line an entry, so that tests judge by what really ran.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery, Task
from kombu import Exchange, Queue

from service.transport.stopping import HearStarts

STAGES = ("intake", "triage", "policy", "playbook", "tool")
EXCHANGE = Exchange("exceptions", type="topic")

app = Celery("transport-tests")
app.conf.update(
    broker_url=f"kafka://{os.environ.get('KAFKA_BOOTSTRAP_SERVERS', 'localhost:9092')}//",
    broker_transport="service.transport:Transport",
    broker_transport_options=json.loads(os.environ.get("TRANSPORT_OPTIONS", "{}")),
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue="plain",
    task_queues=[Queue("plain"), *(Queue(stage, EXCHANGE, routing_key=f"{stage}.#") for stage in STAGES)],
    worker_prefetch_multiplier=4,
)
app.steps["worker"].add(HearStarts)


def note(kind: str, **facts: Any) -> None:
    """Append an entry to the journal: one write, so that processes do not mix lines."""
    line = json.dumps({"kind": kind, "at": time.time(), "pid": os.getpid(), **facts}) + "\n"
    journal = os.open(os.environ["JOURNAL"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)


def routed(task: Task, stage: str, lane: str, /, *args: Any, **kwargs: Any) -> Any:
    """A signature that goes through the topic exchange, as the pipeline's stages do."""
    options = {"exchange": "exceptions", "routing_key": f"{stage}.{lane}", "queue": stage}
    return task.s(*args, **kwargs).set(**options)


@app.task
def work(number: int, key: str = "", seconds: float = 0.0) -> None:
    """Do something for a while."""
    note("begin", number=number, key=key)
    time.sleep(seconds)
    note("end", number=number, key=key)


@app.task
def stage(trail: list[str], name: str) -> list[str]:
    """One stage of a chain: adds its name to the trail it hands on."""
    note("stage", name=name, trail=trail)
    return [*trail, name]


@app.task(bind=True, max_retries=5)
def flaky(self: Task, succeeds_at: int, countdown: float) -> None:
    """Fail until a number of retries is reached."""
    note("try", retries=self.request.retries)
    if self.request.retries < succeeds_at:
        raise self.retry(countdown=countdown)


@app.task
def on_time(due: float) -> None:
    """Say how late it is."""
    note("on_time", due=due, late=time.time() - due)


@app.task(bind=True)
def last_words(self: Task) -> None:
    """Kill the pool process at the first try."""
    note("attempt", redelivered=self.request.delivery_info["redelivered"])
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), 9)
