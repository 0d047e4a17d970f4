"""Attempts that come again: which retry a call comes to that was not worked, and what is written down of a retry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.domain.exceptions import Stage
from service.domain.retries import wait_before
from service.engine.course import Flight
from service.engine.failures import ToolRateLimitedError, ToolUnavailableError, error_class
from service.engine.results import Retry
from service.errors import ErrorKind, RateLimitedError, TransientError, kind_of
from service.tools.calls import ToolResult


@dataclass(frozen=True, slots=True)
class ScheduledRetry:
    """A retry with the delay that was chosen for it."""

    retry: Retry
    delay_seconds: float
    asked_seconds: float | None = None
    """What a tool asked for with Retry-After."""
    capped: bool = False
    """The tool asked for more than the policy allows."""


def of_call(flight: Flight, result: ToolResult, cause: str) -> Retry:
    """The retry of a call that was not worked; its tool may have said when it wants to be called again."""
    error: TransientError = ToolUnavailableError(cause)
    if result.rate_limited:
        error = ToolRateLimitedError(cause, result.retry_after_seconds)
    call, policies = flight.call, flight.course.packs.retries
    policy = policies.of_call(call.tool, kind_of(error), call.max_retries)
    due = None
    if result.retry_after_seconds is not None:
        longest = policies.of_call(call.tool, ErrorKind.RATE_LIMITED, call.max_retries).max_retry_after_seconds
        due = min(result.retry_after_seconds, longest)
    return Retry(flight.reference, error, due, policy, flight.step.path, call.tool)


def scheduled(stage: Stage, retry: Retry, jitter: Callable[[], float]) -> ScheduledRetry:
    """The retry with its delay. `jitter` gives 0 to 1."""
    error, kind = retry.error, kind_of(retry.error)
    asked = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    wait = wait_before(retry.policy_at(stage), retry.reference.tries.of_kind(kind), jitter(), asked)
    delay = max(wait.seconds, retry.due_in_seconds or 0.0)
    return ScheduledRetry(retry, delay, wait.asked_seconds, wait.capped)


def as_rows(stage: Stage, retries: Sequence[ScheduledRetry], now: datetime) -> list[dict[str, Any]]:
    """Failed attempts as the statement takes that notes them, each with its RetryScheduled."""
    return [_row(stage, one, now) for one in retries]


def _row(stage: Stage, one: ScheduledRetry, now: datetime) -> dict[str, Any]:
    retry, reference = one.retry, one.retry.reference
    kind, tries = kind_of(retry.error), reference.tries
    retry_at = now + timedelta(seconds=one.delay_seconds)
    data = {
        "stage": stage.queue,
        "errorClass": error_class(retry.error),
        "errorKind": kind,
        "error": str(retry.error),
        "attempt": reference.attempt + 1,
        "of": tries.allowed(kind, retry.policy_at(stage)),
        "retryAt": retry_at,
    }
    if retry.tool is not None:
        data["tool"] = retry.tool
    if one.asked_seconds is not None:
        data["retryAfterSeconds"] = one.asked_seconds
    if one.capped:
        data["retryAfterCappedTo"] = retry.policy_at(stage).max_retry_after_seconds
    return {
        "id": reference.exception_id,
        "sequence": reference.sequence,
        "attempt": reference.attempt + 1,
        "rate_limited": tries.after(kind).rate_limited,
        "retry_at": retry_at,
        "data": data,
    }
