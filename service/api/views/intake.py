"""Taking exceptions in: one, or up to a thousand at once of which each stands alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from flask import Blueprint, Response, g, request
from pydantic import TypeAdapter, ValidationError

from service.api import acceptance, cloudevent
from service.api.auth import Role
from service.api.context import caller_with, idempotency_key, services, trace_id
from service.api.intake_schemas import LARGEST_BATCH, NewException
from service.api.limits import Parsed, parse, read_body
from service.api.problems import FORBIDDEN, INVALID, ProblemError, invalid
from service.domain.exceptions import Status
from service.domain.packs.faults import Fault
from service.persistence.administration import Caller

blueprint = Blueprint("intake", __name__)

JSON = "application/json"
NDJSON = "application/x-ndjson"
_ONE: TypeAdapter[NewException] = TypeAdapter(NewException)
_MANY: TypeAdapter[list[NewException]] = TypeAdapter(list[NewException])


@blueprint.post("/exceptions")
def post_exception() -> Response:
    """Take one exception in. 202 means that it is kept."""
    caller = caller_with(Role.INGEST)
    key = idempotency_key()
    body = _single_body()
    try:
        item = _ONE.validate_python(body)
    except ValidationError as error:
        raise invalid(error) from None
    if item.tenant_id not in (None, caller.tenant_id):
        raise _foreign_tenant()
    services().rates.take(caller.tenant_id, 1)
    given = (f"key:{key}",) if key is not None else ()
    result = _accept(caller, [item], given)[0]
    if isinstance(result, ProblemError):
        raise result
    document = {"exceptionId": result, "sequence": 1, "status": Status.RECEIVED}
    return Response(orjson.dumps(document), 202, {"Location": f"/exceptions/{result}"}, content_type="application/json")


@blueprint.post("/exceptions/batch")
def post_batch() -> Response:
    """Take many exceptions in with one transaction; the faulty ones are told apart."""
    caller = caller_with(Role.INGEST)
    key = idempotency_key()
    values, answers = _read_batch()
    good = _validated(values, answers, caller)
    services().rates.take(caller.tenant_id, max(1, len(good)))
    keys = [f"batch:{key}:{index}" for index in good] if key is not None else ()
    if good:
        for index, result in zip(good, _accept(caller, list(good.values()), keys), strict=True):
            answers[index] = result
    return _batch_answer(answers)


def _single_body() -> Any:
    parsed = parse(read_body(request, (JSON, cloudevent.STRUCTURED)))
    parsed.check(parsed.value)
    if request.mimetype == cloudevent.STRUCTURED:
        return cloudevent.from_structured(parsed.value)
    if cloudevent.is_binary(request.headers):
        return cloudevent.from_binary(request.headers.items(), parsed.value)
    return parsed.value


def _read_batch() -> tuple[list[Any], list[str | ProblemError | None]]:
    """The items as values, and in the places of those that can't be read, why. Raises ProblemError for the whole."""
    body = read_body(request, (JSON, NDJSON, cloudevent.STRUCTURED_BATCH))
    if request.mimetype == NDJSON:
        lines = [line for line in body.split(b"\n") if line.strip()]
        _check_number(len(lines))
        return _each(lines, _line)
    parsed = parse(body)
    if request.mimetype == cloudevent.STRUCTURED_BATCH:
        events = _listed(parsed.value, "")
        return _each(events, lambda event: cloudevent.from_structured(_checked(parsed, event)))
    if not isinstance(parsed.value, dict) or parsed.value.keys() != {"items"}:
        raise ProblemError(INVALID, "a batch is an object with the one member items", [Fault("items", "is required")])
    return _each(_listed(parsed.value["items"], "items"), lambda item: _checked(parsed, item))


def _each(raw: list[Any], read: Callable[[Any], Any]) -> tuple[list[Any], list[str | ProblemError | None]]:
    values: list[Any] = []
    answers: list[str | ProblemError | None] = [None] * len(raw)
    for index, one in enumerate(raw):
        try:
            values.append(read(one))
        except ProblemError as problem:
            values.append(None)
            answers[index] = problem
    return values, answers


def _line(line: bytes) -> Any:
    parsed = parse(line)
    return _checked(parsed, parsed.value)


def _checked(parsed: Parsed, item: Any) -> Any:
    parsed.check(item)
    return item


def _listed(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise ProblemError(INVALID, "the items of a batch are a list", [Fault(path, "must be a list")])
    _check_number(len(value))
    return value


def _check_number(items: int) -> None:
    if items > LARGEST_BATCH:
        message = f"{items:,} items; at most {LARGEST_BATCH:,} are taken at once"
        raise ProblemError(INVALID, message, [Fault("items", message)])


def _validated(values: list[Any], answers: list[str | ProblemError | None], caller: Caller) -> dict[int, NewException]:
    """The items that can be taken, by place; `answers` gets the problems of the others."""
    places = [index for index, answer in enumerate(answers) if answer is None]
    try:
        items = dict(zip(places, _MANY.validate_python([values[index] for index in places]), strict=True))
    except ValidationError:
        items = {}
        for index in places:
            try:
                items[index] = _ONE.validate_python(values[index])
            except ValidationError as error:
                answers[index] = invalid(error)
    foreign = [index for index, item in items.items() if item.tenant_id not in (None, caller.tenant_id)]
    for index in foreign:
        answers[index] = _foreign_tenant()
        del items[index]
    return items


def _foreign_tenant() -> ProblemError:
    return ProblemError(
        FORBIDDEN, "the body's tenantId is not the API key's; leave it out", [Fault("tenantId", "is not your tenant")]
    )


def _accept(caller: Caller, items: Sequence[NewException], keys: Sequence[str]) -> list[str | ProblemError]:
    parts = services()
    wanted = acceptance.Request(caller.tenant_id, parts.now(), parts.settings.lanes, trace_id())
    return acceptance.accept(parts.engine, wanted, items, keys)


def _batch_answer(answers: Sequence[str | ProblemError | None]) -> Response:
    items = []
    accepted = 0
    for index, answer in enumerate(answers):
        if isinstance(answer, ProblemError):
            problem = {**answer.document(), "requestId": g.request_id}
            items.append({"index": index, "problem": problem})
        else:
            accepted += 1
            items.append({"index": index, "exceptionId": answer})
    document = {"accepted": accepted, "rejected": len(items) - accepted, "items": items}
    return Response(orjson.dumps(document), 202, content_type=JSON)
