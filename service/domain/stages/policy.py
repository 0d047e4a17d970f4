"""Policy: may we act on our own, or does a person have to approve?

What a person approves is a plan, so it is made here when one has to, and stored with its hash. An approval is
good for that hash alone: where the plan or a parameter changed, it is void and asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from service.domain.errors import NothingToApproveError
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import (
    ApprovalRequest,
    ApprovalView,
    ExceptionRecord,
    InputType,
    Outcome,
    Severity,
    Status,
)
from service.domain.packs.deciding.compiled import PackSet
from service.domain.plan_documents import plan_hash
from service.domain.planning import NoPlan, make_plan
from service.domain.plans import Plan, PlanStep, StepKind, Timer
from service.domain.replanning import check_replacement, same_plan

ALLOWED = "allowed"
APPROVAL_REQUIRED = "approval_required"

_MOST_STEPS_SHOWN = 100


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Judge an exception by guardrails and approval rules, or go by what a person decided.

    Where a person has to approve, raises what `planning.make_plan` raises.
    """
    match record.input.type:
        case InputType.APPROVED:
            return _approved(record, packs, now)
        case InputType.REJECTED:
            return _rejected(record, packs)
        case InputType.APPROVAL_EXPIRED:
            return _expired(record, now)
        case _:
            return _judged(record, packs, now)


def asked(record: ExceptionRecord, packs: PackSet, now: datetime, reasons: Iterable[str]) -> Outcome:
    """A person is asked to approve what would be done, shown without what the tools will be sent."""
    reasons = list(reasons)
    made = make_plan(record, packs, now)
    plan = None if isinstance(made, NoPlan) else made.plan
    kept = plan is not None and _goes_on(record, plan)
    wanted = None if plan is None else plan_hash(plan)
    before = record.approval
    events = [_evaluated({"decision": APPROVAL_REQUIRED, "reasons": reasons})]
    if before is not None and before.pending and before.plan_hash == wanted and _rests_there(record):
        return Outcome(events=tuple(events), finished=Status.PENDING_APPROVAL)
    rule = packs.guardrails.approval_rules.get(record.severity or Severity.MEDIUM)
    needed = 1 if rule is None else rule.approvals_needed
    limit = None if rule is None else rule.timeLimitMinutes
    due_at = None if limit is None else now + timedelta(minutes=limit)
    data: dict[str, Any] = {"reasons": reasons, "planHash": wanted, "approvalsNeeded": needed}
    if plan is not None:
        data |= {"playbook": plan.playbook, "steps": _in_short(plan)}
    elif isinstance(made, NoPlan):
        data["noPlan"] = made.reason
    if due_at is not None:
        data["dueAt"] = due_at.isoformat()
    if before is not None and before.plan_hash != wanted:
        data["voided"] = True
    return Outcome(
        events=(*events, NewEvent(EventType.APPROVAL_REQUESTED, data)),
        finished=Status.PENDING_APPROVAL,
        plan=None if kept else plan,
        approval=ApprovalRequest("; ".join(reasons), wanted, needed, due_at),
        timers=() if due_at is None else (Timer("approval", "", due_at),),
    )


def _goes_on(record: ExceptionRecord, plan: Plan) -> bool:
    """Whether it is the plan that is there from before the input was sent again. Raises PlanWouldRepeatError."""
    if record.earlier is None:
        return False
    if same_plan(record.earlier, plan):
        return True
    check_replacement(record.earlier, plan)
    return False


def _judged(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    reasons = _reasons(record, packs)
    if not reasons:
        return Outcome(events=(_evaluated({"decision": ALLOWED, "reasons": []}),))
    return asked(record, packs, now, reasons)


def _approved(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Go on if it is this plan that enough people approved."""
    approval = record.approval
    if approval is not None:
        told = record.input.data.get("planHash", approval.plan_hash)
        stored = None if approval.plan_hash is None else _stored_hash(record, approval)
        if told != approval.plan_hash or stored != approval.plan_hash:
            reasons = _reasons(record, packs) or ("what was approved is not what would be carried out",)
            return asked(record, packs, now, reasons)
        if approval.given and len(approval.given) < approval.approvals_needed:
            raise NothingToApproveError(len(approval.given), approval.approvals_needed)
    given = [record.input.actor] if approval is None or not approval.given else list(approval.given)
    data: dict[str, Any] = {"decision": ALLOWED, "approvedBy": record.input.actor}
    if approval is not None:
        data["planHash"] = approval.plan_hash
        if approval.approvals_needed > 1:
            data["approvals"] = given
    words = _words(record, packs)
    if words is not None:
        data["comment"] = words
    return Outcome(events=(_evaluated(data),))


def _stored_hash(record: ExceptionRecord, approval: ApprovalView) -> str | None:
    """Of the plan in force; what was approved where the plan is not loaded: the playbook stage looks again."""
    if record.plan is None:
        return approval.plan_hash
    return record.plan_hash or plan_hash(record.plan)


def _expired(record: ExceptionRecord, now: datetime) -> Outcome:
    """Nobody decided in time: a person owns it. A timer that is out of date changes nothing."""
    approval = record.approval
    renewed = approval is not None and (not approval.pending or (approval.due_at is not None and approval.due_at > now))
    if not _rests_there(record) or renewed:
        data = {"input": record.input.type.value, "reason": "nobody is asked to approve, or not for so long"}
        event = NewEvent(EventType.DUPLICATE_IGNORED, data)
        return Outcome(events=(event,), finished=record.resting_status or record.status)
    due = None if approval is None or approval.due_at is None else approval.due_at.isoformat()
    told: dict[str, Any] = {"reason": "nobody approved or rejected the plan in time", "dueAt": due}
    return Outcome(events=(NewEvent(EventType.EXCEPTION_ESCALATED, told),), finished=Status.ESCALATED)


def _rejected(record: ExceptionRecord, packs: PackSet) -> Outcome:
    reason = _words(record, packs) or "approval was rejected"
    data = {"reason": reason, "rejectedBy": record.input.actor}
    return Outcome(events=(NewEvent(EventType.EXCEPTION_ESCALATED, data),), finished=Status.ESCALATED)


def _words(record: ExceptionRecord, packs: PackSet) -> Any:
    """What the person who decided said, redacted."""
    given = record.input.data.get("reason", record.input.data.get("comment"))
    return packs.redactor.redact_foreign(given, record.raw_payload)


def _reasons(record: ExceptionRecord, packs: PackSet) -> tuple[str, ...]:
    return packs.guardrails.reasons_for_approval(record.severity or Severity.MEDIUM, record.confidence)


def _rests_there(record: ExceptionRecord) -> bool:
    return record.resting_status is Status.PENDING_APPROVAL


def _in_short(plan: Plan) -> list[dict[str, Any]]:
    """Names, kinds and tools of a plan's steps, at any depth; nothing of what they are given."""
    return list(_told(plan.steps))[:_MOST_STEPS_SHOWN]


def _told(steps: Iterable[PlanStep]) -> Iterable[dict[str, Any]]:
    for step in steps:
        shown: dict[str, Any] = {"step": step.path, "name": step.name, "kind": step.kind.value}
        if step.kind is not StepKind.MANUAL:
            shown["action"] = step.action
        if step.tool_call is not None:
            shown["tool"] = step.tool_call.tool
        yield shown
        for block in step.blocks:
            yield from _told(block.steps)


def _evaluated(data: dict[str, object]) -> NewEvent:
    return NewEvent(EventType.POLICY_EVALUATION_COMPLETED, data)
