"""A backtest's comparison: what was decided about an exception beside what other packs would decide now.

Pure. What a side shows of a plan is redacted by both sides' packs, so neither a field that only the old pack
masks nor one that only the new one masks is ever seen here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.dry_run import DryRun
from service.domain.exceptions import Json
from service.domain.plans import Plan, PlanStep, StepKind
from service.domain.redaction import Redactor

ASPECTS = ("type", "severity", "approval", "playbook", "plan", "failure")
"""In what two decisions can differ. `plan`: its steps, their parameters or the tools they call."""
DIFFERENCES_KEPT = 1_000
"""Exceptions whose differences a report lists; it counts all."""
NOTHING = "(none)"
_RULE = re.compile(r"[A-Za-z_]\w*(?:\[\d+\]|\.\w+)+(?=: )")


@dataclass(frozen=True, slots=True)
class Side:
    """One decision about one exception."""

    exception_type: str | None
    severity: str | None
    approval: bool | None
    """Whether a person is asked; None: not known, it did not get there."""
    playbook: str | None
    steps: tuple[Json, ...] | None
    """The plan's steps, redacted; None: no plan was made, or not yet."""
    error: str | None = None
    absent: tuple[str, ...] = ()
    """Rules that did not match because a field is absent."""

    def told(self) -> dict[str, Any]:
        """As a report shows it."""
        return {
            "exceptionType": self.exception_type,
            "severity": self.severity,
            "approval": self.approval,
            "playbook": self.playbook,
            "tools": [step for step in self.steps or () if "tool" in step],
            "error": self.error,
        }


def side_of(run: DryRun, redactors: Iterable[Redactor]) -> Side:
    """What would be decided."""
    payload = run.record.raw_payload
    return Side(
        exception_type=run.triage.get("exceptionType"),
        severity=run.triage.get("severity"),
        approval=run.approval_required,
        playbook=run.plan.playbook if run.plan else None,
        steps=None if run.error else shown_steps(run.plan, payload, redactors),
        error=None
        if run.error is None
        else f"{type(run.error).__name__}: {_masked(str(run.error), payload, redactors)}",
        absent=tuple(run.triage.get("rulesWithAbsentFields", ())),
    )


def shown_steps(plan: Plan | None, payload: Json, redactors: Iterable[Redactor]) -> tuple[Json, ...]:
    """A plan's steps as a report may show them; none where there is no plan."""
    if plan is None:
        return ()
    shown = [_step(step) for step in _all_steps(plan.steps)]
    masked: tuple[Json, ...] = tuple(_masked(shown, payload, redactors))
    return masked


def shown_error(kind: str, message: str, payload: Json, redactors: Iterable[Redactor]) -> str:
    """A failure as a report may show it."""
    return f"{kind}: {_masked(message, payload, redactors)}"


def rule_of(error: str) -> str:
    """What failed: the place in the pack that the message names, else its class."""
    kind, _, message = error.partition(": ")
    found = _RULE.match(message)
    return found.group() if found else kind


def differing(before: Side, after: Side) -> list[str]:
    """The aspects in which two decisions differ. What one of them did not get to is told by its failure alone."""
    both = [
        ("type", before.exception_type, after.exception_type),
        ("severity", before.severity, after.severity),
        ("approval", before.approval, after.approval),
    ]
    aspects = [name for name, old, new in both if old is not None and new is not None and old != new]
    if before.steps is not None and after.steps is not None:
        if before.playbook != after.playbook:
            aspects.append("playbook")
        if before.steps != after.steps:
            aspects.append("plan")
    if (before.error is None) != (after.error is None) or (
        before.error and after.error and rule_of(before.error) != rule_of(after.error)
    ):
        aspects.append("failure")
    return aspects


@dataclass(slots=True)
class Comparison:
    """Gathers what changes, exception by exception."""

    kept: int = DIFFERENCES_KEPT
    decided: int = 0
    changed: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)
    _severities: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _approvals: Counter[str] = field(default_factory=Counter)
    _playbooks: Counter[tuple[str, str]] = field(default_factory=Counter)
    _failures: Counter[str] = field(default_factory=Counter)
    _failed_rules: Counter[str] = field(default_factory=Counter)
    _absent: Counter[str] = field(default_factory=Counter)

    def skip(self, why: str) -> None:
        """An exception that cannot be compared."""
        self.skipped[why] += 1

    def add(self, exception_id: UUID, received_at: datetime, before: Side, after: Side) -> None:
        """One exception's two decisions."""
        self.decided += 1
        self._count(before, after)
        aspects = differing(before, after)
        if not aspects:
            return
        self.changed += 1
        self.changes.update(aspects)
        if "playbook" in aspects:
            self._playbooks[before.playbook or NOTHING, after.playbook or NOTHING] += 1
        if len(self.differences) < self.kept:
            self.differences.append(
                {
                    "exceptionId": str(exception_id),
                    "receivedAt": received_at.isoformat(),
                    "changes": aspects,
                    "before": before.told(),
                    "after": after.told(),
                }
            )

    def _count(self, before: Side, after: Side) -> None:
        self._severities[before.severity or NOTHING][after.severity or NOTHING] += 1
        self._approvals.update(before=bool(before.approval), after=bool(after.approval))
        self._approvals.update(
            more=before.approval is False and after.approval is True,
            less=before.approval is True and after.approval is False,
        )
        self._failures.update(
            before=before.error is not None,
            after=after.error is not None,
            added=after.error is not None and before.error is None,
            removed=before.error is not None and after.error is None,
        )
        if after.error is not None:
            self._failed_rules[rule_of(after.error)] += 1
        self._absent.update(after.absent)

    def report(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {
            "decided": self.decided,
            "changed": self.changed,
            "skipped": dict(self.skipped),
            "changes": {aspect: self.changes[aspect] for aspect in ASPECTS},
            "severities": {old: dict(new.most_common()) for old, new in sorted(self._severities.items())},
            "approvals": {name: self._approvals[name] for name in ("before", "after", "more", "less")},
            "playbooks": [
                {"before": old, "after": new, "exceptions": number}
                for (old, new), number in self._playbooks.most_common()
            ],
            "failures": {
                **{name: self._failures[name] for name in ("before", "after", "added", "removed")},
                "byRule": dict(self._failed_rules.most_common()),
            },
            "rulesWithAbsentFields": dict(self._absent.most_common()),
            "differences": self.differences,
            "differencesLeftOut": self.changed - len(self.differences),
        }


def _all_steps(steps: Iterable[PlanStep]) -> Iterator[PlanStep]:
    for step in steps:
        yield step
        for block in step.blocks:
            yield from _all_steps(block.steps)
        if step.compensation is not None:
            yield from _all_steps([step.compensation])


def _step(step: PlanStep) -> Json:
    shown: dict[str, Any] = {"step": step.path, "name": step.name, "action": step.action}
    if step.kind is not StepKind.GROUP:
        shown["parameters"] = step.tool_call.parameters if step.tool_call else step.parameters
    if step.tool_call is not None:
        shown["tool"] = step.tool_call.tool
    conditions = [block.condition for block in step.blocks]
    if conditions:
        shown["conditions"] = conditions
    return shown


def _masked(value: Any, payload: Json, redactors: Iterable[Redactor]) -> Any:
    for redactor in redactors:
        value = redactor.redact_foreign(value, payload)
    return value
