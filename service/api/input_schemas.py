"""What callers send about an exception that is kept, and what every accepted input is answered, as pydantic models."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.api.bodies import In, Out
from service.api.fields import Note
from service.domain.exceptions import InputType, Status
from service.domain.packs.steps import SIGNAL_NAME

_RESERVED = frozenset(InputType) - {InputType.UPDATED, InputType.COMMENT}
"""Types of inputs that come in other ways: as names of signals they would be mistaken for them."""


class NewEvent(In):
    """Something more about an exception."""

    type: str = Field(
        pattern=SIGNAL_NAME,
        description="`updated`, `comment`, or the name of a signal that a step of the plan may wait for.",
    )
    data: dict[str, Any] | None = Field(
        default=None,
        validate_default=True,
        description="`updated`: the payload's new fields, plain or under `rawPayload`. `comment`: `text`. "
        "A signal: whatever goes with it, or nothing.",
    )

    @field_validator("type")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in _RESERVED:
            raise ValueError("is a kind of input with a call of its own, and cannot be a signal's name")
        return name

    @field_validator("data")
    @classmethod
    def _data_of(cls, data: dict[str, Any] | None, others: ValidationInfo) -> dict[str, Any] | None:
        if data is None and others.data.get("type") in (InputType.UPDATED, InputType.COMMENT):
            raise PydanticCustomError("missing", "is required")
        return data


class Decision(In):
    """What a person adds to a decision."""

    comment: Note | None = None
    reason: Note | None = None


class ApprovalDecision(In):
    """Why a person approves or rejects, and what."""

    comment: Note = Field(
        validation_alias=AliasChoices("comment", "reason"), description="Why; `reason` is understood too."
    )
    plan_hash: str | None = Field(
        default=None,
        alias="planHash",
        max_length=100,
        description="The plan that the decision is about, as `approval.planHash` shows it; another is refused.",
    )


class StepCompletion(Decision):
    """That a person has done a step, and the answer to its form, if it has one."""

    answer: Any = Field(default=None, description="Checked against the step's form; later steps may read it.")


class EffectResolution(In):
    """What a person found out about a call whose answer nobody knows."""

    verdict: Literal["done", "not_done", "resend"] = Field(
        description="`done`: the tool worked it. `not_done`: it did not, and the step has failed. "
        "`resend`: it did not, and is to be called again."
    )
    comment: Note = Field(description="How that is known.")
    output: Any = Field(default=None, description="With `done`: the tool's answer, for steps that read it.")


class Accepted(Out):
    """It is kept, and will be worked."""

    exception_id: UUID
    sequence: int = Field(description="1 for the exception itself, then 2, 3, … for what comes after.")
    status: Status


class ApprovalAccepted(Accepted):
    """An approval is kept; the plan goes on when there are as many as it needs."""

    approvals_given: int
    approvals_needed: int
