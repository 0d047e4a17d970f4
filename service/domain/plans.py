"""A plan: the steps chosen for one exception, frozen when they were chosen.

The plan is stored and travels as JSON (`to_document`, `from_document`), so a later version of a pack
never changes what was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StepKind(StrEnum):
    """Who carries a step out."""

    INTERNAL = "internal"
    """The pipeline itself: set_status, assign_owner, add_comment."""
    EXTERNAL = "external"
    """A tool outside: call_tool, notify."""
    MANUAL = "manual"
    """A person."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, complete: nothing about it is looked up later but its secret."""

    tool: str
    url: str
    parameters: Mapping[str, Any]
    method: str = "POST"
    timeout_seconds: float = 10.0
    max_retries: int = 3
    idempotent: bool = False
    """The tool itself ignores a repeated Idempotency-Key: an unanswered call may be sent again."""
    batch_url: str | None = None
    """Where the tool takes many items in one call, each with its own key and answer; None: it does not."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step; `order` is unique in its plan and rises."""

    order: int
    name: str
    kind: StepKind
    action: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tool_call: ToolCall | None = None
    """Present exactly when `kind` is EXTERNAL."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps to take, in order."""

    playbook: str
    steps: tuple[PlanStep, ...]

    def next_step(self, completed: frozenset[int]) -> PlanStep | None:
        """The first step that is not done; None when the plan is carried out."""
        return next((step for step in self.steps if step.order not in completed), None)


def to_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-ready values."""
    return {"playbook": plan.playbook, "steps": [_step_document(step) for step in plan.steps]}


def from_document(document: Mapping[str, Any]) -> Plan:
    """The plan that `to_document` wrote."""
    steps = tuple(_step(step) for step in document["steps"])
    return Plan(playbook=document["playbook"], steps=steps)


def _step_document(step: PlanStep) -> dict[str, Any]:
    document: dict[str, Any] = {
        "order": step.order,
        "name": step.name,
        "kind": step.kind.value,
        "action": step.action,
        "parameters": step.parameters,
    }
    call = step.tool_call
    if call is not None:
        document["toolCall"] = {name: getattr(call, name) for name in ToolCall.__slots__}
    return document


def _step(document: Mapping[str, Any]) -> PlanStep:
    call = document.get("toolCall")
    return PlanStep(
        order=document["order"],
        name=document["name"],
        kind=StepKind(document["kind"]),
        action=document["action"],
        parameters=document["parameters"],
        tool_call=None if call is None else ToolCall(**call),
    )
