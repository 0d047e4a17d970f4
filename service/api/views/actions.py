"""What a source adds to an exception later (updates, comments, signals), and that it is cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response

from service.api.auth import Role
from service.api.context import caller_with, exception_id_of
from service.api.input_schemas import Decision, NewEvent
from service.api.inputs import Asked, Locked, body_as, take
from service.api.problems import CONFLICT, INVALID, ProblemError
from service.domain.events import EventType
from service.domain.exceptions import InputType, Status
from service.domain.packs.faults import Fault
from service.persistence.administration import Caller
from service.persistence.approvals import Approvals

blueprint = Blueprint("actions", __name__, url_prefix="/exceptions/<identifier>")

_UNCANCELLABLE = (Status.RESOLVED, Status.CANCELLED, Status.DISCARDED)
_PLANLESS = (Status.RESOLVED, Status.ESCALATED, Status.CANCELLED, Status.DISCARDED, Status.PENDING_APPROVAL)
"""Statuses in which no plan is under way that could wait for a signal."""
_LONGEST_COMMENT = 10_000


@blueprint.post("/events")
def post_event(identifier: str) -> Response:
    """Take in an update of the payload, a comment, or a signal; it is worked when its predecessors are."""
    caller = caller_with(Role.INGEST)
    body = body_as(NewEvent)
    exception_id = exception_id_of(identifier)
    match body.type:
        case "updated":
            return take(caller, exception_id, _updated(body, caller))
        case "comment":
            return take(caller, exception_id, _commented(body, caller))
        case _:
            asked = _signal(body, caller)
            return take(caller, exception_id, asked, lambda locked: _append_signal(locked, asked))


@blueprint.post("/cancel")
def cancel(identifier: str) -> Response:
    """Nothing more is to be done."""
    caller = caller_with(Role.OPERATOR)
    data = body_as(Decision).model_dump(exclude_none=True)
    shown = {"type": "cancelled", "by": caller.name}
    asked = Asked(InputType.CANCELLED, EventType.EXCEPTION_UPDATED, data, shown)

    def act(locked: Locked) -> int:
        status = locked.exception.status
        if status is Status.DEAD_LETTERED:
            detail = "discard its dead letter instead, or redrive it and cancel the exception then"
            raise ProblemError(CONFLICT, f"the exception is {status}, and its later inputs wait: {detail}")
        if status in _UNCANCELLABLE:
            raise ProblemError(CONFLICT, f"the exception is {status}: there is nothing left to cancel")
        Approvals(locked.transaction, caller.tenant_id, locked.now).withdraw(locked.exception_id)
        return locked.append(asked)

    return take(caller, exception_id_of(identifier), asked, act)


def _updated(body: NewEvent, caller: Caller) -> Asked:
    data = _payload(body.data or {})
    shown = {"type": body.type, "by": caller.name, "fields": sorted(data["rawPayload"])}
    return Asked(InputType.UPDATED, EventType.EXCEPTION_UPDATED, data, shown)


def _payload(data: Mapping[str, Any]) -> dict[str, Any]:
    """An update's fields, given plain or under rawPayload, as intake takes them."""
    if "rawPayload" not in data:
        return {"rawPayload": data}
    if set(data) == {"rawPayload"} and isinstance(data["rawPayload"], dict):
        return dict(data)
    raise ProblemError(
        INVALID, "an update is the payload's new fields", [Fault("data.rawPayload", "must be the one object in data")]
    )


def _commented(body: NewEvent, caller: Caller) -> Asked:
    """A comment's words are in `text`, or in `comment`; what else is there is kept with it."""
    data = body.data or {}
    name = "comment" if "comment" in data and "text" not in data else "text"
    words = data.get(name)
    if not isinstance(words, str) or not words.strip() or len(words) > _LONGEST_COMMENT:
        message = f"must be a text of 1 to {_LONGEST_COMMENT:,} characters"
        raise ProblemError(INVALID, "a comment has words", [Fault(f"data.{name}", message)])
    shown = {"type": body.type, "by": caller.name}
    return Asked(InputType.COMMENT, EventType.EXCEPTION_UPDATED, data, shown)


def _signal(body: NewEvent, caller: Caller) -> Asked:
    data = {"name": body.type, "data": body.data or {}}
    shown = {"type": "signal", "name": body.type, "by": caller.name}
    return Asked(InputType.SIGNAL, EventType.EXCEPTION_UPDATED, data, shown)


def _append_signal(locked: Locked, asked: Asked) -> int:
    """A signal that comes while a plan is being carried out waits for its turn, and may find a step waiting then."""
    status = locked.exception.status
    if status in _PLANLESS:
        raise ProblemError(CONFLICT, f"the exception is {status}: no plan is under way that waits for a signal")
    return locked.append(asked)
