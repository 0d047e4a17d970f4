"""Reading a whole topic, or what came to it since, within a time; without a consumer group's offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from service.relay.publisher import KafkaUnavailableError
from service.relay.topics import REQUEST_SECONDS

_AT_ONCE = 1_000
_WAIT_SECONDS = 0.5

Progress = Callable[[int, int], None]
"""Told how many records were read, and how many there are to read."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a partition begins and ended when it was looked at."""

    low: int
    high: int

    def holds(self, offset: int) -> bool:
        """Whether reading may go on there."""
        return self.low <= offset <= self.high


class TopicReader:
    """One topic. Raises KafkaUnavailableError when Kafka does not answer. To be closed."""

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._errors: list[KafkaError] = []
        self._consumer = Consumer(
            {
                **client,
                "group.id": "sentinai-dlq-audit",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "error_cb": self._errors.append,
                "log_level": 0,
            }
        )

    def spans(self) -> dict[int, Span]:
        """Every partition of the topic; none when there is no such topic."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=REQUEST_SECONDS).topics[self._topic]
            if found.error is not None:
                return {}
            spans = {}
            for number in found.partitions:
                partition = TopicPartition(self._topic, number)
                low, high = self._consumer.get_watermark_offsets(partition, timeout=REQUEST_SECONDS)
                spans[number] = Span(low, high)
            return spans
        except KafkaException as error:
            raise KafkaUnavailableError((self._errors[-1] if self._errors else error.args[0]).str()) from error

    def messages(
        self, starts: Mapping[int, int], ends: Mapping[int, int], deadline: float, progress: Progress
    ) -> Iterator[Message]:
        """Records from each partition's start to its end. Stops at `deadline` (monotonic), whatever is left."""
        left = {number: end for number, end in ends.items() if starts[number] < end}
        total, read = sum(end - starts[number] for number, end in left.items()), 0
        self._consumer.assign([TopicPartition(self._topic, number, starts[number]) for number in left])
        while left and time.monotonic() < deadline:
            for message in self._consumer.consume(_AT_ONCE, _WAIT_SECONDS):
                number, offset = message.partition(), message.offset()
                if number not in left:
                    continue
                if message.error() is not None:
                    self._ended(message.error(), left, number)
                elif offset is not None and offset < left[number]:
                    read += 1
                    yield message
                    if offset + 1 >= left[number]:
                        del left[number]
                else:
                    del left[number]
            progress(read, total)
        self.complete = not left

    complete = False
    """After `messages`: every end was reached."""

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()

    @staticmethod
    def _ended(error: KafkaError | None, left: dict[int, int], number: int) -> None:
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            # Its last records may have been no data, as of a transaction: nothing more comes before its end.
            del left[number]
        elif error is not None and not error.retriable():
            raise KafkaUnavailableError(error.str())


def reading(client: Mapping[str, Any], topic: str) -> closing[TopicReader]:
    """A reader that is closed at the end of the block."""
    return closing(TopicReader(client, topic))
