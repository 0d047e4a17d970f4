"""Triage: what it is, how sure we are of that, how bad it is, and until when it has to be resolved.

The type is the one that the source named, if the domain knows it; else the one that a detection rule infers.
The order of severities is fixed: the tenant's override, else the first severity rule that matches, else MEDIUM.
A severity that the source reported is a hint that rules may look at; it decides nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain.conditions import Situation
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import Changes, ExceptionRecord, Outcome, Severity
from service.domain.packs.deciding.compiled import PackSet
from service.domain.packs.naming import UNKNOWN_TYPE

DEFAULT_SEVERITY = Severity.MEDIUM
_SEVERITIES = {severity.value: severity for severity in Severity}
KNOWN = 1.0
"""The confidence in a type that the source named and the pack knows."""
UNSURE = 0.5
"""The confidence in a type that the pack does not know and no rule infers, or that nobody named."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What an exception is, and how that is known."""

    name: str
    confidence: float
    inferred_by: str | None = None
    """The detection rule that said so; None: the source did, or nobody."""
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """A severity and what gave it."""

    severity: Severity
    by: str
    absent: tuple[str, ...] = ()
    """Rules that did not match because they refer to a field this exception does not have."""


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Give the exception its type, severity, confidence and deadline. Raises ConditionFailedError."""
    hint = record.reported_severity and record.reported_severity.strip().upper()
    assumed = record.deadline_at or packs.deadline(record.received_at, _SEVERITIES.get(hint or "", DEFAULT_SEVERITY))
    typed = identify(record, packs, now, hint, assumed)
    tagged = packs.policy_tags.tagged(record, now, typed.name, assumed)
    assessment = assess(record, packs, typed.name, now, hint, assumed, tagged.tags)
    deadline = packs.deadline(record.received_at, assessment.severity)
    data: dict[str, Any] = {
        "exceptionType": typed.name,
        "severity": assessment.severity.value,
        "confidence": typed.confidence,
        "by": assessment.by,
        "deadlineAt": deadline.isoformat(),
    }
    if typed.inferred_by is not None:
        data |= {"inferredBy": typed.inferred_by, "namedBySource": record.exception_type}
    if tagged.tags:
        data["policyTags"] = list(tagged.tags)
    absent = (*typed.absent, *tagged.absent, *assessment.absent)
    if absent:
        data["rulesWithAbsentFields"] = list(absent)
    return Outcome(
        events=(NewEvent(EventType.TRIAGE_COMPLETED, data),),
        changes=Changes(
            exception_type=typed.name,
            severity=assessment.severity,
            confidence=typed.confidence,
            deadline_at=deadline,
        ),
    )


def identify(
    record: ExceptionRecord, packs: PackSet, now: datetime, hint: str | None, assumed_deadline: datetime
) -> Typed:
    """The type: named by the source and known, or inferred by a detection rule, or uncertain.

    An update, or what is decided again after a redrive, comes with the type that the first triage found; where that
    was less than certain, the rules look again.
    """
    named = record.exception_type or UNKNOWN_TYPE
    known = packs.type_named(named)
    inferred_before = record.confidence < KNOWN
    if known is not None and not inferred_before:
        return Typed(named, KNOWN)
    situation = Situation(record, now, named, hint, assumed_deadline, packs.detection.selection.reads)
    detected = packs.detection.detect(situation)
    if detected.type_name is None:
        return Typed(named, UNSURE, absent=detected.absent)
    return Typed(detected.type_name, detected.confidence, detected.by, detected.absent)


def assess(
    record: ExceptionRecord,
    packs: PackSet,
    type_name: str,
    now: datetime,
    hint: str | None,
    assumed_deadline: datetime,
    tags: tuple[str, ...] = (),
) -> Assessment:
    """The severity by overrides and rules."""
    override = packs.overrides.get(type_name)
    if override is not None:
        return Assessment(override.severity, override.by)
    rules = packs.severity_rules.for_type(type_name)
    if not rules.selection:
        return Assessment(DEFAULT_SEVERITY, "default")
    situation = Situation(record, now, type_name, hint, assumed_deadline, rules.selection.reads, tags)
    selected = rules.selection.first_match(situation)
    absent = tuple(rules.rules[position].by for position in selected.absent)
    if selected.position is None:
        return Assessment(DEFAULT_SEVERITY, "default", absent)
    rule = rules.rules[selected.position]
    return Assessment(rule.severity, rule.by, absent)
