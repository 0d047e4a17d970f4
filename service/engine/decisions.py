"""Decisions as the statements take them: one flat JSON object an exception."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from service.domain.events import NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, InputType, Outcome, Stage
from service.domain.identifiers import plan_id
from service.domain.packs import PackSet
from service.domain.plans import StepRecord, StepState, to_document


def encode(
    stage: Stage, record: ExceptionRecord, attempt: int, outcome: Outcome, packs: PackSet, plan_in_force: UUID | None
) -> dict[str, Any]:
    """A stage's outcome as a decision."""
    decision = encode_move(record, attempt, outcome.events, outcome.changes)
    decision["finished"] = outcome.finished
    if stage is Stage.INTAKE:
        decision["domain_version"] = packs.versions.domain
        decision["tenant_version"] = packs.versions.tenant
    if outcome.approval is not None:
        decision["approval_reason"] = outcome.approval.reason
    if outcome.plan is not None:
        decision["plan"] = to_document(outcome.plan)
        decision["plan_id"] = plan_id(record.exception_id, record.sequence)
    if record.input.type is InputType.STEP_COMPLETED and stage is Stage.PLAYBOOK:
        decision["steps_plan_id"] = plan_in_force
        decision["completed"] = completed_orders(outcome.steps)
        decision["completed_by"] = record.input.actor
    return decision


def completed_orders(steps: Iterable[StepRecord]) -> list[int]:
    """The orders of the plan's own steps that are done."""
    return [int(step.path) for step in steps if step.state is StepState.DONE and step.path.isdecimal()]


def encode_move(
    record: ExceptionRecord, attempt: int, events: tuple[NewEvent, ...], changes: Changes = NO_CHANGES
) -> dict[str, Any]:
    """What every decision has: which row, the events to append, the columns to change."""
    decision: dict[str, Any] = {
        "id": record.exception_id,
        "sequence": record.sequence,
        "attempt": attempt,
        "event_count": len(events),
        "events": [(event.type, event.data) for event in events],
    }
    if changes is not NO_CHANGES:
        for name in Changes.__slots__:
            value = getattr(changes, name)
            if value is not None:
                decision[name] = value
    return decision
