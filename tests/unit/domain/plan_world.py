"""A world for plans: a tool stage and people that answer as a test says, with crashes and redeliveries.

It keeps what a database keeps (what decisions record) and forgets everything else at every crash, as the engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from service.domain.events import NewEvent
from service.domain.exceptions import ExceptionRecord, Input, InputType, Outcome, Stage, Status
from service.domain.identifiers import plan_id
from service.domain.packs import PackSet
from service.domain.plan_documents import from_document, to_document
from service.domain.plans import Plan, PlanStep, StepRecord, StepState, Timer
from service.domain.progress.tree import open_steps
from service.domain.stages import (
    DECIDE,
    Advance,
    CallResult,
    advance,
    after_call,
    after_failure,
    after_unknown,
)
from service.errors import PermanentError
from tests.unit.domain.given import NOON

Answer = Callable[[PlanStep, "PlanWorld"], Any]
"""What a tool answers: its output, or one of FAILS, UNKNOWN."""

FAILS = object()
UNKNOWN = object()


@dataclass
class PlanWorld:
    """One exception on its way through the playbook and the tool stage."""

    packs: PackSet
    record: ExceptionRecord
    answer: Answer = lambda _step, _world: {"ok": True}
    crash: Callable[[], bool] = lambda: False
    """Whether the worker dies now: asked before an answer is written down."""
    now: datetime = NOON
    events: list[NewEvent] = field(default_factory=list)
    timers: dict[tuple[str, str], Timer] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)
    """Paths of confirmed calls, in order."""
    done: list[str] = field(default_factory=list)
    """Paths of steps recorded done, in order."""
    sent: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """What tools were sent, by path."""
    finished: Status | None = None
    failure: PermanentError | None = None

    def start(self) -> PlanWorld:
        """Plan, and go on to where somebody has to act."""
        return self.give(Input(InputType.INGESTED))

    def give(self, given: Input) -> PlanWorld:
        """Let an input come, and work it to its end."""
        self.record = replace(self.record, input=given, resting_status=self.finished, sequence=self.record.sequence + 1)
        outcome = DECIDE[Stage.PLAYBOOK](self.record, self.packs, self.now)
        self._write(outcome.events, outcome.steps, outcome.timers, outcome)
        self.finished = outcome.finished
        if outcome.finished is None:
            self._tool_stage()
        return self

    def complete(self, step: str, **data: Any) -> PlanWorld:
        """A person completes a step."""
        return self.give(Input(InputType.STEP_COMPLETED, {"step": step, **data}, actor="bob"))

    def signal(self, name: str, data: Any = None) -> PlanWorld:
        """A signal comes."""
        return self.give(Input(InputType.SIGNAL, {"name": name, "data": data}))

    def due(self, step: str, kind: str = "wait", **data: Any) -> PlanWorld:
        """A timer is over."""
        return self.give(Input(InputType.STEP_DUE, {"step": step, "kind": kind, **data}))

    def resolve(self, step: str, verdict: str, **data: Any) -> PlanWorld:
        """A person says what became of a call."""
        return self.give(Input(InputType.EFFECT_RESOLVED, {"step": step, "verdict": verdict, **data}, actor="bob"))

    def redeliver(self) -> PlanWorld:
        """The tool stage gets the exception again, after a redrive."""
        self._tool_stage()
        return self

    def waits_for(self) -> list[str]:
        """Paths of the steps whose turn it is."""
        return [step.path for step in open_steps(self.plan, self.record.step_results)]

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        assert self.record.plan is not None
        return self.record.plan

    @property
    def types(self) -> list[str]:
        """The events' names."""
        return [event.type.value for event in self.events]

    def last(self, event_type: str) -> Mapping[str, Any]:
        """The data of the newest event of a type."""
        return [event.data for event in self.events if event.type == event_type][-1]

    def _tool_stage(self) -> None:
        """Deliveries until the input is finished; each forgets what is not recorded."""
        for _ in range(200):
            if self._delivery():
                return
        raise AssertionError("the plan does not come to an end")

    def _delivery(self) -> bool:
        """One delivery of the tool stage; whether nothing is left to do."""
        assert self.record.plan_id is not None
        reached = advance(self.record, self.packs, self.record.plan_id, self.now)
        waiting = list(self._taken(reached))
        while waiting:
            # the answer that comes first is not that of the call that was made first
            step = waiting.pop(len(waiting) // 2)
            if self.crash():
                return False
            landed = self._land(step, frozenset(other.path for other in waiting))
            if landed is None:
                self.failure = PermanentError(f"{step.path} is dead-lettered")
                return True
            waiting += self._taken(landed)
        if self.finished is None and self.failure is None:
            raise AssertionError(f"nothing follows, and nothing is finished: {self.record.step_results}")
        return True

    def _land(self, step: PlanStep, outstanding: frozenset[str]) -> Advance | None:
        assert self.record.plan_id is not None
        assert step.tool_call is not None
        before = self.record.step_results.get(step.path)
        assert before is None or before.state is StepState.STARTED, f"{step.path} is {before.state} and called again"
        self.sent.append((step.path, step.tool_call.parameters))
        answer = self.answer(step, self)
        where = (self.record, self.packs, self.record.plan_id, step)
        if answer is FAILS:
            return after_failure(*where, "refused", self.now, outstanding)
        if answer is UNKNOWN:
            return after_unknown(*where, "no answer", self.now, outstanding)
        self.called.append(step.path)
        return after_call(*where, CallResult("ok", answer), self.now, outstanding)

    def _taken(self, reached: Advance) -> tuple[PlanStep, ...]:
        self._write(reached.events, reached.steps, reached.timers)
        self.finished, self.failure = reached.finished, reached.failure
        return reached.calls

    def _write(
        self,
        events: tuple[NewEvent, ...],
        steps: tuple[StepRecord, ...],
        timers: tuple[Timer, ...],
        outcome: Outcome | None = None,
    ) -> None:
        if outcome is not None and outcome.plan is not None:
            stored = from_document(to_document(outcome.plan))
            identifier = plan_id(self.record.exception_id, self.record.sequence)
            self.record = replace(self.record, plan=stored, plan_id=identifier, step_results={})
        self.events += events
        results = dict(self.record.step_results)
        for step in steps:
            results[step.path] = step.result
            if step.state is StepState.DONE:
                assert step.path not in self.done, f"{step.path} is done twice"
                self.done.append(step.path)
        self.record = replace(self.record, step_results=results)
        self.timers |= {(timer.kind, timer.step): timer for timer in timers}

    def later(self, **duration: float) -> PlanWorld:
        """Time passes."""
        self.now += timedelta(**duration)
        return self
