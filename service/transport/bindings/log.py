"""The compacted topic that holds the shared exchanges and bindings: appending to it, and reading it. Keeps no state.

One partition, so that all processes read the same order. Nobody follows it all the time: a consumer is opened for a
read and closed after it, which takes some 50 ms; asking how far the log goes takes 3.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition

from ..errors import BrokerUnavailable
from ..records import Record
from .table import Change

if TYPE_CHECKING:
    from ..cluster import Cluster

REMEMBERS_DELETIONS = 86_400.0
"""Seconds for which a deletion can be read. Who has not read for longer must read from the beginning."""
_CONFIG = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(round(REMEMBERS_DELETIONS * 1000)),
    "segment.ms": str(86_400_000),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the log goes. ``log`` tells a topic from another one of the same name."""

    log: str
    end: int


MISSING = Extent("", 0)


class BindingTopic:
    """The log of one cluster and prefix."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topic = cluster.names.bindings()

    def extent(self) -> Extent:
        """Return how far the log goes now; :data:`MISSING` when there is none.

        Raises:
            BrokerUnavailable: no broker answered.
        """
        topics = self._cluster.topics
        ends = topics.ends(self._topic)
        if not ends:
            return MISSING
        timeout = self._cluster.options.request_timeout
        [asked] = topics.admin.describe_topics(TopicCollection([self._topic]), request_timeout=timeout).values()
        try:
            return Extent(str(asked.result(timeout).topic_id), ends[0])
        except KafkaException as failure:
            if failure.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return MISSING
            raise self._unavailable(failure.args[0].str()) from failure

    def read(self, start: int, end: int) -> list[Change]:
        """Return the records from ``start`` up to ``end`` or beyond, in order; compaction may have left out some.

        Raises:
            BrokerUnavailable: they did not come within the time of a request.
        """
        try:
            with self._cluster.reading("bindings") as consumer:
                return self._read(consumer, start, end, self._cluster.options.request_timeout)
        except KafkaException as failure:
            raise self._unavailable(failure.args[0].str()) from failure

    def append(self, changes: Iterable[Change]) -> None:
        """Write records; return when they are confirmed. The topic is created when it is missing.

        Raises:
            TopicNotReady: it is missing and may not be created.
            PublishFailed, PublishRefused, PublishTimedOut: see there.
        """
        cluster = self._cluster
        cluster.topics.ensure([self._topic], 1, cluster.options.replication_factor, _CONFIG)
        cluster.publisher.wait([cluster.publisher.send(self._topic, Record(key, told, ())) for key, told in changes])

    def _read(self, consumer: Consumer, start: int, end: int, timeout: float) -> list[Change]:
        deadline, found = time.monotonic() + timeout, list[Change]()
        # Without the topic's metadata librdkafka finds its leader a second later only.
        consumer.list_topics(self._topic, timeout=timeout)
        consumer.assign([TopicPartition(self._topic, 0, start)])
        reached = start
        while reached < end:
            message = consumer.poll(0.1)
            error = message.error() if message is not None else None
            if message is not None and error is None:
                key, value = message.key(), message.value()
                found.append((_bytes(key) or b"", _bytes(value)))
                reached = (message.offset() or 0) + 1
            elif message is not None and error is not None and error.code() == KafkaError._PARTITION_EOF:
                reached = max(reached, message.offset() or 0)
            elif error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._unavailable(error.str())
            if time.monotonic() > deadline:
                raise self._unavailable(f"offset {reached} of {end} is as far as it came in {timeout:g} s")
        return found

    def _unavailable(self, cause: str) -> BrokerUnavailable:
        servers = self._cluster.options.bootstrap_servers
        return BrokerUnavailable(servers, f"reading the bindings in topic {self._topic!r}", cause)


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
