"""The event log's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """What can happen to an exception. An event is a row of the log; the log is append-only."""

    EXCEPTION_INGESTED = "ExceptionIngested"
    EXCEPTION_NORMALIZED = "ExceptionNormalized"
    TRIAGE_COMPLETED = "TriageCompleted"
    POLICY_EVALUATION_COMPLETED = "PolicyEvaluationCompleted"
    PLAYBOOK_MATCHED = "PlaybookMatched"
    STEP_EXECUTION_REQUESTED = "StepExecutionRequested"
    TOOL_EXECUTION_REQUESTED = "ToolExecutionRequested"
    TOOL_EXECUTION_COMPLETED = "ToolExecutionCompleted"
    EXCEPTION_RESOLVED = "ExceptionResolved"
    EXCEPTION_UPDATED = "ExceptionUpdated"
    COMMENT_ADDED = "CommentAdded"
    APPROVAL_REQUESTED = "ApprovalRequested"
    APPROVAL_GRANTED = "ApprovalGranted"
    APPROVAL_REJECTED = "ApprovalRejected"
    STEP_COMPLETION_REQUESTED = "StepCompletionRequested"
    STEP_COMPLETED = "StepCompleted"
    STEP_FAILED = "StepFailed"
    STEP_SKIPPED = "StepSkipped"
    TOOL_EXECUTION_FAILED = "ToolExecutionFailed"
    TOOL_EXECUTION_HELD = "ToolExecutionHeld"
    RETRY_SCHEDULED = "RetryScheduled"
    DEAD_LETTERED = "DeadLettered"
    REDRIVEN = "Redriven"
    DISCARDED = "Discarded"
    EXCEPTION_ESCALATED = "ExceptionEscalated"
    EXCEPTION_CANCELLED = "ExceptionCancelled"
    PAYLOAD_READ = "PayloadRead"
    RECONCILED = "Reconciled"
    EXCEPTION_HELD = "ExceptionHeld"
    DUPLICATE_IGNORED = "DuplicateIgnored"
    SLA_IMMINENT = "SLAImminent"
    SLA_EXPIRED = "SLAExpired"
    FEEDBACK_CAPTURED = "FeedbackCaptured"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be written; the row it happens to adds tenant, sequence and position.

    `data` is what people and consumers of the events topic see: no secret and no unredacted payload.
    """

    type: EventType
    data: Mapping[str, Any] = field(default_factory=dict)
