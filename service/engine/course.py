"""One exception's way through the tool stage in one delivery, and the decision that its next turn writes.

A course knows which of its calls are out, which come later, and why it cannot end by itself. Its answers are
handled one after the other, each with its transaction, or steps would not see one another's results: `lock` is held
meanwhile, for they may arrive in several threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any
from uuid import UUID

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, ExceptionRecord, Status
from service.domain.packs import PackSet
from service.domain.plans import PlanStep, StepRecord, Timer, ToolCall
from service.domain.stages import Advance
from service.engine.batch import Reference
from service.engine.decisions import encode_move, encode_steps, encode_timers
from service.engine.holds import Hold
from service.engine.notices import notices
from service.engine.results import Retry
from service.errors import PermanentError, kind_of
from service.persistence.stages import Effect


@dataclass(slots=True)
class Course:
    """An exception whose plan is being carried on."""

    reference: Reference
    record: ExceptionRecord
    """Up to date with every step that came back."""
    packs: PackSet
    plan_id: UUID
    effects: Mapping[str, Effect]
    """By key, as they were when the delivery began."""
    queue: deque[PlanStep] = field(default_factory=deque)
    """Calls whose turn has come and that did not go out yet."""
    under_way: set[str] = field(default_factory=set)
    """Paths of the calls that are out."""
    parked: set[str] = field(default_factory=set)
    """Paths of calls that this delivery will hear nothing more of: to be repeated, or another delivery's."""
    retry: Retry | None = None
    not_before_seconds: float = 0.0
    """What its tools asked for: before that the exception does not come back, whichever call is to be repeated."""
    hold: Hold | None = None
    failure: PermanentError | None = None
    failed_step: PlanStep | None = None
    """Whose call the failure is about; None: it is not about one."""
    alone: bool = True
    """Whether its delivery has no other exception."""
    lock: Lock = field(default_factory=Lock)

    def outstanding(self) -> frozenset[str]:
        """Paths of all calls that are neither answered nor given up."""
        if not (self.under_way or self.parked or self.queue):
            return _NONE
        return frozenset((*self.under_way, *self.parked, *(step.path for step in self.queue)))

    def saved(self) -> tuple[Any, ...]:
        """What `restore` takes, so that answers whose transaction failed can be handled once more."""
        sets = (self.queue.copy(), set(self.under_way), set(self.parked))
        kept = (self.reference, self.record, self.retry, self.not_before_seconds)
        return (*sets, *kept, self.hold, self.failure, self.failed_step)

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Be again as at that time."""
        self.queue, self.under_way, self.parked, *kept = saved
        self.reference, self.record, self.retry, self.not_before_seconds, *ended = kept
        self.hold, self.failure, self.failed_step = ended

    def fail(self, error: PermanentError, step: PlanStep | None = None) -> None:
        """Note why it cannot go on, and at which step's call; what was first counts."""
        if self.failure is None:
            self.failure, self.failed_step = error, step

    def put_aside(self, path: str, hold: Hold) -> None:
        """Let a call wait outside of the worker; of several, the one that is due first counts."""
        self.parked.add(path)
        if self.hold is None or hold.due_in_seconds < self.hold.due_in_seconds:
            self.hold = hold

    def coming_back(self) -> Retry | None:
        """The retry that the exception comes to, once nothing of it is under way."""
        if self.retry is None:
            return None
        due = max(self.retry.due_in_seconds or 0.0, self.not_before_seconds)
        return replace(self.retry, reference=self.reference, due_in_seconds=due)

    def recall(self, retry: Retry) -> None:
        """Let the exception come back; of several calls to be repeated, the one with the fewest tries left counts."""
        if retry.step is not None:
            self.not_before_seconds = max(self.not_before_seconds, retry.due_in_seconds or 0.0)
        if self.retry is None or _patience(retry) < _patience(self.retry):
            self.retry = retry


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One call that is out: whose it is, which step it carries out, and the attempt that fences its answer."""

    course: Course
    step: PlanStep
    call: ToolCall
    """Complete: with everything put in that was only known now."""
    key: str
    attempt: int
    unanswered: bool = False
    """It went out before, and the process that made it was gone before an answer came."""

    @property
    def reference(self) -> Reference:
        """The exception it belongs to."""
        return self.course.reference


@dataclass(slots=True)
class Draft:
    """What one turn decides about one exception: one decision of one statement, however many answers it covers."""

    course: Course
    attempt: int
    events: list[NewEvent] = field(default_factory=list)
    changes: Changes = NO_CHANGES
    steps: list[StepRecord] = field(default_factory=list)
    in_ledger: set[str] = field(default_factory=set)
    """Paths of steps whose output is kept with their effect."""
    timers: list[Timer] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """`settles`, `results`, `sends` and `effects`."""
    flights: list[Flight] = field(default_factory=list)
    finished: Status | None = None

    def add(self, part: str, row: dict[str, Any]) -> None:
        """Add a row to one of the decision's lists."""
        row["id"] = self.course.record.exception_id
        self.rows.setdefault(part, []).append(row)

    def take(self, reached: Advance) -> None:
        """Take in how far the plan got; its calls queue up."""
        course = self.course
        self.events += reached.events
        self.steps += reached.steps
        self.timers += reached.timers
        self.changes = _merged(self.changes, reached.changes)
        self.finished = reached.finished
        if reached.failure is not None:
            course.fail(reached.failure)
        course.queue.extend(reached.calls)
        if reached.steps and reached.finished is None:
            results = {**course.record.step_results, **{step.path: step.result for step in reached.steps}}
            course.record = replace(course.record, step_results=results)

    def decision(self) -> dict[str, Any] | None:
        """As the statement takes it; None when nothing is to be written."""
        sent = {flight.key for flight in self.flights}
        # The plan asks for every call whose turn has come; what did not go out was not requested.
        events = [e for e in self.events if e.type is not _REQUESTED or e.data.get("idempotencyKey") in sent]
        if not (events or self.steps or self.rows or self.timers or self.finished):
            return None
        decision = encode_move(self.course.record, self.attempt, events, self.changes)
        decision["finished"] = self.finished
        decision |= self.rows
        encode_steps(decision, self.course.plan_id, self.steps, self.in_ledger)
        if self.timers:
            decision["timers"] = encode_timers(decision["id"], self.course.plan_id, self.timers)
        told = notices(self.course.record, self.course.packs, events, self.changes)
        if told:
            decision["notices"] = told
        return decision


_NONE: frozenset[str] = frozenset()
_REQUESTED = EventType.TOOL_EXECUTION_REQUESTED
_CHANGES = tuple(item.name for item in fields(Changes))


def _merged(before: Changes, after: Changes) -> Changes:
    if before is NO_CHANGES or after is NO_CHANGES:
        return after if before is NO_CHANGES else before
    later = {name: value for name in _CHANGES if (value := getattr(after, name)) is not None}
    return replace(before, **later)


def _patience(retry: Retry) -> tuple[bool, float]:
    """Calls that are to be repeated come before those that another delivery still makes."""
    waits_for_another = retry.step is None
    if waits_for_another or retry.policy is None:
        return waits_for_another, retry.due_in_seconds or 0
    return waits_for_another, retry.policy.max_retries - retry.reference.tries.of_kind(kind_of(retry.error))
