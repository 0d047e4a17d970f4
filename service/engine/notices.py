"""What policies tell of decisions and failures, as rows for the statements that write the events themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, Stage
from service.domain.packs import PackSet
from service.engine.failures import Failure, as_dead_letters

Subjects = Mapping[UUID, tuple[ExceptionRecord, PackSet]]
"""What failures are about, by exception; one whose packs are not known tells nobody."""


def notices(
    record: ExceptionRecord, packs: PackSet, events: Iterable[NewEvent], changes: Changes = NO_CHANGES
) -> list[dict[str, Any]]:
    """Rows for what policies tell of the events of one decision; almost always none."""
    if not packs.notices.events:
        return []
    return [
        {
            "id": record.exception_id,
            "place": notice.place,
            "policy": notice.policy,
            "event": notice.event,
            "channel": notice.channel,
            "params": notice.params,
            "domain_version": packs.versions.domain,
            "tenant_version": packs.versions.tenant,
            "error": notice.error,
        }
        for notice in packs.notices.due(record, packs.redactor, tuple(events), changes)
    ]


def of_failures(stage: Stage, failures: Sequence[Failure], subjects: Subjects) -> list[dict[str, Any]]:
    """Rows for what policies tell of exceptions that are given up."""
    told = [failure for failure in failures if _is_told(subjects.get(failure.reference.exception_id))]
    rows: list[dict[str, Any]] = []
    for letter in as_dead_letters(stage, told):
        data = {"errorClass": letter["error_class"], "message": letter["message"], "attempts": letter["attempts"]}
        rows += notices(*subjects[letter["id"]], [NewEvent(EventType.DEAD_LETTERED, data)])
    return rows


def _is_told(subject: tuple[ExceptionRecord, PackSet] | None) -> bool:
    return subject is not None and EventType.DEAD_LETTERED in subject[1].notices.events
