"""The model: what was accepted, what people said, what the tools worked; and what may be true of each exception now.

It knows nothing of the engine. After every step it is shown the database before and after, and says which law was
broken: L1 to L5 and L7 of `docs/chaos.md`. The others are looked at by `comparing` and `play`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from service.domain.exceptions import InputType, Status
from tests.integration.model.kinds import TIMERS, Kind, Told
from tests.integration.model.snapshot import Event, Row, Snapshot

ENTERS_AT = {
    InputType.INGESTED: 0, InputType.UPDATED: 0, InputType.COMMENT: 0, InputType.CANCELLED: 0,
    InputType.APPROVED: 2, InputType.REJECTED: 2, InputType.APPROVAL_EXPIRED: 2,
    InputType.STEP_COMPLETED: 3, InputType.STEP_DUE: 3, InputType.SIGNAL: 3, InputType.EFFECT_RESOLVED: 3,
}  # fmt: skip
"""Stage at which an input is worked first."""
TOOL_STAGE, AT_REST = 4, 5

_NO_WORK = {
    "ExceptionIngested", "ExceptionUpdated", "StepCompletionRequested", "ApprovalGranted", "ApprovalRejected",
    "Redriven", "Discarded", "Reconciled",
}  # fmt: skip
"""Events that come whatever is being worked at that moment."""
_ONCE = {
    "ExceptionNormalized", "TriageCompleted", "PolicyEvaluationCompleted", "PlaybookMatched", "ExceptionResolved",
    "ExceptionEscalated", "ExceptionCancelled", "ToolExecutionCompleted", "StepCompleted",
}  # fmt: skip
"""Events that one input leaves once, for each step they name."""


class BrokenLawError(AssertionError):
    """A law does not hold."""


@dataclass
class Subject(Told):
    """One exception as the model knows it."""

    name: str
    exception_id: UUID
    tenant_id: str
    kind: Kind
    inputs: list[InputType] = field(default_factory=lambda: [InputType.INGESTED])
    """By sequence, from 1: everything that was accepted."""
    deadly: set[int] = field(default_factory=set)
    """Sequences whose work may fail for good."""
    failures: Counter[int] = field(default_factory=Counter)
    """Calls that failed for now, by sequence."""
    log: list[Event] = field(default_factory=list)
    row: Row | None = None
    """As it was seen last."""
    done: set[tuple[int, str, str]] = field(default_factory=set)
    """What of _ONCE has happened: since the last redrive."""

    def __repr__(self) -> str:
        """As stories show it."""
        return f"{self.name}({self.kind.name})"

    @property
    def seen(self) -> Row:
        """Its row, which is there: it was accepted."""
        assert self.row is not None
        return self.row

    def breaks(self, sequence: int) -> bool:
        """Whether an input of it cannot be worked."""
        return self.kind.broken and self.inputs[sequence - 1] in (InputType.INGESTED, InputType.UPDATED)

    def effect(self, plan_sequence: int, path: str) -> str:
        """The idempotency key of a step's call."""
        return str(uuid5(uuid5(self.exception_id, f"plan:{plan_sequence}"), f"step:{path}"))

    def told(self) -> str:
        """Its story in the log, for people."""
        events = " ".join(f"{e.sequence}.{e.stage}:{e.type}" for e in self.log)
        inputs = ", ".join(one.value for one in self.inputs)
        return f"{self!r} {self.row}\n    accepted: {inputs}\n    log: {events}"


@dataclass(frozen=True, slots=True)
class Touch:
    """What a step may have done to an exception."""

    delivered: tuple[int, int] | None = None
    """It was worked for this sequence at this stage."""
    told: InputType | None = None
    """This input was accepted."""
    fired: bool = False
    """Timers may have become inputs."""
    redriven: bool = False
    """Its dead letter was sent again."""
    discarded: bool = False
    """Its dead letter was discarded."""
    noted: bool = False
    """Something may have been noted about it that is no work: a repeated request, a repeat by the reconciler."""
    must: bool = False
    """Nothing kept it from happening: nobody died on the way."""


UNTOUCHED = Touch()


