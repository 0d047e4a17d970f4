"""Reading: lists, one exception, its timeline, the ledger. Payloads are shown redacted or not at all."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import Field

from service.api import exception_schemas as schemas
from service.api import presenting
from service.api.auth import Role
from service.api.context import answer, caller_with, exception_id_of, services
from service.api.fields import Moment, Name
from service.api.paging import NoParameters, Paging, Search, Several, after, page, parameters, place_id, place_number
from service.api.problems import not_found
from service.domain.exceptions import Severity, Status
from service.persistence import queries
from service.persistence.queries import ListFilter
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("reading", __name__)


class ListParameters(Paging):
    """Which exceptions."""

    status: Annotated[list[Status], Several] = Field(default_factory=list)
    severity: Annotated[list[Severity], Several] = Field(default_factory=list)
    exception_type: Name | None = None
    source_system: Name | None = None
    from_: Moment | None = Field(default=None, alias="from", description="Received at or after.")
    to: Moment | None = Field(default=None, description="Received before.")
    blocked: bool | None = Field(default=None, description="Whether later inputs wait behind a dead letter.")
    q: Search | None = Field(default=None, description="Part of the external id, type, source system, assignee or id.")
    retrying: bool | None = Field(default=None, description="Whether a retry is to come after a failed attempt.")
    sort: Literal["-receivedAt", "receivedAt"] = "-receivedAt"


@blueprint.get("/exceptions")
def list_exceptions() -> Response:
    """A page of the tenant's exceptions, newest first unless asked otherwise."""
    caller = caller_with(Role.INGEST)
    wanted = parameters(ListParameters)
    place = after(wanted, wanted.sort)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        rows = queries.list_exceptions(
            transaction,
            caller.tenant_id,
            _filter(wanted),
            newest_first=wanted.sort == "-receivedAt",
            after=place_id(place) if place else None,
            limit=wanted.limit + 1,
        )
    items, cursor = page(rows, wanted, wanted.sort, "exception_id")
    return answer(schemas.ExceptionList(items=[presenting.summary(row) for row in items], next_cursor=cursor))


@blueprint.get("/exceptions/<identifier>")
def get_exception(identifier: str) -> Response:
    """One exception with its plan, approval and dead letter, if there are any."""
    caller = caller_with(Role.INGEST)
    parameters(NoParameters)
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
    wanted = parameters(Paging)
    place = after(wanted, "events")
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        timeline = queries.list_events(
            transaction,
            caller.tenant_id,
            exception_id,
            after=place_number(place) if place else 0,
            limit=wanted.limit + 1,
        )
    if timeline is None:
        raise not_found()
    items, cursor = page(timeline.events, wanted, "events", "position")
    fence = presenting.blocked_by(timeline.head)
    return answer(schemas.EventList(items=[presenting.event(row, fence) for row in items], next_cursor=cursor))


@blueprint.get("/ledger")
def ledger() -> Response:
    """The tenant's books, from one snapshot."""
    caller = caller_with(Role.INGEST)
    parameters(NoParameters)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        return answer(presenting.ledger(queries.ledger_of(transaction, caller.tenant_id)))


def _filter(wanted: ListParameters) -> ListFilter:
    return ListFilter(
        status=tuple(wanted.status),
        severity=tuple(wanted.severity),
        exception_type=wanted.exception_type,
        source_system=wanted.source_system,
        received_from=wanted.from_,
        received_to=wanted.to,
        retrying=wanted.retrying,
        blocked=wanted.blocked,
        text=wanted.q,
    )
