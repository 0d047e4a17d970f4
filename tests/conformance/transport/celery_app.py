"""The Celery application of the suite's worker. Where it works is told by the environment, where it notes by a file."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from celery import Celery, Task


def configured(where: dict[str, Any]) -> Celery:
    """An application on the backend described by ``url``, ``transport`` and ``options``."""
    app = Celery("conformance", set_as_current=False)
    app.conf.update(
        broker_url=where["url"],
        broker_transport=where["transport"],
        broker_transport_options=where["options"],
        broker_connection_retry_on_startup=True,
        task_default_queue=f"celery-{next(iter(where['options'].values()))}",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=2,
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )
    return app


app = configured(
    json.loads(os.environ.get("CONFORMANCE_BACKEND", '{"url": "memory://", "transport": null, "options": {"": ""}}'))
)


def _write(kind: str, **facts: Any) -> None:
    line = json.dumps({"kind": kind, "at": time.time(), **facts}) + "\n"
    journal = os.open(os.environ["CONFORMANCE_JOURNAL"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)


@app.task(name="note")
def note(kind: str, **facts: Any) -> None:
    """Say that it ran."""
    _write(kind, **facts)


@app.task(name="add")
def add(one: int, other: int, of: str) -> int:
    """Add and pass on."""
    _write(of, total=one + other)
    return one + other


@app.task(name="flaky", bind=True, max_retries=5)
def flaky(self: Task, kind: str, fails: int) -> None:
    """Fail some times, and say how often it was tried."""
    _write(kind, tries=self.request.retries)
    if self.request.retries < fails:
        raise self.retry(countdown=0.3)


@app.task(name="last_words", bind=True)
def last_words(self: Task, kind: str) -> None:
    """Kill the pool's process when delivered for the first time."""
    redelivered = bool(self.request.delivery_info["redelivered"])
    _write(kind, redelivered=redelivered)
    if not redelivered:
        os.kill(os.getpid(), signal.SIGKILL)
