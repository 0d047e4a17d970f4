"""Playbook: choose the plan and ask for its first steps, or take in what a person, a timer or a signal brings.

Steps are carried out by the tool stage; this one only asks for them, and finishes the input where all that is
left is to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.domain.errors import PayloadInvalidError, StepNotWaitingError
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import ExceptionRecord, InputType, Outcome, Status
from service.domain.forms import answer_faults
from service.domain.packs.deciding.compiled import PackSet
from service.domain.plan_documents import plan_hash
from service.domain.planning import NoPlan, make_plan
from service.domain.plans import Plan, PlanStep, StepKind, StepResult, StepState
from service.domain.progress import events as told
from service.domain.progress.tree import open_steps
from service.domain.progress.turn import Turn
from service.domain.replanning import check_replacement, same_plan
from service.domain.stages.policy import asked
from service.domain.stages.tool import rest, run

_AT_REST = (Status.PENDING_STEP, Status.WAITING)


def decide(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Plan, or go on with the plan in force.

    Raises ConditionFailedError, TemplateUnresolvedError, ToolNotApprovedError, PayloadInvalidError,
    StepNotWaitingError.
    """
    match record.input.type:
        case InputType.STEP_COMPLETED:
            return _completed(record, packs, now)
        case InputType.STEP_DUE:
            return _due(record, packs, now)
        case InputType.SIGNAL:
            return _signalled(record, packs, now)
        case InputType.EFFECT_RESOLVED:
            return _effect_resolved(record, packs, now)
        case InputType.APPROVED if record.approval is not None or record.plan is not None:
            return _approved(record, packs, now)
    return _planned(record, packs, now)


