"""The project's own app without its services: a pipeline that does what the tenant's name says, and a Kafka that
refuses messages as long as a test lets it. `celery -A tests.celery_kafka.apps.outages …`.

| tenant | its first runs at intake |
| --- | --- |
| `away-N` | N of them find PostgreSQL away |
| `busy-S` | the first fails, and the exception is not to come back for S seconds |
| any other | all work |
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kombu.exceptions import OperationalError

from service.domain.exceptions import Stage
from service.engine.batch import Batch, to_message
from service.engine.failures import ToolRateLimitedError
from service.engine.repeats import ScheduledRetry
from service.engine.results import Retry, StageResult
from service.persistence.outages import DatabaseUnavailableError
from tests.celery_kafka.apps.project import app

FOLDER_VARIABLE = "OUTAGES_FOLDER"
_FOLDER = Path(os.environ[FOLDER_VARIABLE])
JOURNAL, REFUSALS = "journal", "refusals"


class ScriptedPipeline:
    """The pipeline as tasks see it."""

    notifier = SimpleNamespace(accept=lambda _references: True)
    isolation = SimpleNamespace(journal=SimpleNamespace(begin=lambda _delivery: [], end=lambda: None))

    def run(self, stage: Stage, batch: Batch) -> StageResult:
        """Write down that a batch was run, and do what its tenant's name says."""
        tenant = batch.references[0].tenant_id
        word, _, number = tenant.partition("-")
        runs = _note("run", stage, tenant, to_message(batch)["references"])
        if stage is not Stage.INTAKE:
            return StageResult(())
        if word == "away" and runs <= int(number):
            raise DatabaseUnavailableError("the server is being restarted")
        if word == "busy" and batch.references[0].attempt == 0:
            error = ToolRateLimitedError("too many calls", float(number))
            return StageResult(retries=tuple(Retry(one, error, float(number)) for one in batch.references))
        return StageResult(batch.references)

    def note_retries(self, stage: Stage, scheduled: Sequence[ScheduledRetry]) -> None:
        """Write down what is tried again, and when."""
        for one in scheduled:
            _note("retry", stage, one.retry.reference.tenant_id, one.delay_seconds)

    def give_up(self, stage: Stage, retries: Sequence[Retry]) -> list[Retry]:
        """Nothing is given up here."""
        raise AssertionError((stage, retries))

    def close(self) -> None:
        """Nothing is open."""


def _note(what: str, stage: Stage, tenant: str, data: Any) -> int:
    """Write a line; how many of this kind, stage and tenant there are now."""
    path = _FOLDER / JOURNAL
    with path.open("a") as journal:
        journal.write(json.dumps([what, stage.queue, tenant, time.time(), data]) + "\n")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sum(line[:3] == [what, stage.queue, tenant] for line in lines)


def _refusing(publish: Any) -> Any:
    def send(*args: Any, **options: Any) -> Any:
        path = _FOLDER / REFUSALS
        left = int(path.read_text()) if path.exists() else 0
        if left:
            path.write_text(str(left - 1))
            raise OperationalError("Kafka is away")
        return publish(*args, **options)

    return send


_pipeline = ScriptedPipeline()
app.pipeline = SimpleNamespace(get=lambda: _pipeline, close=_pipeline.close)
app.amqp.send_task_message = _refusing(app.amqp.send_task_message)

__all__ = ["app"]
