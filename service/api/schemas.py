"""What callers send and get, as pydantic models: the API's validation, its answers and its OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from service.api.bodies import In, Out
from service.api.retry_schemas import NextRetry
from service.domain.exceptions import InputType, Severity, Status
from service.domain.packs.playbooks import SIGNAL_NAME
from service.errors import ErrorKind

LARGEST_BATCH = 1000


def _text_only(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a text like 2026-01-31T12:00:00Z")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
Note = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"\S")]


def _in_range(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("must lie between 1970 and 9000")
    return value


_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough from what Python and PostgreSQL can hold that no change of time zone gets there."""
Moment = Annotated[
    AwareDatetime, BeforeValidator(_text_only, json_schema_input_type=datetime), AfterValidator(_in_range)
]
"""A point in time with its offset from UTC."""


class NewException(In):
    """An exception as a business system reports it."""

    source_system: Name = Field(description="The system that reports it.")
    raw_payload: dict[str, Any] = Field(description="Whatever the source knows about it.")
    exception_type: Name | None = Field(default=None, description="As the source calls it; intake normalises it.")
    occurred_at: Moment | None = Field(default=None, description="When it happened. Default: when it was received.")
    external_id: Name | None = Field(
        default=None, description="The source's own id of it: the same id of the same source is taken once."
    )
    severity: Severity | None = Field(default=None, description="A hint; the tenant's rules decide.")
    entity: Name | None = Field(default=None, description="The domain pack's entity that the payload describes.")
    tenant_id: str | None = Field(default=None, description="If given, it must be the API key's tenant.")


class Batch(In):
    """Up to 1,000 exceptions; each stands alone."""

    items: list[NewException] = Field(max_length=LARGEST_BATCH)


_RESERVED = frozenset(InputType) - {InputType.UPDATED, InputType.COMMENT}
"""Types of inputs that come in other ways: as names of signals they would be mistaken for them."""


class NewEvent(In):
    """Something more about an exception."""

    type: str = Field(
        pattern=SIGNAL_NAME,
        description="`updated`, `comment`, or the name of a signal that a step of the plan may wait for.",
    )
    data: dict[str, Any] | None = Field(
        default=None,
        validate_default=True,
        description="`updated`: the payload's new fields, plain or under `rawPayload`. `comment`: `text`. "
        "A signal: whatever goes with it, or nothing.",
    )

    @field_validator("type")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in _RESERVED:
            raise ValueError("is a kind of input with a call of its own, and cannot be a signal's name")
        return name

    @field_validator("data")
    @classmethod
    def _data_of(cls, data: dict[str, Any] | None, others: ValidationInfo) -> dict[str, Any] | None:
        if data is None and others.data.get("type") in (InputType.UPDATED, InputType.COMMENT):
            raise PydanticCustomError("missing", "is required")
        return data


class Decision(In):
    """What a person adds to a decision."""

    comment: Note | None = None
    reason: Note | None = None


class ApprovalDecision(In):
    """Why a person approves or rejects, and what."""

    comment: Note = Field(
        validation_alias=AliasChoices("comment", "reason"), description="Why; `reason` is understood too."
    )
    plan_hash: str | None = Field(
        default=None,
        alias="planHash",
        max_length=100,
        description="The plan that the decision is about, as `approval.planHash` shows it; another is refused.",
    )


class StepCompletion(Decision):
    """That a person has done a step, and the answer to its form, if it has one."""

    answer: Any = Field(default=None, description="Checked against the step's form; later steps may read it.")


class EffectResolution(In):
    """What a person found out about a call whose answer nobody knows."""

    verdict: Literal["done", "not_done", "resend"] = Field(
        description="`done`: the tool worked it. `not_done`: it did not, and the step has failed. "
        "`resend`: it did not, and is to be called again."
    )
    comment: Note = Field(description="How that is known.")
    output: Any = Field(default=None, description="With `done`: the tool's answer, for steps that read it.")


