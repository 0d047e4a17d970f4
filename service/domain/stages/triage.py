"""Triage: how bad it is, how sure we are of what it is, and until when it has to be resolved.

The order is fixed: the tenant's override, else the first severity rule that matches, else MEDIUM. A severity
that the source reported is a hint that rules may look at; it decides nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain.conditions import Situation
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import Changes, ExceptionRecord, Outcome, Severity
from service.domain.packs.compiled import PackSet
from service.domain.packs.naming import UNKNOWN_TYPE

DEFAULT_SEVERITY = Severity.MEDIUM
_SEVERITIES = {severity.value: severity for severity in Severity}
KNOWN = 1.0
"""The confidence in a type that the pack knows."""
UNSURE = 0.5
"""The confidence in a type that the pack does not know, or that nobody named."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """A severity and what gave it."""

    severity: Severity
    by: str
    absent: tuple[str, ...] = ()
    """Rules that did not match because they refer to a field this exception does not have."""


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Give the exception its type, severity, confidence and deadline. Raises ConditionFailedError."""
    type_name = record.exception_type or UNKNOWN_TYPE
    confidence = KNOWN if packs.type_named(type_name) is not None else UNSURE
    assessment = assess(record, packs, type_name, now)
    deadline = packs.deadline(record.received_at, assessment.severity)
    data: dict[str, Any] = {
        "exceptionType": type_name,
        "severity": assessment.severity.value,
        "confidence": confidence,
        "by": assessment.by,
        "deadlineAt": deadline.isoformat(),
    }
    if assessment.absent:
        data["rulesWithAbsentFields"] = list(assessment.absent)
    return Outcome(
        events=(NewEvent(EventType.TRIAGE_COMPLETED, data),),
        changes=Changes(
            exception_type=type_name, severity=assessment.severity, confidence=confidence, deadline_at=deadline
        ),
    )


def assess(record: ExceptionRecord, packs: PackSet, type_name: str, now: datetime) -> Assessment:
    """The severity by overrides and rules."""
    override = packs.overrides.get(type_name)
    if override is not None:
        return Assessment(override.severity, override.by)
    rules = packs.severity_rules.for_type(type_name)
    if not rules.selection:
        return Assessment(DEFAULT_SEVERITY, "default")
    hint = record.reported_severity and record.reported_severity.strip().upper()
    assumed = record.deadline_at or packs.deadline(record.received_at, _SEVERITIES.get(hint or "", DEFAULT_SEVERITY))
    situation = Situation(record, now, type_name, hint, assumed, rules.selection.reads)
    selected = rules.selection.first_match(situation)
    absent = tuple(rules.rules[position].by for position in selected.absent)
    if selected.position is None:
        return Assessment(DEFAULT_SEVERITY, "default", absent)
    rule = rules.rules[selected.position]
    return Assessment(rule.severity, rule.by, absent)
