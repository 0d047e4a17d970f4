"""An event of the log as Kafka records: a CloudEvent in binary mode, and a dead letter's second record. Pure.

This runs for every event, so it is written for speed: SQL renders the values, and the identifier is derived
from integers without the objects of `service.domain.identifiers`, whose result it equals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from service.domain.events import EventType
from service.domain.exceptions import Stage

TYPE_PREFIX = "com.sentinai.exception."
"""A CloudEvent's type is this and the event's name in the log."""

LARGEST_DATA_CHARACTERS = 200_000
"""Larger data stays in the log, and the record says so: a broker takes 1 MB by default, and one record that no
broker takes must not stop all that follow."""

_KNOWN_SINCE_SIGNATURES = ("errorKind", "signature", "tool", "deadLetterId")
"""Members of a dead letter's event that older events lack; their records lack them, too."""

_STAGES = (*(stage.queue for stage in Stage), "finished")
"""By the number that a row has: an event may come to an exception that is at rest, too."""
_MASK = (1 << 62) - 1
_MIX = 0x9E3779B97F4A7C15

Headers = list[tuple[str, str | bytes | None]]


class LoggedEvent(NamedTuple):
    """A row of the event log, as the relay's statement renders it."""

    exception_id: str
    position: int
    microseconds: int
    """`occurred_at` since 1970."""
    time: str
    """`occurred_at` in RFC 3339."""
    tenant_id: str
    sequence: str
    stage: int
    attempt: str
    type: str
    trace_id: str
    """32 hexadecimal digits."""
    pack_versions: str | None
    """`domain=3,tenant=7`; None before intake."""
    data: str
    """JSON."""


class Record(NamedTuple):
    """What is produced; the key is the exception's id, so an exception's records keep their order."""

    key: str
    value: str | bytes
    headers: Headers


def event_id(exception_id: str, position: int, microseconds: int) -> str:
    """The same identifier as `service.domain.identifiers.event_id`, from and as text."""
    own = (int(exception_id[19:23] + exception_id[24:], 16) ^ (position * _MIX)) & _MASK | 1 << 63
    # The same rounding as there: seconds as a float, then milliseconds cut off.
    first = f"{int(microseconds / 1_000_000 * 1000):012x}"
    last = f"{own:016x}"
    return f"{first[:8]}-{first[8:]}-7{position & 0xFFF:03x}-{last[:4]}-{last[4:]}"


def event_record(event: LoggedEvent) -> Record:
    """The record on the events topic."""
    (exception, position, microseconds, time, tenant, sequence, stage, attempt, name, trace, versions, data) = event
    identifier = event_id(exception, position, microseconds)
    headers: Headers = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", identifier),
        ("ce_type", TYPE_PREFIX + name),
        ("ce_source", "/tenants/" + tenant),
        ("ce_subject", exception),
        ("ce_time", time),
        ("ce_tenant", tenant),
        ("ce_sequence", sequence),
        ("ce_position", str(position)),
        ("ce_stage", _STAGES[stage]),
        ("ce_attempt", attempt),
        ("ce_traceparent", _traceparent(trace, identifier)),
    ]
    if versions is not None:
        headers.append(("ce_packversions", versions))
    if len(data) > LARGEST_DATA_CHARACTERS:
        headers.append(("ce_dataref", f"/exceptions/{exception}/events"))
        data = "{}"
    return Record(exception, data, headers)


def is_dead_letter(event: LoggedEvent) -> bool:
    """Whether the event has a record on the dead-letter topic too."""
    return event.type == EventType.DEAD_LETTERED


def dead_letter_record(event: LoggedEvent) -> Record:
    """The record on the dead-letter topic: what went wrong with which exception, without its payload."""
    data: dict[str, Any] = orjson.loads(event.data)
    identifier = event_id(event.exception_id, event.position, event.microseconds)
    error_class = str(data.get("errorClass", "unknown"))
    attempts = data.get("attempts", int(event.attempt))
    known = {name: value for name in _KNOWN_SINCE_SIGNATURES if (value := data.get(name)) is not None}
    headers: Headers = [
        ("content-type", "application/json"),
        ("tenant", event.tenant_id),
        ("exception", event.exception_id),
        ("sequence", event.sequence),
        ("stage", _STAGES[event.stage]),
        ("errorClass", error_class),
        ("attempts", str(attempts)),
        *((name, str(value)) for name, value in known.items()),
        ("traceparent", _traceparent(event.trace_id, identifier)),
    ]
    value = {
        "eventId": identifier,
        "tenantId": event.tenant_id,
        "exceptionId": event.exception_id,
        "sequence": int(event.sequence),
        "position": event.position,
        "stage": _STAGES[event.stage],
        "errorClass": error_class,
        "message": data.get("message"),
        "attempts": attempts,
        "deadLetteredAt": event.time,
        **known,
    }
    return Record(event.exception_id, orjson.dumps(value), headers)


def _traceparent(trace_id: str, identifier: str) -> str:
    # The event is a span of the exception's trace; the id's last 16 digits are its own and never all zero.
    return f"00-{trace_id}-{identifier[19:23]}{identifier[24:]}-01"
