"""What happens to an exception later: updates and comments of its source, decisions of people."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import orjson
from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError

from service.api.auth import Role
from service.api.context import answer, caller_with, exception_id_of, idempotency_key, services
from service.api.limits import parse, read_body
from service.api.problems import CONFLICT, INVALID, KEY_REUSED, ProblemError, invalid, not_found
from service.api.schemas import Accepted, Decision, NewEvent
from service.domain.events import EventType
from service.domain.exceptions import InputType, Status
from service.domain.packs.faults import Fault
from service.persistence.administration import Caller
from service.persistence.ingestion import Ingestion, LockedException, NewInput
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("actions", __name__, url_prefix="/exceptions/<identifier>")

_FINAL = (Status.RESOLVED, Status.CANCELLED, Status.DEAD_LETTERED, Status.DISCARDED)
_LONGEST_COMMENT = 10_000
_M = TypeVar("_M", bound=BaseModel)
Check = Callable[[Ingestion, LockedException], None]
"""Raises ProblemError 409 when the locked exception's state does not allow the input."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call wants done."""

    type: InputType
    event: EventType
    data: Mapping[str, Any]
    event_data: Mapping[str, Any]


@blueprint.post("/events")
def post_event(identifier: str) -> Response:
    """Take in an update of the payload, or a comment; it is worked when its predecessors are."""
    caller = caller_with(Role.INGEST)
    body = _body(NewEvent)
    data = _updated(body.data) if body.type == "updated" else _commented(body.data)
    shown: dict[str, Any] = {"type": body.type, "by": caller.name}
    if body.type == "updated":
        shown["fields"] = sorted(data["rawPayload"])
    asked = _Asked(InputType(body.type), EventType.EXCEPTION_UPDATED, data, shown)
    return _append(caller, exception_id_of(identifier), asked, _always)


@blueprint.post("/approve")
def approve(identifier: str) -> Response:
    """A person allows the plan to be carried out."""
    return _decide(identifier, InputType.APPROVED, EventType.APPROVAL_GRANTED, "approved")


@blueprint.post("/reject")
def reject(identifier: str) -> Response:
    """A person does not allow it: the exception is escalated."""
    return _decide(identifier, InputType.REJECTED, EventType.APPROVAL_REJECTED, "rejected")


@blueprint.post("/cancel")
def cancel(identifier: str) -> Response:
    """Nothing more is to be done."""
    caller = caller_with(Role.OPERATOR)
    data = _body(Decision).model_dump(exclude_none=True)
    shown = {"type": "cancelled", "by": caller.name}
    asked = _Asked(InputType.CANCELLED, EventType.EXCEPTION_UPDATED, data, shown)
    return _append(caller, exception_id_of(identifier), asked, _not_final)


@blueprint.post("/steps/<int:order>/complete")
def complete(identifier: str, order: int) -> Response:
    """A person has done the step that the plan waits for."""
    caller = caller_with(Role.OPERATOR)
    data = {"stepOrder": order, **_body(Decision).model_dump(exclude_none=True)}
    shown = {"stepOrder": order, "by": caller.name}
    asked = _Asked(InputType.STEP_COMPLETED, EventType.STEP_COMPLETION_REQUESTED, data, shown)

    def waits_for_it(repository: Ingestion, exception: LockedException) -> None:
        _in_status(exception, Status.PENDING_STEP)
        step = repository.waiting_step(exception.exception_id)
        if step is None or step.order != order:
            waiting = "no step" if step is None else f"step {step.order}"
            raise ProblemError(CONFLICT, f"the plan waits for {waiting}, not for step {order}")

    return _append(caller, exception_id_of(identifier), asked, waits_for_it)


def _decide(identifier: str, kind: InputType, event: EventType, state: str) -> Response:
    caller = caller_with(Role.OPERATOR)
    body = _body(Decision)
    asked = _Asked(kind, event, body.model_dump(exclude_none=True), {"by": caller.name})

    def asked_for(repository: Ingestion, exception: LockedException) -> None:
        _in_status(exception, Status.PENDING_APPROVAL)
        repository.decide_approval(exception.exception_id, state, caller.name, body.comment or body.reason)

    return _append(caller, exception_id_of(identifier), asked, asked_for)


def _append(caller: Caller, exception_id: UUID, asked: _Asked, check: Check) -> Response:
    """Under the exception's lock: check, write the input, and answer its sequence."""
    parts = services()
    key = idempotency_key()
    full_key = f"input:{exception_id}:{key}" if key is not None else None
    digest = _digest(asked)
    with unit_of_work(parts.engine, [caller.tenant_id]) as transaction:
        repository = Ingestion(transaction, caller.tenant_id, parts.now())
        exception = repository.lock(exception_id)
        if exception is None:
            raise not_found()
        sequence = _repeated(repository, full_key, digest)
        if sequence is None:
            check(repository, exception)
            new = NewInput(asked.type, asked.data, asked.event, asked.event_data, caller.name)
            sequence = repository.append(exception, new)
            if full_key is not None:
                repository.remember(full_key, digest, exception_id, sequence)
    status = Status.IN_PROGRESS if exception.at_rest else exception.status
    return answer(Accepted(exception_id=exception_id, sequence=sequence, status=status), 202)


def _repeated(repository: Ingestion, key: str | None, digest: bytes) -> int | None:
    """The sequence that the same call got before. Raises ProblemError 422 when it was another call."""
    remembered = repository.find_key(key) if key is not None else None
    if remembered is None:
        return None
    if remembered[0] != digest:
        raise ProblemError(KEY_REUSED, "the Idempotency-Key was used for another call; use a new one")
    return remembered[1]


def _digest(asked: _Asked) -> bytes:
    return hashlib.sha256(orjson.dumps([asked.type, asked.data], option=orjson.OPT_SORT_KEYS)).digest()


def _body(model: type[_M]) -> _M:
    """The request's body as a model; calls that need none may leave it out. Raises ProblemError."""
    value: Any = {}
    if request.content_length != 0 and (request.content_length is not None or request.mimetype):
        raw = read_body(request, ("application/json",))
        parsed = parse(raw)
        parsed.check(parsed.value)
        value = parsed.value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from None


def _updated(data: Mapping[str, Any]) -> dict[str, Any]:
    """An update's fields, given plain or under rawPayload, as intake takes them."""
    if "rawPayload" not in data:
        return {"rawPayload": data}
    if set(data) == {"rawPayload"} and isinstance(data["rawPayload"], dict):
        return dict(data)
    raise ProblemError(
        INVALID, "an update is the payload's new fields", [Fault("data.rawPayload", "must be the one object in data")]
    )


def _commented(data: Mapping[str, Any]) -> dict[str, Any]:
    """A comment's data: its words are in `text`, or in `comment`; what else is there is kept with it."""
    name = "comment" if "comment" in data and "text" not in data else "text"
    words = data.get(name)
    if not isinstance(words, str) or not words.strip() or len(words) > _LONGEST_COMMENT:
        message = f"must be a text of 1 to {_LONGEST_COMMENT:,} characters"
        raise ProblemError(INVALID, "a comment has words", [Fault(f"data.{name}", message)])
    return dict(data)


def _always(_repository: Ingestion, _exception: LockedException) -> None:
    """Its source may always add to an exception."""


def _not_final(_repository: Ingestion, exception: LockedException) -> None:
    if exception.status in _FINAL:
        raise ProblemError(CONFLICT, f"the exception is {exception.status}: there is nothing left to cancel")


def _in_status(exception: LockedException, needed: Status) -> None:
    if exception.status is not needed:
        raise ProblemError(CONFLICT, f"the exception is {exception.status}, not {needed}")
