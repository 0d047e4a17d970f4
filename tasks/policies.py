"""Retry policies: Celery's autoretry, with exponential backoff and full jitter, per stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery.utils.time import get_exponential_backoff_interval

from service.domain.exceptions import Stage
from service.errors import TransientError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a stage tries again when one exception fails."""

    max_retries: int
    backoff_max_seconds: int

    def delay(self, attempt: int) -> float:
        """Seconds before the next try after `attempt` failed ones before this (0, 1, …): jittered."""
        return float(
            get_exponential_backoff_interval(
                factor=1, retries=attempt, maximum=self.backoff_max_seconds, full_jitter=True
            )
        )


POLICIES = {
    Stage.INTAKE: RetryPolicy(max_retries=5, backoff_max_seconds=60),
    Stage.TRIAGE: RetryPolicy(max_retries=5, backoff_max_seconds=60),
    Stage.POLICY: RetryPolicy(max_retries=5, backoff_max_seconds=60),
    Stage.PLAYBOOK: RetryPolicy(max_retries=5, backoff_max_seconds=60),
    Stage.TOOL: RetryPolicy(max_retries=5, backoff_max_seconds=300),
}


def retry_policy(stage: Stage) -> dict[str, Any]:
    """A stage task's options. `max_retries` is None: attempts are counted per exception, and outages count none."""
    return {
        "autoretry_for": (TransientError,),
        "retry_backoff": True,
        "retry_backoff_max": POLICIES[stage].backoff_max_seconds,
        "retry_jitter": True,
        "max_retries": None,
    }
