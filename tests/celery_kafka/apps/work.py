"""The test application: small tasks whose doings can be seen from outside, in results and in Redis.

Run as `celery -A tests.celery_kafka.apps.work worker`. Tests name its tasks and never import it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded
from redis import Redis

from tests.celery_kafka.apps import SETTINGS_VARIABLE
from tests.celery_kafka.apps.topology import QUEUES

_settings = json.loads(os.environ[SETTINGS_VARIABLE])
_prefix = _settings["result_backend_transport_options"]["global_keyprefix"]

_LONGEST_WAIT = 120
"""Seconds; the client's own limit would end a task that is held for longer than that."""

app = Celery("work")
app.conf.update({name: value for name, value in _settings.items() if name != "journal_url"})
app.conf.update(
    task_queues=QUEUES,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
)


def _redis() -> Redis:
    url = _settings.get("journal_url") or _settings["result_backend"]
    return Redis.from_url(url, decode_responses=True, socket_timeout=_LONGEST_WAIT)


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


def _note_begin(task: Task, name: str) -> int:
    with _redis() as redis:
        return int(redis.rpush(f"{_prefix}begun:{name}", task.request.hostname))


@app.task(name="work.note", bind=True)
def note(self: Task, name: str) -> float:
    """Notes that it runs. Returns when (wall clock)."""
    _note_begin(self, name)
    return time.time()


@app.task(name="work.nap")
def nap(seconds: float) -> str:
    """Sleeps; says so when a soft time limit wakes it."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "woken"
    return "slept"


@app.task(name="work.turn_down", bind=True)
def turn_down(self: Task, name: str, times: int, requeue: bool) -> int:
    """Rejects its message so many times. Returns how often it was begun."""
    begun = _note_begin(self, name)
    if begun <= times:
        raise Reject("not now", requeue=requeue)
    return begun


@app.task(name="work.die", bind=True)
def die(self: Task, name: str) -> int:
    """Takes its pool process with it the first time. Returns how often it was begun."""
    begun = _note_begin(self, name)
    if begun == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return begun


@app.task(name="work.die_for_good", bind=True, reject_on_worker_lost=False)
def die_for_good(self: Task, name: str) -> None:
    """Takes its pool process with it; its message is not put back."""
    _note_begin(self, name)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="work.process")
def process(mebibytes: int = 0) -> int:
    """Fills so much memory for a moment. Returns the id of its process."""
    assert len(bytes(1 << 20) * mebibytes) == mebibytes << 20
    return os.getpid()


@app.task(name="work.hold_early", bind=True, acks_late=False)
def hold_early(self: Task, name: str, seconds: int) -> int:
    """As `hold`, acknowledged before it runs."""
    return int(_hold(self, name, seconds))


@app.task(name="work.hold", bind=True)
def hold(self: Task, name: str, seconds: int) -> int:
    """Notes that it runs, then waits to be let go. Returns how often it was begun."""
    return _hold(self, name, seconds)


def _hold(task: Task, name: str, seconds: int) -> int:
    begun = _note_begin(task, name)
    with _redis() as redis:
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
