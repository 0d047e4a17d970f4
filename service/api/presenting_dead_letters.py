"""Dead letters and their clusters as people see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Row

from service.api import dead_letter_schemas as schemas
from service.api import presenting
from service.api.exception_schemas import BlockedBy
from service.domain.events import EventType
from service.persistence.dead_letters import DeadLetterStory, Listed, trend

_OUTCOMES: Mapping[str, Literal["retried", "deadLettered", "redriven", "discarded"]] = {
    EventType.RETRY_SCHEDULED: "retried",
    EventType.DEAD_LETTERED: "deadLettered",
    EventType.REDRIVEN: "redriven",
    EventType.DISCARDED: "discarded",
}


def summary(listed: Listed) -> schemas.DeadLetterSummary:
    """A dead letter as lists show it."""
    return schemas.DeadLetterSummary(**_summary_values(listed.row, listed.blocking))


def detail(story: DeadLetterStory) -> schemas.DeadLetterDetail:
    """A dead letter with its story."""
    row = story.row
    fence = BlockedBy(
        dead_letter_id=row.dead_letter_id, sequence=row.sequence, since=row.dead_lettered_at, waiting=row.blocking
    )
    return schemas.DeadLetterDetail(
        **_summary_values(row, row.blocking),
        pattern=row.pattern,
        position=row.position,
        evidence=row.evidence,
        external_id=row.external_id,
        exception_status=row.status,
        history=[_attempt(event) for event in story.attempts],
        last_events=[presenting.event(event, fence if row.blocking else None) for event in story.last_events],
        payload=schemas.PayloadReference(path=f"/exceptions/{row.exception_id}/payload"),
    )


def cluster(row: Row[Any]) -> schemas.Cluster:
    """Dead letters of one cause."""
    types = sorted((row.exception_types or {}).items(), key=lambda one: (-one[1], one[0]))
    return schemas.Cluster(
        signature=row.signature,
        count=row.number,
        by_state=schemas.StateCounts(
            pending=row.pending, redriving=row.redriving, succeeded=row.succeeded, discarded=row.discarded
        ),
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        stage=presenting.stage(row.stage),
        error_class=row.error_class,
        error_kind=row.error_kind,
        tool=row.tool,
        pattern=row.pattern,
        example=schemas.ClusterExample(
            dead_letter_id=row.example, exception_id=row.example_exception, message=row.message
        ),
        exception_types=[schemas.TypeCount(exception_type=name, count=number) for name, number in types],
        trend=schemas.Trend(counts=trend(row)),
    )


def _summary_values(row: Row[Any], blocking: int) -> dict[str, Any]:
    return {
        "dead_letter_id": row.dead_letter_id,
        "exception_id": row.exception_id,
        "tenant_id": row.tenant_id,
        "sequence": row.sequence,
        "state": row.state,
        "stage": presenting.stage(row.stage),
        "error_class": row.error_class,
        "error_kind": row.error_kind,
        "message": row.message,
        "tool": row.tool,
        "signature": row.signature,
        "attempts": row.attempts,
        "redrives": row.redrives,
        "first_dead_lettered_at": row.first_dead_lettered_at,
        "dead_lettered_at": row.dead_lettered_at,
        "settled_at": row.settled_at,
        "exception_type": row.exception_type,
        "source_system": row.source_system,
        "pack_versions": presenting.versions(row),
        "blocking": blocking,
    }


def _attempt(event: Row[Any]) -> schemas.Attempt:
    data: Mapping[str, Any] = event.data
    failed = event.type in (EventType.RETRY_SCHEDULED, EventType.DEAD_LETTERED)
    return schemas.Attempt(
        position=event.position,
        at=event.occurred_at,
        outcome=_OUTCOMES[event.type],
        stage=presenting.stage(event.stage),
        attempt=event.attempt if failed else None,
        error_class=data.get("errorClass"),
        error_kind=data.get("errorKind"),
        message=data.get("message", data.get("error")),
        retry_at=data.get("retryAt"),
        by=data.get("by"),
        reason=data.get("reason"),
    )
