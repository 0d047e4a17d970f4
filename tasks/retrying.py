"""What becomes of failed attempts: those that are used up are given up, the others travel on alone after a backoff.

Used by the stage tasks, and by the landing of calls that outlived their task.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from celery import Celery

from service.dispatch.chains import ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from service.engine.pipeline import Pipeline
from service.engine.repeats import ScheduledRetry, scheduled
from service.engine.results import Retry
from service.errors import kind_of


def give_up_exhausted(pipeline: Pipeline, stage: Stage, retries: Sequence[Retry]) -> list[Retry]:
    """End what has no attempt left, as its plan says or by a dead letter; the rest, and what goes on after it."""
    exhausted = [retry for retry in retries if retry.exhausted(stage)]
    onward = pipeline.give_up(stage, exhausted) if exhausted else []
    return [retry for retry in retries if retry not in exhausted] + onward


def split_off(app: Celery, pipeline: Pipeline, stage: Stage, retries: Sequence[Retry]) -> None:
    """Send each failed exception on its own way, due after its backoff."""
    due = [schedule(stage, retry) for retry in retries]
    pipeline.note_retries(stage, due)
    sender = ChainSender(app)
    for one in due:
        sender.send(Batch.single(next_attempt(one.retry)), stage, countdown=one.delay_seconds)


def schedule(stage: Stage, retry: Retry) -> ScheduledRetry:
    """Choose when a retry is due, by the policy of its exception."""
    return scheduled(stage, retry, random.random)


def next_attempt(retry: Retry) -> Reference:
    """The reference that the next attempt carries; a delivery that was merely early is not counted."""
    if not retry.counts:
        return retry.reference
    tries = retry.reference.tries.after(kind_of(retry.error))
    return replace(retry.reference, attempt=tries.failed, rate_limited=tries.rate_limited)
