"""The pipeline as a stage task sees it: run a stage, note retries, give up. One object a worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from service.domain.exceptions import Stage
from service.engine.batch import Batch
from service.engine.failures import Failure
from service.engine.isolation import Isolation
from service.engine.notifier import Notifier
from service.engine.pausing import PausedWork
from service.engine.repeats import ScheduledRetry, as_rows
from service.engine.results import PlanGoesOnError, Retry, StageResult
from service.engine.runner import StageRunner
from service.engine.tool_stage import ToolStageRunner
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work


class Pipeline:
    """Everything a stage task does to PostgreSQL. Raises InfrastructureUnavailableError when that is away."""

    def __init__(
        self,
        engine: Engine,
        deciding: StageRunner,
        tools: ToolStageRunner,
        notifier: Notifier,
        isolation: Isolation,
        clock: Callable[[], datetime],
        close: Callable[[], None],
        paused: PausedWork | None = None,
    ) -> None:
        self.notifier = notifier
        self.isolation = isolation
        self._paused = paused
        self._engine = engine
        self._deciding = deciding
        self._tools = tools
        self._clock = clock
        self._close = close

    def run(self, stage: Stage, batch: Batch) -> StageResult:
        """Work a batch through one stage, but for what is paused."""
        if self._paused is not None:
            batch = self._paused.put_aside(stage, batch)
        if stage is Stage.TOOL:
            return self._tools.run(batch)
        return self._deciding.run(stage, batch)

    def note_retries(self, stage: Stage, scheduled: Sequence[ScheduledRetry]) -> None:
        """Write down failed attempts and when the next is due, so that people see them and the reconciler waits.

        A delivery that was merely early is no failed attempt and is not written down.
        """
        failed = [one for one in scheduled if one.retry.counts]
        if not failed:
            return
        now = self._clock()
        tenants = {one.retry.reference.tenant_id for one in failed}
        with unit_of_work(self._engine, tenants) as transaction:
            StageRepository(transaction).record_retries(stage, as_rows(stage, failed, now), now)

    def give_up(self, stage: Stage, retries: Sequence[Retry]) -> list[Retry]:
        """End the tries of exceptions whose attempts are used up: they are dead-lettered, or their plan goes on.

        Those whose plan says what follows a failed call have to come back at once: they are returned.
        """
        calls = [retry for retry in retries if stage is Stage.TOOL and retry.step is not None]
        onward = self._tools.give_up(calls) if calls else ()
        failures = [Failure(retry.reference, retry.error, retry.tool) for retry in retries if retry not in calls]
        if failures:
            self._deciding.give_up(stage, failures)
        return [Retry(reference, PlanGoesOnError(reference), due_in_seconds=0.0) for reference in onward]

    def close(self) -> None:
        """Give back connections."""
        self._close()
        self._engine.dispose()
