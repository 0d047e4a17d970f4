"""Many dead letters sent again or discarded: tried dry, begun, watched, stopped and resumed.

A call only writes down what is to be done; dispatchers do it in the background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson
from flask import Blueprint, Response
from pydantic import ValidationError
from uuid_utils import uuid7

from service.api import presenting_redrives as presenting
from service.api import redrive_schemas as schemas
from service.api.auth import Role
from service.api.context import answer, caller_with, idempotency_key, services
from service.api.inputs import body_as
from service.api.paging import NoParameters, Paging, after, page, parameters, place_id
from service.api.problems import CONFLICT, KEY_REUSED, NOT_FOUND, ProblemError, invalid
from service.domain.operations import Action
from service.domain.redriving import Wish
from service.engine import operations as engine
from service.engine.redriving import Result, judged_discard, judged_redrive
from service.persistence.administration import Caller
from service.persistence.dead_letters import DeadLetterFilter
from service.persistence.operations import Change, NewOperation, Operation, Operations
from service.persistence.packs import database_now
from service.persistence.redriving import DeadLetterDesk
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("redrive_operations", __name__, url_prefix="/dlq")

OF = "operations"
Decide = Callable[[Operations, Operation, str, str, Any], Change | None]


@blueprint.post("/redrive")
def redrive_many() -> Response:
    """Send many again in the background, or tell what would be done."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(schemas.BulkRedrive)
    return _begin(caller, body, Action.REDRIVE, body.wish(), body.canary, body.canary_timeout_seconds)


@blueprint.post("/discard")
def discard_many() -> Response:
    """Discard many in the background, or tell what would be done."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(schemas.BulkDiscard)
    return _begin(caller, body, Action.DISCARD, Wish(), 0, schemas.DEFAULT_CANARY_SECONDS)


@blueprint.get("/operations")
def list_operations() -> Response:
    """A page of the tenant's operations, the newest first."""
    caller = caller_with(Role.OPERATOR)
    wanted = parameters(Paging)
    place = after(wanted, OF)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        repository = Operations(transaction, caller.tenant_id, services().now())
        found = repository.newest(place_id(place) if place else None, wanted.limit + 1)
        shown, cursor = page(found, wanted, OF, "operation_id")
        measured = repository.measured([one.operation_id for one in shown])
    items = [presenting.operation(one, measured.get(one.operation_id)) for one in shown]
    return answer(schemas.OperationList(items=items, next_cursor=cursor))


@blueprint.get("/operations/<operation>")
def get_operation(operation: str) -> Response:
    """One operation with its progress, its history and what came of it."""
    caller = caller_with(Role.OPERATOR)
    parameters(NoParameters)
    return answer(_detail(caller, _id_of(operation)))


@blueprint.post("/operations/<operation>/stop")
def stop_operation(operation: str) -> Response:
    """Send nothing more; what was sent is worked to its end."""
    return _decide(operation, engine.stop)


@blueprint.post("/operations/<operation>/resume")
def resume_operation(operation: str) -> Response:
    """Go on; after a failed canary with the rest."""
    return _decide(operation, engine.resume)


def _begin(
    caller: Caller,
    body: schemas.BulkRedrive | schemas.BulkDiscard,
    action: Action,
    wish: Wish,
    canary: int,
    canary_timeout_seconds: int,
) -> Response:
    try:
        chooses = body.filter.as_filter()
    except ValidationError as error:
        raise invalid(error) from None
    if body.dry_run:
        return answer(_dry_run(caller, action, wish, chooses, body.limit))
    key = idempotency_key()
    asked = body.model_dump(mode="json", by_alias=True)
    new = NewOperation(
        operation_id=UUID(int=uuid7().int),
        action=action,
        filter=body.filter.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        chooses=chooses,
        limit=body.limit,
        wish=wish,
        canary=canary,
        canary_timeout_seconds=canary_timeout_seconds,
        rate_per_second=body.rate_per_second,
        by=caller.name,
        reason=body.reason,
        key=key,
        hash=hashlib.sha256(orjson.dumps([action, asked], option=orjson.OPT_SORT_KEYS)).digest(),
    )
    operation_id = _created(caller, new)
    shown = answer(_detail(caller, operation_id), 202)
    shown.headers["Location"] = f"/dlq/operations/{operation_id}"
    return shown


def _created(caller: Caller, new: NewOperation) -> UUID:
    """The operation, begun now or under the same key before. Raises ProblemError 422."""
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        operations = Operations(transaction, caller.tenant_id, database_now(transaction))
        if operations.create(new) is not None or new.key is None:
            return new.operation_id
        before = operations.under_key(new.key)
    if before is None or before[1] != new.hash:
        raise ProblemError(KEY_REUSED, "the Idempotency-Key was used for another operation; use a new one")
    return before[0]


def _dry_run(caller: Caller, action: Action, wish: Wish, chooses: DeadLetterFilter, limit: int) -> schemas.DryRun:
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        letters = DeadLetterDesk(transaction, caller.tenant_id, services().now()).chosen(chooses, limit)
    results: list[Result] = []
    for letter in letters:
        one = letter.dead_letter_id
        results.append(judged_redrive(one, letter, wish) if action is Action.REDRIVE else judged_discard(one, letter))
    return presenting.dry_run(action, results)


def _decide(operation: str, decide: Decide) -> Response:
    caller = caller_with(Role.OPERATOR)
    body = body_as(schemas.Decided)
    operation_id = _id_of(operation)
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        # The database's clock, which the dispatchers go by, too.
        now = database_now(transaction)
        operations = Operations(transaction, caller.tenant_id, now)
        found = operations.locked(operation_id)
        if found is None:
            raise _no_operation()
        if found.finished_at is not None:
            raise ProblemError(CONFLICT, "the operation is finished: there is nothing to stop or to resume")
        decide(operations, found, caller.name, body.reason, now)
    return answer(_detail(caller, operation_id), 202)


def _detail(caller: Caller, operation_id: UUID) -> schemas.OperationDetail:
    with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
        operations = Operations(transaction, caller.tenant_id, services().now())
        found = operations.get(operation_id)
        if found is None:
            raise _no_operation()
        measured = operations.measured([operation_id]).get(operation_id)
        examples: Mapping[str, Any] = {
            state: operations.examples(operation_id, state, presenting.EXAMPLES) for state in ("failed", "skipped")
        }
        outcomes = operations.outcomes(operation_id, presenting.OUTCOMES)
    return presenting.operation_detail(found, measured, outcomes, examples["failed"], examples["skipped"])


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _no_operation() from None


def _no_operation() -> ProblemError:
    return ProblemError(NOT_FOUND, "your tenant has no operation of this id")
