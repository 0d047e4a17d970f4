"""The group consumer's answers to rebalances and congestion, with a Consumer that only takes notes."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from service.transport.cluster import Cluster
from service.transport.consuming.assignments import Assignment
from service.transport.consuming.consumer import GroupConsumer
from service.transport.errors import TransportError
from service.transport.options import Options
from service.transport.records import Arrival


class NotingConsumer:
    """Answers like librdkafka's Consumer; `commits` is what the group has."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, int], tuple[int, str]] = {}
        self.refuse = 0
        self.calls: list[tuple[str, Any]] = []

    def committed(self, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.refuse:
            self.refuse -= 1
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
        known = [(part, self.commits.get((part.topic, part.partition), (-1001, ""))) for part in parts]
        return [TopicPartition(part.topic, part.partition, offset, meta) for part, (offset, meta) in known]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.refuse:
            self.refuse -= 1
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.calls.append(("commit", "passing" if asynchronous else "sure"))
        for part in offsets:
            self.commits[part.topic, part.partition] = (part.offset, part.metadata or "")

    def position(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, 42) for part in parts]

    def pause(self, parts: list[TopicPartition]) -> None:
        self.calls.append(("pause", names(parts)))

    def resume(self, parts: list[TopicPartition]) -> None:
        self.calls.append(("resume", names(parts)))

    def seek(self, part: TopicPartition) -> None:
        self.calls.append(("seek", part.offset))


class NotingSink:
    """Keeps what it is handed."""

    looks_for_room = 0.01

    def __init__(self) -> None:
        self.held: list[tuple[Assignment, Arrival]] = []
        self.full: set[object] = set()
        self.gone: list[Assignment] = []

    def accept(self, assignment: Assignment, arrival: Arrival) -> None:
        self.held.append((assignment, arrival))

    def accepted(self) -> None: ...

    def congested(self) -> Collection[object]:
        return self.full

    def turn(self) -> float:
        return 1.0

    def leaving(self, assignments: Collection[Assignment], patience: float) -> None: ...

    def left(self, assignments: Collection[Assignment]) -> None:
        self.gone += assignments

    def holds(self, topic: str) -> bool:
        return False

    def failed(self, error: TransportError) -> None: ...


class FakeMessage:
    """A record as librdkafka hands it out."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None: ...

    def topic(self) -> str:
        return "jobs"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> None: ...

    def value(self) -> bytes:
        return b""

    def headers(self) -> None: ...


PART = TopicPartition("jobs", 0)


@pytest.fixture
def broker() -> Any:
    return NotingConsumer()


@pytest.fixture
def sink() -> NotingSink:
    return NotingSink()


@pytest.fixture
def group(sink: NotingSink, monkeypatch: pytest.MonkeyPatch) -> GroupConsumer:
    cluster = Cluster(Options())
    # No broker is asked how many partitions there are: none is here.
    monkeypatch.setattr(cluster.topics, "metadata", lambda: SimpleNamespace(topics={}))
    return GroupConsumer(cluster, "group", ["jobs", "other"], sink)


def arrive(group: GroupConsumer, *offsets: int) -> None:
    for offset in offsets:
        message: Any = FakeMessage(offset)
        group._accept(message)


def names(parts: list[TopicPartition]) -> list[tuple[str, int]]:
    return [(part.topic, part.partition) for part in parts]


def test_a_partition_that_leaves_is_committed_surely_and_its_late_acknowledgements_are_fenced(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    # given two records, one of them finished
    group._on_assign(broker, [PART])
    arrive(group, 0, 1)
    first, second = sink.held
    first[0].finish(0)
    # when the partition is taken away
    group._on_revoke(broker, [PART])
    # then the finished one is committed, and the other's acknowledgement has no effect any more
    assert broker.calls == [("commit", "sure")]
    assert broker.commits["jobs", 0][0] == 1
    assert sink.gone == [first[0]]
    assert not second[0].finish(1)


def test_the_next_owner_skips_what_was_finished_behind_an_open_record(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    group._on_assign(broker, [PART])
    arrive(group, 0, 1, 2)
    sink.held[1][0].finish(1)
    group._on_revoke(broker, [PART])
    sink.held.clear()
    group._on_assign(broker, [PART])
    arrive(group, 0, 1, 2)
    assert [arrival.offset for _, arrival in sink.held] == [0, 2]


def test_a_lost_partition_is_not_committed(group: GroupConsumer, sink: NotingSink, broker: Any) -> None:
    group._on_assign(broker, [PART])
    arrive(group, 0)
    sink.held[0][0].finish(0)
    group._on_lost(broker, [PART])
    assert broker.commits == {}
    assert sink.gone


def test_a_commit_that_fails_during_a_rebalance_is_repeated(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    group._on_assign(broker, [PART])
    arrive(group, 0)
    sink.held[0][0].finish(0)
    broker.refuse = 2
    group._on_revoke(broker, [PART])
    assert broker.commits["jobs", 0][0] == 1


def test_the_group_s_commits_are_asked_for_again_when_the_coordinator_moves(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    broker.commits["jobs", 0] = (7, "")
    broker.refuse = 2
    group._on_assign(broker, [PART])
    arrive(group, 7)
    assert sink.held[0][1].offset == 7


def test_congestion_pauses_a_queue_s_partitions_and_resumes_them_with_a_seek(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    group._on_assign(broker, [PART, TopicPartition("other", 0)])
    sink.full = {"jobs"}
    group._follow_congestion(broker)
    group._follow_congestion(broker)
    sink.full = set()
    group._follow_congestion(broker)
    assert broker.calls == [("pause", [("jobs", 0)]), ("resume", [("jobs", 0)]), ("seek", 42)]


def test_a_topic_made_anew_is_read_from_its_beginning(group: GroupConsumer, sink: NotingSink, broker: Any) -> None:
    # given a partition read up to 500, whose topic is deleted and made again
    broker.commits["jobs", 0] = (500, "")
    group._on_assign(broker, [PART])
    arrive(group, 500)
    before = sink.held[0][0]
    # when records come from its new beginning
    arrive(group, 0, 1)
    # then they are work, and what was out of the old log is fenced
    assert [arrival.offset for _, arrival in sink.held] == [500, 0, 1]
    assert not before.finish(500)


def test_a_record_of_a_partition_that_is_not_ours_any_more_is_left_alone(
    group: GroupConsumer, sink: NotingSink, broker: Any
) -> None:
    group._on_assign(broker, [PART])
    group._on_revoke(broker, [PART])
    arrive(group, 0)
    assert sink.held == []
