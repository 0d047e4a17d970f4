"""What a stage's run over a batch comes to: who goes on, who is retried alone, who was early."""

from __future__ import annotations

from dataclasses import dataclass

from service.engine.batch import Reference
from service.errors import TransientError


class EarlyError(TransientError):
    """A delivery arrived before its exception was there, or while another delivery still holds its effect."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(
            f"exception {reference.exception_id} is not ready for this delivery yet; it comes back by itself"
        )


class PlanGoesOnError(EarlyError):
    """A call was given up and the plan says what follows: not a failed attempt, only another delivery."""


@dataclass(frozen=True, slots=True)
class Retry:
    """One exception that failed for now; `due_in_seconds` None leaves the delay to the backoff."""

    reference: Reference
    error: TransientError
    due_in_seconds: float | None = None
    max_retries: int | None = None
    """Overrides the stage's policy, for a tool that names its own limit."""
    step: str | None = None
    """The path of the step whose call failed: its plan may say what follows when the tries are used up."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of one run. What was finished, dead-lettered or stale appears nowhere: nothing is left to do."""

    survivors: tuple[Reference, ...] = ()
    retries: tuple[Retry, ...] = ()
