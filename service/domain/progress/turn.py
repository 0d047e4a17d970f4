"""One turn of a plan: from what is recorded to where somebody else has to act, or to the end.

In every state that is written down, the steps whose turn it is have been asked for (StepExecutionRequested, their
timers). So a turn asks only for steps that it reaches by what it records itself: those are *fresh*. A step whose
opening decides something (its condition, an arm, the items of a foreach, when a wait is over) has a record of
that, because to decide it again might come out differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.domain.errors import PayloadInvalidError
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, Json, Status
from service.domain.packs.checking.leaf_checks import time_of
from service.domain.packs.deciding.compiled import PackSet
from service.domain.packs.steps import ActionType
from service.domain.plans import (
    SETTLED,
    Plan,
    PlanStep,
    StepKind,
    StepRecord,
    StepResult,
    StepState,
    Timer,
)
from service.domain.progress import events as told
from service.domain.progress.resolving import Resolver, check_items
from service.domain.progress.tree import decides_later, lists_of
from service.errors import PermanentError


@dataclass(slots=True)
class Turn:
    """One run through a plan, gathering what it does."""

    record: ExceptionRecord
    packs: PackSet
    plan: Plan
    plan_id: UUID | None
    now: datetime
    results: dict[str, StepResult]
    """What is recorded of the plan's steps; kept up to date with `records`."""
    carries: bool = True
    """It carries out internal steps and asks for calls; otherwise it leaves them to the tool stage."""
    repeats: bool = False
    """Calls that were asked for before are asked for again: this is a delivery's first turn."""
    events: list[NewEvent] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    changes: Changes = NO_CHANGES
    calls: list[PlanStep] = field(default_factory=list)
    failure: PermanentError | None = None
    ended: Status | None = None
    persons: bool = False
    waits: bool = False
    busy: bool = False
    """Some step is the tool stage's to carry out, or its call is not settled."""
    _touched: set[str] = field(default_factory=set)
    _resolver: Resolver | None = None

    def run(self, fresh: bool = False) -> None:
        """Go on as far as possible; `fresh`: nothing of the plan has been asked for yet."""
        if self.sequence(self.plan.steps, fresh) and self.ended is None:
            self.events.append(told.resolved(self.plan))
            self.ended = Status.RESOLVED

    def sequence(self, steps: Iterable[PlanStep], fresh: bool) -> bool:
        """Go on in a list of steps; whether all of it is over."""
        for step in steps:
            if not self._step(step, fresh) or self.ended is not None:
                return False
            fresh = fresh or step.path in self._touched
        return True

    def settle(
        self, step: PlanStep, state: StepState, output: Any = None, error: str | None = None, by: str | None = None
    ) -> None:
        """Record what became of a step."""
        number = 0
        if state in SETTLED:
            number = sum(result.state in SETTLED for result in self.results.values())
            self._touched.add(step.path)
        record = StepRecord(step.path, state, output, error, by, number)
        self.records.append(record)
        self.results[step.path] = record.result

    def carry_out(self, step: PlanStep) -> bool:
        """Carry out an internal step; whether it is done."""
        try:
            parameters = self.resolver.parameters(step) if step.deferred else step.parameters
        except PermanentError as error:
            self.fail(error)
            return False
        _INTERNAL[ActionType(step.action)](self, step, parameters)
        return True

    def call(self, step: PlanStep) -> None:
        """Ask for a step's call, with everything put in that is known now."""
        self.busy = True
        if not step.deferred:
            self.calls.append(step)
            return
        try:
            call = self.resolver.call(step)
        except PermanentError as error:
            self.fail(error)
            return
        self.calls.append(_with_call(step, call))

    def fail(self, error: PermanentError) -> None:
        """Note that a part of the plan cannot go on; the first such error counts."""
        if self.failure is None:
            self.failure = error

    @property
    def resolver(self) -> Resolver:
        """For values that are only known now."""
        if self._resolver is None:
            self._resolver = Resolver(self.record, self.packs, self.plan, self.results)
        return self._resolver

    def _step(self, step: PlanStep, fresh: bool) -> bool:
        """Go on in one step; whether it is over."""
        result = self.results.get(step.path)
        if result is not None:
            if result.state in SETTLED:
                return True
            if result.state is StepState.UNKNOWN:
                self.persons = True
                return False
        elif fresh or _decides(step):
            if not self._open(step):
                return step.path in self._touched
            fresh = True
        return _BY_KIND[step.kind](self, step, fresh)

    def _open(self, step: PlanStep) -> bool:
        """A step's turn has come: decide what has to be decided, and ask for it. False: it is left out, or failed."""
        try:
            if step.condition is not None and not self.resolver.holds(step.condition, step, self.now):
                self.settle(step, StepState.SKIPPED)
                self.events.append(told.step_skipped(step))
                return False
            decided = self._decided(step)
        except PermanentError as error:
            self.fail(error)
            return False
        if decided is not None or step.condition is not None:
            self.settle(step, StepState.STARTED, decided)
        self.events.append(told.step_requested(step))
        return True

    def _decided(self, step: PlanStep) -> Any:
        """What is decided when a step's turn comes; None: nothing."""
        match step.kind:
            case StepKind.WAIT:
                return self._begin_wait(step)
            case StepKind.MANUAL:
                self._limit(step)
                return {"parameters": self.resolver.parameters(step)} if step.deferred else None
            case StepKind.GROUP if step.action == "branch" and decides_later(step):
                return {"arm": self._arm(step)}
            case StepKind.GROUP if step.deferred:
                parameters = self.resolver.parameters(step)
                check_items(f"step {step.path} ({step.name})", parameters)
                return {"items": parameters["items"]}
        return None

    def _arm(self, step: PlanStep) -> int | None:
        for number, block in enumerate(step.blocks):
            if block.condition is None or self.resolver.holds(block.condition, step, self.now):
                return number
        return None

    def _begin_wait(self, step: PlanStep) -> dict[str, Any]:
        parameters = self.resolver.parameters(step)
        if "event" in parameters:
            self._limit(step)
            return {"event": str(parameters["event"])}
        due = _due(step, parameters, self.now)
        self.timers.append(Timer("wait", step.path, due))
        return {"dueAt": due.isoformat()}

    def _limit(self, step: PlanStep) -> None:
        if step.timeout_seconds is not None:
            self.timers.append(Timer("step_timeout", step.path, self.now + timedelta(seconds=step.timeout_seconds)))

    def _internal(self, step: PlanStep, fresh: bool) -> bool:  # noqa: ARG002 - every kind has this form
        if not self.carries:
            self.busy = True
            return False
        return self.carry_out(step)

    def _external(self, step: PlanStep, fresh: bool) -> bool:
        if self.carries and (fresh or self.repeats):
            self.call(step)
        self.busy = True
        return False

    def _manual(self, step: PlanStep, fresh: bool) -> bool:  # noqa: ARG002
        self.persons = True
        return False

    def _wait(self, step: PlanStep, fresh: bool) -> bool:  # noqa: ARG002
        self.waits = True
        return False

    def _group(self, step: PlanStep, fresh: bool) -> bool:
        """All lists go on, whichever of them has to wait for somebody."""
        over = [self.sequence(steps, fresh) for steps in lists_of(step, self.results)]
        if not all(over):
            return False
        started = self.results.get(step.path)
        self.settle(step, StepState.DONE, None if started is None else started.output)
        return True


