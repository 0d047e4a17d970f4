"""The payload as it came, for a person who says why: it is not shown without an event that tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.events import EventType
from service.persistence.sealing import PAYLOAD
from service.persistence.statements import sealing as statements
from service.persistence.unit_of_work import Transaction, as_json


@dataclass(frozen=True, slots=True)
class Unredacted:
    """A payload and its redacted view; the row is locked."""

    payload: Any
    view: Any
    """None before intake."""


def lock_payload(transaction: Transaction, tenant_id: str, exception_id: UUID) -> Unredacted | None:
    """An exception's payload; None when the tenant has none of this id. Raises as `Sealing.open`."""
    parameters = {"tenant": tenant_id, "exception_id": str(exception_id)}
    rows = transaction.rows(statements.LOCK_PAYLOAD, parameters)
    if not rows:
        return None
    payload = transaction.sealing.open(tenant_id, exception_id.bytes, PAYLOAD, rows[0].sealed_payload)
    return Unredacted(payload, rows[0].redacted_payload)


def note_reading(
    transaction: Transaction, tenant_id: str, exception_id: UUID, *, by: str, reason: str, now: datetime
) -> None:
    """Leave a PayloadRead event. `reason` holds nothing that is redacted."""
    transaction.run(
        statements.NOTE_READING,
        {
            "tenant": tenant_id,
            "exception_id": str(exception_id),
            "event": EventType.PAYLOAD_READ,
            "data": as_json({"by": by, "reason": reason}),
            "now": now,
        },
    )
