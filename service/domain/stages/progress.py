"""The events of a plan's progress, as the playbook and the tool stage both write them."""

from __future__ import annotations

from typing import Any

from service.domain.events import EventType, NewEvent
from service.domain.plans import Plan, PlanStep


def step_requested(step: PlanStep) -> NewEvent:
    """A step's turn has come. What it was given is in the plan, not in the event."""
    data = {"stepOrder": step.order, "name": step.name, "kind": step.kind.value, "action": step.action}
    return NewEvent(EventType.STEP_EXECUTION_REQUESTED, data)


def step_completed(step: PlanStep, **details: Any) -> NewEvent:
    """A step of the pipeline itself or of a person is done."""
    return NewEvent(EventType.STEP_COMPLETED, {"stepOrder": step.order, "name": step.name, **details})


def resolved(plan: Plan) -> NewEvent:
    """The plan is carried out."""
    return NewEvent(EventType.EXCEPTION_RESOLVED, {"playbook": plan.playbook})
