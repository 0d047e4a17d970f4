"""Abandoning a plan: a step has failed that the plan does not go on without.

Nothing new is begun. What is under way is waited for, because what it did may have to be undone; then the
compensations of the steps that are done run one by one, the last one done first, if that is what the failed step
asks for; then a person owns the exception.
"""

from __future__ import annotations

from typing import Any

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import Status
from service.domain.plans import SETTLED, OnFailure, Plan, PlanStep, StepKind, StepState
from service.domain.progress import events as told
from service.domain.progress.tree import Results, find
from service.domain.progress.turn import Turn

_UNDO = "/undo"


def fatal_failures(plan: Plan, results: Results) -> list[tuple[PlanStep, str]]:
    """Failed steps that the plan does not go on without, with their errors; compensations are none of them."""
    found = []
    for path, result in results.items():
        if result.state is StepState.FAILED and not path.endswith(_UNDO):
            step = find(plan, path)
            if step is not None and step.on_failure is not OnFailure.CONTINUE:
                found.append((step, result.error or "it failed"))
    return found


def abandon(turn: Turn, failures: list[tuple[PlanStep, str]], under_way: frozenset[str]) -> None:
    """Go on with giving a plan up; `under_way`: calls that went out and whose answers are still to come."""
    if under_way:
        turn.busy = True
        if turn.repeats:
            steps = (find(turn.plan, path) for path in sorted(under_way))
            turn.calls += [step for step in steps if step is not None]
        return
    if all(step.on_failure is not OnFailure.COMPENSATE for step, _ in failures):
        _escalate(turn, failures, {})
        return
    if any(result.state is StepState.UNKNOWN for result in turn.results.values()):
        turn.persons = True
        return
    _compensate(turn, failures)


def _compensate(turn: Turn, failures: list[tuple[PlanStep, str]]) -> None:
    undone: list[str] = []
    waiting = _to_undo(turn)
    while waiting:
        step = waiting.pop(0)
        undo = step.compensation
        assert undo is not None
        if not _settled(turn, step, undo):
            return
        result = turn.results[undo.path]
        if result.state is StepState.DONE:
            undone.append(step.path)
        elif undo.on_failure is not OnFailure.CONTINUE:
            failed = {"step": step.path, "name": undo.name, "error": result.error}
            left = [other.path for other in waiting]
            _escalate(turn, failures, {"compensated": undone, "compensationFailed": failed, "notCompensated": left})
            return
    _escalate(turn, failures, {"compensated": undone})


def _settled(turn: Turn, step: PlanStep, undo: PlanStep) -> bool:
    """Go on with one compensation; whether it is over."""
    result = turn.results.get(undo.path)
    if result is not None and result.state in SETTLED:
        return True
    fresh = result is None
    if fresh:
        requested = told.step_requested(undo)
        turn.events.append(NewEvent(requested.type, {**requested.data, "compensates": step.path}))
        turn.settle(undo, StepState.STARTED)
    if undo.kind is StepKind.MANUAL:
        turn.persons = True
        return False
    if not turn.carries:
        turn.busy = True
        return False
    if undo.kind is StepKind.INTERNAL:
        return turn.carry_out(undo)
    turn.busy = True
    if fresh or turn.repeats:
        turn.call(undo)
    return False


def _to_undo(turn: Turn) -> list[PlanStep]:
    """The steps that are done and have a compensation, the last one done first."""
    done = [
        (result.number, place, path)
        for place, (path, result) in enumerate(turn.results.items())
        if result.state is StepState.DONE and not path.endswith(_UNDO)
    ]
    steps = (find(turn.plan, path) for _, _, path in sorted(done, reverse=True))
    return [step for step in steps if step is not None and step.compensation is not None]


def _escalate(turn: Turn, failures: list[tuple[PlanStep, str]], details: dict[str, Any]) -> None:
    step, error = failures[0]
    reason = f"step {step.path} ({step.name}) failed: {error}"
    if "compensationFailed" in details:
        failed = details["compensationFailed"]
        reason += f"; its compensation of step {failed['step']} failed too: {failed['error']}"
    data = {"reason": reason, "playbook": turn.plan.playbook, "failedStep": step.path, **details}
    turn.events.append(NewEvent(EventType.EXCEPTION_ESCALATED, data))
    turn.ended = Status.ESCALATED
