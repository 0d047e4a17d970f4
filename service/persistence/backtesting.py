"""What a backtest reads: the last exceptions as they were received, and what was decided about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.events import EventType
from service.domain.exceptions import ExceptionRecord, Stage
from service.domain.plan_documents import from_document
from service.domain.plans import Plan
from service.persistence.stages import StageRepository
from service.persistence.statements import backtesting as statements
from service.persistence.unit_of_work import Transaction


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an exception was dead-lettered before it had a plan."""

    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Past:
    """One exception and what was decided about it last."""

    record: ExceptionRecord
    """The row; its payload is as later updates left it."""
    source_type: str | None
    """The type as the source named it."""
    decided_at: datetime | None
    """When triage judged it; None: it did not get there."""
    triage: Mapping[str, Any]
    policy: Mapping[str, Any] | None
    plan: Plan | None
    failed: Failed | None


def newest_ids(transaction: Transaction, tenant_id: str, limit: int, exception_type: str | None) -> list[UUID]:
    """The tenant's last exceptions, newest first."""
    rows = transaction.rows(statements.NEWEST, {"tenant": tenant_id, "type": exception_type, "limit": limit})
    return [row.exception_id for row in rows]


def load_past(transaction: Transaction, tenant_id: str, ids: Sequence[UUID]) -> Iterator[Past]:
    """These exceptions with what was decided about them, in the order of `ids`."""
    loaded = StageRepository(transaction).look(ids)
    rows = transaction.rows(statements.DECIDED, {"tenant": tenant_id, "ids": [str(one) for one in ids]})
    decided = {row.exception_id: row for row in rows}
    for exception_id in ids:
        if exception_id in loaded and exception_id in decided:
            yield _past(loaded[exception_id].record, decided[exception_id])


def _past(record: ExceptionRecord, row: Row[Any]) -> Past:
    facts = row.facts or ()
    ingested = _last(facts, EventType.EXCEPTION_INGESTED, None)
    triage = _last(facts, EventType.TRIAGE_COMPLETED, None)
    # What a person decided later is another input's: the sequence of triage is the one that was judged.
    sequence = triage[1] if triage else None
    policy = _last(facts, EventType.POLICY_EVALUATION_COMPLETED, sequence) if triage else None
    planned = triage is not None and row.plan is not None and row.plan_sequence >= triage[1]
    failed = row.failed_stage is not None and row.failed_stage < Stage.TOOL
    return Past(
        record=record,
        source_type=ingested[3].get("exceptionType") if ingested else record.exception_type,
        decided_at=datetime.fromisoformat(triage[2]) if triage else None,
        triage=triage[3] if triage else {},
        policy=policy[3] if policy else None,
        plan=from_document(row.plan) if planned else None,
        failed=Failed(row.error_class, row.message) if failed else None,
    )


def _last(facts: Sequence[Sequence[Any]], kind: EventType, sequence: int | None) -> Sequence[Any] | None:
    """The last event of a kind: type, sequence, time, data."""
    found = [fact for fact in facts if fact[0] == kind and sequence in (None, fact[1])]
    return found[-1] if found else None
