"""The tool stage's turns: what is decided for each exception between two calls, as decisions to be applied.

A flight is one call under way; an exception may have several. A turn takes exceptions from where their plans are, or
from the answers that came, to their next calls, their end, a person, or a failure, and collects one decision for
each. An exception whose calls end differently comes to its own end when the last of them is back: a failure that is
final counts most, then a call to be repeated, then what the plan says. Nothing here talks to a database or a tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from service.domain.exceptions import Stage
from service.domain.identifiers import effect_key
from service.domain.packs import PackSet
from service.domain.planning import resolved_call
from service.domain.plans import PlanStep
from service.domain.progress.events import call_failed
from service.domain.stages import Advance, CallResult, advance, after_call, after_failure, after_unknown
from service.domain.stages.tool import PlanMissingError
from service.engine import repeats
from service.engine.batch import Reference
from service.engine.course import Course, Draft, Flight
from service.engine.effect_ledger import Judgement, Permission, judge_effect, lease_until
from service.engine.failures import Failure, PlanStalledError, ToolRefusedError, of_call
from service.engine.faults import faults_of
from service.engine.holds import Hold
from service.engine.outputs import stored
from service.engine.results import EarlyError, RepeatedAloneError, Retry
from service.errors import PermanentError, TransientError, kind_of
from service.persistence.loading import LoadedException
from service.persistence.stages import Effect
from service.tools.admission import Gate
from service.tools.calls import Answer, PreparedCall, ToolResult

CALLS_AT_ONCE = 20
"""The most calls of one exception that are out together; the others of its groups follow as these come back."""

NOT_SENT_WAIT_SECONDS = 1.0
"""The least that a call waits which found its tool's limit reached on its way out."""


