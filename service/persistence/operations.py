"""Operations on many dead letters of one tenant, and their items, inside one transaction. It never commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import PackChoice, Stage
from service.domain.operations import Action, Counts, OperationState, Pace
from service.domain.redriving import Wish
from service.persistence.dead_letters import DeadLetterFilter
from service.persistence.statements import operations as sql
from service.persistence.unit_of_work import Transaction, as_json

LATELY_SECONDS = 10.0
"""Over this long the measured rate is taken."""


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation that is about to begin."""

    operation_id: UUID
    action: Action
    filter: Mapping[str, Any]
    """As it was asked for, for people to read."""
    chooses: DeadLetterFilter
    """The same, as the repository takes it."""
    limit: int
    wish: Wish
    canary: int
    canary_timeout_seconds: int
    rate_per_second: float | None
    by: str
    reason: str
    key: str | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it stands."""

    operation_id: UUID
    action: Action
    state: OperationState
    state_reason: str | None
    in_canary: bool
    watched: bool
    filter: Mapping[str, Any]
    wish: Wish
    canary: int
    canary_timeout: timedelta
    pace: Pace
    requested_by: str
    reason: str
    history: Sequence[Mapping[str, Any]]
    created_at: datetime
    started_at: datetime | None
    last_sent_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an operation."""

    state: OperationState
    state_reason: str | None
    in_canary: bool
    watched: bool
    pace: Pace
    sent: bool = False
    entry: Mapping[str, Any] | None = None
    """A line of its history."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An operation's counts, and how many left lately."""

    counts: Counts = field(default_factory=Counts)
    sent_lately: int = 0


