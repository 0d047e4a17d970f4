"""Bodies of calls about packs: a pack as JSON or YAML, or a small JSON object that says what to do with one."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from service.api.limits import parse, read_body
from service.api.problems import INVALID, NOT_JSON, ProblemError, invalid
from service.domain.packs import Fault, PackInvalidError
from service.domain.packs.reading.documents import PackDocument, read_document
from service.engine.pack_pairs import PackKey

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
MEDIA_TYPES = (JSON, *YAML)
_M = TypeVar("_M", bound=BaseModel)


def pack_body(key: PackKey, tenant_id: str) -> PackDocument:
    """The pack in the request's body, which must be the one of the path. Raises ProblemError."""
    raw = read_body(request, MEDIA_TYPES)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ProblemError(NOT_JSON, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        given = read_document(text, "pack.json" if request.mimetype == JSON else "pack.yaml")
    except PackInvalidError as error:
        raise pack_invalid(error) from None
    faults = list(_not_the_one(given, key, tenant_id))
    if faults:
        raise ProblemError(INVALID, "the pack is not the one that the path names", given.located(faults))
    return given


def pack_invalid(error: PackInvalidError) -> ProblemError:
    """Every fault of a pack; 400 where the text could not even be read."""
    unreadable = any(fault.message.startswith(("not JSON", "not YAML")) for fault in error.faults)
    detail = f"{len(error.faults)} fault(s) in the pack; see errors"
    return ProblemError(NOT_JSON if unreadable else INVALID, detail, error.faults)


def command_body(model: type[_M]) -> _M:
    """The request's body as a model; it may be left out. Raises ProblemError."""
    value: Any = {}
    if request.content_length != 0 and (request.content_length is not None or request.mimetype):
        parsed = parse(read_body(request, (JSON,)))
        parsed.check(parsed.value)
        value = parsed.value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from None


def _not_the_one(given: PackDocument, key: PackKey, tenant_id: str) -> list[Fault]:
    if given.kind is not key.kind:
        return [Fault("", f"this is a {given.kind} pack; send it to /packs/{_place(given)}")]
    actual = PackKey.of(given)
    if actual != key:
        return [Fault("domainName", f"is {actual.name!r}, and the path names {key.name!r}")]
    named = given.document.get("tenantId", given.document.get("tenant_id", tenant_id))
    return [] if named == tenant_id else [Fault("tenantId", "must be the tenant of your API key")]


def _place(given: PackDocument) -> str:
    return "tenant" if given.kind == "tenant" else f"domain/{PackKey.of(given).name}"
