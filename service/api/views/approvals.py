"""Approve and reject: people decide about a plan, the one they were shown."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from service.api.auth import Role
from service.api.context import caller_with, exception_id_of
from service.api.input_schemas import Accepted, ApprovalAccepted, ApprovalDecision
from service.api.inputs import Asked, Locked, accepted, body_as, take
from service.api.problems import CONFLICT, ProblemError
from service.domain.events import EventType
from service.domain.exceptions import InputType, Status
from service.persistence.administration import Caller
from service.persistence.approvals import Approvals, ApprovalState, PendingApproval, newest_approval

blueprint = Blueprint("approvals", __name__, url_prefix="/exceptions/<identifier>")


@blueprint.post("/approve")
def approve(identifier: str) -> Response:
    """A person allows the plan to be carried out; where two have to, the first of them leaves it waiting."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(ApprovalDecision)
    asked = Asked(InputType.APPROVED, EventType.APPROVAL_GRANTED, _data(body), {"by": caller.name})

    def act(locked: Locked) -> int:
        approvals = Approvals(locked.transaction, caller.tenant_id, locked.now)
        approval = _asked_for(locked, approvals, body.plan_hash)
        _must_be_another(approval, caller)
        given = approvals.give(approval, caller.key_id, caller.name, body.comment)
        shown: dict[str, Any] = {"by": caller.name}
        if approval.plan_hash is not None:
            shown["planHash"] = approval.plan_hash
        if approval.needed > 1:
            shown |= {"given": given, "needed": approval.needed}
        if given < approval.needed:
            approvals.note_given(locked.exception_id, shown)
            return locked.exception.last_sequence
        approvals.decide(locked.exception_id, ApprovalState.APPROVED, caller.name, body.comment)
        data = _data(body, approval)
        return locked.append(Asked(InputType.APPROVED, EventType.APPROVAL_GRANTED, data, shown))

    return take(caller, exception_id_of(identifier), asked, act, _show)


@blueprint.post("/reject")
def reject(identifier: str) -> Response:
    """A person does not allow it: the exception is escalated. One is enough, however many would have to approve."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(ApprovalDecision)
    asked = Asked(InputType.REJECTED, EventType.APPROVAL_REJECTED, _data(body), {"by": caller.name})

    def act(locked: Locked) -> int:
        approvals = Approvals(locked.transaction, caller.tenant_id, locked.now)
        approval = _asked_for(locked, approvals, body.plan_hash)
        approvals.decide(locked.exception_id, ApprovalState.REJECTED, caller.name, body.comment)
        return locked.append(
            Asked(InputType.REJECTED, EventType.APPROVAL_REJECTED, _data(body, approval), {"by": caller.name})
        )

    return take(caller, exception_id_of(identifier), asked, act)


def _data(body: ApprovalDecision, approval: PendingApproval | None = None) -> dict[str, Any]:
    """What the policy stage gets: the decision, and the plan that it is about."""
    plan_hash = body.plan_hash if approval is None else approval.plan_hash
    return {"comment": body.comment} if plan_hash is None else {"comment": body.comment, "planHash": plan_hash}


def _asked_for(locked: Locked, approvals: Approvals, plan_hash: str | None) -> PendingApproval:
    """What is being decided. Raises ProblemError 409 when nothing is, or something else than the caller saw."""
    locked.be_in(Status.PENDING_APPROVAL)
    approval = approvals.pending(locked.exception_id)
    if approval is None:
        raise ProblemError(CONFLICT, "nobody is asked to approve anything")
    if plan_hash is not None and plan_hash != approval.plan_hash:
        raise ProblemError(
            CONFLICT,
            f"the plan changed meanwhile: what waits for approval is {approval.plan_hash}, not {plan_hash}; "
            "look at the exception again, then decide",
        )
    if approval.is_over(locked.now):
        raise ProblemError(CONFLICT, f"the time to decide ended at {approval.due_at:%Y-%m-%dT%H:%M:%SZ}")
    return approval


def _must_be_another(approval: PendingApproval, caller: Caller) -> None:
    if caller.key_id in approval.given:
        raise ProblemError(
            CONFLICT,
            f"this needs {approval.needed} people, and {caller.name} has approved already: "
            "somebody else, with a key of their own, has to approve too",
        )


def _show(locked: Locked, sequence: int) -> Accepted:
    """How many have approved, and whether that is enough."""
    row, given = newest_approval(locked.transaction, locked.caller.tenant_id, locked.exception_id)
    shown = accepted(locked, sequence)
    if row is None:
        return shown
    waits = row.state == ApprovalState.PENDING
    return ApprovalAccepted(
        exception_id=shown.exception_id,
        sequence=sequence,
        status=Status.PENDING_APPROVAL if waits else shown.status,
        approvals_given=len(given),
        approvals_needed=row.approvals_needed,
    )