@dataclass(slots=True)
class Turn:
    """Decisions of one statement, one an exception, and what follows once they are applied."""

    now: datetime
    gate: Gate
    decisions: list[dict[str, Any]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    onward: list[Reference] = field(default_factory=list)
    """Exceptions whose plan goes on after a call was given up, in a delivery of their own."""

    def begin(
        self,
        reference: Reference,
        loaded: LoadedException,
        packs: PackSet,
        effects: Mapping[str, Effect],
        *,
        alone: bool,
    ) -> None:
        """Take an exception from where its plan is to its next calls, a person, or the end."""
        draft = self._opened(reference, loaded, packs, effects)
        if draft is not None:
            course = draft.course
            course.alone = alone
            with faults_of(course):
                self._go_on(draft, self._advanced(course))
            self._close(draft)

    def land(self, course: Course, landed: Sequence[tuple[Flight, ToolResult]]) -> None:
        """Go on from the answers to some of an exception's calls."""
        draft = Draft(course, course.reference.attempt)
        for flight, result in landed:
            course.under_way.discard(flight.step.path)
            with faults_of(course):
                self._answered(draft, flight, result)
        if course.queue:
            with faults_of(course):
                self._call_due(draft)
        self._close(draft)

    def give_up(
        self,
        retry: Retry,
        loaded: LoadedException,
        packs: PackSet,
        effects: Mapping[str, Effect],
    ) -> None:
        """End the tries of a call: the plan says what follows, else the exception is dead-lettered."""
        draft = self._opened(retry.reference, loaded, packs, effects)
        if draft is None:
            return
        course = draft.course
        due = self._advanced(course).calls
        step = next((call for call in due if call.path == retry.step), None)
        course.parked |= {call.path for call in due if call is not step}
        reached = None if step is None else self._after_failure(draft, step, str(retry.error))
        if step is None or reached is None:
            failure = of_call(retry.reference, retry.error, step, course.plan_id)
            self.failures.append(failure if step is not None else replace(failure, tool=retry.tool))
            return
        row = {"key": effect_key(course.plan_id, step.path), "state": "failed", "error": str(retry.error)}
        draft.add("effects", row)
        draft.take(reached)
        if course.failure is not None:
            self.failures.append(of_call(retry.reference, course.failure, course.failed_step, course.plan_id))
        elif draft.finished is None:
            self.onward.append(replace(retry.reference, attempt=0, rate_limited=0))
        self._write(draft)

    def _advanced(self, course: Course) -> Advance:
        sent = (effect for effect in course.effects.values() if effect.state == "sent")
        paths = frozenset(effect.step for effect in sent if effect.plan_id == course.plan_id)
        return advance(course.record, course.packs, course.plan_id, self.now, paths)

    def _close(self, draft: Draft) -> None:
        """Say what is written, and what becomes of an exception of which nothing is under way any more."""
        if not draft.course.under_way and draft.finished is None:
            self._ended(draft.course)
        self._write(draft)

    def _write(self, draft: Draft) -> None:
        decision = draft.decision()
        if decision is not None:
            self.decisions.append(decision)
            self.flights += draft.flights

    def _ended(self, course: Course) -> None:
        """Nothing of an exception is under way, and its plan has not come to an end."""
        again = course.coming_back()
        if course.failure is not None:
            self.failures.append(of_call(course.reference, course.failure, course.failed_step, course.plan_id))
        elif again is not None:
            self.retries.append(again)
        elif course.hold is not None:
            self.holds.append(replace(course.hold, reference=course.reference))
        else:
            self.failures.append(Failure(course.reference, PlanStalledError()))

    def early(self, references: Iterable[Reference]) -> None:
        """Deliveries whose exception is not here yet."""
        self.retries += [Retry(reference, EarlyError(reference)) for reference in references]

    def _opened(
        self, reference: Reference, loaded: LoadedException, packs: PackSet, effects: Mapping[str, Effect]
    ) -> Draft | None:
        if isinstance(loaded.fault, TransientError):
            policy = packs.retries.of(Stage.TOOL, kind_of(loaded.fault))
            self.retries.append(Retry(reference, loaded.fault, policy=policy))
            return None
        if loaded.fault is not None:
            self.failures.append(Failure(reference, loaded.fault))
            return None
        if loaded.plan_id is None or loaded.record.plan is None:
            self.failures.append(Failure(reference, PlanMissingError()))
            return None
        return Draft(Course(reference, loaded.record, packs, loaded.plan_id, effects), reference.attempt)

    def _answered(self, draft: Draft, flight: Flight, result: ToolResult) -> None:
        """Write an answer down, and go on from it."""
        cause = result.error or "no reason given"
        settle = {"key": flight.key, "attempt": flight.attempt, "error": result.error}
        draft.add("settles", settle)
        if result.answer is Answer.CONFIRMED:
            settle["state"] = "confirmed"
            self._confirmed(draft, flight, result, settle)
        elif result.answer is Answer.TRANSIENT:
            settle["state"] = "intent"
            draft.events.append(call_failed(flight.step, cause))
            draft.course.parked.add(flight.step.path)
            draft.course.recall(repeats.of_call(flight, result, cause))
        elif result.answer is Answer.PERMANENT:
            settle["state"] = "failed"
            self._failed(draft, flight.step, ToolRefusedError(cause))
        elif result.answer is Answer.NOT_SENT:
            settle["state"] = "intent"
            due = NOT_SENT_WAIT_SECONDS if result.retry_after_seconds is None else result.retry_after_seconds
            draft.course.put_aside(flight.step.path, Hold(flight.reference, flight.call.tool, cause, due))
        else:
            settle["state"] = "unknown"
            self._unknown(draft, flight.step, cause)

    def _confirmed(self, draft: Draft, flight: Flight, result: ToolResult, settle: dict[str, Any]) -> None:
        course, path = draft.course, flight.step.path
        draft.in_ledger.add(path)
        reached = None
        with faults_of(course):
            answer, outstanding = CallResult("ok", result.output), course.outstanding()
            reached = after_call(
                course.record, course.packs, course.plan_id, flight.step, answer, self.now, outstanding
            )
        output = None if reached is None else next((s.output for s in reached.steps if s.path == path), None)
        if output is None:
            output = course.packs.redactor.redact_foreign(result.output, course.record.raw_payload)
        settle["output"], large = stored(output, flight.key)
        if large is not None:
            draft.add("results", large)
        # A plan that came further starts its next step with all its tries.
        if course.reference.attempt:
            course.reference = replace(course.reference, attempt=0, rate_limited=0)
        if reached is not None:
            self._go_on(draft, reached)

    def _failed(self, draft: Draft, step: PlanStep, error: PermanentError) -> None:
        """Go on after a call that will not be repeated, as the plan says; else the exception is given up."""
        reached = self._after_failure(draft, step, str(error))
        if reached is None:
            draft.events.append(call_failed(step, str(error)))
            draft.course.parked.add(step.path)
            draft.course.fail(error, step)
        else:
            self._go_on(draft, reached)

    def _after_failure(self, draft: Draft, step: PlanStep, error: str) -> Advance | None:
        course = draft.course
        return after_failure(
            course.record, course.packs, course.plan_id, step, error, self.now, course.outstanding() - {step.path}
        )

    def _unknown(self, draft: Draft, step: PlanStep, cause: str) -> None:
        course = draft.course
        outstanding = course.outstanding()
        draft.take(after_unknown(course.record, course.packs, course.plan_id, step, cause, self.now, outstanding))

    def _go_on(self, draft: Draft, reached: Advance) -> None:
        """Take in how far the plan got, and make the calls that are due as far as there is room."""
        draft.take(reached)
        self._call_due(draft)

    def _call_due(self, draft: Draft) -> None:
        course = draft.course
        while course.queue and course.failure is None and len(course.under_way) < CALLS_AT_ONCE:
            self._call(draft, course.queue.popleft())

    def _call(self, draft: Draft, step: PlanStep) -> None:
        """Do about a call what the ledger allows."""
        course = draft.course
        assert step.tool_call is not None
        key = effect_key(course.plan_id, step.path)
        effect = course.effects.get(key)
        judgement = judge_effect(effect, step.tool_call, self.now)
        if judgement.permission is Permission.SEND:
            if judgement.unanswered and not course.alone:
                # What ended its process may have been this call: it shall not take others with it once more.
                course.parked.add(step.path)
                course.recall(Retry(course.reference, RepeatedAloneError(course.reference), due_in_seconds=0.0))
            else:
                self._send(draft, step, key, judgement)
            return
        assert effect is not None
        if judgement.permission is Permission.HELD:
            course.parked.add(step.path)
            assert effect.lease_until is not None
            due = (effect.lease_until - self.now).total_seconds()
            course.recall(Retry(course.reference, EarlyError(course.reference), due_in_seconds=due))
        elif judgement.permission is Permission.ADOPT:
            answer = CallResult("ok", effect.output)
            draft.in_ledger.add(step.path)
            outstanding = course.outstanding()
            draft.take(after_call(course.record, course.packs, course.plan_id, step, answer, self.now, outstanding))
        else:
            cause = "it was sent and its answer is not known; say what became of it once you know what the tool did"
            if effect.state != "unknown":
                lost = {"key": key, "attempt": effect.attempt, "state": "unknown", "error": cause}
                draft.add("settles", lost)
            self._unknown(draft, step, cause)

    def _send(self, draft: Draft, step: PlanStep, key: str, judgement: Judgement) -> None:
        course = draft.course
        try:
            call = resolved_call(step, course.record, course.packs)
        except PermanentError as error:
            self._failed(draft, step, error)
            return
        held = self.gate.admit(PreparedCall(key, course.reference.tenant_id, call))
        if held is not None:
            hold = Hold(course.reference, held.tool, held.reason, held.due_in_seconds, held.pause)
            course.put_aside(step.path, hold)
            return
        course.under_way.add(step.path)
        attempt = judgement.attempt
        draft.flights.append(Flight(course, step, call, key, attempt, judgement.unanswered))
        sent = {"key": key, "plan_id": course.plan_id, "step": step.path, "tool": call.tool, "attempt": attempt}
        draft.add("sends", sent | {"lease_until": lease_until(call, self.now)})
