"""The mover: what is due goes on, what is not waits, and nothing counts as moved before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from service.transport.assignments import Assignment
from service.transport.counters import Counters
from service.transport.delays import Route, park
from service.transport.errors import PublishFailed
from service.transport.mover import Mover
from service.transport.names import Names
from service.transport.options import Options
from service.transport.publishing import Delivery
from service.transport.records import Arrival, Record

START = 1_000_000.0
ROUTE = Route(Options(delay_levels=(60.0,)), Names())


class FakePublisher:
    """Keeps what was sent; confirms on demand."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Record]] = []
        self.open: list[tuple[Delivery, Callable[[Delivery], Any]]] = []
        self.away = False

    def send(self, topic: str, record: Record, then: Callable[[Delivery], Any]) -> Delivery:
        if self.away:
            raise PublishFailed(topic, "away")
        self.sent.append((topic, record))
        self.open.append((Delivery(topic, record), then))
        return self.open[-1][0]

    def confirm(self, error: KafkaError | None = None) -> None:
        for delivery, then in self.open:
            delivery.error = error
            then(delivery)
        self.open.clear()

    def serve(self, timeout: float = 0.0) -> None:
        pass


class Stage:
    """A mover with a clock one can turn, and partitions to fill."""

    def __init__(self) -> None:
        self.now = START
        self.publisher = FakePublisher()
        self.trimmed: list[tuple[str, int, int]] = []
        topics = SimpleNamespace(trim=self.note_trimmed)
        cluster: Any = SimpleNamespace(publisher=self.publisher, counters=Counters(), topics=topics)
        self.mover = Mover(cluster, ROUTE, lambda error: None, clock=lambda: self.now)

    def note_trimmed(self, bounds: list[TopicPartition]) -> None:
        self.trimmed += [(bound.topic, bound.partition, bound.offset) for bound in bounds]

    def arrive(self, assignment: Assignment, offset: int, due: float, release: float, key: bytes = b"k") -> None:
        assignment.receive(offset)
        record = park(Record(key, b"body", [("task", b"t")]), "triage", due, release)
        self.mover.accept(
            assignment,
            Arrival(assignment.topic, assignment.partition, offset, record.key, record.value, record.headers),
        )


def watermark(assignment: Assignment) -> int:
    progress = assignment.progress()
    assert progress is not None
    return progress.offset


def test_messages_leave_in_the_order_they_are_due_with_key_and_headers_as_published() -> None:
    stage, soon = Stage(), Assignment("_soon", 0, 0, None)
    # given two messages, the first to arrive due later
    stage.arrive(soon, 0, START + 5, START + 5)
    stage.arrive(soon, 1, START + 2, START + 2, key=b"first")
    assert stage.mover.turn() <= 2
    assert stage.publisher.sent == []
    # when the second is due
    stage.now = START + 2
    stage.mover.turn()
    # then it goes, as it was published
    assert stage.publisher.sent == [("triage", Record(b"first", b"body", [("task", b"t")]))]


def test_nothing_is_finished_before_its_copy_is_confirmed() -> None:
    stage, soon = Stage(), Assignment("_soon", 0, 0, None)
    stage.arrive(soon, 0, START, START)
    stage.mover.turn()
    assert watermark(soon) == 0
    stage.publisher.confirm()
    assert watermark(soon) == 1


def test_a_copy_that_was_not_stored_is_sent_again() -> None:
    stage, soon = Stage(), Assignment("_soon", 0, 0, None)
    stage.arrive(soon, 0, START, START)
    stage.publisher.away = True
    stage.mover.turn()
    stage.publisher.away = False
    stage.mover.turn()
    stage.publisher.confirm(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS))
    stage.mover.turn()
    stage.publisher.confirm()
    assert [topic for topic, _ in stage.publisher.sent] == ["triage", "triage"]
    assert watermark(soon) == 1


def test_a_level_is_paused_until_its_head_may_go_and_then_the_message_hops_on() -> None:
    stage, level = Stage(), Assignment("_wait.60000", 0, 0, None)
    # given a message that waits a minute on its level, and is due 5 s later
    stage.arrive(level, 0, START + 65, START + 60)
    assert ("_wait.60000", 0) in stage.mover.congested()
    # when the minute is over
    stage.now = START + 60
    stage.mover.turn()
    # then the partition goes on and the message waits for its own moment
    assert ("_wait.60000", 0) not in stage.mover.congested()
    assert [topic for topic, _ in stage.publisher.sent] == ["_soon"]


def test_what_left_with_its_partition_is_not_moved_here() -> None:
    stage, soon = Stage(), Assignment("_soon", 0, 0, None)
    stage.arrive(soon, 0, START + 1, START + 1)
    stage.mover.leaving([soon], 0)
    soon.retire()
    stage.mover.left([soon])
    stage.now = START + 2
    stage.mover.turn()
    assert stage.publisher.sent == []


def test_what_was_moved_and_committed_is_deleted_from_the_delay_topic_and_nothing_else() -> None:
    # given two moved messages, of which the commit of the first is confirmed
    stage, soon = Stage(), Assignment("_soon", 1, 0, None)
    stage.arrive(soon, 0, START, START)
    stage.arrive(soon, 1, START, START)
    stage.mover.turn()
    stage.publisher.confirm()
    soon.commit_done(1)
    # when a minute has passed
    stage.now = START + 61
    stage.mover.turn()
    assert stage.trimmed == [("_soon", 1, 1)]
