"""What a pack would decide about an exception: the four deciding stages in a row, without any effect.

Test suites and backtests both ask it. The plan is made even where a person has to approve it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from service.domain.events import EventType
from service.domain.exceptions import Changes, ExceptionRecord, Outcome, Stage, Status
from service.domain.packs import PackSet
from service.domain.plans import Plan
from service.domain.stages import DECIDE
from service.domain.stages.policy import APPROVAL_REQUIRED
from service.errors import PermanentError


@dataclass(slots=True)
class DryRun:
    """How far an exception got, and what was decided on the way."""

    record: ExceptionRecord
    """As it would be stored."""
    triage: Mapping[str, Any] = field(default_factory=dict)
    """The data of TriageCompleted; empty: it failed before."""
    decision: str | None = None
    """`allowed` or `approval_required`; None: it failed before."""
    plan: Plan | None = None
    status: Status | None = None
    """Where it would first rest; None: its plan goes straight on to the tool stage, or it failed."""
    error: PermanentError | None = None
    """What it would be dead-lettered with."""

    @property
    def approval_required(self) -> bool | None:
        """Whether a person would be asked; None: it failed before."""
        return None if self.decision is None else self.decision == APPROVAL_REQUIRED


def dry_run(record: ExceptionRecord, packs: PackSet, now: datetime) -> DryRun:
    """Take an exception that was just received to its plan or its failure, as of `now`."""
    run = DryRun(record)
    try:
        for stage, decide in DECIDE.items():
            outcome = decide(run.record, packs, now)
            run.record = _applied(run.record, outcome.changes)
            _note(run, stage, outcome)
    except PermanentError as error:
        run.error = error
    return run


def _note(run: DryRun, stage: Stage, outcome: Outcome) -> None:
    told = {event.type: event.data for event in outcome.events}
    if stage is Stage.TRIAGE:
        run.triage = told[EventType.TRIAGE_COMPLETED]
    if stage is Stage.POLICY:
        run.decision = told[EventType.POLICY_EVALUATION_COMPLETED]["decision"]
    if stage is Stage.PLAYBOOK:
        run.plan = outcome.plan
    if run.status is None:
        run.status = outcome.finished


def _applied(record: ExceptionRecord, changes: Changes) -> ExceptionRecord:
    return replace(
        record,
        exception_type=changes.exception_type or record.exception_type,
        severity=changes.severity or record.severity,
        confidence=record.confidence if changes.confidence is None else changes.confidence,
        deadline_at=changes.deadline_at or record.deadline_at,
    )
