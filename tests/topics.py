"""Reading Kafka topics in tests: everything recorded since a moment, without a consumer group."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition


@dataclass(frozen=True)
class TopicRecord:
    """One record."""

    key: str
    headers: dict[str, str]
    value: Any
    """The JSON value."""


class TopicReader:
    """Follows a topic from its end at the time of construction, or from its beginning."""

    def __init__(self, bootstrap_servers: str, topic: str, *, from_beginning: bool = False) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        assigned = []
        for number in partitions:
            # A partition that was just made may have no leader yet to ask for its end; its beginning needs none.
            offset = OFFSET_BEGINNING if from_beginning else self._end_of(TopicPartition(topic, number))
            assigned.append(TopicPartition(topic, number, offset))
        self._consumer.assign(assigned)
        self.records: list[TopicRecord] = []

    def wait_for(self, enough: Callable[[list[TopicRecord]], bool], seconds: float = 60.0) -> list[TopicRecord]:
        """Read until `enough` holds of everything read so far; fail after `seconds`."""
        deadline = time.monotonic() + seconds
        while not enough(self.records):
            assert time.monotonic() < deadline, f"read {len(self.records)} records, and they were not enough"
            self.records += [_read(message) for message in self._consumer.consume(500, timeout=0.2)]
        return self.records

    def _end_of(self, partition: TopicPartition) -> int:
        _, end = self._consumer.get_watermark_offsets(partition, timeout=10)
        return int(end)

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()


def _read(message: Message) -> TopicRecord:
    assert message.error() is None, message.error()
    headers = {name: value.decode() for name, value in message.headers() or []}
    value = message.value()
    return TopicRecord((message.key() or b"").decode(), headers, json.loads(value) if value else None)
