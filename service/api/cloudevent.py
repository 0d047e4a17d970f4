"""CloudEvents 1.0 as exceptions: which attribute becomes which member of the body.

`source` is the source system, `id` the external id (so a repeated event is taken once), `type` the
exception type, `time` when it happened; the extensions `severity`, `entity` and `tenantid` say what the
members of these names do. `data` is the raw payload, or, when it has a member `rawPayload`, a whole body
whose members win over the attributes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from cloudevents.core.bindings import http
from cloudevents.core.exceptions import CloudEventValidationError, InvalidAttributeTypeError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from werkzeug.datastructures import Headers

from service.api.limits import check_storable
from service.api.problems import INVALID, ProblemError
from service.domain.packs.faults import Fault

STRUCTURED = "application/cloudevents+json"
STRUCTURED_BATCH = "application/cloudevents-batch+json"
_PREFIX = "ce-"
_MEMBER_OF = {
    "source": "sourceSystem",
    "id": "externalId",
    "type": "exceptionType",
    "time": "occurredAt",
    "severity": "severity",
    "entity": "entity",
    "tenantid": "tenantId",
}


def is_binary(headers: Headers) -> bool:
    """The request is a CloudEvent whose attributes are headers."""
    return "ce-specversion" in headers


def from_structured(document: Any) -> dict[str, Any]:
    """The body that a structured event stands for. Raises ProblemError 422."""
    if not isinstance(document, dict):
        raise _wrong([Fault("", "must be a CloudEvent, an object")])
    if "data_base64" in document:
        raise _wrong([Fault("data_base64", "binary data is not taken; send `data` as a JSON object")])
    attributes = {name: value for name, value in document.items() if name != "data" and value is not None}
    time = attributes.pop("time", None)
    _require(attributes)
    try:
        CloudEvent(dict(attributes), None)
    except CloudEventValidationError as error:
        raise _invalid(error) from None
    return _body(attributes, time, document.get("data"))


def from_binary(headers: Iterable[tuple[str, str]], data: Any) -> dict[str, Any]:
    """The body that an event with its attributes in headers stands for. Raises ProblemError 422."""
    own = {name.lower(): value for name, value in headers if name.lower().startswith(_PREFIX)}
    time = own.pop("ce-time", None)
    _require({name.removeprefix(_PREFIX) for name in own})
    try:
        event = http.from_binary(http.HTTPMessage(own, b""), JSONFormat(), CloudEvent)
    except CloudEventValidationError as error:
        raise _invalid(error) from None
    body = _body(event.get_attributes(), None if time is None else unquote(time), data)
    check_storable(body)
    return body


def _body(attributes: Mapping[str, Any], time: Any, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _wrong([Fault("data", "must be a JSON object: the raw payload")])
    given = {**attributes, "time": time}
    body = {member: given[name] for name, member in _MEMBER_OF.items() if given.get(name) is not None}
    return {**body, **data} if "rawPayload" in data else {**body, "rawPayload": data}


def _require(names: Container[str]) -> None:
    """The library makes up an id and a version where there is none; then no repetition would be recognised."""
    missing = [name for name in ("specversion", "id", "source", "type") if name not in names]
    if missing:
        raise _wrong([Fault(name, "is a required attribute of a CloudEvent") for name in missing])


def _invalid(error: CloudEventValidationError) -> ProblemError:
    return _wrong([Fault(name, _message(faults[0])) for name, faults in error.errors.items()])


def _message(fault: Exception) -> str:
    return "must be a text" if isinstance(fault, InvalidAttributeTypeError) else str(fault)


def _wrong(faults: list[Fault]) -> ProblemError:
    return ProblemError(INVALID, "this is not a CloudEvent 1.0 that can be taken; see errors", faults)
