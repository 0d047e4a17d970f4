"""Exceptions that are put aside because a tool must not be called now, or because of a pause."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.domain.pauses import Pause
from service.engine.batch import Reference


@dataclass(frozen=True, slots=True)
class Hold:
    """An exception that leaves the worker and comes back by itself. It counts as nobody's attempt."""

    reference: Reference
    tool: str | None
    """None: it is not about a call."""
    reason: str
    """For people: on the timeline and in the API."""
    due_in_seconds: float
    """When to come back, at the earliest."""
    pause: Pause | None = None
    """It comes back when this is over."""


def as_rows(holds: Iterable[Hold], jitter: Callable[[], float]) -> list[dict[str, Any]]:
    """Holds as `service.persistence.holds` takes them, one an exception. `jitter` gives 0 to 1."""
    rows = {
        hold.reference.exception_id: {
            "id": hold.reference.exception_id,
            "sequence": hold.reference.sequence,
            "attempt": hold.reference.attempt,
            "rate_limited": hold.reference.rate_limited,
            "tool": hold.tool,
            "reason": hold.reason,
            "pause_id": hold.pause and hold.pause.pause_id,
            "until": hold.pause and hold.pause.until,
            # Those that are held together do not come back together.
            "seconds": hold.due_in_seconds * (1 + jitter() / 4),
            "jitter": (1 + jitter()) / 2,
        }
        for hold in holds
    }
    return list(rows.values())
