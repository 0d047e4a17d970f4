"""How the rules are carried out, and how an example comes to rest: the part of the machine that has no choices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.domain.exceptions import InputType, Stage, Status
from service.engine.reconciliation import Kind as Found
from service.tools.calls import Answer, ToolResult
from tests.integration.model.book import AT_REST, BrokenLawError, Subject, Touch
from tests.integration.model.comparing import Compared
from tests.integration.model.kinds import Kind, body
from tests.integration.model.parts import ProcessDiedError
from tests.integration.model.world import Delivery, Message, Out
from tests.tenants import TestTenant

ROUNDS_TO_REST = 80

_NEVER = (Found.GATE_CLOSED, Found.HOLD_LOST, Found.LANE_UNKNOWN)
"""What the reconciler mends and the engine must not bring about, whatever the broker and workers do."""


class Play(Compared):
    """One example, without its rules."""

    def teardown(self) -> None:
        """Deliver everything, let time pass, reconcile: all comes to rest."""
        if sys.exc_info()[0] is not None or not self.book.subjects:
            return
        self.parts.mortality.left = None
        self.parts.admission.closed.clear()
        for _ in range(ROUNDS_TO_REST):
            if self._settled():
                break
            self._calm_round()
        else:
            raise BrokenLawError(f"L6 rest: it never came to rest\n{self._unsettled()}")
        self._rests()
        self.clean = True

    def _rests(self) -> None:
        for subject in self.book.subjects.values():
            self.ends[f"{subject.kind.name} {subject.seen.status}"] += 1
            left = self.book.snapshot.waits(subject.exception_id)
            fenced = subject.seen.status == Status.DEAD_LETTERED
            if left and not fenced:
                raise BrokenLawError(f"L6 outbox: {left} is left of\n  {subject.told()}")

    def _submit(self, kind: Kind, tenant: int, dies: int | None, again: bool) -> None:
        name = f"e{len(self.book.subjects) + 1}"
        key = self._key()
        owner = self.tenants[tenant]
        answer = self._post(owner, "/exceptions", body(kind, len(self.book.subjects)), key, dies)
        assert answer.status_code == 202, answer.text
        subject = Subject(name, UUID(answer.json["exceptionId"]), owner.tenant_id, kind)
        self.book.accept(subject)
        if again:
            repeated = self._post(owner, "/exceptions", body(kind, len(self.book.subjects) - 1), key, None)
            assert repeated.json["exceptionId"] == str(subject.exception_id), "a repeated request made a new exception"
        self._counted("submit")

    def _dispatch(self, dies: int | None, *, far: bool) -> None:
        known = set(self.world.bag)
        with self._mortal(dies):
            self.world.dispatch()
        self._counted("dispatch")
        for following in [message for message in self.world.bag if message not in known] if far else ():
            self._follow(following)

    def _follow(self, first: Message) -> None:
        following: Message | None = first
        while following is not None:
            following = self._deliver(following, None)
            self._look()

    def _answer(self, data: st.DataObject, how: str, arrives: bool, dies: int | None) -> None:
        out = data.draw(st.sampled_from(self._waiting()), "call")
        self._call(out, how)
        self._counted(how)
        if arrives:
            delivery = next(one for one in self.world.deliveries if out in one.outs)
            self._land(delivery, [one for one in delivery.outs if one.result is not None], dies)

    def _deliver(self, message: Message, dies: int | None) -> Message | None:
        places = [(r, (r.sequence, int(message.stage))) for r in message.batch.references]
        self.history.append(message)
        following = None
        with self._mortal(dies) as lived:
            following = self.world.work(message)
        if not lived:
            for delivery in [d for d in self.world.deliveries if d.message is message]:
                self.world.die(delivery)
        for reference, place in places:
            mine = self.book.subjects.get(reference.exception_id)
            if mine is not None and mine.tenant_id == reference.tenant_id:
                self.touches[reference.exception_id] = Touch(delivered=place, must=bool(lived))
        self._counted("deliver")
        return following

    def _land(self, delivery: Delivery, outs: list[Out], dies: int | None) -> None:
        with self._mortal(dies) as lived:
            self.world.land(delivery, outs)
        if not lived:
            for out in delivery.outs:
                self._call(out, "never")
            self.world.die(delivery)
        for one in delivery.message.batch.references:
            self.touches[one.exception_id] = Touch(delivered=(one.sequence, int(Stage.TOOL)))
        self._counted("land")

    def _call(self, out: Out, how: str) -> None:
        """What a tool does about a call, and what its caller hears of it."""
        if out.result is not None:
            return
        key, call = out.flight.key, out.flight.call
        subject = self.book.subjects[out.flight.reference.exception_id]
        sequence = out.flight.reference.sequence
        if call.idempotent:
            self.book.tolerant.add(key)
        if how in ("works", "in vain") and not (call.idempotent and self.book.worked[key]):
            self.book.worked[key] += 1
        lost = Answer.TRANSIENT if call.idempotent else Answer.UNANSWERED
        answers = {
            "works": Answer.CONFIRMED, "refuses": Answer.PERMANENT, "busy": Answer.TRANSIENT,
            "full": Answer.NOT_SENT, "in vain": lost, "never": lost,
        }  # fmt: skip
        answer = answers[how]
        if answer is Answer.PERMANENT:
            subject.deadly.add(sequence)
        if answer is Answer.TRANSIENT:
            subject.failures[sequence] += 1
            if subject.failures[sequence] > call.max_retries:
                subject.deadly.add(sequence)
        output = {"of": out.flight.step.path} if answer is Answer.CONFIRMED else None
        out.result = ToolResult(key, answer, output, error=None if output else how)

    def _settle(self, subject: Subject, agrees: bool, dies: int | None) -> None:
        """A person completes the step that waits, or says what became of an effect."""
        unknown = [
            (key, effect)
            for key, effect in sorted(self.book.snapshot.effects.items(), key=lambda item: str(item[1].step))
            if effect.exception_id == subject.exception_id and effect.state == "unknown" and self._in_force(effect)
        ]
        if unknown:
            key, _effect = unknown[0]
            happened = self.book.worked[key] > 0
            verdict = "done" if happened else ("resend" if agrees else "not_done")
            said = {"verdict": verdict, "comment": "I asked them"}
            self._say(subject, f"effects/{key}/resolve", said, InputType.EFFECT_RESOLVED, dies)
        elif subject.kind.name == "MANUAL":
            self._say(subject, "steps/1/complete", {"answer": {"seen": True}}, InputType.STEP_COMPLETED, dies)

    def _judge(self, subject: Subject, verb: str, said: dict[str, Any], touch: Touch, dies: int | None) -> None:
        """A person sends a dead letter again, or discards it."""
        owner = next(t for t in self.tenants if t.tenant_id == subject.tenant_id)
        letter = self.book.snapshot.letters[subject.exception_id, subject.seen.sequence]
        answer = self._post(owner, f"/dlq/{letter}/{verb}", said, self._key(), dies)
        if answer.status_code == 202:
            self.touches[subject.exception_id] = touch
        else:
            assert answer.status_code == 409, answer.text
        self._counted(verb)

    def _in_force(self, effect: Any) -> bool:
        return bool(self.book.snapshot.plans[effect.exception_id].plan_id == effect.plan_id)

    def _say(self, subject: Subject, path: str, said: dict[str, Any], kind: InputType, dies: int | None) -> None:
        owner = next(t for t in self.tenants if t.tenant_id == subject.tenant_id)
        answer = self._post(owner, f"/exceptions/{subject.exception_id}/{path}", said, self._key(), dies)
        if answer.status_code == 202:
            subject.inputs.append(kind)
            if answer.json["sequence"] != len(subject.inputs):
                raise BrokenLawError(f"L3 order: answered sequence {answer.json['sequence']} to\n  {subject.told()}")
            self.touches[subject.exception_id] = Touch(told=kind)
        else:
            assert answer.status_code == 409, answer.text
        self._counted(path.split("/")[0])

    def _post(self, owner: TestTenant, path: str, said: dict[str, Any], key: str, dies: int | None) -> TestResponse:
        """A call of the API; a caller who heard nothing calls again with the same key."""

        def send() -> TestResponse:
            headers = {"X-API-KEY": owner.key, "Idempotency-Key": key}
            return self.parts.client.post(path, json=said, headers=headers)

        with self._mortal(dies) as lived:
            answer = send()
        return answer if lived else send()

    @contextmanager
    def _mortal(self, dies: int | None) -> Iterator[list[bool]]:
        """A process that may die on the way; the list is empty when it did."""
        lived = [True]
        self.parts.mortality.left = dies
        try:
            yield lived
        except ProcessDiedError:
            lived.clear()
        finally:
            self.parts.mortality.left = None

    def _pass(self, seconds: float) -> None:
        self.parts.now += timedelta(seconds=seconds)
        for delivery in self.world.deliveries:
            for out in delivery.outs:
                if out.result is None and out.until < self.world.now:
                    self._call(out, "never")

    def _settled(self) -> bool:
        """Nothing is under way, and nothing will be."""
        if self.world.bag or self.world.deliveries:
            return False
        waits = self.book.snapshot.waits
        moving = [s for s in self.book.subjects.values() if s.seen.status in (Status.RECEIVED, Status.IN_PROGRESS)]
        timed = [s for s in self.book.subjects.values() if s.kind.name == "TIMED" and s.seen.status == Status.WAITING]
        left = [s for s in self.book.subjects.values() if any(waits(s.exception_id).values())]
        return not (moving or timed or left)

    def _calm_round(self) -> None:
        """What goes on by itself when nothing is broken any more."""
        while self.world.deliveries or self.world.due():
            for delivery in list(self.world.deliveries):
                for out in delivery.outs:
                    self._call(out, "works")
                self._land(delivery, list(delivery.outs), None)
                self._look()
            for message in self.world.due():
                self._deliver(message, None)
                self._look()
        while self.world.dispatch():
            pass
        if not self.world.due():
            self._pass(61)
            self.world.fire_timers()
            self._all_touched(Touch(fired=True))
            self._look()
            self._reconcile()
        self._look()

    def _reconcile(self) -> None:
        """It makes ready what was lost; what is not has nothing for it to mend."""
        report = self.world.reconcile()
        self._all_touched(Touch(noted=True))
        mended = {kind: count for kind, count in report.made_ready.items() if kind in _NEVER}
        if mended or any(fault.found for fault in report.faults if fault.kind == Found.IMPOSSIBLE_STATE):
            raise BrokenLawError(f"L1 lost: the reconciler found {report}")

    def _unsettled(self) -> str:
        told = [one.told() for one in self.book.subjects.values() if one.seen.stage != AT_REST]
        return "\n".join([*map(repr, self.world.bag), *map(repr, self.world.deliveries), *told])

    def _asked(self) -> list[Subject]:
        """Exceptions that wait for a person."""
        waits = (Status.PENDING_APPROVAL, Status.PENDING_STEP)
        return [one for one in self.book.subjects.values() if one.seen.stage == AT_REST and one.seen.status in waits]

    def _dead(self) -> list[Subject]:
        """Exceptions that a dead letter fences."""
        return [one for one in self.book.subjects.values() if one.seen.status == Status.DEAD_LETTERED]

    def _waiting(self) -> list[Out]:
        """Calls that their tool may still get."""
        return [out for d in self.world.deliveries for out in d.outs if out.result is None]

    def _answered(self) -> list[Delivery]:
        return [d for d in self.world.deliveries if any(out.result is not None for out in d.outs)]

    def _key(self) -> str:
        self.keys += 1
        return f"{self.example}-{self.keys}"
