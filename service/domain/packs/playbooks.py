"""Playbooks as packs write them: what they apply to, and their steps.

docs/playbooks.md is the reference for people who write them; a step is read by `service.domain.packs.steps`.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from service.domain.packs.parts import Part, SeverityName
from service.domain.packs.steps import Step


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
    sla_minutes_remaining_lt: float | None = Field(default=None, allow_inf_nan=False)
    """Fewer minutes than this are left until the deadline when the plan is made."""
    policy_tags: list[str] | None = Field(default=None, min_length=1)
    """The exception has all of them."""


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
