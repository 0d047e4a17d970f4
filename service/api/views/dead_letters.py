"""Dead letters over HTTP, the reading half: a list, one with its story, and clusters of one cause."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from flask import Blueprint, Response

from service.api import dead_letter_schemas as schemas
from service.api import presenting_dead_letters as presenting
from service.api.auth import Role
from service.api.context import answer, caller_with, services
from service.api.paging import NoParameters, after, page, parameters, place_id, place_number, wrong_cursor
from service.api.problems import NOT_FOUND, ProblemError
from service.persistence import dead_letters
from service.persistence.dead_letters import ClusterOrder
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dlq")

_ORDERS: dict[str, ClusterOrder] = {"-count": "count", "-lastSeen": "lastSeen"}
_SORTED_BY: dict[ClusterOrder, str] = {"count": "number", "lastSeen": "last_seen"}


@blueprint.get("")
def list_dead_letters() -> Response:
    """A page of the tenant's dead letters, the newest first; without a state, those nobody has decided about."""
    caller = caller_with(Role.INGEST)
    wanted = parameters(schemas.DeadLetterParameters)
    place = after(wanted, "dlq")
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        rows = dead_letters.list_dead_letters(
            transaction,
            caller.tenant_id,
            wanted.as_filter(),
            after=_place(place) if place else None,
            limit=wanted.limit + 1,
        )
        shown, cursor = page(rows, wanted, "dlq", "dead_lettered_at", "dead_letter_id")
        items = dead_letters.with_blocking(transaction, shown)
    return answer(schemas.DeadLetterList(items=[presenting.summary(one) for one in items], next_cursor=cursor))


@blueprint.get("/clusters")
def list_clusters() -> Response:
    """The tenant's dead letters by cause."""
    caller = caller_with(Role.INGEST)
    wanted = parameters(schemas.ClusterParameters)
    order = _ORDERS[wanted.sort]
    place = after(wanted, f"clusters{wanted.sort}")
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        rows = dead_letters.clusters(
            transaction,
            caller.tenant_id,
            wanted.as_filter(),
            order=order,
            after=_cluster_place(place, order) if place else None,
            now=services().now(),
            limit=wanted.limit + 1,
        )
    items, cursor = page(rows, wanted, f"clusters{wanted.sort}", _SORTED_BY[order], "signature")
    return answer(schemas.ClusterList(items=[presenting.cluster(row) for row in items], next_cursor=cursor))


@blueprint.get("/<identifier>")
def get_dead_letter(identifier: str) -> Response:
    """One dead letter with what was tried, what happened last, and where its payload is."""
    caller = caller_with(Role.INGEST)
    parameters(NoParameters)
    dead_letter_id = dead_letter_id_of(identifier)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        story = dead_letters.get_dead_letter(transaction, caller.tenant_id, dead_letter_id)
    if story is None:
        raise no_dead_letter()
    return answer(presenting.detail(story))


def dead_letter_id_of(text: str) -> UUID:
    """An id from a path. What is no id is nobody's dead letter. Raises ProblemError 404."""
    try:
        return UUID(text)
    except ValueError:
        raise no_dead_letter() from None


def no_dead_letter() -> ProblemError:
    """The same answer for what never was and for what is another tenant's."""
    return ProblemError(NOT_FOUND, "your tenant has no dead letter of this id")


def _place(text: str) -> tuple[datetime, UUID]:
    moment, _, identifier = text.partition("_")
    return _moment(moment), place_id(identifier)


def _cluster_place(text: str, order: ClusterOrder) -> tuple[str, str]:
    value, _, signature = text.partition("_")
    if order == "count":
        return str(place_number(value)), signature
    return _moment(value).isoformat(), signature


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong_cursor() from None
    if moment.tzinfo is None:
        raise wrong_cursor()
    return moment
