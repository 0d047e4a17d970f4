"""Taking things in: new exceptions (each request in one statement), repeated requests, and later inputs.

Nothing here commits, and nothing here touches Kafka: what is written includes the outbox row that the
dispatcher turns into work.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.events import EventType
from service.domain.exceptions import ENTRY_STAGE, InputType, Status
from service.domain.guard import FINISHED
from service.errors import TransientError
from service.persistence.sealing import PAYLOAD, input_slot
from service.persistence.statements import ingestion as statements
from service.persistence.unit_of_work import Transaction, as_bytea, as_json


class ConcurrentDuplicateError(TransientError):
    """Another request committed the same key at the same moment: roll back and run the transaction again."""

    def __init__(self) -> None:
        super().__init__("another request with the same key was accepted at the same moment; send this one again")


@dataclass(slots=True)
class NewException:
    """One exception to take in, under the names that the statement reads; ids as strings, for they go into JSON.

    Not frozen only because a thousand of them are made for one request and frozen ones cost twice as much.
    """

    exception_id: str
    lane: int
    trace_id: str
    source_system: str
    payload: Mapping[str, Any] | str
    """As it came; `accept` puts the sealed form in its place."""
    external_id: str | None = None
    exception_type: str | None = None
    severity: str | None = None
    entity: str | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Keyed:
    """A key under which a request is remembered, and what it asked for."""

    key: str
    """`key:<Idempotency-Key>`, `batch:<Idempotency-Key>:<index>` or `external:<sourceSystem>:<externalId>`."""
    exception_id: str
    hash: str
    """SHA-256 of the canonical content, in hex."""


@dataclass(frozen=True, slots=True)
class Known:
    """The answer to an item that was asked for before."""

    original: UUID
    same: bool
    """The content is what was accepted then. If not, the key was used for something else."""


@dataclass(frozen=True, slots=True)
class NewInput:
    """A later input of an exception."""

    type: InputType
    data: Mapping[str, Any]
    event: EventType
    event_data: Mapping[str, Any]
    actor: str | None


@dataclass(frozen=True, slots=True)
class LockedException:
    """What decides whether an input is allowed and whether it is worked now. The row is locked."""

    exception_id: UUID
    status: Status
    stage: int
    last_sequence: int

    @property
    def at_rest(self) -> bool:
        """No input is being worked: the gate is open for the next one."""
        return self.stage == FINISHED


def lane_of(exception_id: bytes, lanes: int) -> int:
    """The lane that an exception's work travels in, for good."""
    return zlib.crc32(exception_id) % lanes


class Ingestion:
    """The repository of one tenant's intake, inside one transaction."""

    def __init__(self, transaction: Transaction, tenant_id: str, now: datetime) -> None:
        self._transaction = transaction
        self._tenant_id = tenant_id
        self._now = now

    def accept(self, items: Sequence[NewException], keys: Sequence[Keyed] = ()) -> dict[str, Known]:
        """Write exceptions, events and outbox rows; answer which items were known already, by their new id.

        `keys` may hold several keys of one item, but no key twice. Raises ConcurrentDuplicateError.
        """
        sealing = self._transaction.sealing
        for item in items:
            row = bytes.fromhex(item.exception_id.replace("-", ""))
            item.payload = as_bytea(sealing.seal(self._tenant_id, row, PAYLOAD, item.payload))
        parameters = {"tenant": self._tenant_id, "now": self._now, "items": as_json(items)}
        if not keys:
            self._transaction.run(statements.ACCEPT, parameters)
            known: dict[str, Known] = {}
        else:
            rows = self._transaction.rows(statements.ACCEPT_ONCE, {**parameters, "keys": as_json(keys)})
            if any(row.raced for row in rows):
                raise ConcurrentDuplicateError
            known = {str(row.exception_id): Known(row.original, row.same) for row in rows}
        self._transaction.rows(statements.NOTIFY)
        return known

    def ignore_duplicates(self, originals: Sequence[str]) -> None:
        """Leave a DuplicateIgnored event at each exception that was asked for again."""
        requests = [{"exception_id": one, "requests": count} for one, count in Counter(originals).items()]
        self._transaction.run(
            statements.IGNORE_DUPLICATES,
            {"tenant": self._tenant_id, "now": self._now, "duplicates": as_json(requests)},
        )

    def lock(self, exception_id: UUID) -> LockedException | None:
        """Lock an exception's row; None when the tenant has none of this id."""
        rows = self._transaction.rows(statements.LOCK, {"exception_id": str(exception_id)})
        if not rows:
            return None
        return LockedException(exception_id, Status(rows[0].status), rows[0].stage, rows[0].last_sequence)

    def append(self, exception: LockedException, new: NewInput) -> int:
        """Write the next input of a locked exception and answer its sequence.

        At rest it becomes the current input and is ready to be worked; otherwise it waits for its predecessor.
        """
        stage = ENTRY_STAGE[new.type]
        rows = self._transaction.rows(
            statements.APPEND_INPUT,
            {
                "exception_id": str(exception.exception_id),
                "current": exception.at_rest,
                "stage": int(stage),
                "now": self._now,
                "type": new.type,
                "sealed": self._transaction.sealing.seal(
                    self._tenant_id,
                    exception.exception_id.bytes,
                    input_slot(exception.last_sequence + 1),
                    new.data,
                ),
                "actor": new.actor,
                "event": new.event,
                "event_data": as_json(new.event_data),
            },
        )
        if exception.at_rest:
            self._transaction.rows(statements.NOTIFY)
        sequence: int = rows[0].sequence
        return sequence

    def find_key(self, key: str) -> tuple[bytes, int] | None:
        """The request hash and the sequence remembered under a key."""
        rows = self._transaction.rows(statements.FIND_KEY, {"tenant": self._tenant_id, "key": key})
        return (bytes(rows[0].request_hash), rows[0].sequence) if rows else None

    def remember(self, key: str, request_hash: bytes, exception_id: UUID, sequence: int) -> None:
        """Remember an input under its key; only under the exception's lock, so nobody else can have."""
        self._transaction.run(
            statements.CLAIM_KEY,
            {
                "tenant": self._tenant_id,
                "key": key,
                "hash": request_hash,
                "exception_id": str(exception_id),
                "sequence": sequence,
                "now": self._now,
            },
        )
