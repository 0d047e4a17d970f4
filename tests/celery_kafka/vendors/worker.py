"""A real `celery worker`, started natively, as pytest-celery's worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery
from pytest_celery import CeleryTestWorker
from pytest_docker_tools.exceptions import TimeoutError as LogTimeoutError

from service.devstack.errors import NotReadyError
from service.devstack.waiting import wait_until
from tests.celery_kafka.api.process import ProcessContainer, ProcessSpec
from tests.celery_kafka.apps import SETTINGS_VARIABLE

LOG_SECONDS = 40
LOG_LEVEL = "INFO"


@dataclass(frozen=True)
class WorkerOptions:
    """What a module's workers run."""

    app: str = "tests.celery_kafka.apps.work"
    queues: tuple[str, ...] = ("celery", "first", "second")
    processes: int = 2
    arguments: tuple[str, ...] = ()
    """Further ones of `celery worker`; the last word wins."""


class ProcessWorkerContainer(ProcessContainer):
    """A worker process group: the main process and its pool."""

    def __init__(self, name: str, run: str, options: WorkerOptions, settings: Mapping[str, Any], logs: Path) -> None:
        """`run` makes the node name unique on a shared broker; `settings` are Celery's, JSON-ready."""
        self._worker_name = name
        self._options = options
        command = (
            *(sys.executable, "-m", "celery", "-A", options.app, "worker", "-Q", ",".join(options.queues)),
            *("-c", str(options.processes), "-n", f"{name}@{run}", "--loglevel", LOG_LEVEL, "-E"),
            *options.arguments,
        )
        environment = {SETTINGS_VARIABLE: json.dumps(settings)}
        super().__init__(ProcessSpec(f"worker {name}", run, command, environment, logs / f"{name}.log"))
        self.ready_prompt = f"{name}@{run} ready."

    @classmethod
    def version(cls) -> str:
        """The installed Celery's version."""
        return str(celery.__version__)

    @classmethod
    def log_level(cls) -> str:
        """Level of the log file."""
        return LOG_LEVEL

    def worker_name(self) -> str:
        """The part of the node name before the `@`."""
        return self._worker_name

    def worker_queue(self) -> str:
        """The first of its queues."""
        return self._options.queues[0]


class KafkaTestWorker(CeleryTestWorker):
    """A worker node; it looks at the log more often than once a second."""

    def wait_for_log(self, log: str, message: str = "", timeout: float = LOG_SECONDS) -> None:
        """Wait until the log has `log`. Raises pytest-docker-tools' TimeoutError, which the assertions expect."""
        what = message or f"the log of {self.name()}"
        try:
            wait_until(lambda: None if log in self.logs() else f"no {log!r} in it", what, timeout)
        except NotReadyError as error:
            raise LogTimeoutError(str(error)) from error

    def teardown(self) -> None:
        """Nothing: nodes are made for each test, the process serves all tests of a module."""
