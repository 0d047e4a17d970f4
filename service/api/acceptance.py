"""From validated items to stored exceptions: ids, lanes, keys, and what to answer to a repetition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Engine
from uuid_utils import uuid4, uuid7

from service.api.intake_schemas import NewException
from service.api.problems import KEY_REUSED, ProblemError
from service.domain.packs.faults import Fault
from service.persistence import ingestion
from service.persistence.ingestion import ConcurrentDuplicateError, Ingestion, Keyed, Known, lane_of
from service.persistence.unit_of_work import unit_of_work

_MOST_ATTEMPTS = 5
"""Each attempt can only be lost to another request that was accepted, so a second one nearly always does."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a batch of items is accepted with."""

    tenant_id: str
    now: datetime
    lanes: int
    trace_id: str | None
    """From the caller's traceparent; None: each exception begins a trace of its own."""


@dataclass(slots=True)
class _Prepared:
    """The items to write, their keys, and what each item of the request became."""

    rows: list[ingestion.NewException]
    keys: list[Keyed]
    answers: list[str | ProblemError]
    """By item: the id it was given (several items of one key share it), or why it is refused."""
    repeated: list[str]
    """Ids of items that came once more within the same request."""


def accept(
    engine: Engine, request: Request, items: Sequence[NewException], keys: Sequence[str | None] = ()
) -> list[str | ProblemError]:
    """Store items in one transaction; by item, the exception's id or the problem.

    `keys` are the callers' idempotency keys by item, if any, already in their namespace. An item that was
    accepted before (same key or same externalId, same content) has its first id. Raises ConcurrentDuplicateError,
    DatabaseUnavailableError.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        prepared = _prepare(request, items, keys)
        try:
            with unit_of_work(engine, [request.tenant_id]) as transaction:
                repository = Ingestion(transaction, request.tenant_id, request.now)
                known = repository.accept(prepared.rows, prepared.keys)
                answers = [_final(answer, known) for answer in prepared.answers]
                duplicates = _duplicates(prepared, known)
                if duplicates:
                    repository.ignore_duplicates(duplicates)
            return answers
        except ConcurrentDuplicateError:
            if attempt == _MOST_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def content_hash(item: NewException) -> str:
    """What makes two requests the same: their content, whatever its order and layout."""
    content = [
        item.source_system,
        item.external_id,
        item.exception_type,
        item.severity,
        item.entity,
        item.occurred_at,
        item.raw_payload,
    ]
    options = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z
    return hashlib.sha256(orjson.dumps(content, option=options)).hexdigest()


def external_key(source_system: str, external_id: str) -> str:
    """The key of a source's own id. A colon in the source's name is escaped, so that no two pairs meet."""
    return f"external:{source_system.replace('%', '%25').replace(':', '%3A')}:{external_id}"


def _prepare(request: Request, items: Sequence[NewException], given: Sequence[str | None]) -> _Prepared:
    prepared = _Prepared([], [], [], [])
    first_of: dict[str, Keyed] = {}
    for index, item in enumerate(items):
        key = given[index] if given else None
        if key is None and item.external_id is None:
            prepared.answers.append(_add(prepared, request, item))
            continue
        keys = [key] if key is not None else []
        if item.external_id is not None:
            keys.append(external_key(item.source_system, item.external_id))
        digest = content_hash(item)
        earlier = next((first_of[one] for one in keys if one in first_of), None)
        if earlier is None:
            exception_id = _add(prepared, request, item)
            claimed = [Keyed(one, exception_id, digest) for one in keys]
            first_of.update(zip(keys, claimed, strict=True))
            prepared.keys += claimed
            prepared.answers.append(exception_id)
        elif earlier.hash == digest:
            prepared.answers.append(earlier.exception_id)
            prepared.repeated.append(earlier.exception_id)
        else:
            prepared.answers.append(_reused())
    return prepared


def _add(prepared: _Prepared, request: Request, item: NewException) -> str:
    identifier = uuid7()
    exception_id = str(identifier)
    prepared.rows.append(
        ingestion.NewException(
            exception_id,
            lane_of(identifier.bytes, request.lanes),
            request.trace_id or str(uuid4()),
            item.source_system,
            item.raw_payload,
            item.external_id,
            item.exception_type,
            item.severity,
            item.entity,
            item.occurred_at,
        )
    )
    return exception_id


def _final(answer: str | ProblemError, known: dict[str, Known]) -> str | ProblemError:
    if isinstance(answer, ProblemError) or answer not in known:
        return answer
    earlier = known[answer]
    return str(earlier.original) if earlier.same else _reused()


def _duplicates(prepared: _Prepared, known: dict[str, Known]) -> list[str]:
    """The originals of everything that was asked for again, once for each time."""
    again = [*known, *prepared.repeated]
    finals = (_final(exception_id, known) for exception_id in again)
    return [final for final in finals if isinstance(final, str)]


def _reused() -> ProblemError:
    message = "the same key came with other content before; use a new key for a new exception"
    return ProblemError(KEY_REUSED, message, [Fault("", "Idempotency-Key or externalId was used for other content")])
