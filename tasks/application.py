"""The Celery app and, for each worker process, its pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from celery import Celery

from service.domain.exceptions import Stage
from service.engine.pipeline import Pipeline
from service.engine.results import Retry
from service.settings import load_settings
from service.transport.stopping import HearStarts
from service.wiring import build_pipeline
from tasks.bounds import bound_this_process
from tasks.refusals import Refusals
from tasks.requests import Endings
from tasks.retrying import give_up_exhausted, split_off
from tasks.watchdog import Watchdog


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
        "tasks.notify",
        "tasks.maintenance",
        "tasks.signals",
    ],
    related_name=None,
)


def _split_off_landed(retries: Sequence[Retry]) -> None:
    """Attempts that failed after their task was over: handled as the task would have."""
    pipeline = app.pipeline.get()
    split_off(app, pipeline, Stage.TOOL, give_up_exhausted(pipeline, Stage.TOOL, retries))


def _build() -> Pipeline:
    settings = load_settings(os.environ)
    bound_this_process(settings.worker_memory_mb)
    return build_pipeline(settings, _split_off_landed)


app.pipeline = ProcessPipeline(_build)
app.endings = Endings()
app.watchdog = Watchdog()
app.steps["consumer"].add(Refusals)
app.steps["worker"].add(HearStarts)
