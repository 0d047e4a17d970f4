"""Reading: exceptions, their timelines and the conservation ledger, as values. Nothing here writes or locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from service.domain.exceptions import IN_FLIGHT, WAITING, Status
from service.domain.packs.deciding.activations import in_force
from service.domain.pauses import NOTHING_PAUSED, PausesInForce
from service.domain.plan_documents import from_document
from service.domain.plans import Plan, StepResult, StepState
from service.persistence.approvals import newest_approval
from service.persistence.packs import StoredPacks, database_now
from service.persistence.pauses import in_force as in_force_pauses
from service.persistence.statements import queries as statements
from service.persistence.statements.notifications import OF_EXCEPTION
from service.persistence.statements.timers import WAITING_UNTIL
from service.persistence.unit_of_work import Transaction

_CLOCK_SKEW = timedelta(days=1)
"""How far apart the clocks of two processes that write events of one exception may be."""
NOTIFICATIONS_SHOWN = 100
_ID_SLACK = timedelta(minutes=1)
"""An id's time is taken a moment before or after `received_at`."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """What a list is narrowed to; empty or None: not narrowed."""

    status: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    exception_type: str | None = None
    source_system: str | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None
    retrying: bool | None = None
    """Whether their next attempt is to come after one that failed."""
    blocked: bool | None = None
    """Whether later inputs wait behind a dead letter."""
    text: str | None = None
    """Part of the external id, type, source system, assignee, or the start of the exception's id."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A tenant's books: everything accepted is somewhere."""

    tenant_id: str
    accepted: int
    resolved: int
    escalated: int
    cancelled: int
    waiting: int
    in_flight: int
    dead_lettered: int
    discarded: int

    @property
    def accounted(self) -> int:
        """How many are somewhere."""
        return (
            self.resolved
            + self.escalated
            + self.cancelled
            + self.waiting
            + self.in_flight
            + self.dead_lettered
            + self.discarded
        )

    @property
    def balanced(self) -> bool:
        """Nothing is lost and nothing is there twice."""
        return self.accepted == self.accounted


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """The newest plan of an exception and what became of it. Rows have the columns that their statement names."""

    row: Row[Any]
    plan: Plan
    steps: Mapping[str, Row[Any]]
    """What is recorded of its steps, by path."""
    effects: Sequence[Row[Any]]
    """Calls of its steps, oldest first."""

    @property
    def results(self) -> dict[str, StepResult]:
        """The record, as the interpreter of plans reads it; large outputs by reference, tools' answers not at all."""
        found = {effect.step: StepResult(StepState.UNKNOWN, error=effect.error) for effect in self.unknown_effects()}
        for path, row in self.steps.items():
            found[path] = StepResult(StepState(row.state), row.output, row.error, row.completed_by)
        return found

    def unknown_effects(self) -> list[Row[Any]]:
        """Calls that went out and whose answers nobody knows."""
        return [effect for effect in self.effects if effect.state == "unknown"]


@dataclass(frozen=True, slots=True)
class ExceptionDetails:
    """One exception and the latest of everything that hangs on it. Rows have the columns that their statement names."""

    row: Row[Any]
    plan: StoredPlan | None
    approval: Row[Any] | None
    approvals_given: Sequence[Row[Any]]
    timers: Sequence[Row[Any]]
    dead_letter: Row[Any] | None
    retry: Row[Any] | None = None
    """What was written of the attempt that failed last, while the next one is to come."""
    notifications: Sequence[Row[Any]] = ()
    """The newest first, at most NOTIFICATIONS_SHOWN."""
    paused: PausesInForce = NOTHING_PAUSED
    """What is paused of its tenant, and for everybody; only looked up while it is in flight."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events of an exception, and the row that tells whether some of them wait behind a dead letter."""

    head: Row[Any]
    events: Sequence[Row[Any]]


