"""Reading dead letters: filters, lists, one with its story, clusters of one cause. Nothing here writes or locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import Stage
from service.domain.redriving import DeadLetterState
from service.errors import ErrorKind
from service.persistence.statements import dead_letters as statements
from service.persistence.unit_of_work import Transaction

ATTEMPTS_SHOWN = 100
EVENTS_SHOWN = 10
TREND_HOURS = 24
_CLOCK_SKEW = timedelta(days=1)


ClusterOrder = Literal["count", "lastSeen"]


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters; empty or None: not narrowed. A list and a redrive of the same filter mean the same."""

    states: tuple[DeadLetterState, ...] = ()
    stages: tuple[Stage, ...] = ()
    error_class: str | None = None
    error_kinds: tuple[ErrorKind, ...] = ()
    signature: str | None = None
    tool: str | None = None
    exception_type: str | None = None
    """As it was when it failed."""
    source_system: str | None = None
    since: datetime | None = None
    """Dead-lettered, the last time, at or after."""
    until: datetime | None = None
    """Dead-lettered, the last time, before."""
    ids: tuple[UUID, ...] = ()
    text: str | None = None
    """Part of the message, error class, tool, exception type, source system or one of the ids."""

    def conditions(self) -> tuple[str, dict[str, Any]]:
        """SQL to put behind a WHERE over dead letters called `l`, and its parameters."""
        given: dict[str, Any] = {
            "ids": [str(one) for one in self.ids],
            "state": str(self.states[0]) if len(self.states) == 1 else None,
            "states": [str(state) for state in self.states] if len(self.states) > 1 else None,
            "stages": [int(stage) for stage in self.stages],
            "error_class": self.error_class,
            "error_kinds": [str(kind) for kind in self.error_kinds],
            "signature": self.signature,
            "tool": self.tool,
            "exception_type": self.exception_type,
            "source_system": self.source_system,
            "since": self.since,
            "until": self.until,
            "words": f"%{_literal(self.text)}%" if self.text else None,
        }
        parameters = {name: value for name, value in given.items() if value}
        return " ".join(statements.CONDITIONS[name] for name in parameters), parameters


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter of a list, with how many later inputs of its exception wait behind it."""

    row: Row[Any]
    blocking: int


@dataclass(frozen=True, slots=True)
class DeadLetterStory:
    """One dead letter and what happened. Rows have the columns that their statement names."""

    row: Row[Any]
    attempts: Sequence[Row[Any]]
    """Events of this input that tell of a failed attempt, of sending again or of discarding, oldest first; the last
    ATTEMPTS_SHOWN."""
    last_events: Sequence[Row[Any]]
    """Of the exception, oldest first; the last EVENTS_SHOWN."""


def list_dead_letters(
    transaction: Transaction,
    tenant_id: str,
    wanted: DeadLetterFilter,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row[Any]]:
    """At most `limit` rows, newest first, beyond the place `after`."""
    conditions, parameters = wanted.conditions()
    if after is not None:
        conditions += " " + statements.AFTER
        parameters |= {"after_time": after[0], "after_id": str(after[1])}
    statement = statements.LIST.format(conditions=conditions)
    return list(transaction.rows(statement, {**parameters, "tenant": tenant_id, "limit": limit}))


def with_blocking(transaction: Transaction, rows: Sequence[Row[Any]]) -> list[Listed]:
    """Rows with the number of inputs that wait behind each."""
    ids = [str(row.dead_letter_id) for row in rows]
    found = transaction.rows(statements.WITH_BLOCKED, {"ids": ids}) if ids else ()
    blocking = {row.dead_letter_id: row.blocking for row in found}
    return [Listed(row, blocking.get(row.dead_letter_id, 0)) for row in rows]


def get_dead_letter(transaction: Transaction, tenant_id: str, dead_letter_id: UUID) -> DeadLetterStory | None:
    """One dead letter; None when the tenant has none of this id."""
    rows = transaction.rows(statements.GET, {"tenant": tenant_id, "dead_letter_id": str(dead_letter_id)})
    if not rows:
        return None
    (row,) = rows
    of_exception = {"exception_id": str(row.exception_id), "since": row.received_at - _CLOCK_SKEW}
    attempts = {**of_exception, "sequence": row.sequence, "limit": ATTEMPTS_SHOWN}
    return DeadLetterStory(
        row,
        transaction.rows(statements.ATTEMPTS, attempts)[::-1],
        transaction.rows(statements.LAST_EVENTS, {**of_exception, "limit": EVENTS_SHOWN})[::-1],
    )


def clusters(
    transaction: Transaction,
    tenant_id: str | None,
    wanted: DeadLetterFilter,
    *,
    order: ClusterOrder,
    after: tuple[str, str] | None,
    now: datetime,
    limit: int,
) -> list[Row[Any]]:
    """Dead letters by signature, at most `limit` clusters beyond the place `after`: (what is sorted by, signature).

    `tenant_id` None: of every tenant that the role sees. Without states in `wanted`, those that nobody has decided
    about. What is counted, and the trend, is of those states; the numbers by state are of all.
    """
    shown = [str(state) for state in wanted.states or (DeadLetterState.PENDING,)]
    conditions, parameters = _without_states(wanted).conditions()
    column, kind = _ORDERS[order]
    parameters |= {"tenant": tenant_id, "shown": shown, "limit": limit, "now": now, "hours": TREND_HOURS}
    place = ""
    if after is not None:
        place = f"AND ({column}, signature) < (%(after)s::{kind}, %(after_signature)s)"
        parameters |= {"after": after[0], "after_signature": after[1]}
    statement = statements.CLUSTERS.format(conditions=conditions, after=place, order=column)
    return list(transaction.rows(statement, parameters))


def trend(row: Row[Any]) -> list[int]:
    """How many of a cluster's dead letters failed in each of the last TREND_HOURS hours, the oldest hour first."""
    by_hours_ago: Mapping[str, int] = row.trend or {}
    return [by_hours_ago.get(str(hours), 0) for hours in reversed(range(TREND_HOURS))]


_ORDERS: Mapping[ClusterOrder, tuple[str, str]] = {
    "count": ("number", "bigint"),
    "lastSeen": ("last_seen", "timestamptz"),
}


def _without_states(wanted: DeadLetterFilter) -> DeadLetterFilter:
    return replace(wanted, states=())


def _literal(text: str) -> str:
    """Text for LIKE in which nothing is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
