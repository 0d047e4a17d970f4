"""The Celery application of the chaos run's workers. Its specification comes from the environment."""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import worker_init
from kombu import Queue

from service.transport.stopping import HearStarts
from tests.chaos.transport.journal import Expulsions, Journal
from tests.chaos.transport.plan import TASK_QUEUE


def configured(url: str, options: dict[str, Any]) -> Celery:
    """An application that runs its tasks at least once."""
    app = Celery("chaos", set_as_current=False)
    app.conf.update(
        broker_url=url,
        broker_transport="service.transport:Transport",
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(TASK_QUEUE)],
        task_default_queue=TASK_QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=4,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    app.steps["worker"].add(HearStarts)
    return app


_specification = json.loads(os.environ.get("CHAOS", '{"url": "memory://", "options": {}}'))
app = configured(_specification["url"], _specification["options"])


@functools.cache
def _journal() -> Journal:
    return Journal(Path(_specification["journal"]))


@worker_init.connect
def _note_expulsions(**_: object) -> None:
    logging.getLogger("service.transport").addHandler(Expulsions(_journal()))


@app.task(name="work", bind=True)
def work(self: Task, key: str, sequence: int) -> None:
    """Say that it began, take a moment, and say that it is done."""
    redelivered = int(bool(self.request.delivery_info["redelivered"]))
    _journal().write("got", -1, -1, key, sequence, redelivered)
    time.sleep(random.uniform(0.0, 0.01))
    _journal().write("done", key, sequence)
