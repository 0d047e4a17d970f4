"""The repository of pauses. It never commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import Stage
from service.domain.pauses import Pause, PausesInForce, Scope
from service.errors import PermanentError
from service.persistence.statements import pauses as sql
from service.persistence.unit_of_work import Transaction

WAKE_AT_ONCE = 2000
"""The most rows of ended pauses that one statement makes ready."""


class PauseUnknownError(PermanentError):
    """There is no such pause."""

    def __init__(self, pause_id: UUID) -> None:
        super().__init__(f"there is no pause {pause_id}; `sentinai pauses list --all` shows those there are")


class PauseOverError(PermanentError):
    """The pause was ended before."""

    def __init__(self, pause: Pause) -> None:
        super().__init__(f"the pause of {pause.what} was ended already, by {pause.resumed_by} at {pause.resumed_at}")


@dataclass(frozen=True, slots=True)
class NewPause:
    """A kill switch to be thrown."""

    scope: Scope
    reason: str
    paused_by: str
    tenant_id: str | None = None
    tool: str | None = None
    stage: Stage | None = None
    until: datetime | None = None
    by_platform: bool = False


@dataclass(frozen=True, slots=True)
class InFlight:
    """What is under way. Whatever waits in the outbox does not count: it is safe there."""

    working: int
    """In messages and workers."""
    calling: int
    """A tool is being called, or may be."""
    retrying: int
    """Waits in the broker's delay for its next attempt."""
    waiting: int
    """In the outbox: ready, held, or paused."""
    next_retry_at: datetime | None
    oldest_moved_at: datetime | None
    stages: Mapping[str, int]
    """How many of those under way are at which stage."""


def pause(transaction: Transaction, pause_id: UUID, new: NewPause) -> Pause:
    """Throw a kill switch."""
    row = transaction.rows(
        sql.PAUSE,
        {
            "pause_id": str(pause_id),
            "scope": new.scope,
            "tenant_id": new.tenant_id,
            "tool": new.tool,
            "stage": None if new.stage is None else int(new.stage),
            "reason": new.reason,
            "until": new.until,
            "by_platform": new.by_platform,
            "paused_by": new.paused_by,
        },
    )[0]
    return _pause(row)


def resume(transaction: Transaction, pause_id: UUID, by: str, reason: str | None) -> Pause:
    """End a pause, and wake the dispatchers. Raises PauseUnknownError, PauseOverError."""
    rows = transaction.rows(sql.RESUME, {"pause_id": str(pause_id), "by": by, "reason": reason})
    if not rows:
        raise PauseOverError(get(transaction, pause_id))
    transaction.run("SELECT pg_notify('outbox', '')")
    return _pause(rows[0])


def get(transaction: Transaction, pause_id: UUID) -> Pause:
    """One pause. Raises PauseUnknownError, also for one that the transaction does not see."""
    rows = transaction.rows(sql.GET, {"pause_id": str(pause_id)})
    if not rows:
        raise PauseUnknownError(pause_id)
    return _pause(rows[0])


def list_pauses(
    transaction: Transaction, tenant_id: str | None, *, history: bool, limit: int, before: UUID | None = None
) -> list[Pause]:
    """The newest pauses that the transaction sees, those for everybody included; `history`: also what is over."""
    parameters = {"tenant": tenant_id, "history": history, "before": before and str(before), "limit": limit}
    return [_pause(row) for row in transaction.rows(sql.LIST, parameters)]


def in_force(transaction: Transaction, *, of_everybody: bool = False) -> PausesInForce:
    """What is paused now; `of_everybody`: for a process that serves every tenant."""
    if of_everybody:
        transaction.rows(sql.SHOW_IN_FORCE)
    return PausesInForce(_pause(row) for row in transaction.rows(sql.IN_FORCE))


def wake(transaction: Transaction) -> int:
    """Make ready what was held by pauses that are over, and wake the dispatchers; how many exceptions that was."""
    woken = transaction.run(sql.WAKE, {"limit": WAKE_AT_ONCE})
    if woken:
        transaction.run("SELECT pg_notify('outbox', '')")
    return woken


def in_flight(transaction: Transaction) -> InFlight:
    """What is under way in the whole installation. `transaction` acts as SYSTEM."""
    values = dict(transaction.rows(sql.IN_FLIGHT)[0]._mapping)
    stages = {Stage(int(stage)).queue: number for stage, number in (values.pop("stages") or {}).items()}
    return InFlight(**values, stages=stages)


def _pause(row: Row[Any]) -> Pause:
    return Pause(
        pause_id=row.pause_id,
        scope=Scope(row.scope),
        tenant_id=row.tenant_id,
        tool=row.tool,
        stage=None if row.stage is None else Stage(row.stage),
        reason=row.reason,
        until=row.until,
        by_platform=row.by_platform,
        paused_at=row.paused_at,
        paused_by=row.paused_by,
        resumed_at=row.resumed_at,
        resumed_by=row.resumed_by,
        resume_reason=row.resume_reason,
    )
