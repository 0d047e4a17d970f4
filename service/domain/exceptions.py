"""The exception as the pipeline sees it: its stages, statuses, and the values that travel through a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from service.domain.events import NewEvent
from service.domain.plans import Plan

Json = Mapping[str, Any]


class Stage(IntEnum):
    """The five stages in their order; the value is what the row's `stage` column holds."""

    INTAKE = 0
    TRIAGE = 1
    POLICY = 2
    PLAYBOOK = 3
    TOOL = 4

    @property
    def queue(self) -> str:
        """The Celery queue, the task's short name and the topic's name."""
        return self.name.lower()


class Status(StrEnum):
    """Where an exception is in its life."""

    RECEIVED = "RECEIVED"
    IN_PROGRESS = "IN_PROGRESS"
    PENDING_APPROVAL = "PENDING_APPROVAL"
    PENDING_STEP = "PENDING_STEP"
    RESOLVED = "RESOLVED"
    ESCALATED = "ESCALATED"
    CANCELLED = "CANCELLED"
    DEAD_LETTERED = "DEAD_LETTERED"
    DISCARDED = "DISCARDED"


IN_FLIGHT = (Status.RECEIVED, Status.IN_PROGRESS)
WAITING = (Status.PENDING_APPROVAL, Status.PENDING_STEP)


class Severity(StrEnum):
    """How bad it is."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class InputType(StrEnum):
    """What happened to the exception; each input is one `sequence` and enters the chain at its own stage."""

    INGESTED = "ingested"
    UPDATED = "updated"
    COMMENT = "comment"
    CANCELLED = "cancelled"
    APPROVED = "approved"
    REJECTED = "rejected"
    STEP_COMPLETED = "step_completed"


ENTRY_STAGE: Mapping[InputType, Stage] = {
    InputType.INGESTED: Stage.INTAKE,
    InputType.UPDATED: Stage.INTAKE,
    InputType.COMMENT: Stage.INTAKE,
    InputType.CANCELLED: Stage.INTAKE,
    InputType.APPROVED: Stage.POLICY,
    InputType.REJECTED: Stage.POLICY,
    InputType.STEP_COMPLETED: Stage.PLAYBOOK,
}
"""The stage at which an input of each type enters the chain."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an exception: the POST itself (sequence 1) or something that came later."""

    type: InputType
    data: Json = field(default_factory=dict)
    actor: str | None = None
    """Who did it, e.g. the API key's name; None for the source system."""


@dataclass(frozen=True, slots=True)
class PackVersions:
    """The pack versions a decision was made with; the tenant version names its domain."""

    domain: int
    tenant: int


@dataclass(frozen=True, slots=True)
class ExceptionRecord:
    """An exception's row, as a stage's pure function gets it."""

    tenant_id: str
    exception_id: UUID
    status: Status
    resting_status: Status | None
    """The status after the last finished input; None while the first is being worked."""
    sequence: int
    stage: int
    source_system: str
    exception_type: str | None
    """As the source named it until intake; normalised after."""
    reported_severity: str | None
    """A hint of the source, never binding."""
    severity: Severity | None
    confidence: float
    entity: str | None
    raw_payload: Json
    occurred_at: datetime
    received_at: datetime
    deadline_at: datetime | None
    pack_versions: PackVersions | None
    input: Input
    plan: Plan | None = None
    """The plan in force: only loaded for the playbook and tool stages."""
    completed_steps: frozenset[int] = frozenset()
    """Orders of the plan's steps that are done."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a stage changes on the row; None leaves a column as it is."""

    exception_type: str | None = None
    severity: Severity | None = None
    confidence: float | None = None
    deadline_at: datetime | None = None
    raw_payload: Json | None = None
    """Set by intake when an update merged new values into the payload."""
    redacted_payload: Json | None = None
    """The view people see. Set by intake."""
    assigned_to: str | None = None


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage decided for one exception.

    `finished` None: go on to the next stage. Otherwise this input is finished and the exception rests in that
    status; `Status.IN_PROGRESS` is never a resting status.
    """

    events: tuple[NewEvent, ...]
    changes: Changes = NO_CHANGES
    finished: Status | None = None
    plan: Plan | None = None
    """Set by the playbook stage when it made a plan; it replaces an earlier one."""
    approval_reason: str | None = None
    """Set by the policy stage with `finished=PENDING_APPROVAL`: why a person is asked."""
