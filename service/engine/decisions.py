"""Decisions as the statements take them: one JSON object an exception, with lists of rows for what hangs on it.

Scalar keys are columns of the move; `plans`, `steps`, `settles`, `results`, `answers`, `sends`, `effects`, `timers`
and `notices` are lists of rows (`service.persistence.statements.applying.PARTS`). One exception has at most one
decision in a statement: a second would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

from service.domain.events import NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, InputType, Outcome, Stage
from service.domain.identifiers import effect_key, plan_id
from service.domain.packs import PackSet
from service.domain.plan_documents import plan_hash, to_document
from service.domain.plans import StepRecord, Timer
from service.engine.notices import notices
from service.engine.outputs import stored

_VERDICTS = {"done": "confirmed", "not_done": "failed", "resend": "intent"}
"""What a person says of an unknown effect, as the ledger writes it."""


def encode(
    stage: Stage, record: ExceptionRecord, attempt: int, outcome: Outcome, packs: PackSet, plan_in_force: UUID | None
) -> dict[str, Any]:
    """A stage's outcome as a decision."""
    decision = encode_move(record, attempt, outcome.events, outcome.changes)
    decision["finished"] = outcome.finished
    if outcome.changes.raw_payload is not None:
        # Whose it is: it is sealed for that row before it is written.
        decision["tenant_id"] = record.tenant_id
    if stage is Stage.INTAKE:
        decision["domain_version"] = packs.versions.domain
        decision["tenant_version"] = packs.versions.tenant
    plan = plan_in_force
    if outcome.plan is not None:
        plan = plan_id(record.exception_id, record.sequence)
        asked = outcome.approval is not None
        shown = {"id": record.exception_id, "plan_id": plan, "document": to_document(outcome.plan)}
        decision["plans"] = [shown | {"plan_hash": plan_hash(outcome.plan)} if asked else shown]
    if plan is not None:
        encode_steps(decision, plan, outcome.steps)
        effects = _ruled(record, plan, outcome)
        if effects:
            decision["effects"] = effects
    if outcome.timers:
        decision["timers"] = encode_timers(record.exception_id, plan, outcome.timers)
    if outcome.approval is not None:
        decision["approval"] = _approval(record, outcome)
    told = notices(record, packs, outcome.events, outcome.changes)
    if told:
        decision["notices"] = told
    return decision


def encode_move(
    record: ExceptionRecord, attempt: int, events: Iterable[NewEvent], changes: Changes = NO_CHANGES
) -> dict[str, Any]:
    """What every decision has: which row, the events to append, the columns to change."""
    logged = [(event.type, event.data) for event in events]
    decision: dict[str, Any] = {
        "id": record.exception_id,
        "sequence": record.sequence,
        "attempt": attempt,
        "event_count": len(logged),
        "events": logged,
    }
    if changes is not NO_CHANGES:
        for name in Changes.__slots__:
            value = getattr(changes, name)
            if value is not None:
                decision[name] = value
    return decision


def encode_steps(
    decision: dict[str, Any], plan: UUID, steps: Iterable[StepRecord], in_ledger: Iterable[str] = ()
) -> None:
    """Add what became of steps; of one recorded twice the last counts. The ledger has the outputs of `in_ledger`.

    What people and signals gave may be large and is then referred to. What the plan decided when a step's turn came
    (the items of a list) is part of the plan, and always stands with its step.
    """
    last = {step.path: step for step in steps}
    if not last:
        return
    rows = decision["steps"] = []
    for path, step in last.items():
        row = {"id": decision["id"], "plan_id": plan, "path": path, "state": step.state}
        if step.error is not None:
            row["error"] = step.error
        if step.by is not None:
            row["by"] = step.by
        if step.number:
            row["number"] = step.number
        if step.output is not None and path not in in_ledger:
            row["output"] = step.output
            if step.by is not None:
                row["output"], large = stored(step.output, uuid5(plan, f"result:{path}:{decision['sequence']}"))
                if large is not None:
                    decision.setdefault("answers", []).append(large | {"id": decision["id"]})
        rows.append(row)


def encode_timers(exception_id: UUID, plan: UUID | None, timers: Iterable[Timer]) -> list[dict[str, Any]]:
    """Timers as rows; of one set twice the last counts."""
    last = {(timer.kind, timer.step): timer.due_at for timer in timers}
    own = {"id": exception_id, "plan_id": plan}
    return [own | {"kind": kind, "step": step, "due_at": due} for (kind, step), due in last.items()]


def _ruled(record: ExceptionRecord, plan: UUID, outcome: Outcome) -> list[dict[str, Any]]:
    """What a person said of an effect that nobody had an answer for, where the plan took it."""
    verdict = "done"
    if record.input.type is InputType.EFFECT_RESOLVED:
        verdict = str(record.input.data.get("verdict"))
    elif record.input.type is not InputType.STEP_COMPLETED:
        return []
    said = str(record.input.data.get("step", record.input.data.get("stepOrder")))
    taken = next((step for step in outcome.steps if step.path == said), None)
    if taken is None or verdict not in _VERDICTS:
        return []
    return [
        {"id": record.exception_id, "key": effect_key(plan, said), "state": _VERDICTS[verdict], "error": taken.error}
    ]


def _approval(record: ExceptionRecord, outcome: Outcome) -> dict[str, Any]:
    asked, before = outcome.approval, record.approval
    assert asked is not None
    return {
        "reason": asked.reason,
        "plan_hash": asked.plan_hash,
        "approvals_needed": asked.approvals_needed,
        "due_at": asked.due_at,
        "voided": before is not None and not before.pending and before.plan_hash != asked.plan_hash,
    }
