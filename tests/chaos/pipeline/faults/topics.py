"""Work that comes a second time: records of the stage queues copied, or their consumers sent back to the beginning."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from service.devstack.applications import WORKER_QUEUES
from service.devstack.waiting import wait_until
from service.settings import load_settings
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import READY_SECONDS, wait_there
from tests.chaos.pipeline.world import World

QUEUES = tuple(WORKER_QUEUES.split(","))
_MOST = 2_000
"""Records of all stage queues that come again at most: a long run's whole past would take longer than a round."""
_ASK_SECONDS = 10.0


class ReplayRecords(Fault):
    """Records of the stage queues are written once more, behind those that are there, in their order."""

    def __init__(self) -> None:
        super().__init__("replay-records", "records of every stage queue come a second time, in their order")

    def _strike(self, world: World, chance: random.Random) -> str:
        wait_there(world, world.instance.brokers)
        copied = 0
        producer = Producer({"bootstrap.servers": world.kafka, "enable.idempotence": True, "log_level": 0})
        for partition, begin, end in parts(world):
            for message in records(world, partition, begin, end):
                producer.produce(
                    partition.topic,
                    message.value(),
                    message.key(),
                    partition=partition.partition,
                    headers=message.headers(),
                )
                producer.poll(0)
                copied += 1
        left = producer.flush(READY_SECONDS)
        assert left == 0, f"{left} copies were not confirmed"
        return f"{copied} records"

    def _mend(self, world: World) -> None:
        """Nothing is broken."""


class ResetOffsets(Fault):
    """Every worker is ended, the stage queues' groups are set back to the beginning, and workers start again."""

    def __init__(self) -> None:
        super().__init__("reset-offsets", "the stage queues' consumers are sent back to the beginning")
        self._down: list[str] = []

    def _strike(self, world: World, chance: random.Random) -> str:
        wait_there(world, world.instance.brokers)
        self._down = [part.name for part in world.processes("worker")]
        for name in self._down:
            world.hold_down(name, chance.choice([signal.SIGKILL, signal.SIGTERM]))
        group = load_settings(world.environment).worker_group
        admin = AdminClient({"bootstrap.servers": world.kafka, "log_level": 0})
        groups = [f"{group}.{queue}" for queue in QUEUES]
        wait_until(lambda: _busy(admin, groups), "the end of the workers' sessions", READY_SECONDS, pause=0.3)
        again = parts(world)
        for queue in QUEUES:
            offsets = [TopicPartition(p.topic, p.partition, begin) for p, begin, _ in again if p.topic == queue]
            request = ConsumerGroupTopicPartitions(f"{group}.{queue}", offsets)
            for future in admin.alter_consumer_group_offsets([request], request_timeout=_ASK_SECONDS).values():
                future.result(_ASK_SECONDS + 1)
        return f"{sum(end - begin for _, begin, end in again)} records of {len(QUEUES)} queues"

    def _mend(self, world: World) -> None:
        for name in self._down:
            world.release(name)
        wait_there(world, self._down)
        self._down = []


def _busy(admin: AdminClient, groups: Sequence[str]) -> str | None:
    """None when no member is left in the groups."""
    for name, future in admin.describe_consumer_groups(list(groups), request_timeout=_ASK_SECONDS).items():
        state = future.result(_ASK_SECONDS + 1).state
        if state not in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
            return f"{name} is {state.name}"
    return None


def parts(world: World, *queues: str) -> list[tuple[TopicPartition, int, int]]:
    """Partitions of queues (of all, when none is named), each with the offsets between which its records come again."""
    with _reader(world) as reader:
        there = [
            TopicPartition(queue, partition)
            for queue in QUEUES
            for partition in reader.list_topics(queue, _ASK_SECONDS).topics[queue].partitions
        ]
        share = _MOST // len(there)
        found = []
        for one in there:
            if one.topic in (queues or QUEUES):
                low, high = reader.get_watermark_offsets(one, timeout=_ASK_SECONDS)
                found.append((one, max(low, high - share), high))
        return found


def records(world: World, partition: TopicPartition, begin: int, end: int) -> Iterator[Message]:
    """The records of a partition from one offset to before another."""
    if begin >= end:
        return
    with _reader(world) as reader:
        reader.assign([TopicPartition(partition.topic, partition.partition, begin)])
        while (message := reader.poll(_ASK_SECONDS)) is not None:
            assert message.error() is None, message.error()
            if message.offset() >= end:
                return
            yield message
            if message.offset() == end - 1:
                return


def _reader(world: World) -> Consumer:
    """A consumer that is in no group. A context manager."""
    return Consumer(
        {
            "bootstrap.servers": world.kafka,
            "group.id": "chaos.reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )


def faults() -> Iterator[Fault]:
    """Copies and beginnings."""
    yield ReplayRecords()
    yield ResetOffsets()
