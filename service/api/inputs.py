"""How a later input of an exception is taken in: once per key, checked and written under the exception's lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from flask import Response, request
from pydantic import BaseModel, ValidationError

from service.api.context import answer, idempotency_key, services
from service.api.input_schemas import Accepted
from service.api.limits import parse, read_body
from service.api.problems import CONFLICT, KEY_REUSED, ProblemError, invalid, not_found
from service.domain.events import EventType
from service.domain.exceptions import InputType, Status
from service.persistence.administration import Caller
from service.persistence.ingestion import Ingestion, LockedException, NewInput
from service.persistence.unit_of_work import Transaction, unit_of_work

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call wants done: the input, and the event that tells of it at once."""

    type: InputType
    event: EventType
    data: Mapping[str, Any]
    event_data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Locked:
    """An exception under its lock, and who wants something of it."""

    transaction: Transaction
    ingestion: Ingestion
    caller: Caller
    now: datetime
    exception: LockedException

    @property
    def exception_id(self) -> UUID:
        """Whose lock it is."""
        return self.exception.exception_id

    def append(self, asked: Asked) -> int:
        """Write the input; its sequence."""
        new = NewInput(asked.type, asked.data, asked.event, asked.event_data, self.caller.name)
        return self.ingestion.append(self.exception, new)

    def be_in(self, *allowed: Status) -> None:
        """Raises ProblemError 409 unless the exception is in one of these statuses."""
        status = self.exception.status
        if status in allowed:
            return
        if status is Status.IN_PROGRESS:
            raise ProblemError(CONFLICT, "the exception is being worked at this moment; look again, then decide")
        raise ProblemError(CONFLICT, f"the exception is {status}, not {' or '.join(allowed)}")


Act = Callable[[Locked], int]
"""Checks and writes; the sequence it has. Raises ProblemError 409 when the exception's state does not allow it."""
Show = Callable[[Locked, int], Accepted]


def accepted(locked: Locked, sequence: int) -> Accepted:
    """The answer to most inputs."""
    status = Status.IN_PROGRESS if locked.exception.at_rest else locked.exception.status
    return Accepted(exception_id=locked.exception_id, sequence=sequence, status=status)


def take(caller: Caller, exception_id: UUID, asked: Asked, act: Act | None = None, show: Show = accepted) -> Response:
    """Under the exception's lock: do what is asked, unless it was under this key, and answer.

    `act` does it; by default it is appended whatever the state. Raises ProblemError.
    """
    parts = services()
    key = idempotency_key()
    full_key = f"input:{exception_id}:{key}" if key is not None else None
    digest = _digest(asked)
    now = parts.now()
    with unit_of_work(parts.engine, [caller.tenant_id]) as transaction:
        ingestion = Ingestion(transaction, caller.tenant_id, now)
        exception = ingestion.lock(exception_id)
        if exception is None:
            raise not_found()
        locked = Locked(transaction, ingestion, caller, now, exception)
        sequence = _repeated(ingestion, full_key, digest)
        if sequence is None:
            sequence = locked.append(asked) if act is None else act(locked)
            if full_key is not None:
                ingestion.remember(full_key, digest, exception_id, sequence)
        shown = show(locked, sequence)
    return answer(shown, 202)


def body_as(model: type[_M]) -> _M:
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


def _repeated(repository: Ingestion, key: str | None, digest: bytes) -> int | None:
    """The sequence that the same call got before. Raises ProblemError 422 when it was another call."""
    remembered = repository.find_key(key) if key is not None else None
    if remembered is None:
        return None
    if remembered[0] != digest:
        raise ProblemError(KEY_REUSED, "the Idempotency-Key was used for another call; use a new one")
    return remembered[1]


def _digest(asked: Asked) -> bytes:
    return hashlib.sha256(orjson.dumps([asked.type, asked.data], option=orjson.OPT_SORT_KEYS)).digest()
