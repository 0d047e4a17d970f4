"""What becomes of an exception that failed: retried alone, or dead-lettered.

Only the failing exception is touched; its batch goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.domain.exceptions import Stage
from service.domain.identifiers import dead_letter_id, effect_key
from service.domain.plans import PlanStep
from service.domain.signatures import LONGEST_MESSAGE, pattern, signature
from service.engine.batch import Reference
from service.errors import PermanentError, RateLimitedError, SentinaiError, TransientError, kind_of


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that will not be worked further by itself."""

    reference: Reference
    error: SentinaiError
    tool: str | None = None
    """The tool whose call failed; None where no call did."""
    evidence: Mapping[str, Any] | None = None
    """What is known besides the message: JSON for the person who looks at the dead letter, never a payload."""


def of_call(reference: Reference, error: SentinaiError, step: PlanStep | None, plan_id: UUID) -> Failure:
    """A failure with what is known of the step whose call it is about; None: it is about no call."""
    if step is None or step.tool_call is None:
        return Failure(reference, error)
    evidence = {"step": step.path, "stepName": step.name, "idempotencyKey": effect_key(plan_id, step.path)}
    return Failure(reference, error, step.tool_call.tool, evidence)


class StageFaultError(PermanentError):
    """A stage's own code failed on one exception: a fault of ours, not of the data."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"the stage itself failed ({type(error).__name__}; its log has the cause): report it with the exception's "
            "id and redrive after the fix"
        )


class ToolUnavailableError(TransientError):
    """A tool did not work a call, and may work it later."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; it is called again by itself")


class ToolRateLimitedError(RateLimitedError):
    """A tool does not want to be called before a time it may have named."""

    def __init__(self, cause: str, retry_after_seconds: float | None) -> None:
        super().__init__(f"{cause}; it is called again when it allows", retry_after_seconds)


class ToolRefusedError(PermanentError):
    """A tool refused a call, and would refuse it again."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; correct the payload, the pack or the tool, then redrive")


class PlanStalledError(PermanentError):
    """Nothing of a plan is under way, and it has not come to an end."""

    def __init__(self) -> None:
        super().__init__(
            "the plan can neither go on nor end: report it with the exception's id and redrive after the fix"
        )


def as_dead_letters(stage: Stage, failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures as the dead-letter statement takes them."""
    return [_dead_letter(stage, failure) for failure in failures]


def _dead_letter(stage: Stage, failure: Failure) -> dict[str, Any]:
    reference, error, tool = failure.reference, failure.error, failure.tool
    message = str(error)[:LONGEST_MESSAGE]
    alike = pattern(message, error.names if tool is None else (*error.names, tool))
    return {
        "id": reference.exception_id,
        "sequence": reference.sequence,
        "attempts": reference.attempt + 1,
        "dead_letter_id": dead_letter_id(reference.exception_id, reference.sequence),
        "error_class": error_class(error),
        "error_kind": kind_of(error),
        "message": message,
        "pattern": alike,
        "signature": signature(stage.queue, error_class(error), alike, tool),
        "tool": tool,
        "evidence": failure.evidence,
    }


def error_class(error: SentinaiError) -> str:
    """The error's name without its suffix, as dead letters and their Kafka records carry it."""
    return type(error).__name__.removesuffix("Error")
