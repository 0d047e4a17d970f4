"""Playbook: choose the plan and ask for its first step, or take a person's step as done and ask for the next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.domain.conditions import Situation
from service.domain.errors import StepNotWaitingError
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import ExceptionRecord, InputType, Outcome, Severity, Status
from service.domain.packs.compiled import PackSet
from service.domain.packs.naming import UNKNOWN_TYPE
from service.domain.planning import plan_for
from service.domain.plans import SETTLED, Plan, PlanStep, StepKind, StepRecord, StepState
from service.domain.stages.progress import resolved, step_completed, step_requested


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Plan, or go on with the plan in force.

    Raises ConditionFailedError, TemplateUnresolvedError, ToolNotApprovedError, PayloadInvalidError,
    StepNotWaitingError.
    """
    if record.input.type is InputType.STEP_COMPLETED:
        return _gone_on(record, packs)
    return _planned(record, packs, now)


def _planned(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    type_name = record.exception_type or UNKNOWN_TYPE
    severity = record.severity or Severity.MEDIUM
    playbook = packs.playbooks.choose(type_name, severity)
    if playbook is None:
        return _escalated(f"no playbook is for {type_name} of severity {severity}")
    deadline = record.deadline_at or packs.deadline(record.received_at, severity)
    situation = Situation(record, now, type_name, severity, deadline, playbook.reads)
    planned = plan_for(playbook, record, situation)
    plan = planned.plan
    if not plan.steps:
        return _escalated(f"no step of playbook {plan.playbook!r} applies: the conditions left all of them out")
    data: dict[str, Any] = {"playbook": plan.playbook, "path": playbook.path, "steps": len(plan.steps)}
    if planned.left_out:
        data["leftOut"] = list(planned.left_out)
    first = plan.steps[0]
    return Outcome(
        events=(NewEvent(EventType.PLAYBOOK_MATCHED, data), step_requested(first)),
        finished=Status.PENDING_STEP if first.kind is StepKind.MANUAL else None,
        plan=plan,
    )


def _gone_on(record: ExceptionRecord, packs: PackSet) -> Outcome:
    plan, step = _completed_step(record)
    settled = {path for path, result in record.step_results.items() if result.state in SETTLED} | {step.path}
    steps = (StepRecord(step.path, StepState.DONE, by=record.input.actor),)
    details = {"by": record.input.actor, **_note(record, packs)}
    events = [step_completed(step, **details)]
    following = plan.next_step(settled)
    if following is None:
        return Outcome(events=(*events, resolved(plan)), finished=Status.RESOLVED, steps=steps)
    waits = following.kind is StepKind.MANUAL
    finished = Status.PENDING_STEP if waits else None
    return Outcome(events=(*events, step_requested(following)), finished=finished, steps=steps)


def _completed_step(record: ExceptionRecord) -> tuple[Plan, PlanStep]:
    """The step a person reports done: the one that the plan waits for, not yet among the completed ones.

    That is a manual step, or a tool's whose effect is unknown until a person has looked.
    """
    order = record.input.data.get("stepOrder")
    waiting = None if record.plan is None else record.plan.next_step(record.step_results)
    if record.plan is None or waiting is None or waiting.kind is StepKind.INTERNAL:
        raise StepNotWaitingError(order, None)
    if waiting.order != order:
        raise StepNotWaitingError(order, waiting.order)
    return record.plan, waiting


def _note(record: ExceptionRecord, packs: PackSet) -> dict[str, Any]:
    comment = record.input.data.get("comment")
    return {} if comment is None else {"comment": packs.redactor.redact_foreign(comment, record.raw_payload)}


def _escalated(reason: str) -> Outcome:
    return Outcome(events=(NewEvent(EventType.EXCEPTION_ESCALATED, {"reason": reason}),), finished=Status.ESCALATED)
