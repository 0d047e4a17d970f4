"""Tool: carry a plan on, from the step whose turn it is to the next one that somebody else has to do.

Pure like the other stages, but it may need several turns: `advance` carries out internal steps and stops at a
tool call, a person's step or the end; the engine makes the call and hands the answer to `after_call`, which
goes on from there. Both look only at the plan and at which steps are done, so a repeated delivery comes to the
same place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, Status
from service.domain.identifiers import effect_key
from service.domain.packs.compiled import PackSet
from service.domain.packs.playbooks import ActionType
from service.domain.plans import Plan, PlanStep, StepKind, StepRecord, StepState, Timer
from service.domain.stages.progress import resolved, step_completed, step_requested
from service.errors import PermanentError

LONGEST_SUMMARY = 1_000
"""Bytes of a tool's answer, as JSON, that the event shows; the whole answer is in the effect ledger."""


class PlanMissingError(PermanentError):
    """The tool stage was reached without a plan."""

    def __init__(self) -> None:
        super().__init__("there is no plan to carry out; redrive the exception from the playbook stage")


@dataclass(frozen=True, slots=True)
class CallResult:
    """A confirmed answer of a tool."""

    status: str
    """As the event shows it: `ok`, or the HTTP status."""
    output: Any = None


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a plan got. Nothing is set of `calls`, `finished` and `failure` only while other calls are under way."""

    events: tuple[NewEvent, ...]
    changes: Changes = NO_CHANGES
    steps: tuple[StepRecord, ...] = ()
    """What became of steps in this turn, in order; the caller puts their results into the record."""
    calls: tuple[PlanStep, ...] = ()
    """External steps whose calls have to be made now; `planning.resolved_call` gives what is called."""
    timers: tuple[Timer, ...] = ()
    finished: Status | None = None
    failure: PermanentError | None = None
    """What the plan cannot go on for. The rest of this turn has happened and is written down, then the exception
    is dead-lettered with it."""


def advance(record: ExceptionRecord, packs: PackSet, plan_id: UUID, now: datetime) -> Advance:  # noqa: ARG001 - timers
    """Go on from the first step that is not done; its StepExecutionRequested is in the log already.

    `plan_id` is that of the plan in force: the idempotency keys are derived from it. Raises PlanMissingError.
    """
    turn = _Turn(record, packs, plan_id)
    step = turn.plan.next_step(record.step_results)
    return turn.run(step)


def after_call(
    record: ExceptionRecord,
    packs: PackSet,
    plan_id: UUID,
    step: PlanStep,
    result: CallResult,
    now: datetime,  # noqa: ARG001 - timers
    outstanding: frozenset[str] = frozenset(),  # noqa: ARG001 - groups
) -> Advance:
    """Go on after the tool of `step` confirmed its call.

    `outstanding` are the paths of this exception's other calls that are under way.
    """
    turn = _Turn(record, packs, plan_id)
    assert step.tool_call is not None
    output = packs.redactor.redact_foreign(result.output, record.raw_payload)
    data = {"tool": step.tool_call.tool, "stepOrder": step.order, "status": result.status, "output": summary(output)}
    turn.events.append(NewEvent(EventType.TOOL_EXECUTION_COMPLETED, data))
    turn.completed.append(StepRecord(step.path, StepState.DONE, output))
    return turn.run(turn.request_after(step))


def after_failure(
    record: ExceptionRecord,  # noqa: ARG001
    packs: PackSet,  # noqa: ARG001
    plan_id: UUID,  # noqa: ARG001
    step: PlanStep,  # noqa: ARG001
    error: str,  # noqa: ARG001
    now: datetime,  # noqa: ARG001
    outstanding: frozenset[str] = frozenset(),  # noqa: ARG001
) -> Advance | None:
    """Go on after the call of `step` failed for good; None: the step's `on_failure` says to dead-letter."""
    return None


