"""One example's broker and workers: a bag of messages, deliveries with calls that are out, and what becomes of them.

Everything that decides is the product's own (`parts`). What is played is what lies between: which message is
delivered, doubled, delayed or lost; whether a tool works a call; and who lives to hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service.domain.exceptions import Stage
from service.engine import reconciliation
from service.engine.batch import Batch, Reference
from service.engine.course import Flight
from service.engine.reconciliation import Report
from service.engine.results import Retry
from service.persistence import holds
from service.persistence.redriving import DeadLetterDesk, tenants_redriving
from service.persistence.unit_of_work import unit_of_work
from service.tools.calls import ToolResult
from tasks.retrying import give_up_exhausted, next_attempt, schedule
from tests.integration.model.kinds import Told
from tests.integration.model.parts import Parts

RECONCILE_AFTER_SECONDS = 30.0

_OVERDUE = """
UPDATE outbox SET due_at = now() - interval '1 second' WHERE due_at <= %(now)s
"""


@dataclass(eq=False)
class Message(Told):
    """A message in the broker: a batch at a stage."""

    number: int
    stage: Stage
    batch: Batch
    name: Any
    due: datetime | None = None

    def __repr__(self) -> str:
        """As stories show it."""
        return f"m{self.number} {self.stage.queue} {'+'.join(map(self.name, self.batch.references))}"


@dataclass(eq=False)
class Out(Told):
    """A call that is out."""

    flight: Flight
    until: datetime
    """When its client gives up waiting: later the tool does not get it."""
    name: Any
    result: ToolResult | None = None

    def __repr__(self) -> str:
        """As stories show it."""
        return f"{self.name(self.flight.reference)} step {self.flight.step.path} attempt {self.flight.attempt}"


@dataclass(eq=False)
class Delivery(Told):
    """A message that a worker has at its tool stage."""

    message: Message
    outs: list[Out]
    retries: list[Retry]

    def __repr__(self) -> str:
        """As stories show it."""
        return f"delivery of {self.message!r} waiting for {self.outs!r}"


@dataclass
class World:
    """One example's broker and workers."""

    parts: Parts
    name: Any
    """How stories call a reference."""
    bag: list[Message] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    late: list[Out] = field(default_factory=list)
    """Calls whose worker is dead; their answers are nobody's, unless a zombie has them."""
    _numbers: int = 0

    @property
    def now(self) -> datetime:
        """The clock."""
        return self.parts.now

    def put(self, stage: Stage, batch: Batch, due: datetime | None = None) -> Message:
        """Publish a message."""
        self._numbers += 1
        # PostgreSQL returns rows in no order; here it is that of their acceptance, in every run of an example.
        ordered = batch.of(sorted(batch.references, key=lambda one: (one.exception_id, one.sequence)))
        message = Message(self._numbers, stage, ordered, self.name, due)
        self.bag.append(message)
        return message

    def due(self) -> list[Message]:
        """Messages that may be delivered now."""
        return [message for message in self.bag if message.due is None or message.due <= self.now]

    def dispatch(self) -> bool:
        """A dispatcher looks once. What it sent is in the bag, also when it died before its commit."""
        try:
            return self.parts.dispatcher.dispatch_once()
        finally:
            for batch, stage in sorted(self.parts.sent, key=lambda one: (one[0].lane, one[1])):
                self.put(stage, batch)
            self.parts.sent.clear()

    def work(self, message: Message) -> Message | None:
        """A worker gets a message; the next link of its chain. Acknowledged only when all of it is done."""
        if message.stage is Stage.TOOL:
            self._start(message)
            return None
        result = self.parts.pipeline.run(message.stage, message.batch)
        self._failed(message.stage, result.retries)
        self.parts.mortality.moment()
        following = None
        if result.survivors:
            following = self.put(Stage(message.stage + 1), message.batch.onward(result.survivors))
        self.acknowledge(message)
        return following

    def acknowledge(self, message: Message) -> None:
        """The broker forgets it; a second copy is another message."""
        if message in self.bag:
            self.bag.remove(message)

    def land(self, delivery: Delivery, outs: Sequence[Out]) -> None:
        """Answers arrive together at the worker that waits for them."""
        answers = [(out.flight, out.result) for out in outs if out.result is not None]
        applied = self.parts.turns.land(answers)
        delivery.outs = [out for out in delivery.outs if out not in outs] + self._outs(applied.flights)
        delivery.retries += applied.retries
        self._end_if_over(delivery)

    def die(self, delivery: Delivery) -> None:
        """The worker is gone: its calls are nobody's, and its message comes again."""
        self.deliveries.remove(delivery)
        if delivery.message not in self.bag:
            self.bag.append(delivery.message)

    def fire_timers(self) -> None:
        """The dispatcher's chores: timers, held work, and redrives that are over."""
        self.parts.timers()
        with unit_of_work(self.parts.system) as transaction:
            # PostgreSQL's own clock says what is due, and the test cannot move that one.
            transaction.run(_OVERDUE, {"now": self.now})
            holds.wake(transaction)
            for tenant_id in tenants_redriving(transaction):
                DeadLetterDesk(transaction, tenant_id, self.now).settle(1000)

    def reconcile(self) -> Report:
        """The reconciler looks once."""
        return reconciliation.reconcile(self.parts.system, RECONCILE_AFTER_SECONDS, self.now)

    def _start(self, message: Message) -> None:
        applied = self.parts.turns.start(message.batch)
        delivery = Delivery(message, self._outs(applied.flights), list(applied.retries))
        # It stays unacknowledged, and so in the bag's keeping, until its calls are back.
        self.acknowledge(message)
        self.deliveries.append(delivery)
        self._end_if_over(delivery)

    def _end_if_over(self, delivery: Delivery) -> None:
        if delivery.outs:
            return
        self._failed(Stage.TOOL, delivery.retries)
        self.deliveries.remove(delivery)

    def _failed(self, stage: Stage, retries: Sequence[Retry]) -> None:
        """What becomes of failed attempts, as a stage task does it."""
        pipeline = self.parts.pipeline
        due = sorted(give_up_exhausted(pipeline, stage, retries), key=lambda one: one.reference.exception_id)
        scheduled = [schedule(stage, retry) for retry in due]
        pipeline.note_retries(stage, scheduled)
        for one in scheduled:
            self.parts.mortality.moment()
            self.put(stage, Batch.single(next_attempt(one.retry)), self.now + timedelta(seconds=one.delay_seconds))

    def _outs(self, flights: Iterable[Flight]) -> list[Out]:
        return [Out(one, self.now + timedelta(seconds=one.call.timeout_seconds), self.name) for one in flights]


def forged(reference: Reference, tenant_id: str) -> Reference:
    """A reference to an exception under a tenant's name whose it is not."""
    return Reference(tenant_id, reference.exception_id, reference.sequence, reference.attempt)
