"""The rules: everything that sources, people, workers, tools, the broker and time may do, in any order.

Hypothesis chooses. After every step the book compares the database with what it knows; at the end everything is
delivered, time passes, the reconciler looks, and every exception has to rest where the model allows it.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from service.domain.exceptions import InputType, Status
from service.engine.batch import Batch
from service.persistence.queries import ledger_of
from service.persistence.unit_of_work import unit_of_work
from tests.integration.engine.plans import AGAIN, ONCE
from tests.integration.model.book import Touch
from tests.integration.model.kinds import KINDS, SIGNAL, Kind
from tests.integration.model.play import Play
from tests.integration.model.world import forged

MOST_EXCEPTIONS = 8
TENANTS = 2
STAGES = ["intake", "triage", "policy", "playbook", "tool"]

DEATH = st.one_of(st.none(), st.none(), st.integers(0, 4))
"""At which moment of the step its process dies; None: it lives."""

FAILURES = ["in vain", "in vain", "refuses", "busy", "full"]
"""What may become of a call: "in vain", it is worked and its answer is lost; "full", it never left its worker."""

ALWAYS = ("BROKEN", "BOTH")
WORKED = [True, True, True, False]

ELSEWHERE: list[int | str] = [1, 20, 45, 400, 2000, "fire", "fire", "reconcile", "reconcile", ONCE, AGAIN]
"""Seconds that pass, chores, and tools whose circuit breaker opens, or closes."""


class Model(Play):
    """One example."""

    @initialize(kinds=st.lists(st.sampled_from(KINDS), max_size=2), worked=st.sampled_from(WORKED))
    def begin(self, kinds: list[Kind], worked: bool) -> None:
        """A clock, books that are balanced before, and some exceptions to begin with.

        One becomes a dead letter, and one has calls. Most often all are worked as far as they go without anybody: so
        much may happen from the beginning on that would be rare.
        """
        kinds = [kind for kind in KINDS if kind.name in ALWAYS] + kinds
        self.parts.begin(self.began)
        with unit_of_work(self.parts.system) as transaction:
            self.before = {t.tenant_id: ledger_of(transaction, t.tenant_id).accepted for t in self.tenants}
        for number, kind in enumerate(kinds):
            self._submit(kind, number % TENANTS, None, False)
        if worked:
            self._dispatch(None, far=True)

    # What sources and people do

    @precondition(lambda self: len(self.book.subjects) < MOST_EXCEPTIONS)
    @rule(kind=st.sampled_from(KINDS), tenant=st.integers(0, TENANTS - 1), dies=DEATH, again=st.booleans())
    def submit(self, kind: Kind, tenant: int, dies: int | None, again: bool) -> None:
        """A source posts an exception, and posts it again when it heard nothing, or by mistake."""
        self._submit(kind, tenant, dies, again)

    @precondition(lambda self: self.book.subjects)
    @rule(data=st.data(), what=st.sampled_from(["updated", "comment", SIGNAL, "cancel"]), dies=DEATH)
    def tell(self, data: st.DataObject, what: str, dies: int | None) -> None:
        """A later input arrives at any time."""
        subject = data.draw(st.sampled_from(list(self.book.subjects.values())), "exception")
        if what == "cancel":
            self._say(subject, "cancel", {"reason": "no more"}, InputType.CANCELLED, dies)
            return
        contents = {"updated": {"price": 2}, "comment": {"text": "hm"}, SIGNAL: {}}
        types = {"updated": InputType.UPDATED, "comment": InputType.COMMENT, SIGNAL: InputType.SIGNAL}
        self._say(subject, "events", {"type": what, "data": contents[what]}, types[what], dies)

    @precondition(lambda self: self._asked())
    @rule(data=st.data(), agrees=st.booleans(), dies=DEATH)
    def decide(self, data: st.DataObject, agrees: bool, dies: int | None) -> None:
        """A person decides what waits for one, and tells the truth about effects."""
        subject = data.draw(st.sampled_from(self._asked()), "exception")
        if subject.seen.status == Status.PENDING_APPROVAL:
            verb, kind = ("approve", InputType.APPROVED) if agrees else ("reject", InputType.REJECTED)
            self._say(subject, verb, {"comment": "I looked"}, kind, dies)
            return
        self._settle(subject, agrees, dies)

    @precondition(lambda self: self._dead())
    @rule(data=st.data(), stage=st.sampled_from([None, None, *STAGES]), dies=DEATH)
    def redrive(self, data: st.DataObject, stage: str | None, dies: int | None) -> None:
        """A person sends a dead letter again, from where it failed or from an earlier stage."""
        subject = data.draw(st.sampled_from(self._dead()), "exception")
        said = {"reason": "it was mended"} | ({} if stage is None else {"fromStage": stage})
        self._judge(subject, "redrive", said, Touch(redriven=True), dies)

    @precondition(lambda self: self._dead())
    @rule(data=st.data(), dies=DEATH)
    def discard(self, data: st.DataObject, dies: int | None) -> None:
        """A person gives a dead letter up."""
        subject = data.draw(st.sampled_from(self._dead()), "exception")
        self._judge(subject, "discard", {"reason": "nobody needs it"}, Touch(discarded=True), dies)

    # What the product's processes do

    @rule(dies=DEATH, far=st.booleans())
    def dispatch(self, dies: int | None, far: bool) -> None:
        """A dispatcher looks; what it sends is worked at once, as far as its chains lead, or later."""
        self._dispatch(dies, far=far)

    @precondition(lambda self: self.world.due())
    @rule(data=st.data(), dies=DEATH)
    def deliver(self, data: st.DataObject, dies: int | None) -> None:
        """One message reaches a worker."""
        self._deliver(data.draw(st.sampled_from(self.world.due()), "message"), dies)

    @precondition(lambda self: self.world.due())
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """A message and all that follow it in its chain, at once."""
        self._follow(data.draw(st.sampled_from(self.world.due()), "message"))

    @precondition(lambda self: self.world.bag)
    @rule(data=st.data(), what=st.sampled_from(["double", "lose", "delay", "forge"]))
    def broker(self, data: st.DataObject, what: str) -> None:
        """What a broker may do to a message."""
        message = data.draw(st.sampled_from(self.world.bag), "message")
        if what == "lose":
            self.world.bag.remove(message)
        elif what == "delay":
            message.due = self.world.now + timedelta(minutes=3)
        elif what == "double":
            self.world.put(message.stage, message.batch)
        else:
            stranger = {t.tenant_id for t in self.tenants}
            names = [forged(r, min(stranger - {r.tenant_id})) for r in message.batch.references]
            self.world.put(message.stage, Batch(tuple(names)))
        self._counted(what)

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """A topic is read again: a message of long ago comes once more."""
        old = data.draw(st.sampled_from(self.history[-30:]), "message")
        self.world.put(old.stage, old.batch)
        self._counted("replay")

    # What tools and their callers do

    @precondition(lambda self: self._waiting())
    @rule(data=st.data(), arrives=st.booleans(), dies=DEATH)
    def answer(self, data: st.DataObject, arrives: bool, dies: int | None) -> None:
        """A tool works a call; its worker hears of it at once, or later."""
        self._answer(data, "works", arrives, dies)

    @precondition(lambda self: self._waiting())
    @rule(data=st.data(), how=st.sampled_from(FAILURES), arrives=st.booleans(), dies=DEATH)
    def fail(self, data: st.DataObject, how: str, arrives: bool, dies: int | None) -> None:
        """A tool does not work a call, or its worker does not hear that it did."""
        self._answer(data, how, arrives, dies)

    @precondition(lambda self: self._answered())
    @rule(data=st.data(), dies=DEATH)
    def land(self, data: st.DataObject, dies: int | None) -> None:
        """Answers arrive at the worker that waits for them."""
        delivery = data.draw(st.sampled_from(self._answered()), "delivery")
        there = [out for out in delivery.outs if out.result is not None]
        count = data.draw(st.integers(1, len(there)), "how many") if len(there) > 1 else 1
        self._land(delivery, there[:count], dies)

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A worker's calls are all worked, one after the other, until its delivery is over."""
        delivery = data.draw(st.sampled_from([d for d in self.world.deliveries if d.outs]), "delivery")
        while delivery in self.world.deliveries and delivery.outs:
            for out in delivery.outs:
                self._call(out, "works")
            self._land(delivery, list(delivery.outs), None)
            self._look()

    @precondition(lambda self: self.world.deliveries)
    @rule(data=st.data(), worked=st.booleans(), zombie=st.booleans())
    def lose_worker(self, data: st.DataObject, worked: bool, zombie: bool) -> None:
        """A worker with calls out is killed, or only believed to be."""
        delivery = data.draw(st.sampled_from(self.world.deliveries), "delivery")
        if zombie:
            self.world.put(delivery.message.stage, delivery.message.batch)
        else:
            for out in delivery.outs:
                self._call(out, "works" if worked else "never")
            self.world.die(delivery)
        self._counted("lose_worker")

    # What time does

    @rule(what=st.sampled_from(ELSEWHERE), dies=DEATH)
    def elsewhere(self, what: int | str, dies: int | None) -> None:
        """Seconds pass; timers fire and held work is made ready; the reconciler looks; a breaker opens, or closes."""
        if isinstance(what, int):
            self._pass(what)
        elif what == "fire":
            with self._mortal(dies):
                self.world.fire_timers()
            self._all_touched(Touch(fired=True))
        elif what == "reconcile":
            self._reconcile()
        else:
            self.parts.admission.closed ^= {what}
        self._counted("wait" if isinstance(what, int) else what)
