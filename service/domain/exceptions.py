"""The exception as the pipeline sees it: its stages, statuses, and the values that travel through a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from service.domain.events import NewEvent
from service.domain.plans import Plan, StepRecord, StepResult, Timer

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
    WAITING = "WAITING"
    """For a time or a signal; nobody has to act."""
    RESOLVED = "RESOLVED"
    ESCALATED = "ESCALATED"
    CANCELLED = "CANCELLED"
    DEAD_LETTERED = "DEAD_LETTERED"
    DISCARDED = "DISCARDED"


IN_FLIGHT = (Status.RECEIVED, Status.IN_PROGRESS)
WAITING = (Status.PENDING_APPROVAL, Status.PENDING_STEP, Status.WAITING)


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
    STEP_DUE = "step_due"
    """A timer of a step: data {step, kind, planId?}."""
    SIGNAL = "signal"
    """What a step may wait for: data {name, data?}."""
    EFFECT_RESOLVED = "effect_resolved"
    """What became of an unknown effect: data {step, verdict: done | not_done | resend, output?, comment?}."""
    APPROVAL_EXPIRED = "approval_expired"
    """Nobody approved in time."""


ENTRY_STAGE: Mapping[InputType, Stage] = {
    InputType.INGESTED: Stage.INTAKE,
    InputType.UPDATED: Stage.INTAKE,
    InputType.COMMENT: Stage.INTAKE,
    InputType.CANCELLED: Stage.INTAKE,
    InputType.APPROVED: Stage.POLICY,
    InputType.REJECTED: Stage.POLICY,
    InputType.STEP_COMPLETED: Stage.PLAYBOOK,
    InputType.STEP_DUE: Stage.PLAYBOOK,
    InputType.SIGNAL: Stage.PLAYBOOK,
    InputType.EFFECT_RESOLVED: Stage.PLAYBOOK,
    InputType.APPROVAL_EXPIRED: Stage.POLICY,
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


class PackChoice(StrEnum):
    """Which packs decide an input that is sent again."""

    RECORDED = "recorded"
    """Those it was decided with; where none are recorded yet, those in force when it was received."""
    ACTIVE = "active"
    """Those in force when it is decided again."""


@dataclass(frozen=True, slots=True)
class EarlierPlan:
    """What an input that was sent again had been planned for before."""

    plan: Plan
    plan_id: UUID
    effects: Mapping[str, str]
    """The states of its steps' effects in the ledger, by path."""


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """The newest approval asked for, as the policy stage sees it."""

    plan_hash: str | None
    """Of the plan shown to people; None: there was no plan."""
    approvals_needed: int = 1
    given: tuple[str, ...] = ()
    """Who has approved that plan so far."""
    pending: bool = True
    """Nobody has decided it yet."""
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A person is asked. It is complete: what was asked before is superseded by it."""

    reason: str
    plan_hash: str | None
    """Of the plan that would be carried out; None: there is none."""
    approvals_needed: int = 1
    due_at: datetime | None = None
    """When it expires."""
    given: tuple[str, ...] = ()
    """Who has approved this plan already, where more than one has to."""


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
    plan_id: UUID | None = None
    """Its id."""
    plan_hash: str | None = None
    """Its hash as it was stored, where a person was asked to approve it."""
    step_results: Mapping[str, StepResult] = field(default_factory=dict)
    """What is recorded of the plan's steps, by path."""
    approval: ApprovalView | None = None
    """Only loaded for the policy stage, and for inputs that may be about one."""
    redriven_with: PackChoice | None = None
    """The input was dead-lettered and sent again; None: it was not."""
    earlier: EarlierPlan | None = None
    """The plan that was made for this input before it was sent again; loaded for the stages that plan."""


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
    """A plan that was made, by the policy stage where a person has to approve it, else by the playbook stage.

    It replaces an earlier one, with everything that was recorded of its steps."""
    steps: tuple[StepRecord, ...] = ()
    """What became of steps of the plan in force."""
    timers: tuple[Timer, ...] = ()
    approval: ApprovalRequest | None = None
    """Set by the policy stage with `finished=PENDING_APPROVAL`."""
