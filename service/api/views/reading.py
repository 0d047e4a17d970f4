"""Reading: lists, one exception, its timeline, the ledger. Payloads are shown redacted or not at all."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import Row

from service.api import presenting, schemas
from service.api.auth import Role
from service.api.context import answer, caller_with, exception_id_of, services
from service.api.limits import check_storable
from service.api.problems import INVALID, ProblemError, invalid, not_found
from service.api.schemas import Moment, Name
from service.domain.exceptions import Severity, Status
from service.domain.packs.faults import Fault
from service.persistence import queries
from service.persistence.queries import ListFilter
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("reading", __name__)

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
LONGEST_SEARCH = 100
_M = TypeVar("_M", bound=BaseModel)


def _split(value: object) -> object:
    """Several values of one parameter: repeated, or with commas."""
    if not isinstance(value, list):
        return value
    return [part.strip() for text in value for part in str(text).split(",") if part.strip()]


class Paging(BaseModel):
    """How much of a list, and from where."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=LARGEST_LIMIT)
    cursor: str | None = Field(default=None, max_length=200)


class ListParameters(Paging):
    """Which exceptions."""

    status: Annotated[list[Status], BeforeValidator(_split)] = []
    severity: Annotated[list[Severity], BeforeValidator(_split)] = []
    exception_type: Name | None = None
    source_system: Name | None = None
    from_: Moment | None = Field(default=None, alias="from", description="Received at or after.")
    to: Moment | None = Field(default=None, description="Received before.")
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_SEARCH,
        description="Part of the external id, type, source system, assignee or id.",
    )
    sort: Literal["-receivedAt", "receivedAt"] = "-receivedAt"


_LISTS = ("status", "severity")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page ended: the list it belongs to, and the last row's place in it."""

    of: str
    after: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.of} {self.after}".encode()).decode().rstrip("=")


@blueprint.get("/exceptions")
def list_exceptions() -> Response:
    """A page of the tenant's exceptions, newest first unless asked otherwise."""
    caller = caller_with(Role.INGEST)
    wanted = _parameters(ListParameters)
    after = _after(wanted, wanted.sort)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        rows = queries.list_exceptions(
            transaction,
            caller.tenant_id,
            _filter(wanted),
            newest_first=wanted.sort == "-receivedAt",
            after=_uuid(after) if after else None,
            limit=wanted.limit + 1,
        )
    items, cursor = _page(rows, wanted, wanted.sort, "exception_id")
    return answer(schemas.ExceptionList(items=[presenting.summary(row) for row in items], next_cursor=cursor))


@blueprint.get("/exceptions/<identifier>")
def get_exception(identifier: str) -> Response:
    """One exception with its plan, approval and dead letter, if there are any."""
    caller = caller_with(Role.INGEST)
    _parameters(_NoParameters)
    exception_id = exception_id_of(identifier)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        details = queries.get_exception(transaction, caller.tenant_id, exception_id)
    if details is None:
        raise not_found()
    return answer(presenting.detail(details))


@blueprint.get("/exceptions/<identifier>/events")
def list_events(identifier: str) -> Response:
    """The exception's timeline, oldest first."""
    caller = caller_with(Role.INGEST)
    exception_id = exception_id_of(identifier)
    wanted = _parameters(Paging)
    after = _after(wanted, "events")
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        rows = queries.list_events(
            transaction,
            caller.tenant_id,
            exception_id,
            after=_position(after) if after else 0,
            limit=wanted.limit + 1,
        )
    if rows is None:
        raise not_found()
    items, cursor = _page(rows, wanted, "events", "position")
    return answer(schemas.EventList(items=[presenting.event(row) for row in items], next_cursor=cursor))


@blueprint.get("/ledger")
def ledger() -> Response:
    """The tenant's books, from one snapshot."""
    caller = caller_with(Role.INGEST)
    _parameters(_NoParameters)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        return answer(presenting.ledger(queries.ledger_of(transaction, caller.tenant_id)))


class _NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _parameters(model: type[_M]) -> _M:
    """The query string as a model. Raises ProblemError 422."""
    given = {
        name: values if name in _LISTS else values[-1] for name, values in request.args.to_dict(flat=False).items()
    }
    check_storable(given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from None


def _filter(wanted: ListParameters) -> ListFilter:
    return ListFilter(
        status=tuple(wanted.status),
        severity=tuple(wanted.severity),
        exception_type=wanted.exception_type,
        source_system=wanted.source_system,
        received_from=wanted.from_,
        received_to=wanted.to,
        text=wanted.q,
    )


def _page(rows: Sequence[Row[Any]], wanted: Paging, of: str, column: str) -> tuple[Sequence[Row[Any]], str | None]:
    """The page's rows, and where the next one begins if there is more."""
    if len(rows) <= wanted.limit:
        return rows, None
    items = rows[: wanted.limit]
    return items, str(_Cursor(of, str(getattr(items[-1], column))))


def _after(wanted: Paging, of: str) -> str | None:
    """The place that the request's cursor names. Raises ProblemError 422 for one that this list did not give."""
    if wanted.cursor is None:
        return None
    try:
        padded = wanted.cursor + "=" * (-len(wanted.cursor) % 4)
        list_name, after = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(" ")
    except (binascii.Error, ValueError):
        raise _wrong_cursor() from None
    if list_name != of:
        raise _wrong_cursor()
    return after


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _wrong_cursor() from None


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise _wrong_cursor()
    return int(text)


def _wrong_cursor() -> ProblemError:
    message = "is not a nextCursor that this list gave with this sort"
    return ProblemError(INVALID, f"the cursor {message}", [Fault("cursor", message)])
