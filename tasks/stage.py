"""What the five stage tasks have in common: run the engine, split failures off, hand survivors on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task

from service.dispatch.chains import ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference, describe, from_message, to_message
from service.engine.pipeline import Pipeline, ScheduledRetry
from service.engine.results import EarlyError, Retry, StageResult
from service.errors import TransientError
from tasks.policies import POLICIES

log = logging.getLogger(__name__)


class AttemptFailedError(TransientError):
    """Carries one exception's failed attempt to Celery's autoretry."""

    def __init__(self, stage: Stage, retry: Retry) -> None:
        super().__init__(str(retry.error))
        self.stage = stage
        self.retry = retry


class StageTask(Task):
    """A stage over a batch.

    In a batch, an exception that fails is split off and retried alone, beginning at this stage. Alone, its
    failure is raised and Celery's autoretry schedules the next attempt. An outage of infrastructure fails
    the whole delivery, which is retried as it is and counts as nobody's attempt.
    """

    abstract = True

    def run_stage(self, stage: Stage, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run `stage`; the survivors' message for the next link, or None and the end of the chain."""
        batch = from_message(message)
        result = self._pipeline.run(stage, batch)
        self._handle_failures(stage, batch, result)
        if not result.survivors:
            self.request.chain = None
            return None
        return to_message(batch.of(result.survivors))

    def _handle_failures(self, stage: Stage, batch: Batch, result: StageResult) -> None:
        exhausted = [retry for retry in result.retries if _exhausted(stage, retry)]
        if exhausted:
            self._pipeline.give_up(stage, exhausted)
        due = [retry for retry in result.retries if retry not in exhausted]
        if batch.lane is None and len(batch.references) == 1 and due:
            raise AttemptFailedError(stage, due[0])
        self._split_off(stage, due)

    def _split_off(self, stage: Stage, retries: Sequence[Retry]) -> None:
        """Send each failed exception on its own way, due after its backoff."""
        policy = POLICIES[stage]
        scheduled = [ScheduledRetry(r, max(policy.delay(r.reference.attempt), r.due_in_seconds or 0)) for r in retries]
        self._pipeline.note_retries(stage, scheduled)
        sender = ChainSender(self.app)
        for s in scheduled:
            sender.send(Batch.single(_next_attempt(s.retry)), stage, countdown=s.delay_seconds)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, **options: Any) -> Any:
        """Schedule the next attempt, with the exception's own count of attempts moved on and noted."""
        if isinstance(exc, AttemptFailedError):
            delay = max(options.get("countdown") or 0, exc.retry.due_in_seconds or 0)
            options["countdown"] = delay
            self._pipeline.note_retries(exc.stage, [ScheduledRetry(exc.retry, delay)])
            args = (to_message(Batch.single(_next_attempt(exc.retry))),)
        return super().retry(args=args, kwargs=kwargs, exc=exc, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """As Celery's, with arguments that read as what they are in Flower and in logs."""
        if args and isinstance(args[0], Mapping):
            options["argsrepr"] = f"({describe(from_message(args[0]))})"
        return super().apply_async(args, kwargs, **options)

    @property
    def _pipeline(self) -> Pipeline:
        pipeline: Pipeline = self.app.pipeline.get()
        return pipeline


def _exhausted(stage: Stage, retry: Retry) -> bool:
    if isinstance(retry.error, EarlyError):
        return False
    limit = POLICIES[stage].max_retries if retry.max_retries is None else retry.max_retries
    return retry.reference.attempt >= limit


def _next_attempt(retry: Retry) -> Reference:
    reference = retry.reference
    counted = 0 if isinstance(retry.error, EarlyError) else 1
    return Reference(reference.tenant_id, reference.exception_id, reference.sequence, reference.attempt + counted)
