"""A pack's history: what came into force when, by whom and why, and what was in force before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.domain.packs.deciding.activations import scheduled
from service.persistence.pack_schedules import Schedule
from service.persistence.packs import PackEntry, PackKind, StoredPacks, history_rows, list_packs
from service.persistence.unit_of_work import Transaction

LifeState = Literal["draft", "scheduled", "active", "retired"]


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

    def came_into_force(self, now: datetime) -> bool:
        """Whether it made its version decide. What is immediate has, whatever the clock of who asks says."""
        return self.action != "withdraw" and not self.withdrawn and (self.immediate or self.effective_at <= now)


def history_of(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> list[HistoryEntry]:
    """The whole history, oldest first."""
    return [HistoryEntry(**row._mapping) for row in history_rows(transaction, tenant_id, kind, name)]


def version_before(history: Iterable[HistoryEntry], now: datetime) -> int | None:
    """The version that a rollback brings back; None: there is none.

    Going back twice goes back two versions: a rollback takes off what it left, it is no version of its own.
    """
    trail: list[int] = []
    for entry in sorted(history, key=lambda one: (one.effective_at, one.number)):
        if not entry.came_into_force(now):
            continue
        if entry.action == "rollback" and entry.version in trail:
            while trail[-1] != entry.version:
                trail.pop()
        elif not trail or trail[-1] != entry.version:
            trail.append(entry.version)
    return trail[-2] if len(trail) > 1 else None


@dataclass(frozen=True, slots=True)
class VersionState:
    """One version and where it is in its life."""

    entry: PackEntry
    state: LifeState
    """`draft`: never in force; `scheduled`; `active`: it decides what is received now; `retired`: it did."""
    scheduled_for: datetime | None


def versions_of(
    transaction: Transaction, tenant_id: str, now: datetime, kind: PackKind | None = None, name: str | None = None
) -> list[VersionState]:
    """Every version of a tenant's packs, or of one of them, oldest first."""
    schedule = StoredPacks().schedules(transaction, [tenant_id]).get(tenant_id, Schedule())
    told = []
    histories: dict[tuple[PackKind, str], list[HistoryEntry]] = {}
    for entry in list_packs(transaction, tenant_id, kind, name):
        key = (entry.kind, entry.name)
        if key not in histories:
            histories[key] = history_of(transaction, tenant_id, *key)
        coming = [one for one in scheduled(schedule.of(*key), now) if one.version == entry.version]
        been = any(one.version == entry.version and one.came_into_force(now) for one in histories[key])
        state: LifeState = "active" if entry.active else "scheduled" if coming else "retired" if been else "draft"
        told.append(VersionState(entry, state, coming[0].effective_at if coming else None))
    return told