class Operations:
    """The repository of one tenant's operations."""

    def __init__(self, transaction: Transaction, tenant_id: str, now: datetime) -> None:
        self._transaction = transaction
        self.tenant_id = tenant_id
        self._now = now

    def create(self, new: NewOperation) -> int | None:
        """Begin an operation with what its filter chooses now; how many that is. None: its key is in use."""
        state = OperationState.CANARY if new.canary else OperationState.RUNNING
        entry = {"at": self._now, "by": new.by, "action": "started", "reason": new.reason}
        rows = self._transaction.rows(
            sql.CREATE,
            {
                "operation_id": str(new.operation_id),
                "tenant": self.tenant_id,
                "action": new.action,
                "state": state,
                "filter": as_json(new.filter),
                "from_stage": None if new.wish.from_stage is None else int(new.wish.from_stage),
                "packs": new.wish.packs,
                "canary": new.canary,
                "canary_timeout": new.canary_timeout_seconds,
                "rate": new.rate_per_second,
                "now": self._now,
                "by": new.by,
                "reason": new.reason,
                "history": as_json([entry]),
                "key": new.key,
                "hash": new.hash,
            },
        )
        if not rows:
            return None
        conditions, given = new.chooses.conditions()
        statement = sql.CHOOSE.format(conditions=conditions)
        chosen = {**given, "operation_id": str(new.operation_id), "tenant": self.tenant_id}
        return self._transaction.run(statement, {**chosen, "limit": new.limit})

    def under_key(self, key: str) -> tuple[UUID, bytes] | None:
        """The operation that was begun under a key, and the hash of what was asked for."""
        rows = self._transaction.rows(sql.BY_KEY, {"tenant": self.tenant_id, "key": key})
        return (rows[0].operation_id, bytes(rows[0].request_hash)) if rows else None

    def locked(self, operation_id: UUID) -> Operation | None:
        """An operation that a person acts on; None: there is none of this id."""
        return self._one(sql.LOCK, operation_id)

    def taken(self, operation_id: UUID) -> Operation | None:
        """An operation to be worked; None: another dispatcher has it, or there is nothing to do about it."""
        return self._one(sql.TAKE, operation_id)

    def get(self, operation_id: UUID) -> Operation | None:
        """An operation to be looked at."""
        return self._one(sql.GET, operation_id)

    def newest(self, before: UUID | None, limit: int) -> list[Operation]:
        """Operations, the newest first."""
        parameters = {"tenant": self.tenant_id, "before": None if before is None else str(before), "limit": limit}
        return [_operation(row) for row in self._transaction.rows(sql.LIST, parameters)]

    def measured(self, operation_ids: Sequence[UUID]) -> dict[UUID, Measured]:
        """The counts of operations; one without items is not in the answer."""
        lately = self._now - timedelta(seconds=LATELY_SECONDS)
        parameters = {"operations": [str(one) for one in operation_ids], "lately": lately}
        return {row.operation_id: _measured(row) for row in self._transaction.rows(sql.COUNTS, parameters)}

    def settle_items(self, operation_id: UUID) -> int:
        """Note what became of items that were sent; of how many."""
        return self._transaction.run(sql.SETTLE_ITEMS, {"operation_id": str(operation_id), "now": self._now})

    def next_items(self, operation_id: UUID, limit: int) -> list[tuple[int, UUID]]:
        """Items whose turn it is, with their places."""
        rows = self._transaction.rows(sql.NEXT_ITEMS, {"operation_id": str(operation_id), "limit": limit})
        return [(row.place, row.dead_letter_id) for row in rows]

    def note_items(self, operation_id: UUID, items: Sequence[Mapping[str, Any]]) -> None:
        """Write down what was done about items: {place, state, number, outcome} each."""
        parameters = {"operation_id": str(operation_id), "items": as_json(items), "now": self._now}
        self._transaction.run(sql.NOTE_ITEMS, parameters)

    def note(self, operation_id: UUID, change: Change) -> None:
        """Write down what became of a locked operation."""
        entries = [] if change.entry is None else [change.entry]
        finished = change.state is OperationState.FINISHED
        self._transaction.run(
            sql.NOTE,
            {
                "operation_id": str(operation_id),
                "state": change.state,
                "state_reason": change.state_reason,
                "in_canary": change.in_canary,
                "watched": change.watched,
                "tokens": change.pace.tokens,
                "tokens_at": change.pace.at,
                "started_at": self._now,
                "sent_at": self._now if change.sent else None,
                "finished_at": self._now if finished else None,
                "entries": as_json(entries),
            },
        )

    def examples(self, operation_id: UUID, state: str, limit: int) -> Sequence[Row[Any]]:
        """The first items in a state, with the columns that the statement names."""
        parameters = {"tenant": self.tenant_id, "operation_id": str(operation_id), "state": state, "limit": limit}
        return self._transaction.rows(sql.EXAMPLES, parameters)

    def outcomes(self, operation_id: UUID, limit: int) -> Sequence[Row[Any]]:
        """Outcomes of items with their numbers, the most frequent first."""
        parameters = {"tenant": self.tenant_id, "operation_id": str(operation_id), "limit": limit}
        return self._transaction.rows(sql.OUTCOMES, parameters)

    def _one(self, statement: str, operation_id: UUID) -> Operation | None:
        parameters = {"tenant": self.tenant_id, "operation_id": str(operation_id)}
        rows = self._transaction.rows(statement, parameters)
        return _operation(rows[0]) if rows else None


def watched(transaction: Transaction, limit: int) -> list[tuple[UUID, str]]:
    """Operations that there is something to do about, with their tenants. The transaction acts as SYSTEM."""
    return [(row.operation_id, row.tenant_id) for row in transaction.rows(sql.WATCHED, {"limit": limit})]


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        operation_id=row.operation_id,
        action=Action(row.action),
        state=OperationState(row.state),
        state_reason=row.state_reason,
        in_canary=row.in_canary,
        watched=row.watched,
        filter=row.filter,
        wish=Wish(None if row.from_stage is None else Stage(row.from_stage), PackChoice(row.packs)),
        canary=row.canary,
        canary_timeout=timedelta(seconds=row.canary_timeout_seconds),
        pace=Pace(row.rate_per_second, row.tokens, row.tokens_at),
        requested_by=row.requested_by,
        reason=row.reason,
        history=row.history,
        created_at=row.created_at,
        started_at=row.started_at,
        last_sent_at=row.last_sent_at,
        finished_at=row.finished_at,
    )


def _measured(row: Row[Any]) -> Measured:
    counts = Counts(row.pending, row.sent, row.succeeded, row.failed, row.skipped, row.badly)
    return Measured(counts, row.sent_lately)