def _decides(step: PlanStep) -> bool:
    """Whether its opening leaves a record: without one it was never opened."""
    if step.condition is not None or step.kind is StepKind.WAIT:
        return True
    if step.kind is StepKind.GROUP:
        return step.deferred or (step.action == "branch" and decides_later(step))
    return step.deferred and step.kind is StepKind.MANUAL


def _due(step: PlanStep, parameters: Json, now: datetime) -> datetime:
    """When a wait is over. Raises PayloadInvalidError for what is no time."""
    if "until" not in parameters:
        return now + timedelta(minutes=parameters.get("minutes", 0), seconds=parameters.get("seconds", 0))
    until = time_of(parameters["until"])
    if until is None:
        fault = f"step {step.path} ({step.name}): `until` is not a time with its offset, like 2026-01-31T17:00:00Z"
        raise PayloadInvalidError([fault])
    return until.astimezone(UTC)


def _with_call(step: PlanStep, call: Any) -> PlanStep:
    return PlanStep(
        **{name: getattr(step, name) for name in PlanStep.__slots__ if name not in ("tool_call", "deferred")},
        tool_call=call,
    )


def _set_status(turn: Turn, step: PlanStep, parameters: Json) -> None:
    turn.events.append(told.step_completed(step, by="playbook"))
    turn.settle(step, StepState.DONE, by="playbook")
    turn.ended = Status(parameters["status"])
    if turn.ended is Status.ESCALATED:
        data = {"reason": step.name, "playbook": turn.plan.playbook}
        turn.events.append(NewEvent(EventType.EXCEPTION_ESCALATED, data))
    else:
        turn.events.append(told.resolved(turn.plan))


def _assign_owner(turn: Turn, step: PlanStep, parameters: Json) -> None:
    turn.changes = Changes(assigned_to=str(parameters["owner"]))
    turn.events.append(told.step_completed(step, by="playbook"))
    turn.settle(step, StepState.DONE, by="playbook")


def _add_comment(turn: Turn, step: PlanStep, parameters: Json) -> None:
    text = turn.packs.redactor.redact_foreign(str(parameters["text"]), turn.record.raw_payload)
    turn.events.append(NewEvent(EventType.COMMENT_ADDED, {"text": text, "by": "playbook"}))
    turn.events.append(told.step_completed(step, by="playbook"))
    turn.settle(step, StepState.DONE, by="playbook")


_INTERNAL: dict[ActionType, Callable[[Turn, PlanStep, Json], None]] = {
    ActionType.SET_STATUS: _set_status,
    ActionType.ASSIGN_OWNER: _assign_owner,
    ActionType.ADD_COMMENT: _add_comment,
}

_BY_KIND: dict[StepKind, Callable[[Turn, PlanStep, bool], bool]] = {
    StepKind.INTERNAL: Turn._internal,
    StepKind.EXTERNAL: Turn._external,
    StepKind.MANUAL: Turn._manual,
    StepKind.WAIT: Turn._wait,
    StepKind.GROUP: Turn._group,
}
