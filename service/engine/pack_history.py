"""A pack's history: what came into force when, by whom and why, and what was in force before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.persistence.packs import PackKind, history_rows
from service.persistence.unit_of_work import Transaction


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One activation, rollback or withdrawal. Entries are never changed."""

    number: int
    action: str
    """`activate`, `rollback`, or `withdraw` of an activation before its instant."""
    version: int
    effective_at: datetime
    immediate: bool
    withdraws: int | None
    """The number of the entry that this one takes back."""
    recorded_at: datetime
    recorded_by: str
    comment: str | None
    forced: str | None
    """Why, although its tests failed."""
    withdrawn: bool
    """A later entry takes it back."""


def history_of(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> list[HistoryEntry]:
    """The whole history, oldest first."""
    return [HistoryEntry(**row._mapping) for row in history_rows(transaction, tenant_id, kind, name)]


def version_before(history: Iterable[HistoryEntry], now: datetime) -> int | None:
    """The version that a rollback brings back; None: there is none.

    Going back twice goes back two versions: a rollback takes off what it left, it is no version of its own.
    """
    trail: list[int] = []
    for entry in sorted(history, key=lambda one: (one.effective_at, one.number)):
        if entry.withdrawn or entry.action == "withdraw" or entry.effective_at > now:
            continue
        if entry.action == "rollback" and entry.version in trail:
            while trail[-1] != entry.version:
                trail.pop()
        elif not trail or trail[-1] != entry.version:
            trail.append(entry.version)
    return trail[-2] if len(trail) > 1 else None
