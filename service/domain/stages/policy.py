"""Policy: may we act on our own, or does a person have to approve?"""

from __future__ import annotations

from datetime import datetime

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import ApprovalRequest, ExceptionRecord, InputType, Outcome, Severity, Status
from service.domain.packs.compiled import PackSet

ALLOWED = "allowed"
APPROVAL_REQUIRED = "approval_required"


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:  # noqa: ARG001 - every stage has this form
    """Judge an exception by guardrails and approval rules, or go by what a person decided."""
    match record.input.type:
        case InputType.APPROVED:
            return Outcome(events=(_evaluated({"decision": ALLOWED, "approvedBy": record.input.actor}),))
        case InputType.REJECTED:
            return _rejected(record, packs)
        case _:
            return _judged(record, packs)


def _judged(record: ExceptionRecord, packs: PackSet) -> Outcome:
    reasons = packs.guardrails.reasons_for_approval(record.severity or Severity.MEDIUM, record.confidence)
    if not reasons:
        return Outcome(events=(_evaluated({"decision": ALLOWED, "reasons": []}),))
    return Outcome(
        events=(
            _evaluated({"decision": APPROVAL_REQUIRED, "reasons": list(reasons)}),
            NewEvent(EventType.APPROVAL_REQUESTED, {"reasons": list(reasons)}),
        ),
        finished=Status.PENDING_APPROVAL,
        approval=ApprovalRequest("; ".join(reasons), plan_hash=None),
    )


def _rejected(record: ExceptionRecord, packs: PackSet) -> Outcome:
    given = record.input.data.get("reason", record.input.data.get("comment"))
    reason = packs.redactor.redact_foreign(given, record.raw_payload) or "approval was rejected"
    data = {"reason": reason, "rejectedBy": record.input.actor}
    return Outcome(events=(NewEvent(EventType.EXCEPTION_ESCALATED, data),), finished=Status.ESCALATED)


def _evaluated(data: dict[str, object]) -> NewEvent:
    return NewEvent(EventType.POLICY_EVALUATION_COMPLETED, data)
