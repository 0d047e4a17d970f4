"""What is in the database about some exceptions, as an outsider sees it. The model compares itself with this alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.persistence.unit_of_work import Transaction

_ROWS = """
SELECT exception_id, tenant_id, status, resting_status, sequence, last_sequence, stage, position, updated_at
  FROM exceptions WHERE exception_id = ANY(%(ids)s::uuid[])
"""
_OUTBOX = (
    "SELECT exception_id, tenant_id, sequence, ready, due_at FROM outbox WHERE exception_id = ANY(%(ids)s::uuid[])"
)
_INPUTS = """
SELECT exception_id, tenant_id, sequence, type FROM inputs WHERE exception_id = ANY(%(ids)s::uuid[]) ORDER BY sequence
"""
_EFFECTS = """
SELECT exception_id, tenant_id, idempotency_key, plan_id, step, state, attempt
  FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[])
"""
_PLANS = """
SELECT DISTINCT ON (exception_id) exception_id, tenant_id, plan_id, sequence FROM plans
 WHERE exception_id = ANY(%(ids)s::uuid[]) ORDER BY exception_id, sequence DESC
"""
_EVENTS = """
SELECT e.exception_id, e.tenant_id, e.position, e.sequence, e.stage, e.type, e.data
  FROM unnest(%(ids)s::uuid[], %(after)s::int[]) AS seen(id, position)
  JOIN events e ON e.exception_id = seen.id AND e.position > seen.position
 ORDER BY e.exception_id, e.position
"""
_DEAD_LETTERS = """
SELECT exception_id, tenant_id, sequence, state, dead_letter_id
  FROM dead_letters WHERE exception_id = ANY(%(ids)s::uuid[])
"""
_AMONG_STRANGERS = """
SELECT (SELECT count(*) FROM exceptions WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM events WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM inputs WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM outbox WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM plans WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[]))
     + (SELECT count(*) FROM dead_letters WHERE exception_id = ANY(%(ids)s::uuid[])) AS seen
"""


@dataclass(frozen=True, slots=True)
class Row:
    """Where an exception is."""

    tenant_id: str
    status: str
    resting: str | None
    sequence: int
    last_sequence: int
    stage: int
    position: int
    updated_at: datetime

    @property
    def place(self) -> tuple[int, int]:
        """The input that is worked, and the stage."""
        return self.sequence, self.stage


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log."""

    position: int
    sequence: int
    stage: int
    type: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class Snapshot:
    """Everything about some exceptions; `events` only what is new."""

    rows: dict[UUID, Row] = field(default_factory=dict)
    waiting: dict[UUID, dict[int, bool]] = field(default_factory=dict)
    """Outbox: by sequence, whether it is to be sent (now, or when it is due) or waits for its predecessor."""
    inputs: dict[UUID, list[str]] = field(default_factory=dict)
    """Types, from the second input on."""
    effects: dict[str, Any] = field(default_factory=dict)
    plans: dict[UUID, Any] = field(default_factory=dict)
    events: dict[UUID, list[Event]] = field(default_factory=dict)
    dead: dict[UUID, dict[int, str]] = field(default_factory=dict)
    """Dead letters: by sequence, their state."""
    letters: dict[tuple[UUID, int], UUID] = field(default_factory=dict)
    """Their ids."""
    tenants: dict[UUID, set[str]] = field(default_factory=dict)
    """Whose rows there are about an exception."""

    def waits(self, exception_id: UUID) -> dict[int, bool]:
        """Its rows of the outbox."""
        return self.waiting.get(exception_id, {})


def take(transaction: Transaction, seen: Mapping[UUID, int]) -> Snapshot:
    """`seen`: the exceptions, with the position of the last event that is known of each."""
    ids = {"ids": [str(one) for one in seen]}
    found = Snapshot()

    def rows(statement: str, **more: Any) -> Sequence[Any]:
        read = transaction.rows(statement, {**ids, **more})
        for row in read:
            found.tenants.setdefault(row.exception_id, set()).add(row.tenant_id)
        return read

    for row in rows(_ROWS):
        found.rows[row.exception_id] = Row(*row[1:])
    for row in rows(_OUTBOX):
        found.waiting.setdefault(row.exception_id, {})[row.sequence] = row.ready or row.due_at is not None
    for row in rows(_INPUTS):
        found.inputs.setdefault(row.exception_id, []).append(row.type)
    for row in rows(_EFFECTS):
        found.effects[str(row.idempotency_key)] = row
    for row in rows(_PLANS):
        found.plans[row.exception_id] = row
    for row in rows(_DEAD_LETTERS):
        found.dead.setdefault(row.exception_id, {})[row.sequence] = row.state
        found.letters[row.exception_id, row.sequence] = row.dead_letter_id
    for row in rows(_EVENTS, after=list(seen.values())):
        found.events.setdefault(row.exception_id, []).append(Event(*row[2:]))
    return found


def seen_of_strangers(transaction: Transaction, ids: Sequence[UUID]) -> int:
    """How many rows about these exceptions a transaction sees that did not declare their tenant."""
    return int(transaction.rows(_AMONG_STRANGERS, {"ids": [str(one) for one in ids]})[0].seen)
