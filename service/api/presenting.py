"""Rows as the API shows them. The one place that decides what of an exception leaves the system."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from service.api import exception_schemas as schemas
from service.api import ledger_schemas, presenting_plans
from service.api.retry_schemas import NextRetry
from service.domain.exceptions import IN_FLIGHT, Stage
from service.domain.guard import FINISHED
from service.domain.identifiers import event_id
from service.domain.pauses import HELD_PREFIX
from service.persistence import queries
from service.persistence.queries import ExceptionDetails


def summary(row: Row[Any]) -> schemas.ExceptionSummary:
    """An exception as lists show it."""
    return schemas.ExceptionSummary(**_summary_values(row))


def detail(details: ExceptionDetails) -> schemas.ExceptionDetail:
    """An exception with everything that hangs on it."""
    row = details.row
    held_because, held_until = _held(details)
    return schemas.ExceptionDetail(
        **_summary_values(row),
        raw_payload=row.payload,
        payload_pending=not row.payload_known,
        held_because=held_because,
        held_until=held_until,
        next_retry=_next_retry(details),
        plan=presenting_plans.plan(details),
        approval=presenting_plans.approval(details),
        waiting_for=presenting_plans.waiting_for(details),
        unknown_effects=presenting_plans.unknown_effects(details),
        dead_letter=_dead_letter(details.dead_letter),
        notifications=[_notification(row) for row in details.notifications],
    )


def blocked_by(row: Row[Any]) -> schemas.BlockedBy | None:
    """What the later inputs of an exception wait behind; None when none of them waits."""
    if row.blocked_by is None:
        return None
    return schemas.BlockedBy(
        dead_letter_id=row.blocked_by,
        sequence=row.sequence,
        since=row.blocked_since,
        waiting=row.last_sequence - row.sequence,
    )


def event(row: Row[Any], fence: schemas.BlockedBy | None = None) -> schemas.Event:
    """One event of a timeline; `fence`: what inputs after its own wait behind."""
    return schemas.Event(
        event_id=event_id(row.exception_id, row.position, row.occurred_at),
        tenant_id=row.tenant_id,
        exception_id=row.exception_id,
        sequence=row.sequence,
        position=row.position,
        stage=stage(row.stage),
        type=row.type,
        attempt=row.attempt,
        occurred_at=row.occurred_at,
        trace_id=row.trace_id.hex,
        pack_versions=versions(row),
        data=row.data,
        blocked_by=fence if fence is not None and row.sequence > fence.sequence else None,
    )


def ledger(books: queries.Ledger) -> ledger_schemas.Ledger:
    """A tenant's books."""
    return ledger_schemas.Ledger(
        accepted=books.accepted,
        resolved=books.resolved,
        escalated=books.escalated,
        cancelled=books.cancelled,
        waiting=books.waiting,
        in_flight=books.in_flight,
        dead_lettered=books.dead_lettered,
        discarded=books.discarded,
        balanced=books.balanced,
    )


def _held(details: ExceptionDetails) -> tuple[str | None, datetime | None]:
    """Why it waits although nobody has to act, and until when if that is known."""
    row, paused = details.row, details.paused
    if row.status not in IN_FLIGHT:
        return None, None
    stopped = paused.of_work(row.tenant_id, row.stage) or next(
        (pause for pause in paused.pauses if pause.sentence == row.hold_reason), None
    )
    if stopped is None and row.waits_in_outbox:
        stopped = paused.dispatching
    if stopped is not None:
        return stopped.sentence, stopped.until
    if row.hold_reason is None or row.hold_reason.startswith(HELD_PREFIX):
        return None, None
    return row.hold_reason, row.retry_at


def _summary_values(row: Row[Any]) -> dict[str, Any]:
    return {
        "exception_id": row.exception_id,
        "tenant_id": row.tenant_id,
        "status": row.status,
        "stage": stage(row.stage),
        "sequence": row.sequence,
        "last_sequence": row.last_sequence,
        "source_system": row.source_system,
        "external_id": row.external_id,
        "exception_type": row.exception_type,
        "severity": row.severity,
        "reported_severity": row.reported_severity,
        "confidence": round(row.confidence, 6),
        "entity": row.entity,
        "assigned_to": row.assigned_to,
        "pack_versions": versions(row),
        "trace_id": row.trace_id.hex,
        "occurred_at": row.occurred_at,
        "received_at": row.received_at,
        "updated_at": row.updated_at,
        "deadline_at": row.deadline_at,
        "next_retry_at": row.next_retry_at,
        "blocked_by": blocked_by(row),
    }


def _next_retry(details: ExceptionDetails) -> NextRetry | None:
    row, said = details.row, details.retry
    if said is None:
        return None
    return NextRetry(
        at=row.retry_at,
        attempt=row.attempt + 1,
        of=said.data.get("of"),
        stage=said.data["stage"],
        error=said.data["error"],
        error_kind=said.data.get("errorKind"),
        tool=said.data.get("tool"),
    )


def stage(value: int) -> str:
    """A stage's name."""
    return "finished" if value == FINISHED else Stage(value).queue


def versions(row: Row[Any]) -> schemas.PackVersions | None:
    """The pack versions of a row; None where nothing was decided yet."""
    if row.domain_version is None and row.tenant_version is None:
        return None
    return schemas.PackVersions(domain=row.domain_version, tenant=row.tenant_version)


def _notification(row: Row[Any]) -> schemas.Notification:
    return schemas.Notification(
        on=row.event,
        position=row.position,
        policy=row.policy,
        channel=row.channel,
        state=row.state,
        attempts=row.attempts,
        error=row.error,
        created_at=row.created_at,
        sent_at=row.sent_at,
        finished_at=row.finished_at,
    )


def _dead_letter(row: Row[Any] | None) -> schemas.DeadLetter | None:
    if row is None:
        return None
    return schemas.DeadLetter(
        dead_letter_id=row.dead_letter_id,
        sequence=row.sequence,
        stage=stage(row.stage),
        error_class=row.error_class,
        error_kind=row.error_kind,
        message=row.message,
        tool=row.tool,
        signature=row.signature,
        attempts=row.attempts,
        state=row.state,
        redrives=row.redrives,
        dead_lettered_at=row.dead_lettered_at,
    )
