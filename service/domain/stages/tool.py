"""Tool: carry a plan on, from the steps whose turn it is to the next ones that somebody else has to do.

Pure like the other stages, but it may need several turns: `advance` carries out internal steps and stops at tool
calls, persons' steps, waits or the end; the engine makes the calls and hands each answer to `after_call`, or to
`after_failure` or `after_unknown`, which go on from there. They look only at the plan and at what is recorded of
its steps, so a repeated delivery comes to the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.events import NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, Status
from service.domain.identifiers import effect_key
from service.domain.packs.deciding.compiled import PackSet
from service.domain.plans import OnFailure, PlanStep, StepRecord, StepState, Timer
from service.domain.progress import events as told
from service.domain.progress.abandoning import abandon, fatal_failures
from service.domain.progress.events import LONGEST_SUMMARY, summary
from service.domain.progress.turn import Turn
from service.errors import PermanentError

__all__ = [
    "LONGEST_SUMMARY", "Advance", "CallResult", "PlanMissingError", "advance", "after_call", "after_failure",
    "after_unknown", "summary",
]  # fmt: skip

_NONE: frozenset[str] = frozenset()


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
    """External steps whose calls have to be made now, complete as `planning.resolved_call` would give them."""
    timers: tuple[Timer, ...] = ()
    finished: Status | None = None
    failure: PermanentError | None = None
    """What the plan cannot go on for. The rest of this turn has happened and is written down, then the exception
    is dead-lettered with it."""


def advance(
    record: ExceptionRecord, packs: PackSet, plan_id: UUID, now: datetime, sent: frozenset[str] = _NONE
) -> Advance:
    """Go on from the steps whose turn it is; they have been asked for already.

    `plan_id` is that of the plan in force: the idempotency keys are derived from it. `sent` are the paths of calls
    that went out and whose answers nobody has written down: a plan that is given up waits for them, and has them
    among its `calls` once more for the ledger to judge. Raises PlanMissingError.
    """
    return _gone_on(_turn(record, packs, plan_id, now, repeats=True), sent)


def after_call(
    record: ExceptionRecord,
    packs: PackSet,
    plan_id: UUID,
    step: PlanStep,
    result: CallResult,
    now: datetime,
    outstanding: frozenset[str] = _NONE,
) -> Advance:
    """Go on after the tool of `step` confirmed its call.

    `outstanding` are the paths of this exception's other calls that are under way.
    """
    turn = _turn(record, packs, plan_id, now)
    output = packs.redactor.redact_foreign(result.output, record.raw_payload)
    turn.events.append(told.call_completed(step, result.status, output))
    turn.settle(step, StepState.DONE, output)
    return _gone_on(turn, outstanding)


def after_failure(
    record: ExceptionRecord,
    packs: PackSet,
    plan_id: UUID,
    step: PlanStep,
    error: str,
    now: datetime,
    outstanding: frozenset[str] = _NONE,
) -> Advance | None:
    """Go on after the call of `step` failed for good; None: the step's `on_failure` says to dead-letter."""
    if step.on_failure is OnFailure.RETRY and not step.path.endswith("/undo"):
        return None
    turn = _turn(record, packs, plan_id, now)
    error = packs.redactor.redact_foreign(error, record.raw_payload)
    turn.events.append(told.call_failed(step, error, onFailure=step.on_failure.value))
    turn.settle(step, StepState.FAILED, error=error)
    return _gone_on(turn, outstanding)


def after_unknown(
    record: ExceptionRecord,
    packs: PackSet,
    plan_id: UUID,
    step: PlanStep,
    error: str,
    now: datetime,
    outstanding: frozenset[str] = _NONE,
) -> Advance:
    """Go on after the call of `step` went out and nobody knows what became of it: a person has to say."""
    turn = _turn(record, packs, plan_id, now)
    error = packs.redactor.redact_foreign(error, record.raw_payload)
    turn.events.append(told.call_failed(step, error, effect="unknown"))
    turn.settle(step, StepState.UNKNOWN, error=error)
    return _gone_on(turn, outstanding)


def _turn(record: ExceptionRecord, packs: PackSet, plan_id: UUID, now: datetime, repeats: bool = False) -> Turn:
    if record.plan is None:
        raise PlanMissingError
    return Turn(record, packs, record.plan, plan_id, now, dict(record.step_results), repeats=repeats)


def _gone_on(turn: Turn, under_way: frozenset[str]) -> Advance:
    run(turn, under_way)
    calls = () if turn.failure is not None else tuple(turn.calls)
    assert turn.plan_id is not None
    for step in calls:
        turn.events.append(told.call_requested(step, effect_key(turn.plan_id, step.path)))
    return Advance(
        events=tuple(turn.events),
        changes=turn.changes,
        steps=tuple(turn.records),
        calls=calls,
        timers=tuple(turn.timers),
        finished=None if under_way else rest(turn),
        failure=None if under_way else turn.failure,
    )


def run(turn: Turn, under_way: frozenset[str] = _NONE, fresh: bool = False) -> None:
    """Go on with a plan, or with giving it up."""
    failures = fatal_failures(turn.plan, turn.results)
    if failures:
        abandon(turn, failures, under_way)
    else:
        turn.run(fresh)


def rest(turn: Turn) -> Status | None:
    """Where the exception rests after a turn; None: there is more to do, or it cannot go on."""
    if turn.ended is not None:
        return turn.ended
    if turn.busy or turn.failure is not None:
        return None
    return Status.PENDING_STEP if turn.persons else Status.WAITING
