"""Plans as people see them: how far they are, what is to be approved, what is waited for.

A plan holds no sensitive value. Its steps' parameters are shown where somebody decides on them: of the tools that an
approval lets be called, and of a manual step the instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Row

from service.api import plan_schemas as schemas
from service.domain.exceptions import Status
from service.domain.plans import Plan, PlanStep, StepKind, StepResult, StepState
from service.domain.progress.events import summary
from service.domain.progress.tree import Results, decides_later, lists_of, open_steps
from service.domain.waiting import waiting_steps
from service.persistence.queries import ExceptionDetails

_LONGEST_LINE = 300
_State = Literal["completed", "failed", "skipped", "unknown", "current", "ahead"]
_SETTLED: Mapping[str, Literal["completed", "failed", "skipped", "unknown"]] = {
    StepState.DONE: "completed",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "skipped",
    StepState.UNKNOWN: "unknown",
}


def plan(details: ExceptionDetails) -> schemas.Plan | None:
    """The newest plan with the state of each step. A plan that waits for approval has none under way."""
    stored = details.plan
    if stored is None:
        return None
    results = stored.results
    approved = details.row.status != Status.PENDING_APPROVAL
    current = {step.path for step in open_steps(stored.plan, results)} if approved else set()
    effects = {effect.step: effect for effect in stored.effects}
    passed_over = set(_passed_over(stored.plan.steps, results))
    return schemas.Plan(
        plan_id=stored.row.plan_id,
        playbook=stored.row.playbook,
        sequence=stored.row.sequence,
        created_at=stored.row.created_at,
        steps=[
            _step(
                step,
                stored.steps.get(step.path),
                effects.get(step.path),
                "skipped" if step.path in passed_over else "current" if step.path in current else "ahead",
            )
            for step in _all_steps(stored.plan.steps, results)
        ],
    )


def approval(details: ExceptionDetails) -> schemas.Approval | None:
    """The last approval asked for.

    Without comments: they are free text that nobody redacted. The timeline has them as far as they may be shown.
    """
    row, stored = details.approval, details.plan
    if row is None:
        return None
    asked = stored if stored is not None and stored.row.plan_hash in (None, row.plan_hash) else None
    return schemas.Approval(
        state=row.state,
        reason=row.reason,
        plan_hash=row.plan_hash,
        playbook=asked.row.playbook if asked else None,
        steps=_in_short(asked.plan) if asked else [],
        approvals=[schemas.ApprovalGiven(by=given.given_by, at=given.given_at) for given in details.approvals_given],
        approvals_needed=row.approvals_needed,
        requested_at=row.requested_at,
        due_at=row.due_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
    )


def waiting_for(details: ExceptionDetails) -> list[schemas.Waiting]:
    """What an exception at rest waits for, and until when."""
    match details.row.status:
        case Status.PENDING_APPROVAL if details.approval is not None:
            return [schemas.Waiting(kind="approval", step=None, name=None, until=details.approval.due_at)]
        case Status.PENDING_STEP | Status.WAITING if details.plan is not None:
            until = {timer.step: timer.due_at for timer in reversed(details.timers)}
            results = details.plan.results
            return [
                _waiting(step, results.get(step.path), until.get(step.path))
                for step in waiting_steps(details.plan.plan, results)
            ]
        case _:
            return []


def unknown_effects(details: ExceptionDetails) -> list[schemas.UnknownEffect]:
    """The plan's calls that went out and whose answers nobody knows."""
    if details.plan is None:
        return []
    return [
        schemas.UnknownEffect(
            idempotency_key=effect.idempotency_key,
            step=effect.step,
            tool=effect.tool,
            attempt=effect.attempt,
            requested_at=effect.requested_at,
            sent_at=effect.sent_at,
            error=effect.error,
        )
        for effect in details.plan.unknown_effects()
    ]


def _all_steps(steps: Iterable[PlanStep], results: Results) -> Iterator[PlanStep]:
    """Every step with those inside of it, in order; those of a list for each item, as soon as the items are known."""
    for step in steps:
        yield step
        items = list(lists_of(step, results)) if step.action == "foreach" else []
        for inner in items or [block.steps for block in step.blocks]:
            yield from _all_steps(inner, results)


def _passed_over(steps: Iterable[PlanStep], results: Results) -> Iterator[str]:
    """The paths of steps in arms that a branch did not take when its turn came."""
    for step in _all_steps(steps, results):
        decided = results.get(step.path)
        if step.action == "branch" and decides_later(step) and decided is not None and decided.output is not None:
            for arm, block in enumerate(step.blocks):
                if arm != decided.output["arm"]:
                    yield from (inner.path for inner in _all_steps(block.steps, results))


def _step(step: PlanStep, row: Row[Any] | None, effect: Row[Any] | None, unsettled: _State) -> schemas.PlanStep:
    """A step as people see it; `unsettled` is its state where its row does not say one."""
    settled = _SETTLED.get(row.state) if row is not None else None
    return schemas.PlanStep(
        order=step.order,
        path=step.path,
        name=step.name,
        kind=step.kind,
        action=step.action,
        tool=step.tool_call.tool if step.tool_call else None,
        state=settled or unsettled,
        completed_at=row.completed_at if row is not None else None,
        completed_by=row.completed_by if row is not None else None,
        error=row.error if row is not None else None,
        effect=effect.state if effect is not None else None,
        output=_output(step, row, effect),
    )


def _output(step: PlanStep, row: Row[Any] | None, effect: Row[Any] | None) -> Any:
    """What a step that is done left behind. What a group's turn decided is its inside, which is shown itself."""
    if row is None or row.state != StepState.DONE or step.kind is StepKind.GROUP:
        return None
    return summary(effect.output if row.output is None and effect is not None else row.output)


def _in_short(plan: Plan) -> list[str]:
    return [_line(step) for step in _all_steps(plan.steps, {})]


def _line(step: PlanStep) -> str:
    """`2.1 Book it: call_tool bookEntry {"amount":5}`."""
    line = f"{step.path} {step.name}: {step.action}"
    if step.tool_call is not None:
        line += f" {step.tool_call.tool} {orjson.dumps(step.tool_call.parameters, default=dict).decode()}"
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


def _waiting(step: PlanStep, result: StepResult | None, until: datetime | None) -> schemas.Waiting:
    """A step that waits. What its turn had to decide (`result`) wins over what the plan says of it."""
    decided = result.output if result is not None and isinstance(result.output, Mapping) else {}
    if step.kind is StepKind.MANUAL:
        parameters = decided.get("parameters", step.parameters)
        return schemas.Waiting(
            kind="manual",
            step=step.path,
            name=step.name,
            until=until,
            instructions=str(parameters.get("instructions") or step.action),
            form=None if step.form is None else dict(step.form),
        )
    signal = decided.get("event", step.parameters.get("event")) if step.kind is StepKind.WAIT else None
    kind: Literal["time", "signal", "effect"] = "time" if step.kind is StepKind.WAIT else "effect"
    return schemas.Waiting(
        kind=kind if signal is None else "signal", step=step.path, name=step.name, until=until, signal=signal
    )
