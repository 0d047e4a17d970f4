"""What a group has committed, asked and written from outside of it.

Through a consumer that joins nothing: librdkafka's AdminClient ends the process with a segmentation fault when a
broker answers such a question with NOT_COORDINATOR, as it does while groups move between brokers (librdkafka issue
5040, open at 2.16; met here on a cluster of three that had just started). Costs 2 to 30 ms a group.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..cluster import Cluster
from .offsets import Progress

_TRY = 1.0
_PAUSE = 0.05
_PASSING = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._WAIT_COORD,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
    }
)

Place = tuple[str, int]


def committed(cluster: Cluster, group: str, places: Collection[Place]) -> dict[Place, Progress]:
    """Return what a group committed; what it never committed is missing.

    Raises:
        BrokerUnavailable: no coordinator answered within ``request_timeout``. AccessDenied: an ACL forbids it.
    """
    parts, deadline = [TopicPartition(*place) for place in places], time.monotonic() + cluster.options.request_timeout
    with _onlooker(cluster, group) as consumer:
        while True:
            try:
                return _progress(consumer.committed(parts, timeout=_TRY))
            except KafkaException as failure:
                error = _told_aside(consumer) or failure.args[0]
                if error.code() not in _PASSING or time.monotonic() > deadline:
                    raise cluster.topics.refusal("asking for commits", error) from failure
            time.sleep(_PAUSE)


def commit(cluster: Cluster, group: str, wanted: Mapping[Place, Progress]) -> None:
    """Write a group's positions.

    Raises:
        KafkaException: the coordinator refuses; while the group has members, for instance.
    """
    parts = [TopicPartition(*place, progress.offset, progress.metadata) for place, progress in wanted.items()]
    with _onlooker(cluster, group) as consumer:
        for part in consumer.commit(offsets=parts, asynchronous=False) or ():
            if part.error is not None:
                raise KafkaException(part.error)


def _onlooker(cluster: Cluster, group: str) -> AbstractContextManager[Consumer]:
    return cluster.lent_consumer({**cluster.options.common(), "group.id": group, "enable.auto.commit": False})


def _told_aside(consumer: Consumer) -> KafkaError | None:
    """What a poll tells: a missing ACL makes the question itself only time out."""
    message = consumer.poll(0)
    return message.error() if message is not None else None


def _progress(answers: list[TopicPartition]) -> dict[Place, Progress]:
    found = {}
    for part in answers:
        if part.error is not None:
            raise KafkaException(part.error)
        if part.offset >= 0:
            found[part.topic, part.partition] = Progress(part.offset, part.metadata or "")
    return found