class PayloadReading(In):
    """Why somebody has to see the unredacted payload."""

    reason: Note = Field(description="Kept on the timeline, with sensitive values of the payload masked.")


class UnredactedPayload(Out):
    """The payload as it came. That it was read is on the timeline."""

    exception_id: UUID
    raw_payload: dict[str, Any]


class Accepted(Out):
    """It is kept, and will be worked."""

    exception_id: UUID
    sequence: int = Field(description="1 for the exception itself, then 2, 3, … for what comes after.")
    status: Status


class ApprovalAccepted(Accepted):
    """An approval is kept; the plan goes on when there are as many as it needs."""

    approvals_given: int
    approvals_needed: int


class Fault(Out):
    """One thing that is wrong, and where."""

    path: str = Field(description="Like `items[3].rawPayload.amount`; empty for the body itself.")
    message: str
    line: int | None = Field(default=None, description="Of a pack: the line of the text that was sent, from 1.")


class Problem(Out):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault]
    instance: str | None = None
    request_id: str | None = None


class BatchItem(Out):
    """What became of one item: one of the two."""

    index: int
    exception_id: UUID | None = None
    problem: Problem | None = None


class BatchAnswer(Out):
    """What became of a batch."""

    accepted: int
    rejected: int
    items: list[BatchItem]


class PackVersions(Out):
    """The pack versions something was decided with."""

    domain: int | None
    tenant: int | None


class BlockedBy(Out):
    """The dead letter that inputs wait behind, in order, until it is redriven or discarded."""

    dead_letter_id: UUID
    sequence: int = Field(description="The input that could not be worked.")
    since: datetime
    waiting: int = Field(description="How many later inputs of the exception wait.")


class ExceptionSummary(Out):
    """An exception as lists show it."""

    exception_id: UUID
    tenant_id: str
    status: Status
    stage: str = Field(description="intake, triage, policy, playbook, tool, or finished: nothing is being worked.")
    sequence: int = Field(description="The input being worked, or the last one that was.")
    last_sequence: int = Field(description="The last input taken in.")
    source_system: str
    external_id: str | None
    exception_type: str | None
    severity: Severity | None
    reported_severity: str | None
    confidence: float
    entity: str | None
    assigned_to: str | None
    pack_versions: PackVersions | None
    trace_id: str
    occurred_at: datetime
    received_at: datetime
    updated_at: datetime
    deadline_at: datetime | None
    next_retry_at: datetime | None = Field(description="When its next attempt is due, after one that failed.")
    blocked_by: BlockedBy | None = Field(description="Null unless later inputs wait behind a dead letter.")


class PlanStep(Out):
    """One step of the plan."""

    order: int
    path: str = Field(description="`3`; inside groups `3.1`; of the first item of a list `3[0].1`.")
    name: str
    kind: str
    action: str
    tool: str | None
    state: Literal["completed", "failed", "skipped", "unknown", "current", "ahead"]
    completed_at: datetime | None
    completed_by: str | None
    error: str | None = Field(description="Why it failed.")
    effect: str | None = Field(description="intent, sent, confirmed, failed or unknown; null: no call yet.")
    output: Any = Field(description="What its tool or a person answered, redacted; of a long answer the beginning.")


class Plan(Out):
    """The plan in force, or the one that waits for approval."""

    plan_id: UUID
    playbook: str
    sequence: int
    created_at: datetime
    steps: list[PlanStep]


class ApprovalGiven(Out):
    """One person's approval."""

    by: str
    at: datetime


class Approval(Out):
    """The last time a person was asked."""

    state: str = Field(description="pending, approved, rejected, superseded, voided or expired.")
    reason: str
    plan_hash: str | None = Field(description="What is approved: send it back, and another plan is not approved.")
    playbook: str | None
    steps: list[str] = Field(description="The plan in short, a line a step.")
    approvals: list[ApprovalGiven] = Field(description="Who has approved so far.")
    approvals_needed: int
    requested_at: datetime
    due_at: datetime | None = Field(description="When it expires.")
    decided_at: datetime | None
    decided_by: str | None


