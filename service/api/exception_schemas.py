"""What callers see of exceptions and their timelines, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from service.api.bodies import Out
from service.api.plan_schemas import Approval, Plan, UnknownEffect, Waiting
from service.api.retry_schemas import NextRetry
from service.domain.exceptions import Severity, Status
from service.errors import ErrorKind


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
