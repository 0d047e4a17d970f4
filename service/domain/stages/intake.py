"""Intake: what came in, normalised, checked against the domain's entity, and redacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.domain.errors import PayloadInvalidError
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import Changes, ExceptionRecord, InputType, Json, Outcome, Status
from service.domain.packs.deciding.compiled import PackSet
from service.domain.packs.deciding.relations import missing_references
from service.domain.packs.entities import payload_faults
from service.domain.packs.naming import normal_name


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:  # noqa: ARG001 - every stage has this form
    """Take in the exception itself, an update, a comment or a cancellation. Raises PayloadInvalidError."""
    match record.input.type:
        case InputType.COMMENT:
            return _commented(record, packs)
        case InputType.CANCELLED:
            return _cancelled(record, packs)
        case InputType.UPDATED:
            merged = _merged(record)
            ignored = sorted(record.input.data.keys() - {"rawPayload"})
            outcome = _normalised(
                record, packs, merged, [f"an update changes rawPayload, not {key!r}" for key in ignored]
            )
            return replace(outcome, changes=replace(outcome.changes, raw_payload=merged))
        case _:
            return _normalised(record, packs, record.raw_payload, [])


def _normalised(record: ExceptionRecord, packs: PackSet, payload: Json, oddities: list[str]) -> Outcome:
    type_name, warnings = _type_name(record.exception_type, packs)
    if record.entity is not None:
        warnings += _check_entity(record.entity, payload, packs)
    redacted = packs.redactor.redact(payload)
    data: dict[str, Any] = {
        "exceptionType": type_name,
        "redactedFields": list(redacted.masked),
        "warnings": warnings + oddities,
    }
    if redacted.detected:
        data["detectedFields"] = list(redacted.detected)
    if record.entity is not None:
        data["entity"] = record.entity
    return Outcome(
        events=(NewEvent(EventType.EXCEPTION_NORMALIZED, data),),
        changes=Changes(exception_type=type_name, redacted_payload=redacted.view),
    )


def _type_name(given: str | None, packs: PackSet) -> tuple[str | None, list[str]]:
    """The type as the pack spells it; a type that the pack does not know is normalised all the same."""
    if given is None or not given.strip():
        return None, ["the source named no exception type"]
    known = packs.type_named(given)
    if known is not None:
        return known, []
    normal = normal_name(given) or given.strip()
    return normal, [f"the domain pack has no exception type {normal!r}"]


def _check_entity(name: str, payload: Json, packs: PackSet) -> list[str]:
    """Check a payload against its entity; what it does not say about related ones is only odd."""
    entity = packs.entity_named(name)
    if entity is None:
        known = ", ".join(sorted(packs.domain.entities)) or "none"
        raise PayloadInvalidError([f"entity {name!r} is not in the domain pack (it has: {known})"])
    faults = payload_faults(payload, entity.attributes)
    if faults:
        raise PayloadInvalidError([f"{fault} (entity {name})" for fault in faults])
    return missing_references(payload, entity, name) if entity.references else []


def _merged(record: ExceptionRecord) -> Json:
    """The payload with the update's top-level keys in place of its own."""
    update = record.input.data.get("rawPayload", {})
    if not isinstance(update, Mapping):
        raise PayloadInvalidError(["data.rawPayload of an update must be an object"])
    return {**record.raw_payload, **update}


def _commented(record: ExceptionRecord, packs: PackSet) -> Outcome:
    text = record.input.data.get("text", record.input.data.get("comment"))
    if not isinstance(text, str) or not text.strip():
        raise PayloadInvalidError(["data.text of a comment must be a text"])
    data = {"text": packs.redactor.redact_foreign(text, record.raw_payload), "by": record.input.actor}
    return Outcome(events=(NewEvent(EventType.COMMENT_ADDED, data),), finished=record.resting_status or record.status)


def _cancelled(record: ExceptionRecord, packs: PackSet) -> Outcome:
    reason = packs.redactor.redact_foreign(record.input.data.get("reason"), record.raw_payload)
    data = {"reason": reason, "by": record.input.actor}
    return Outcome(events=(NewEvent(EventType.EXCEPTION_CANCELLED, data),), finished=Status.CANCELLED)
