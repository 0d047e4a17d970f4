"""The Celery application that is measured. Workers find their settings in one environment variable."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Queue

SETTINGS_VARIABLE = "BENCH_SETTINGS"
STAMPS_VARIABLE = "BENCH_STAMPS"
HOLD_VARIABLE = "BENCH_HOLD"
STAMP = struct.Struct("<qqd")
"""Number of the task, process id, start by the machine's monotonic clock."""


def make_app(settings: Mapping[str, Any], queues: list[str]) -> Celery:
    """An application with the three tasks that are measured."""
    app = Celery("bench", set_as_current=False)
    app.conf.update(settings)
    app.conf.task_queues = [Queue(name) for name in queues]
    app.conf.task_default_queue = queues[0]
    app.task(name="bench.noop")(noop)
    app.task(name="bench.hold")(hold)
    return app


def noop(number: int) -> None:
    """Note when it started, which is one write of 24 bytes; then nothing."""
    stamp = STAMP.pack(number, os.getpid(), time.monotonic())
    os.write(_stamps(), stamp)


def hold() -> None:
    """Keep the worker busy for as long as a file exists."""
    while Path(os.environ[HOLD_VARIABLE]).exists():
        time.sleep(0.1)


_descriptors: dict[int, int] = {}


def _stamps() -> int:
    pid = os.getpid()
    if pid not in _descriptors:
        _descriptors[pid] = os.open(os.environ[STAMPS_VARIABLE], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    return _descriptors[pid]


def app_from_environment() -> Celery:
    """The application of a worker process."""
    settings = json.loads(os.environ[SETTINGS_VARIABLE])
    return make_app(settings["celery"], settings["queues"])
