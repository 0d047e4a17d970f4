"""Whether the dead-letter topic, the event log and the table of dead letters say the same. Pure.

The log is what happened; the topic has at least one record of each DeadLettered event that was published, and the
table has one row for each input that died, about its newest event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from service.relay.cloudevents import LoggedEvent, dead_letter_record

EXAMPLES_KEPT = 20
_DIGEST_BYTES = 12


class Difference(StrEnum):
    """What does not agree."""

    MISSING_ON_TOPIC = "missingOnTopic"
    """The log has the event, and no record tells of it."""
    RECORD_DIFFERS = "recordDiffers"
    """There is a record of the event, and it says something else."""
    UNKNOWN_TO_LOG = "unknownToLog"
    """There is a record, and no such event."""
    UNREADABLE = "unreadable"
    """There is a record that is none of a dead letter."""
    MISSING_IN_TABLE = "missingInTable"
    """The log has the event, and the table has no dead letter of its input."""
    ROW_DIFFERS = "rowDiffers"
    """The dead letter says something else than its event."""
    ROW_WITHOUT_EVENT = "rowWithoutEvent"
    """The table has a dead letter, and the log has no event of it."""


class Found(NamedTuple):
    """A record as it was found on the topic."""

    exception_id: str
    position: int
    digest: bytes
    partition: int
    offset: int


class Row(NamedTuple):
    """The dead letter of an event's input; every member is None where there is none."""

    position: int | None
    stage: int | None
    tenant_id: str | None
    error_class: str | None
    message: str | None
    signature: str | None
    attempts: int | None


@dataclass(slots=True)
class Report:
    """What an audit came to."""

    records: int = 0
    events: int = 0
    differences: dict[Difference, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first EXAMPLES_KEPT differences: what it is, and where."""
    republished: int = 0
    complete: bool = True
    """Everything was compared; not so when the time was over before the topic's end was reached."""

    @property
    def agree(self) -> bool:
        """Nothing differs, in what was compared."""
        return not self.differences

    def note(self, difference: Difference, **where: Any) -> None:
        """Count a difference."""
        self.differences[difference] = self.differences.get(difference, 0) + 1
        if len(self.examples) < EXAMPLES_KEPT:
            self.examples.append({"difference": str(difference), **where})

    def document(self) -> dict[str, Any]:
        """As scripts get it, and as it is stored."""
        return {
            "agree": self.agree,
            "complete": self.complete,
            "records": self.records,
            "events": self.events,
            **{str(difference): self.differences.get(difference, 0) for difference in Difference},
            "republished": self.republished,
            "examples": self.examples,
        }


def read_record(key: str | bytes | None, value: str | bytes | None, partition: int, offset: int) -> Found | None:
    """A record of the topic; None when it is none of a dead letter."""
    try:
        told = orjson.loads(value or b"")
        named = key.decode() if isinstance(key, bytes) else key
        if not isinstance(told, dict) or named != told["exceptionId"]:
            return None
        exception, position = str(UUID(told["exceptionId"])), int(told["position"])
        return Found(exception, position, digest(told), partition, offset) if 0 < position < 2**31 else None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def expected_digest(event: LoggedEvent) -> bytes:
    """Of the record that the event has, or should have."""
    value: Mapping[str, Any] = orjson.loads(dead_letter_record(event).value)
    return digest(value)


def digest(told: Mapping[str, Any]) -> bytes:
    """Of what a record says. What it leaves out is the same as null: older records have fewer members."""
    said = {name: value for name, value in told.items() if value is not None}
    return hashlib.blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=_DIGEST_BYTES).digest()


def row_difference(event: LoggedEvent, row: Row) -> Difference | None:
    """Whether a dead letter's row is what its event says. Of one that died again, the newest event counts."""
    if row.position is None or row.tenant_id != event.tenant_id:
        return Difference.MISSING_IN_TABLE
    if row.position > event.position:
        return None
    data: Mapping[str, Any] = orjson.loads(event.data)
    told = (data.get("errorClass"), data.get("message"), data.get("attempts"))
    same = (row.position, row.stage) == (event.position, event.stage)
    same = same and told == (row.error_class, row.message, row.attempts)
    # Events from before there were signatures have none.
    same = same and data.get("signature") in (None, row.signature)
    return None if same else Difference.ROW_DIFFERS
