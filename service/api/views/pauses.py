"""A tenant's own kill switches. What the platform paused is shown, and only the platform ends it."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from uuid_utils import uuid7

from service.api.auth import Role
from service.api.context import answer, caller_with, services
from service.api.inputs import body_as
from service.api.pause_schemas import NewPause, PauseList, Resumption, shown
from service.api.problems import FORBIDDEN, INVALID, PAUSE_CONFLICT, ProblemError, invalid, not_found
from service.domain.packs.faults import Fault
from service.domain.pauses import Pause, Scope
from service.persistence import pauses
from service.persistence.unit_of_work import Transaction, unit_of_work

blueprint = Blueprint("pauses", __name__, url_prefix="/pauses")


class PauseQuery(BaseModel):
    """Which pauses are listed."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    history: bool = Field(default=False, description="Also those that are over.")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: UUID | None = Field(default=None, description="`nextCursor` of the page before.")


@blueprint.post("")
def throw() -> Response:
    """Throw a switch."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(NewPause)
    parts = services()
    if body.until is not None and body.until <= parts.now():
        fault = Fault("until", "must lie in the future")
        raise ProblemError(INVALID, f"until {fault.message}", [fault])
    new = pauses.NewPause(
        Scope(body.scope), body.reason, caller.name, tenant_id=caller.tenant_id, tool=body.tool, until=body.until
    )
    with unit_of_work(parts.engine, [caller.tenant_id]) as transaction:
        thrown = pauses.pause(transaction, UUID(int=uuid7().int), new)
    made = answer(shown(thrown, to_tenant=True), 201)
    made.headers["Location"] = f"/pauses/{thrown.pause_id}"
    return made


@blueprint.get("")
def list_() -> Response:
    """Those in force, or all there were."""
    caller = caller_with(Role.OPERATOR)
    try:
        wanted = PauseQuery.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from None
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        found = pauses.list_pauses(
            transaction, caller.tenant_id, history=wanted.history, limit=wanted.limit + 1, before=wanted.cursor
        )
    page = found[: wanted.limit]
    more = str(page[-1].pause_id) if len(found) > wanted.limit else None
    return answer(PauseList(items=[shown(one, to_tenant=True) for one in page], next_cursor=more))


@blueprint.post("/<pause>/resume")
def resume(pause: str) -> Response:
    """End a pause of the tenant's own."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(Resumption)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        thrown = _own(transaction, pause, caller.tenant_id)
        if thrown.by_platform:
            raise ProblemError(FORBIDDEN, "the platform paused this, and only its people can end it")
        try:
            ended = pauses.resume(transaction, thrown.pause_id, caller.name, body.reason)
        except pauses.PauseOverError as error:
            raise ProblemError(PAUSE_CONFLICT, str(error)) from None
    return answer(shown(ended, to_tenant=True))


def _own(transaction: Transaction, identifier: str, tenant_id: str) -> Pause:
    """Raises ProblemError 404 for what is no pause that concerns the tenant."""
    try:
        found = pauses.get(transaction, UUID(identifier))
    except (ValueError, pauses.PauseUnknownError):
        raise not_found() from None
    if found.tenant_id not in (None, tenant_id):
        raise not_found()
    return found
