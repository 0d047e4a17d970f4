"""What a stage's run over a batch comes to: who goes on, who is retried alone, who was early."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.exceptions import Stage
from service.domain.retries import DEFAULTS, RetryPolicy
from service.engine.batch import Reference
from service.errors import TransientError, kind_of


class EarlyError(TransientError):
    """A delivery arrived before its exception was there, or while another delivery still holds its effect."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(
            f"exception {reference.exception_id} is not ready for this delivery yet; it comes back by itself"
        )


class PlanGoesOnError(EarlyError):
    """A call was given up and the plan says what follows: not a failed attempt, only another delivery."""


class RepeatedAloneError(EarlyError):
    """A call went out and its process was gone before an answer came: it is repeated in a delivery of its own."""


@dataclass(frozen=True, slots=True)
class Retry:
    """One exception that failed for now. It does not come back before `due_in_seconds`."""

    reference: Reference
    error: TransientError
    due_in_seconds: float | None = None
    policy: RetryPolicy | None = None
    """What the packs of the exception say; None: they are not known, and the table's counts."""
    step: str | None = None
    """The path of the step whose call failed: its plan may say what follows when the tries are used up."""
    tool: str | None = None
    """The tool whose call failed."""

    @property
    def counts(self) -> bool:
        """Whether it is a failed attempt. A delivery that was merely early is none."""
        return not isinstance(self.error, EarlyError)

    def policy_at(self, stage: Stage) -> RetryPolicy:
        """The policy in force."""
        return self.policy or DEFAULTS.of(stage, kind_of(self.error))

    def exhausted(self, stage: Stage) -> bool:
        """Whether this failure was the last there may be."""
        return self.counts and self.reference.tries.exhausted(kind_of(self.error), self.policy_at(stage))


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of one run. What was finished, dead-lettered or stale appears nowhere: nothing is left to do."""

    survivors: tuple[Reference, ...] = ()
    retries: tuple[Retry, ...] = ()
