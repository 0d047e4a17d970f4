"""Reading a few records without consuming them: no group, no commit, bounded in number and time.

For people and pages that look on: the age of the oldest message, peeking, the dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..cluster import Cluster
from ..records import Arrival, arrival_of

Place = tuple[str, int]
"""Topic and partition."""

_POLL = 0.05
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A record that was looked at, and when it was written."""

    arrival: Arrival
    written: datetime | None


@dataclass(frozen=True, slots=True)
class Span:
    """Where to begin in a partition, and how many records to read at most."""

    offset: int
    count: int


def read(cluster: Cluster, wanted: Mapping[Place, Span], within: float) -> dict[Place, list[Seen]]:
    """Read up to the wanted number of records of each partition, and return what came within the time.

    A partition's list is shorter than wanted when its end is reached, when the offset it starts at is gone (then it
    is empty), or when the time is over.

    Raises:
        ConnectionFailed: no broker answers, or reading is refused.
    """
    found: dict[Place, list[Seen]] = {place: [] for place in wanted}
    if wanted:
        try:
            with cluster.reading("onlooker", auto_offset_reset="error", queued_min_messages=1) as consumer:
                _read(consumer, wanted, found, time.monotonic() + within)
        except KafkaException as failure:
            raise cluster.topics.refusal("reading messages", failure.args[0]) from failure
    return found


def _read(consumer: Consumer, wanted: Mapping[Place, Span], found: dict[Place, list[Seen]], deadline: float) -> None:
    # Without the topics' metadata librdkafka finds the leaders a second later only.
    consumer.list_topics(timeout=max(_POLL, deadline - time.monotonic()))
    consumer.assign([TopicPartition(*place, span.offset) for place, span in wanted.items()])
    left = set(wanted)
    while left and time.monotonic() < deadline:
        for message in consumer.consume(_BATCH, _POLL):
            place = message.topic() or "", message.partition() or 0
            if place in left and _took_last(message, wanted[place], found[place]):
                left.discard(place)
                consumer.incremental_unassign([TopicPartition(*place)])


def _took_last(message: Message, span: Span, into: list[Seen]) -> bool:
    """Keep a record; True when its partition has no more for us."""
    error = message.error()
    if error is None:
        into.append(Seen(arrival_of(message), _written(message)))
        return len(into) >= span.count
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._FATAL):
        raise KafkaException(error)
    return error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)


def _written(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC)
