"""The test application: small tasks whose doings can be seen from outside, in results and in Redis.

Run as `celery -A tests.celery_kafka.apps.work worker`. Tests name its tasks and never import it.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery, Task
from redis import Redis

from tests.celery_kafka.apps import SETTINGS_VARIABLE
from tests.celery_kafka.apps.topology import QUEUES

_settings = json.loads(os.environ[SETTINGS_VARIABLE])
_prefix = _settings["result_backend_transport_options"]["global_keyprefix"]

app = Celery("work")
app.conf.update(_settings)
app.conf.update(
    task_queues=QUEUES,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
)


def _redis() -> Redis:
    return Redis.from_url(_settings["result_backend"], decode_responses=True)


@app.task(name="pytest_celery.vendors.worker.tasks.ping")
def ping() -> str:
    """What pytest-celery's `setup.ready(ping=True)` calls."""
    return "pong"


@app.task(name="work.add")
def add(x: int, y: int) -> int:
    """x + y."""
    return x + y


@app.task(name="work.total")
def total(numbers: list[int]) -> int:
    """Their sum."""
    return sum(numbers)


@app.task(name="work.fail")
def fail(why: str) -> None:
    """Always raises ValueError."""
    raise ValueError(why)


@app.task(name="work.visit", bind=True)
def visit(self: Task, route: list[str]) -> list[str]:
    """The route, extended by the routing key this task came by."""
    return [*route, self.request.delivery_info["routing_key"]]


@app.task(name="work.who", bind=True)
def who(self: Task) -> str:
    """The node name of the worker that runs it, once a moment of work is done."""
    time.sleep(0.02)
    return str(self.request.hostname)


@app.task(name="work.keep_failing", bind=True)
def keep_failing(self: Task, failures: int, countdown: float) -> list[float]:
    """Fails `failures` times, `countdown` seconds apart. Returns when each attempt began (wall clock)."""
    with _redis() as redis:
        redis.rpush(f"{_prefix}attempts:{self.request.id}", time.time())
        began = [float(moment) for moment in redis.lrange(f"{_prefix}attempts:{self.request.id}", 0, -1)]
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, max_retries=failures)
    return began


@app.task(name="work.hold", bind=True)
def hold(self: Task, name: str, seconds: int) -> int:
    """Notes that it runs, then waits to be let go. Returns how often it was begun."""
    with _redis() as redis:
        begun = int(redis.rpush(f"{_prefix}begun:{name}", self.request.hostname))
        assert redis.blpop([f"{_prefix}let-go:{name}"], timeout=seconds), f"nobody let {name} go"
    return begun


@app.task(name="work.step", bind=True)
def step(self: Task, key: str, number: int) -> dict[str, Any]:
    """Notes in the journal of `key` when it begins and ends, with a moment between in which others could interfere."""
    journal = f"{_prefix}journal:{key}"
    with _redis() as redis:
        redis.rpush(journal, f"{number} begins")
        time.sleep(0.02)
        redis.rpush(journal, f"{number} ends")
    return {"key": key, "worker": self.request.hostname}
