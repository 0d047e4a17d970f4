"""What callers see of an exception's plan, its approval and what it waits for, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from service.api.bodies import Out


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
