"""What becomes of failed attempts: those that are used up are given up, the others travel on alone after a backoff.

Used by the stage tasks, and by the landing of calls that outlived their task.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from service.dispatch.chains import ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from service.engine.pipeline import Pipeline, ScheduledRetry
from service.engine.results import EarlyError, Retry
from tasks.policies import POLICIES


def give_up_exhausted(pipeline: Pipeline, stage: Stage, retries: Sequence[Retry]) -> list[Retry]:
    """End what has no attempt left, as its plan says or by a dead letter; the rest, and what goes on after it."""
    exhausted = [retry for retry in retries if _exhausted(stage, retry)]
    onward = pipeline.give_up(stage, exhausted) if exhausted else []
    return [retry for retry in retries if retry not in exhausted] + onward


def split_off(app: Celery, pipeline: Pipeline, stage: Stage, retries: Sequence[Retry]) -> None:
    """Send each failed exception on its own way, due after its backoff."""
    policy = POLICIES[stage]
    scheduled = [ScheduledRetry(r, max(policy.delay(r.reference.attempt), r.due_in_seconds or 0)) for r in retries]
    pipeline.note_retries(stage, scheduled)
    sender = ChainSender(app)
    for s in scheduled:
        sender.send(Batch.single(next_attempt(s.retry)), stage, countdown=s.delay_seconds)


def next_attempt(retry: Retry) -> Reference:
    """The reference that the next attempt carries; a delivery that was merely early is not counted."""
    reference = retry.reference
    counted = 0 if isinstance(retry.error, EarlyError) else 1
    return Reference(reference.tenant_id, reference.exception_id, reference.sequence, reference.attempt + counted)


def _exhausted(stage: Stage, retry: Retry) -> bool:
    if isinstance(retry.error, EarlyError):
        return False
    limit = POLICIES[stage].max_retries if retry.max_retries is None else retry.max_retries
    return retry.reference.attempt >= limit
