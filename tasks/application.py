"""The Celery app and, for each worker process, its pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable

from celery import Celery

from service.engine.pipeline import Pipeline
from service.settings import load_settings
from service.wiring import build_pipeline


class ProcessPipeline:
    """The pipeline of the current process: built on first use, and again in a forked child."""

    def __init__(self, build: Callable[[], Pipeline]) -> None:
        self._build = build
        self._pid: int | None = None
        self._pipeline: Pipeline | None = None

    def get(self) -> Pipeline:
        """This process's pipeline."""
        if self._pipeline is None or self._pid != os.getpid():
            self._pipeline, self._pid = self._build(), os.getpid()
        return self._pipeline

    def close(self) -> None:
        """Give its connections back, if this process built it."""
        if self._pipeline is not None and self._pid == os.getpid():
            self._pipeline.close()
        self._pipeline = None


app = Celery("sentinai", config_source="celeryconfig")
app.autodiscover_tasks(
    [
        "tasks.intake",
        "tasks.triage",
        "tasks.policy",
        "tasks.playbook",
        "tasks.tool",
        "tasks.maintenance",
        "tasks.signals",
    ],
    related_name=None,
)
app.pipeline = ProcessPipeline(lambda: build_pipeline(load_settings(os.environ)))
