"""Retry policies as Celery takes them: autoretry, with the backoff of the stage where no pack says otherwise.

What an exception really waits is chosen when it fails, by its own packs: see `tasks.stage`.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from service.domain.exceptions import Stage
from service.domain.retries import DEFAULTS
from service.errors import ErrorKind, TransientError


def retry_policy(stage: Stage) -> dict[str, Any]:
    """A stage task's options. `max_retries` is None: attempts are counted per exception, and outages count none."""
    policy = DEFAULTS.of(stage, ErrorKind.TRANSIENT)
    return {
        "autoretry_for": (TransientError,),
        "retry_backoff": policy.backoff_seconds,
        "retry_backoff_max": ceil(policy.max_backoff_seconds),
        "retry_jitter": True,
        "max_retries": None,
    }