class Waiting(Out):
    """Something that an exception at rest waits for."""

    kind: Literal["approval", "manual", "time", "signal", "effect"]
    step: str | None = Field(description="The step's path; null for an approval.")
    name: str | None = Field(description="The step's name.")
    until: datetime | None = Field(description="When it ends by itself; null: never.")
    signal: str | None = Field(default=None, description="The signal's name: the `type` to POST to `…/events`.")
    instructions: str | None = Field(default=None, description="What the person is to do.")
    form: dict[str, Any] | None = Field(default=None, description="JSON Schema of the `answer` it takes.")


class UnknownEffect(Out):
    """A call that went out and whose answer nobody knows: the evidence for a person to decide on."""

    idempotency_key: UUID
    step: str
    tool: str
    attempt: int
    requested_at: datetime
    sent_at: datetime | None
    error: str | None


class DeadLetter(Out):
    """The last time it could not be worked. More of it: GET /dlq/{deadLetterId}."""

    dead_letter_id: UUID
    sequence: int
    stage: str
    error_class: str
    error_kind: ErrorKind
    message: str
    tool: str | None
    signature: str
    attempts: int
    state: str
    redrives: int
    dead_lettered_at: datetime


class Notification(Out):
    """What a notification policy told somebody of an event, or is about to."""

    on: str = Field(description="The event.")
    position: int = Field(description="The event's place in the timeline.")
    policy: str = Field(description="The policy's place in the packs.")
    channel: str
    state: str = Field(description="intent, sent, confirmed, failed or unknown.")
    attempts: int
    error: str | None
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None


class ExceptionDetail(ExceptionSummary):
    """An exception with everything that hangs on it."""

    raw_payload: dict[str, Any] | None = Field(description="With sensitive fields masked; null until intake.")
    held_because: str | None = Field(
        description="Why it waits although nobody has to act on it: its tool is not called now (a limit, a circuit "
        "breaker), or it is paused. It goes on by itself."
    )
    held_until: datetime | None = Field(description="When it is looked at again; null while a pause has no end.")
    next_retry: NextRetry | None = Field(description="The attempt to come, when the last one failed for now.")
    payload_pending: bool = Field(description="Intake has not looked yet, so the payload is not shown.")
    plan: Plan | None
    approval: Approval | None
    waiting_for: list[Waiting] = Field(description="What it waits for; empty unless it rests and waits.")
    unknown_effects: list[UnknownEffect]
    dead_letter: DeadLetter | None
    notifications: list[Notification] = Field(description="By notification policies, the newest first; at most 100.")


class Event(Out):
    """Something that happened to an exception."""

    event_id: UUID
    tenant_id: str
    exception_id: UUID
    sequence: int
    position: int
    stage: str
    type: str
    attempt: int
    occurred_at: datetime
    trace_id: str
    pack_versions: PackVersions | None
    data: dict[str, Any]
    blocked_by: BlockedBy | None = Field(
        default=None, description="Of an input that waits behind a dead letter; null for everything else."
    )


class ExceptionList(Out):
    """A page of exceptions."""

    items: list[ExceptionSummary]
    next_cursor: str | None


class EventList(Out):
    """A page of a timeline, oldest first."""

    items: list[Event]
    next_cursor: str | None


class Ledger(Out):
    """The tenant's books: accepted is the sum of the rest."""

    accepted: int
    resolved: int
    escalated: int
    cancelled: int
    waiting: int
    in_flight: int
    dead_lettered: int
    discarded: int
    balanced: bool


class Readiness(Out):
    """What a process needs, and what it can do without for a while."""

    status: Literal["ready", "degraded"]
    checks: dict[str, str] = Field(description="`ok`, or what is missing.")