def _planned(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    made = make_plan(record, packs, now)
    if isinstance(made, NoPlan):
        return _escalated(made.reason)
    data: dict[str, Any] = {"playbook": made.plan.playbook, "path": made.path, "steps": len(made.plan.steps)}
    if made.left_out:
        data["leftOut"] = list(made.left_out)
    if record.earlier is not None:
        if same_plan(record.earlier, made.plan):
            return _resumed(record, packs, now, record.earlier.plan, data)
        check_replacement(record.earlier, made.plan)
    return _begun(record, packs, now, made.plan, data, made.plan)


def _approved(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """Carry out the plan that was approved, if it is still the one in force; else it is asked for again."""
    approval, plan = record.approval, record.plan
    if approval is not None:
        if approval.plan_hash is None:
            made = make_plan(record, packs, now)
            if isinstance(made, NoPlan):
                return _escalated(made.reason)
            return asked(record, packs, now, ["what was approved had no plan, and now there is one"])
        if plan is None or (record.plan_hash or plan_hash(plan)) != approval.plan_hash:
            return asked(record, packs, now, ["what was approved is not the plan in force"])
    assert plan is not None
    data: dict[str, Any] = {"playbook": plan.playbook, "steps": len(plan.steps)}
    if approval is not None:
        data["planHash"] = approval.plan_hash
    if record.redriven_with is not None and record.step_results:
        return _resumed(record, packs, now, plan, data)
    return _begun(record, packs, now, plan, data, None)


def _begun(
    record: ExceptionRecord, packs: PackSet, now: datetime, plan: Plan, data: dict[str, Any], new: Plan | None
) -> Outcome:
    """Ask for the first steps of a plan; `new` is the plan if it has to be stored."""
    turn = Turn(record, packs, plan, record.plan_id, now, {}, carries=False)
    turn.events.append(NewEvent(EventType.PLAYBOOK_MATCHED, data))
    return _outcome(turn, new, fresh=True)


def _resumed(record: ExceptionRecord, packs: PackSet, now: datetime, plan: Plan, data: dict[str, Any]) -> Outcome:
    """Go on with a plan that was begun before the input was sent again: what is done stays done."""
    turn = _turn(record, packs, now, plan)
    turn.events.append(NewEvent(EventType.PLAYBOOK_MATCHED, {**data, "goesOn": True}))
    return _outcome(turn)


def _completed(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """A person reports a step done: one that waits for a person, or a call whose effect is unknown."""
    data = record.input.data
    plan, step = _waiting_step(record, data)
    answer = packs.redactor.redact_foreign(data.get("output"), record.raw_payload)
    if step.form is not None:
        faults = answer_faults(step.form, data.get("output"), "output")
        if faults:
            raise PayloadInvalidError([f"step {step.path} ({step.name}): {fault}" for fault in faults])
    turn = _turn(record, packs, now, plan)
    turn.events.append(told.step_completed(step, by=record.input.actor, **_note(record, packs)))
    turn.settle(step, StepState.DONE, answer, by=record.input.actor)
    return _outcome(turn)


def _due(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """A timer is over: the wait is done, or the step took too long."""
    data = record.input.data
    step = _open_step(record, data.get("step"))
    waits = step is not None and step.kind is StepKind.WAIT and "event" not in step.parameters
    if (
        step is None
        or data.get("kind") not in ("wait", "step_timeout")
        or (data["kind"] == "wait") is not waits
        or (step.kind is not StepKind.WAIT and step.kind is not StepKind.MANUAL)
    ):
        return _ignored(record, "no step waits for this timer")
    assert record.plan is not None
    turn = _turn(record, packs, now, record.plan)
    if waits:
        turn.events.append(told.step_completed(step, by="timer"))
        turn.settle(step, StepState.DONE, _output_of(turn, step), by="timer")
    else:
        error = f"nothing came within {step.timeout_seconds:g} seconds"
        turn.events.append(told.step_failed(step, error))
        turn.settle(step, StepState.FAILED, error=error, by="timer")
    return _outcome(turn)


def _signalled(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """What some steps may have waited for has come."""
    name = record.input.data.get("name")
    steps = [
        step
        for step in (_open(record) if record.resting_status in _AT_REST else ())
        if step.kind is StepKind.WAIT and _event(record.step_results.get(step.path)) == name
    ]
    if not steps or record.plan is None:
        return _ignored(record, f"no step waits for {name!r}")
    brought = packs.redactor.redact_foreign(record.input.data.get("data"), record.raw_payload)
    turn = _turn(record, packs, now, record.plan)
    for step in steps:
        turn.events.append(told.step_completed(step, by=record.input.actor or "signal", signal=name))
        turn.settle(step, StepState.DONE, brought, by=record.input.actor or "signal")
    return _outcome(turn)


def _effect_resolved(record: ExceptionRecord, packs: PackSet, now: datetime) -> Outcome:
    """A person has found out what became of a call."""
    data, actor = record.input.data, record.input.actor
    step = _open_step(record, data.get("step"))
    if step is None or step.tool_call is None or record.plan is None:
        return _ignored(record, "no effect of this step is unknown")
    turn = _turn(record, packs, now, record.plan)
    note = {"by": actor, "effect": data.get("verdict"), **_note(record, packs)}
    match data.get("verdict"):
        case "done":
            output = packs.redactor.redact_foreign(data.get("output"), record.raw_payload)
            turn.events.append(told.step_completed(step, **note))
            turn.settle(step, StepState.DONE, output, by=actor)
        case "not_done":
            error = "a person found that the tool did not do it"
            turn.events.append(told.step_failed(step, error, **note))
            turn.settle(step, StepState.FAILED, error=error, by=actor)
        case "resend":
            turn.events.append(NewEvent(EventType.STEP_EXECUTION_REQUESTED, {**told.step_requested(step).data, **note}))
            turn.settle(step, StepState.STARTED, by=actor)
        case verdict:
            raise PayloadInvalidError([f"verdict must be done, not_done or resend, not {verdict!r}"])
    return _outcome(turn)


def _turn(record: ExceptionRecord, packs: PackSet, now: datetime, plan: Plan) -> Turn:
    return Turn(record, packs, plan, record.plan_id, now, dict(record.step_results), carries=False)


def _outcome(turn: Turn, new: Plan | None = None, fresh: bool = False) -> Outcome:
    """Go on to where the tool stage or somebody else has to act. Raises what a step's opening raises."""
    run(turn, fresh=fresh)
    if turn.failure is not None:
        raise turn.failure
    return Outcome(
        events=tuple(turn.events),
        changes=turn.changes,
        finished=rest(turn),
        plan=new,
        steps=tuple(turn.records),
        timers=tuple(turn.timers),
    )


def _open(record: ExceptionRecord) -> list[PlanStep]:
    return [] if record.plan is None else list(open_steps(record.plan, record.step_results))


def _open_step(record: ExceptionRecord, path: object) -> PlanStep | None:
    """The step a timer or a verdict is about; None: its turn is over, or it is of another plan."""
    plan_id = record.input.data.get("planId")
    if record.resting_status not in _AT_REST or (plan_id is not None and str(plan_id) != str(record.plan_id)):
        return None
    return next((step for step in _open(record) if step.path == path), None)


def _waiting_step(record: ExceptionRecord, data: Mapping[str, Any]) -> tuple[Plan, PlanStep]:
    order = data.get("stepOrder")
    path = data.get("step", str(order) if isinstance(order, int) else None)
    waiting = [step for step in _open(record) if step.kind in (StepKind.MANUAL, StepKind.EXTERNAL)]
    step = next((step for step in waiting if step.path == path), None)
    if record.plan is None or step is None:
        raise StepNotWaitingError(path or order, waiting[0].path if waiting else None)
    return record.plan, step


def _event(result: StepResult | None) -> str | None:
    """The signal that a wait waits for."""
    return result.output.get("event") if result is not None and isinstance(result.output, Mapping) else None


def _output_of(turn: Turn, step: PlanStep) -> Any:
    started = turn.results.get(step.path)
    return None if started is None else started.output


def _note(record: ExceptionRecord, packs: PackSet) -> dict[str, Any]:
    comment = record.input.data.get("comment")
    return {} if comment is None else {"comment": packs.redactor.redact_foreign(comment, record.raw_payload)}


def _ignored(record: ExceptionRecord, reason: str) -> Outcome:
    """An input that is out of date: the exception stays where it rests."""
    data: dict[str, Any] = {"input": record.input.type.value, "reason": reason}
    step = record.input.data.get("step")
    if step is not None:
        data["step"] = step
    event = NewEvent(EventType.DUPLICATE_IGNORED, data)
    return Outcome(events=(event,), finished=record.resting_status or record.status)


def _escalated(reason: str) -> Outcome:
    return Outcome(events=(NewEvent(EventType.EXCEPTION_ESCALATED, {"reason": reason}),), finished=Status.ESCALATED)