class Book:
    """Everything that the model knows of one run."""

    def __init__(self) -> None:
        self.subjects: dict[UUID, Subject] = {}
        self.worked: Counter[str] = Counter()
        """How often a tool worked an idempotency key."""
        self.tolerant: set[str] = set()
        """Keys of tools that are declared idempotent."""
        self.snapshot = Snapshot()

    def positions(self) -> dict[UUID, int]:
        """What is known of each log."""
        return {one.exception_id: len(one.log) for one in self.subjects.values()}

    def accept(self, subject: Subject) -> None:
        """An exception was answered 202."""
        self.subjects[subject.exception_id] = subject

    def look(self, after: Snapshot, touches: Mapping[UUID, Touch]) -> None:
        """Compare the database after a step with what the step may have done. Raises BrokenLawError."""
        for subject in self.subjects.values():
            row = after.rows.get(subject.exception_id)
            self._law(row is not None, "L1 lost", subject, "it was accepted, and is not there")
            assert row is not None
            fresh = after.events.get(subject.exception_id, [])
            subject.log += fresh
            touch = touches.get(subject.exception_id, UNTOUCHED)
            before, subject.row = subject.row, row
            if before is not None:
                self._moved_lawfully(subject, before, row, touch, after)
            self._well_kept(subject, row, after)
            self._logged_lawfully(subject, fresh)
        self._effects(after)
        self.snapshot = after

    def _moved_lawfully(self, subject: Subject, before: Row, after: Row, touch: Touch, now: Snapshot) -> None:
        if touch.told is not None:
            self._took(subject, before, after, touch)
        elif touch.fired:
            self._fired(subject, before, after, now)
        elif touch.redriven:
            self._redriven(subject, before, after, now)
        elif touch.discarded:
            allowed = {before.resting, Status.DISCARDED} - {None}
            self._law(after.resting in allowed, "model", subject, f"a discard left it {after.resting}: {before}")
            self._followed(subject, before, after, now)
        elif touch.delivered is not None:
            self._worked(subject, before, after, touch, now)
        else:
            still = (before.place, before.status, before.last_sequence, before.resting)
            same = still == (after.place, after.status, after.last_sequence, after.resting)
            self._law(same, "L2 zombie", subject, f"nothing touched it, and it moved from {before}")
            if not touch.noted:
                self._law(before.position == after.position, "L2 zombie", subject, "nothing touched it, and it logged")

    def _took(self, subject: Subject, before: Row, after: Row, touch: Touch) -> None:
        assert touch.told is not None
        self._law(after.last_sequence == before.last_sequence + 1, "L1 lost", subject, f"{touch.told} is not its next")
        if before.stage == AT_REST:
            expected = (after.last_sequence, ENTERS_AT[touch.told])
            self._law(after.place == expected, "L3 order", subject, f"{touch.told} should be worked now, at {expected}")
            self._law(after.status == Status.IN_PROGRESS, "L3 order", subject, "an input is worked IN_PROGRESS")
        else:
            same = (before.place, before.status) == (after.place, after.status)
            self._law(same, "L3 order", subject, f"{touch.told} did not wait for its predecessor: it was at {before}")

    def _fired(self, subject: Subject, before: Row, after: Row, now: Snapshot) -> None:
        types = [InputType(one) for one in now.inputs.get(subject.exception_id, [])][before.last_sequence - 1 :]
        self._law(all(one in TIMERS for one in types), "L1 lost", subject, f"timers brought {types}")
        subject.inputs += types
        if not types:
            self._law(before.place == after.place, "L2 zombie", subject, "no timer brought anything, and it moved")
        elif before.stage == AT_REST:
            expected = (before.last_sequence + 1, ENTERS_AT[types[0]])
            self._law(after.place == expected, "L3 order", subject, f"{types[0]} should be worked now, at {expected}")
        else:
            self._law(before.place == after.place, "L3 order", subject, f"a timer did not wait: it was at {before}")

    def _worked(self, subject: Subject, before: Row, after: Row, touch: Touch, now: Snapshot) -> None:
        self._law(before.last_sequence == after.last_sequence, "L1 lost", subject, "work made an input")
        same = (before.place, before.status) == (after.place, after.status)
        due = before.place == touch.delivered and before.status in (Status.RECEIVED, Status.IN_PROGRESS)
        if not due:
            self._law(same, "L2 zombie", subject, f"work for {touch.delivered} moved it from {before}")
            return
        if same:
            idle = touch.must and before.stage < TOOL_STAGE
            self._law(not idle, "L1 lost", subject, f"its delivery for {touch.delivered} did nothing")
            return
        if after.status == Status.DEAD_LETTERED:
            self._law(after.place == before.place, "L3 order", subject, "a dead letter stays where it failed")
            deadly = subject.breaks(after.sequence) or after.sequence in subject.deadly
            self._law(deadly, "L5 dead letters", subject, f"nothing was wrong with input {after.sequence}")
            return
        if after.place == (before.sequence, before.stage + 1) and before.stage < TOOL_STAGE:
            return
        self._law(not subject.breaks(before.sequence), "L5 dead letters", subject, "it cannot be worked, and was")
        self._finished(subject, before, after, now)

    def _finished(self, subject: Subject, before: Row, after: Row, now: Snapshot) -> None:
        """The input that was worked came to its end, and the next one, if there is one, is worked now."""
        kind = subject.inputs[before.sequence - 1]
        allowed = subject.kind.may_rest(kind, None if before.resting is None else Status(before.resting))
        self._law(after.resting in allowed, "model", subject, f"{kind} left it {after.resting}, allowed: {allowed}")
        self._followed(subject, before, after, now)

    def _redriven(self, subject: Subject, before: Row, after: Row, now: Snapshot) -> None:
        self._law(before.status == Status.DEAD_LETTERED, "L2 twice", subject, f"it was no dead letter: {before}")
        self._law(after.status == Status.IN_PROGRESS, "L1 lost", subject, "it was sent again, and is not worked")
        back = after.sequence == before.sequence and after.stage <= before.stage
        self._law(back, "L3 order", subject, f"it was sent again from {before}")
        ready = now.waits(subject.exception_id).get(after.sequence, False)
        self._law(ready, "L1 lost", subject, "it was sent again, and is not in the outbox")

    def _followed(self, subject: Subject, before: Row, after: Row, now: Snapshot) -> None:
        """It rests, or its next input is worked."""
        if before.sequence == before.last_sequence:
            self._law(after.place == (before.sequence, AT_REST), "L3 order", subject, f"it was at {before}")
            self._law(after.status == after.resting, "model", subject, "it rests in another status than it says")
            return
        following = subject.inputs[before.sequence]
        expected = (before.sequence + 1, ENTERS_AT[following])
        self._law(after.place == expected, "L3 order", subject, f"{following} is next, at {expected}")
        ready = now.waits(subject.exception_id).get(expected[0], False)
        self._law(ready, "L1 lost", subject, f"{following} is being worked, and is not in the outbox")

    def _well_kept(self, subject: Subject, row: Row, now: Snapshot) -> None:
        """What holds at any moment."""
        kept = [InputType.INGESTED, *map(InputType, now.inputs.get(subject.exception_id, []))]
        self._law(kept == subject.inputs, "L1 lost", subject, f"its inputs are {kept}")
        self._law(row.last_sequence == len(kept), "L3 order", subject, "its sequences have gaps")
        self._law(row.position == len(subject.log), "L3 order", subject, "its positions have gaps")
        self._law(now.tenants[subject.exception_id] == {subject.tenant_id}, "L7 tenants", subject, "others have rows")
        behind = {sequence for sequence in now.waits(subject.exception_id) if sequence > row.sequence}
        expected = set(range(row.sequence + 1, row.last_sequence + 1))
        self._law(behind == expected, "L1 lost", subject, f"the outbox has {behind}, waiting are {expected}")
        early = [one for one in behind if now.waits(subject.exception_id)[one]]
        self._law(not early, "L3 order", subject, f"{early} would be sent before {row.sequence} is finished")
        if row.stage == AT_REST:
            self._law(row.sequence == row.last_sequence, "L3 order", subject, "its next input was not made ready")
        state = now.dead.get(subject.exception_id, {}).get(row.sequence)
        dead = row.status == Status.DEAD_LETTERED
        self._law(dead == (state == "pending"), "L5 dead letters", subject, f"its dead letter is {state}")

    def _logged_lawfully(self, subject: Subject, fresh: Iterable[Event]) -> None:
        for event in fresh:
            place = subject.log.index(event)
            self._law(event.position == place + 1, "L3 order", subject, f"{event.type} is at {event.position}")
            if event.type == "Redriven":
                subject.done.clear()
            if event.type in _NO_WORK or (event.type == "DuplicateIgnored" and "input" not in event.data):
                continue
            for earlier in reversed(subject.log[:place]):
                if earlier.type == "Redriven":
                    break
                if earlier.type == "Discarded":
                    over = earlier.sequence < event.sequence
                    self._law(over, "L2 twice", subject, f"{event.type} of {event.sequence}, which was discarded")
                    break
                if earlier.type in _NO_WORK or earlier.type == "DuplicateIgnored":
                    continue
                forward = (earlier.sequence, earlier.stage) <= (event.sequence, event.stage)
                self._law(forward, "L3 order", subject, f"{event.type} of {event.sequence}.{event.stage} came late")
                fenced = earlier.type == "DeadLettered"
                self._law(not fenced, "L3 order", subject, f"{event.type} came behind a dead letter")
                break
            if event.type in _ONCE:
                step = str(event.data.get("step", event.data.get("stepOrder", "")))
                once = (event.sequence, event.type, step)
                self._law(once not in subject.done, "L2 twice", subject, f"{event.type} {step} of {event.sequence}")
                subject.done.add(once)

    def _effects(self, now: Snapshot) -> None:
        for key, times in self.worked.items():
            if times > 1 and key not in self.tolerant:
                raise BrokenLawError(f"L4 effects: {now.effects.get(key)} was worked {times} times")
        for key, effect in now.effects.items():
            subject = self.subjects[effect.exception_id]
            happened = effect.state != "confirmed" or self.worked[key] > 0
            self._law(happened, "L4 effects", subject, f"the call of {effect.step} is confirmed, and did not happen")
        for subject in self.subjects.values():
            plan = now.plans.get(subject.exception_id)
            if subject.seen.status == Status.RESOLVED and plan is not None:
                for path in subject.kind.effects:
                    done = self.worked[subject.effect(plan.sequence, path)] > 0
                    self._law(done, "L4 effects", subject, f"it is RESOLVED, and the call of {path} did not happen")

    def _law(self, holds: bool, law: str, subject: Subject, what: str) -> None:
        if not holds:
            raise BrokenLawError(f"{law}: {what}\n  {subject.told()}")
