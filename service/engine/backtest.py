"""Backtests: the last real exceptions decided again by other packs, side by side with what happened.

Nothing has an effect: the stages are pure, nothing is written or locked, and no tool is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from service.domain.backtesting import Comparison, Side, shown_error, shown_steps, side_of
from service.domain.dry_run import dry_run
from service.domain.exceptions import IN_FLIGHT, ExceptionRecord, Input, InputType, Stage, Status
from service.domain.packs import PackSet
from service.domain.redaction import Redactor
from service.domain.stages.policy import APPROVAL_REQUIRED
from service.engine.packs import PackSource
from service.errors import PermanentError
from service.persistence.backtesting import Past, load_past, newest_ids
from service.persistence.unit_of_work import Transaction, unit_of_work

MOST_EXCEPTIONS = 10_000
"""One backtest looks at so many at most: what a person waits for."""
_CHUNK = 500

Running = Generator[tuple[int, int], None, dict[str, Any]]
"""A backtest under way: gives after each chunk how many exceptions are done, of how many; returns the report."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to decide again."""

    tenant_id: str
    limit: int = 1_000
    exception_type: str | None = None
    """Only exceptions of this type; None: all."""


def backtest(engine: Engine, source: PackSource, packs: PackSet, asked: Asked) -> Running:
    """Its report is `service.domain.backtesting.Comparison`'s, with the seconds it took."""
    started = time.monotonic()
    comparison = Comparison()
    with unit_of_work(engine, [asked.tenant_id]) as transaction:
        ids = newest_ids(transaction, asked.tenant_id, min(asked.limit, MOST_EXCEPTIONS), asked.exception_type)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        with unit_of_work(engine, [asked.tenant_id]) as transaction:
            _compare(transaction, source, packs, asked.tenant_id, chunk, comparison)
        yield start + len(chunk), len(ids)
    return {**comparison.report(), "seconds": round(time.monotonic() - started, 3)}


def finish(running: Running, progress: Callable[[int, int], None] = lambda _done, _of: None) -> dict[str, Any]:
    """Run a backtest to its end. `progress` is told after each chunk."""
    while True:
        try:
            progress(*next(running))
        except StopIteration as end:
            report: dict[str, Any] = end.value
            return report


def _compare(
    transaction: Transaction,
    source: PackSource,
    packs: PackSet,
    tenant_id: str,
    ids: Sequence[UUID],
    comparison: Comparison,
) -> None:
    for past in load_past(transaction, tenant_id, ids):
        if past.record.status in IN_FLIGHT and past.record.stage < Stage.TOOL:
            comparison.skip("beingDecided")
        elif past.decided_at is None and past.failed is None:
            comparison.skip("notDecided")
        else:
            redactors = _redactors(transaction, source, packs, past.record)
            after = dry_run(_as_received(past, packs), packs, past.decided_at or past.record.received_at)
            comparison.add(
                past.record.exception_id, past.record.received_at, _happened(past, redactors), side_of(after, redactors)
            )


def _redactors(
    transaction: Transaction, source: PackSource, packs: PackSet, record: ExceptionRecord
) -> tuple[Redactor, ...]:
    """What masks a report: the fields that the draft declares and those that the deciding packs declared."""
    if record.pack_versions is None:
        return (packs.redactor,)
    try:
        deciding = source.at(transaction, record.tenant_id, record.pack_versions).redactor
    except PermanentError:
        return (packs.redactor,)
    return (packs.redactor,) if deciding == packs.redactor else (packs.redactor, deciding)


def _as_received(past: Past, packs: PackSet) -> ExceptionRecord:
    """The exception as if it had just come, with what later updates said."""
    return replace(
        past.record,
        status=Status.RECEIVED,
        resting_status=None,
        sequence=1,
        stage=Stage.INTAKE,
        exception_type=past.source_type,
        severity=None,
        confidence=1.0,
        deadline_at=None,
        pack_versions=packs.versions,
        input=Input(InputType.INGESTED),
    )


def _happened(past: Past, redactors: Sequence[Redactor]) -> Side:
    payload = past.record.raw_payload
    approval = None if past.policy is None else past.policy.get("decision") == APPROVAL_REQUIRED
    # Where a person was asked and no plan is there, nobody knows which one it would have been.
    known = past.failed is None and (past.plan is not None or not approval)
    return Side(
        exception_type=past.triage.get("exceptionType"),
        severity=past.triage.get("severity"),
        approval=approval,
        playbook=past.plan.playbook if past.plan else None,
        steps=shown_steps(past.plan, payload, redactors) if known else None,
        error=shown_error(past.failed.error_class, past.failed.message, payload, redactors) if past.failed else None,
        absent=tuple(past.triage.get("rulesWithAbsentFields", ())),
    )
