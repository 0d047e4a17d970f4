"""The tool stage's turns: what is decided for each exception between two calls, as decisions to be applied.

A flight is one call under way. A turn takes exceptions to their next call, their end, or a failure, and
collects the decisions for one statement. Nothing here talks to a database or a tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import ExceptionRecord, Status
from service.domain.identifiers import effect_key
from service.domain.packs import PackSet
from service.domain.plans import PlanStep, ToolCall
from service.domain.stages import Advance, CallResult, advance, after_call
from service.domain.stages.tool import PlanMissingError
from service.engine.batch import Reference
from service.engine.decisions import completed_orders, encode_move
from service.engine.effect_ledger import Permission, judge_effect, lease_until
from service.engine.failures import Failure
from service.engine.results import EarlyError, Retry
from service.errors import PermanentError, TransientError
from service.persistence.stages import Effect, LoadedException
from service.tools.calls import Answer, ToolResult


class ToolUnavailableError(TransientError):
    """A tool did not work a call, and may work it later."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; it is called again by itself")


class ToolRefusedError(PermanentError):
    """A tool refused a call, and would refuse it again."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; correct the payload, the pack or the tool, then redrive")


@dataclass(frozen=True, slots=True)
class Flight:
    """One call: whose it is, which step it carries out, and the attempt that fences its answer."""

    reference: Reference
    record: ExceptionRecord
    packs: PackSet
    plan_id: UUID
    step: PlanStep
    key: str
    attempt: int

    @property
    def call(self) -> ToolCall:
        """What to call."""
        assert self.step.tool_call is not None
        return self.step.tool_call


@dataclass(slots=True)
class Turn:
    """Decisions of one statement, and what follows once they are applied."""

    now: datetime
    effects: Mapping[str, Effect]
    decisions: list[dict[str, Any]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def begin(self, reference: Reference, loaded: LoadedException, packs: PackSet) -> None:
        """Take an exception from where its plan is to the first call, a person, or the end."""
        try:
            if loaded.plan_id is None:
                raise PlanMissingError
            reached = advance(loaded.record, packs, loaded.plan_id, self.now)
        except PermanentError as error:
            self.failures.append(Failure(reference, error))
            return
        self._follow(reference, loaded.record, packs, loaded.plan_id, reached, {})

    def early(self, references: Iterable[Reference]) -> None:
        """Deliveries whose exception is not here yet."""
        self.retries += [Retry(reference, EarlyError(reference)) for reference in references]

    def land(self, flight: Flight, result: ToolResult) -> None:
        """Go on from a call's answer."""
        settle = {"settle_key": flight.key, "settle_attempt": flight.attempt, "settle_error": result.error}
        if result.answer is Answer.CONFIRMED:
            answer = CallResult("ok", result.output)
            reached = after_call(flight.record, flight.packs, flight.plan_id, flight.step, answer, self.now)
            settle |= {"settle_state": "confirmed", "settle_output": result.output}
            self._follow(flight.reference, flight.record, flight.packs, flight.plan_id, reached, settle)
            return
        cause = result.error or "no reason given"
        if result.answer is Answer.TRANSIENT:
            settle["settle_state"] = "intent"
            error = ToolUnavailableError(cause)
            self.retries.append(Retry(flight.reference, error, result.retry_after_seconds, flight.call.max_retries))
        elif result.answer is Answer.PERMANENT:
            settle["settle_state"] = "failed"
            self.failures.append(Failure(flight.reference, ToolRefusedError(cause)))
        else:
            settle["settle_state"] = "unknown"
        finished = Status.PENDING_STEP if result.answer is Answer.UNANSWERED else None
        self._failed(flight.reference, flight.record, flight.step, cause, settle, finished)

    def _follow(
        self,
        reference: Reference,
        record: ExceptionRecord,
        packs: PackSet,
        plan_id: UUID,
        reached: Advance,
        settle: dict[str, Any],
    ) -> None:
        """Turn how far a plan got into a decision, and a flight if a call is next."""
        decision = encode_move(record, reference.attempt, reached.events, reached.changes)
        decision |= {
            "steps_plan_id": plan_id,
            "completed": completed_orders(reached.steps),
            "finished": reached.finished,
        }
        decision |= settle
        step = next(iter(reached.calls), None)
        if step is None or step.tool_call is None:
            self.decisions.append(decision)
            return
        key = effect_key(plan_id, step.path)
        judgement = judge_effect(self.effects.get(key), step.tool_call, self.now)
        if judgement.permission is Permission.SEND:
            self._send(decision, Flight(reference, record, packs, plan_id, step, key, judgement.attempt))
        elif judgement.permission is Permission.HELD:
            self._held(reference, self.effects[key])
        elif judgement.permission is Permission.ADOPT:
            output = self.effects[key].output
            reached = after_call(record, packs, plan_id, step, CallResult("ok", output), self.now)
            self._follow(reference, record, packs, plan_id, reached, settle)
        else:
            cause = "it was sent and its answer is not known; complete the step once you know what the tool did"
            lost = {"settle_key": key, "settle_attempt": self.effects[key].attempt, "settle_state": "unknown"}
            known = self.effects[key].state == "unknown"
            self._failed(reference, record, step, cause, {} if known else lost, Status.PENDING_STEP)

    def _send(self, decision: dict[str, Any], flight: Flight) -> None:
        decision |= {
            "send_key": flight.key,
            "send_step": flight.step.order,
            "send_tool": flight.call.tool,
            "send_attempt": flight.attempt,
            "send_lease_until": lease_until(flight.call, self.now),
        }
        self.decisions.append(decision)
        self.flights.append(flight)

    def _held(self, reference: Reference, effect: Effect) -> None:
        assert effect.lease_until is not None
        due = (effect.lease_until - self.now).total_seconds()
        self.retries.append(Retry(reference, EarlyError(reference), due_in_seconds=due))

    def _failed(
        self,
        reference: Reference,
        record: ExceptionRecord,
        step: PlanStep,
        cause: str,
        settle: dict[str, Any],
        finished: Status | None,
    ) -> None:
        """Note a call that did not come to a good end; `finished` when a person has to decide what it did."""
        assert step.tool_call is not None
        data = {"tool": step.tool_call.tool, "stepOrder": step.order, "error": cause}
        if finished is not None:
            data["effect"] = "unknown"
        decision = encode_move(record, reference.attempt, (NewEvent(EventType.TOOL_EXECUTION_FAILED, data),))
        self.decisions.append(decision | {"finished": finished} | settle)
