"""A cluster and its clock on paper: topics as lists, movers that can be killed, confirmations that come or do not.

What surrounds the mover here follows ``consumer.py``: records are read in order from partitions that are not paused,
the ledger's progress is committed, and whoever takes over begins where the commit says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from service.transport.consuming.assignments import Assignment
from service.transport.consuming.offsets import Progress
from service.transport.counters import Counters
from service.transport.delays.mover import Mover
from service.transport.delays.route import SLOTS, Route, park
from service.transport.errors import PublishFailed, PublishRefused
from service.transport.names import Names
from service.transport.options import Options
from service.transport.publishing import Delivery
from service.transport.records import Arrival, Record

START = 1_000_000.0
TARGET = "triage"
Place = tuple[str, int]


@dataclass
class Log:
    """What the topics hold. Trimmed records are None."""

    records: dict[Place, list[Record | None]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[Place, Progress] = field(default_factory=dict)
    arrived: list[tuple[float, Record]] = field(default_factory=list)
    """What came to the target, and when."""
    kept_aside: list[Record] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """Topics that do not exist (any more)."""
    narrow: set[str] = field(default_factory=set)
    """Topics that refuse every record as too large."""
    silent: set[str] = field(default_factory=set)
    """Topics without a leader: nothing is confirmed."""

    def write(self, topic: str, partition: int, record: Record, now: float) -> None:
        if topic.endswith("_poison"):
            self.kept_aside.append(record)
        elif "_" not in topic:
            self.arrived.append((now, record))
        else:
            self.records[topic, max(0, partition)].append(record)

    def refusal(self, topic: str) -> KafkaError | None:
        if topic in self.missing:
            return KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        return KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if topic in self.narrow else None


class FakePublisher:
    """Writes when it is told to: :meth:`confirm` is what a broker does."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self.log = log
        self.clock = clock
        self.away = False
        self.at_once = False
        self.open: list[tuple[Delivery, Callable[[Delivery], Any] | None]] = []
        self.sent: list[tuple[str, Record]] = []

    def send(
        self, topic: str, record: Record, then: Callable[[Delivery], Any] | None = None, partition: int = -1
    ) -> Delivery:
        if self.away:
            raise PublishFailed(topic, "away")
        self.sent.append((topic, record))
        self.open.append((Delivery(topic, record, then, partition=partition), then))
        return self.open[-1][0]

    def publish(self, topic: str, record: Record, timeout: float | None = None) -> None:
        if self.away:
            raise PublishFailed(topic, "away")
        refusal = self.log.refusal(topic)
        if refusal is not None:
            raise PublishRefused(topic, refusal.str())
        self.log.write(topic, 0, record, self.clock())

    def confirm(self, error: KafkaError | None = None, stored: bool = True, at_most: int = 10**9) -> None:
        """Answer what is open, oldest first; what goes to a silent topic stays open."""
        answered = [entry for entry in self.open if entry[0].topic not in self.log.silent][:at_most]
        self.open = [entry for entry in self.open if entry not in answered]
        for delivery, then in answered:
            delivery.error = error or self.log.refusal(delivery.topic)
            if stored and (delivery.error is None or delivery.error is error):
                self.log.write(delivery.topic, delivery.partition, delivery.record, self.clock())
            if then is not None:
                then(delivery)

    def serve(self, timeout: float = 0.0) -> None:
        if self.at_once:
            self.confirm()


class FakeTopics:
    """Deletes what it is asked to delete, and remembers it."""

    def __init__(self, log: Log, partitions: Mapping[str, int]) -> None:
        self.log = log
        self.counts = partitions
        self.trimmed: list[tuple[str, int, int]] = []
        self.refusal: Exception | None = None

    def known_partitions(self, topic: str) -> int:
        return self.counts.get(topic, SLOTS)

    def ensure(self, topics: Collection[str], *_args: Any, **_kwargs: Any) -> None:
        self.log.missing.difference_update(topics)

    def trim(self, bounds: list[TopicPartition]) -> dict[TopicPartition, Future[Any]]:
        answers: dict[TopicPartition, Future[Any]] = {}
        for bound in bounds:
            answers[bound] = answer = Future()
            if self.refusal is not None:
                answer.set_exception(self.refusal)
                continue
            answer.set_result(None)
            self.trimmed.append((bound.topic, bound.partition, bound.offset))
            records = self.log.records[bound.topic, bound.partition]
            records[: bound.offset] = [None] * min(bound.offset, len(records))
        return answers