def list_exceptions(
    transaction: Transaction, tenant_id: str, wanted: ListFilter, *, newest_first: bool, after: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """At most `limit` rows beyond the id `after`, in order of receipt."""
    parameters: dict[str, Any] = {
        "one_status": wanted.status[0] if len(wanted.status) == 1 else None,
        "status": list(wanted.status) if len(wanted.status) > 1 else None,
        "severity": list(wanted.severity),
        "exception_type": wanted.exception_type,
        "source_system": wanted.source_system,
        "retrying": wanted.retrying,
        "not_retrying": wanted.retrying is False,
        "blocked": wanted.blocked is True,
        "not_blocked": wanted.blocked is False,
        "pattern": f"%{_literal(wanted.text)}%" if wanted.text else None,
        "before" if newest_first else "after": after and str(after),
    }
    if wanted.received_from:
        parameters |= {"first_id": _bound(wanted.received_from - _ID_SLACK), "received_from": wanted.received_from}
    if wanted.received_to:
        parameters |= {"last_id": _bound(wanted.received_to + _ID_SLACK), "received_to": wanted.received_to}
    conditions = " ".join(sql for name, sql in statements.CONDITIONS.items() if parameters.get(name))
    statement = statements.LIST.format(conditions=conditions, direction="DESC" if newest_first else "ASC")
    return transaction.rows(statement, {**parameters, "tenant": tenant_id, "limit": limit})


def get_exception(transaction: Transaction, tenant_id: str, exception_id: UUID) -> ExceptionDetails | None:
    """One exception with its plan, approval and dead letter; None when the tenant has none of this id."""
    parameters = {"tenant": tenant_id, "exception_id": str(exception_id)}
    row = _first(transaction, statements.GET, parameters)
    if row is None:
        return None
    approval, given = newest_approval(transaction, tenant_id, exception_id)
    return ExceptionDetails(
        row=row,
        plan=stored_plan(transaction, tenant_id, exception_id),
        approval=approval,
        approvals_given=given,
        timers=transaction.rows(WAITING_UNTIL, parameters),
        dead_letter=_first(transaction, statements.DEAD_LETTER, parameters),
        retry=_newest_retry(transaction, parameters, row),
        notifications=transaction.rows(OF_EXCEPTION, {**parameters, "limit": NOTIFICATIONS_SHOWN}),
        paused=in_force_pauses(transaction) if row.status in IN_FLIGHT else NOTHING_PAUSED,
    )


def stored_plan(transaction: Transaction, tenant_id: str, exception_id: UUID) -> StoredPlan | None:
    """The newest plan of an exception: the one in force, or the one that waits for approval; None: there is none."""
    parameters = {"tenant": tenant_id, "exception_id": str(exception_id)}
    row = _first(transaction, statements.PLAN, parameters)
    if row is None:
        return None
    planned = {**parameters, "plan_id": str(row.plan_id)}
    steps = {step.step: step for step in transaction.rows(statements.STEPS, planned)}
    return StoredPlan(row, from_document(row.document), steps, transaction.rows(statements.EFFECTS, planned))


def list_events(
    transaction: Transaction, tenant_id: str, exception_id: UUID, *, after: int, limit: int
) -> Timeline | None:
    """At most `limit` events after position `after`, in order; None when the tenant has no such exception."""
    parameters = {"tenant": tenant_id, "exception_id": str(exception_id)}
    head = _first(transaction, statements.HEAD, parameters)
    if head is None:
        return None
    since = head.received_at - _CLOCK_SKEW
    rows = transaction.rows(statements.EVENTS, {**parameters, "after": after, "since": since, "limit": limit})
    return Timeline(head, rows)


def ledger_of(transaction: Transaction, tenant_id: str) -> Ledger:
    """One tenant's ledger, from one snapshot."""
    rows = transaction.rows(statements.LEDGER, {"tenant": tenant_id})
    return _ledger(rows[0]) if rows else Ledger(tenant_id, 0, 0, 0, 0, 0, 0, 0, 0)


def ledgers(transaction: Transaction) -> list[Ledger]:
    """The ledgers of all tenants the transaction sees that ever sent something, from one snapshot."""
    return [_ledger(row) for row in transaction.rows(statements.LEDGER, {"tenant": None})]


def unaccounted(transaction: Transaction, tenant_id: str | None, limit: int) -> Sequence[Row[Any]]:
    """Exceptions that are there without the event of their acceptance, or the other way round: {tenant_id,
    exception_id, status, has_row}; of one tenant, or of all. It reads everything."""
    return transaction.rows(statements.AUDIT, {"tenant": tenant_id, "limit": limit})


def tenant_rate(transaction: Transaction, tenant_id: str) -> float | None:
    """The exceptions a second that the tenant's active pack allows; None when it says nothing."""
    now = database_now(transaction)
    schedule = StoredPacks().schedules(transaction, [tenant_id]).get(tenant_id)
    decides = in_force(schedule.tenant, now, now) if schedule else None
    if decides is None:
        return None
    row = _first(transaction, statements.TENANT_RATE, {"tenant": tenant_id, "version": decides.version})
    return row.rate if row else None


def schema_revision(transaction: Transaction) -> str | None:
    """The migration the database is at."""
    row = _first(transaction, statements.REVISION, {})
    return row.version_num if row else None


def _newest_retry(transaction: Transaction, of: Mapping[str, Any], row: Row[Any]) -> Row[Any] | None:
    if row.next_retry_at is None:
        return None
    return _first(transaction, statements.NEWEST_RETRY, {**of, "since": row.received_at - _CLOCK_SKEW})


def _ledger(row: Row[Any]) -> Ledger:
    number: Mapping[str, int] = row.by_status
    return Ledger(
        tenant_id=row.tenant_id,
        accepted=row.accepted,
        resolved=number.get(Status.RESOLVED, 0),
        escalated=number.get(Status.ESCALATED, 0),
        cancelled=number.get(Status.CANCELLED, 0),
        waiting=sum(number.get(status, 0) for status in WAITING),
        in_flight=sum(number.get(status, 0) for status in IN_FLIGHT),
        dead_lettered=number.get(Status.DEAD_LETTERED, 0),
        discarded=number.get(Status.DISCARDED, 0),
    )


def _first(transaction: Transaction, statement: str, parameters: Mapping[str, Any]) -> Row[Any] | None:
    rows = transaction.rows(statement, parameters)
    return rows[0] if rows else None


def _literal(text: str) -> str:
    """Text for LIKE in which nothing is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _bound(moment: datetime) -> str:
    """The smallest UUIDv7 of a moment."""
    return str(UUID(int=max(0, int(moment.timestamp() * 1000)) << 80))