def after_unknown(
    record: ExceptionRecord,  # noqa: ARG001
    packs: PackSet,  # noqa: ARG001
    plan_id: UUID,  # noqa: ARG001
    step: PlanStep,
    error: str,
    now: datetime,  # noqa: ARG001
    outstanding: frozenset[str] = frozenset(),
) -> Advance:
    """Go on after the call of `step` went out and nobody knows what became of it: a person has to say."""
    assert step.tool_call is not None
    data = {"tool": step.tool_call.tool, "stepOrder": step.order, "error": error, "effect": "unknown"}
    return Advance(
        events=(NewEvent(EventType.TOOL_EXECUTION_FAILED, data),),
        steps=(StepRecord(step.path, StepState.UNKNOWN, error=error),),
        finished=None if outstanding else Status.PENDING_STEP,
    )


def summary(output: Any) -> Any:
    """A tool's answer as an event shows it: as it is when short, else the beginning of its JSON text."""
    text = _as_json(output)
    if len(text) <= LONGEST_SUMMARY:
        return output
    return {"truncated": True, "bytes": len(text), "beginning": text[:LONGEST_SUMMARY].decode("utf-8", "ignore")}


def _as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits and lone surrogates are JSON, but not to orjson
        return json.dumps(value, default=str).encode()


@dataclass(slots=True)
class _Turn:
    """One run through the plan, gathering what it does."""

    record: ExceptionRecord
    packs: PackSet
    plan_id: UUID
    plan: Plan = field(init=False)
    events: list[NewEvent] = field(default_factory=list)
    completed: list[StepRecord] = field(default_factory=list)
    changes: Changes = NO_CHANGES

    def __post_init__(self) -> None:
        if self.record.plan is None:
            raise PlanMissingError
        self.plan = self.record.plan

    def run(self, step: PlanStep | None) -> Advance:
        """Carry out internal steps from `step`, which was requested, to where somebody else has to act."""
        while step is not None:
            if step.kind is StepKind.EXTERNAL:
                return self._stop(call=step)
            if step.kind is StepKind.MANUAL:
                return self._stop(finished=Status.PENDING_STEP)
            end = _INTERNAL[ActionType(step.action)](self, step)
            if end is not None:
                return self._stop(finished=end)
            step = self.request_after(step)
        self.events.append(resolved(self.plan))
        return self._stop(finished=Status.RESOLVED)

    def request_after(self, step: PlanStep) -> PlanStep | None:
        """Ask for the step that follows; None at the end of the plan."""
        following = next((later for later in self.plan.steps if later.order > step.order), None)
        if following is not None:
            self.events.append(step_requested(following))
        return following

    def complete(self, step: PlanStep) -> None:
        """Note an internal step as done."""
        self.events.append(step_completed(step, by="playbook"))
        self.completed.append(StepRecord(step.path, StepState.DONE, by="playbook"))

    def _stop(self, call: PlanStep | None = None, finished: Status | None = None) -> Advance:
        if call is not None:
            assert call.tool_call is not None
            key = effect_key(self.plan_id, call.path)
            data = {"tool": call.tool_call.tool, "stepOrder": call.order, "idempotencyKey": key}
            self.events.append(NewEvent(EventType.TOOL_EXECUTION_REQUESTED, data))
        calls = () if call is None else (call,)
        return Advance(tuple(self.events), self.changes, tuple(self.completed), calls, finished=finished)


def _set_status(turn: _Turn, step: PlanStep) -> Status:
    turn.complete(step)
    status = Status(step.parameters["status"])
    if status is Status.ESCALATED:
        data = {"reason": step.name, "playbook": turn.plan.playbook}
        turn.events.append(NewEvent(EventType.EXCEPTION_ESCALATED, data))
    else:
        turn.events.append(resolved(turn.plan))
    return status


def _assign_owner(turn: _Turn, step: PlanStep) -> None:
    turn.changes = Changes(assigned_to=str(step.parameters["owner"]))
    turn.complete(step)


def _add_comment(turn: _Turn, step: PlanStep) -> None:
    text = turn.packs.redactor.redact_foreign(str(step.parameters["text"]), turn.record.raw_payload)
    turn.events.append(NewEvent(EventType.COMMENT_ADDED, {"text": text, "by": "playbook"}))
    turn.complete(step)


_INTERNAL: dict[ActionType, Callable[[_Turn, PlanStep], Status | None]] = {
    ActionType.SET_STATUS: _set_status,
    ActionType.ASSIGN_OWNER: _assign_owner,
    ActionType.ADD_COMMENT: _add_comment,
}
