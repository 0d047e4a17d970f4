"""Playbooks as packs write them: what they apply to, and steps in both forms.

A step is prose (`{action, parameters}`), which a person carries out, or executable
(`{step_order, name, action_type, params, condition?}`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from service.domain.packs.parts import ConditionText, Part, SeverityName
from service.domain.plans import StepKind


class ActionType(StrEnum):
    """What an executable step does."""

    SET_STATUS = "set_status"
    ASSIGN_OWNER = "assign_owner"
    ADD_COMMENT = "add_comment"
    CALL_TOOL = "call_tool"
    MANUAL = "manual"

    @property
    def kind(self) -> StepKind:
        """Who carries it out."""
        if self is ActionType.CALL_TOOL:
            return StepKind.EXTERNAL
        return StepKind.MANUAL if self is ActionType.MANUAL else StepKind.INTERNAL


class Step(Part):
    """One step, in either form."""

    action: str | None = Field(default=None, min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    step_order: int | None = Field(default=None, ge=1, le=10_000)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    action_type: Annotated[ActionType, Field(strict=False)] | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    condition: ConditionText | None = None
    """Asked when the plan is made; the step is left out when it does not match."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Step:
        if (self.action is None) == (self.action_type is None):
            raise ValueError("a step has either `action` (prose, for a person) or `action_type` (executable)")
        if self.action_type is not None and self.parameters:
            raise ValueError(
                "an executable step takes `params`; `parameters` belongs to a prose step or inside call_tool's params"
            )
        return self

    @property
    def kind(self) -> StepKind:
        """Who carries it out."""
        return StepKind.MANUAL if self.action_type is None else self.action_type.kind


class Match(Part):
    """Which exceptions a playbook is for; every key that is given has to hold.

    A key it does not know is refused: ignored, it would let the playbook act on more than its author meant.
    """

    model_config = ConfigDict(extra="forbid")

    exception_type: str | None = Field(default=None, min_length=1)
    """A type's name; `*` and `?` are wildcards."""
    severity: SeverityName | None = None
    severity_in: list[SeverityName] | None = Field(default=None, min_length=1)
    domain: str | None = None


class Conditions(Part):
    """When a playbook applies."""

    match: Match = Match()


class Playbook(Part):
    """What is to be done about some exceptions."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    exceptionType: str | None = Field(default=None, min_length=1)
    conditions: Conditions | None = None
    priority: int = 0
    steps: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_one_form(self) -> Playbook:
        if (self.exceptionType is None) == (self.conditions is None):
            raise ValueError("a playbook names what it is for by either `exceptionType` or `conditions.match`")
        return self

    def match(self) -> Match:
        """What it is for, whichever form it has."""
        if self.conditions is not None:
            return self.conditions.match
        return Match(exception_type=self.exceptionType)


def order_of(step: Step, index: int) -> int:
    """A step's order: as given, else its place in the list, from 1."""
    return index + 1 if step.step_order is None else step.step_order