class World:
    """Time, the log, and the movers."""

    def __init__(self, options: Options, soon_partitions: int = SLOTS) -> None:
        self.now = START
        self.options = options
        self.names = Names(options.topic_prefix)
        self.route = Route(options, self.names)
        self.log = Log()
        counts = {self.route.soon: soon_partitions, **dict.fromkeys(self.route.levels, 1)}
        self.topics = FakeTopics(self.log, counts)
        self.places: list[Place] = [(topic, part) for topic, count in counts.items() for part in range(count)]
        self.hosts: list[Host] = []

    def clock(self) -> float:
        return self.now

    def publish(
        self, delay: float, name: str = "m", target: str = TARGET, key: bytes = b"k", due: float = 0.0
    ) -> float:
        """Publish as ``parking.py`` does; return when it is due."""
        due = due or self.now + delay
        record = Record(key, name.encode(), [("due", repr(due).encode())])
        step = self.route.step(due, self.now)
        if step is None:
            self.log.write(target, 0, record, self.now)
        else:
            partition = 0 if step.slot is None else step.slot % self.topics.known_partitions(step.topic)
            self.log.write(step.topic, partition, park(record, target, due, step.release), self.now)
        return due

    def host(self) -> Host:
        """Start a mover."""
        self.hosts.append(Host(self))
        return self.hosts[-1]

    def share(self) -> None:
        """Let the movers share the partitions, as a group does."""
        wanted = {place: self.hosts[number % len(self.hosts)] for number, place in enumerate(self.places)}
        for host in self.hosts:
            host.give_back([place for place in host.owned if wanted[place] is not host])
        for place, host in wanted.items():
            host.take(place)

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + step)
            for host in self.hosts:
                host.round()

    @property
    def unmoved(self) -> int:
        """Records that no commit says are finished."""
        count = 0
        for place, records in self.log.records.items():
            progress = self.log.commits.get(place, Progress(0, ""))
            count += len(records) - progress.offset
        return count


class Host:
    """A process with a mover, as ``consumer.py`` drives it."""

    def __init__(self, world: World, batch: int = 20) -> None:
        self.world = world
        self.batch = batch
        self.publisher = FakePublisher(world.log, world.clock)
        self.answers: Callable[[FakePublisher], None] = FakePublisher.confirm
        cluster: Any = SimpleNamespace(
            publisher=self.publisher,
            counters=Counters(),
            topics=world.topics,
            options=world.options,
            names=world.names,
            route=world.route,
        )
        self.counters = cluster.counters
        self.mover = Mover(cluster, lambda error: None, clock=world.clock)
        self.owned: dict[Place, Assignment] = {}
        self.position: dict[Place, int] = {}
        self.most_held = 0

    def take(self, place: Place) -> None:
        if place not in self.owned:
            progress = self.world.log.commits.get(place)
            known = (progress.offset, progress.metadata) if progress else (None, None)
            self.owned[place] = Assignment(*place, *known)
            self.position[place] = progress.offset if progress else 0

    def give_back(self, places: list[Place]) -> None:
        """A rebalance, or the end of the process in good order."""
        going = [self.owned[place] for place in places]
        self.publisher.at_once = self.answers is FakePublisher.confirm
        self.mover.leaving(going, 0.0)
        self.publisher.at_once = False
        self.commit(going)
        for assignment in going:
            assignment.retire()
        self.mover.left(going)
        for place in places:
            del self.owned[place]

    def kill(self, stored: bool) -> None:
        """End without a word. What was sent and not confirmed is ``stored``, or is not."""
        self.world.hosts.remove(self)
        if stored:
            for delivery, _ in self.publisher.open:
                if self.world.log.refusal(delivery.topic) is None:
                    self.world.log.write(delivery.topic, delivery.partition, delivery.record, self.world.now)

    def round(self) -> None:
        self.mover.turn()
        paused = self.mover.congested()
        self.commit(list(self.owned.values()))
        for place, assignment in self.owned.items():
            if place not in paused:
                self._read(place, assignment)
        self.most_held = max(self.most_held, int(self.mover.levels()["delayed_held_messages"]))
        self.mover.turn()
        self.answers(self.publisher)

    def commit(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            progress = assignment.to_commit()
            if progress is not None:
                self.world.log.commits[assignment.topic, assignment.partition] = progress
                assignment.commit_done(progress.offset)

    def _read(self, place: Place, assignment: Assignment) -> None:
        records = self.world.log.records[place]
        for _ in range(self.batch):
            offset = self.position[place]
            if offset >= len(records):
                return
            self.position[place] = offset + 1
            record = records[offset]
            if record is not None and assignment.receive(offset):
                self.mover.accept(assignment, Arrival(*place, offset, record.key, record.value, record.headers))
