"""Notification policies as packs write them: whom to tell about which events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from service.domain.events import EventType
from service.domain.packs.parts import Part, SeverityName

EventName = Annotated[EventType, Field(strict=False)]


TOLD = frozenset(
    {
        EventType.EXCEPTION_NORMALIZED,
        EventType.TRIAGE_COMPLETED,
        EventType.POLICY_EVALUATION_COMPLETED,
        EventType.PLAYBOOK_MATCHED,
        EventType.STEP_EXECUTION_REQUESTED,
        EventType.TOOL_EXECUTION_REQUESTED,
        EventType.TOOL_EXECUTION_COMPLETED,
        EventType.TOOL_EXECUTION_FAILED,
        EventType.STEP_COMPLETED,
        EventType.STEP_FAILED,
        EventType.STEP_SKIPPED,
        EventType.COMMENT_ADDED,
        EventType.APPROVAL_REQUESTED,
        EventType.EXCEPTION_RESOLVED,
        EventType.EXCEPTION_ESCALATED,
        EventType.EXCEPTION_CANCELLED,
        EventType.DEAD_LETTERED,
    }
)
"""Events that a policy tells of: what the pipeline decides. What people and sources ask for is told by what follows."""


class NotificationPolicy(Part):
    """Tell somebody whenever one of these events happens to an exception of these severities."""

    on: list[EventName] = Field(min_length=1)
    """Names of events, like ExceptionEscalated: those in TOLD. StepExecutionRequested means a step for a person."""
    severities: list[SeverityName] | None = Field(default=None, min_length=1)
    """Only for exceptions of these severities; absent: of all."""
    channel: Literal["webhook", "email"]
    params: dict[str, Any] = Field(default_factory=dict)
    """What the channel needs, as in a notify step: where to, subject, text. Templates may name `event` too."""
