"""Which partitions of a consumer are paused, and what librdkafka needs to hear about it.

Two things it does not do by itself: a pause survives revoke and re-assign, so a partition that comes back would stay
silent; and after a resume the next fetch may wait half a second, unless a seek to the own position sends it off.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from confluent_kafka import Consumer, KafkaException, TopicPartition

logger = logging.getLogger(__name__)

Place = tuple[str, int]


class Pauses:
    """Used by the thread that owns the Consumer only."""

    def __init__(self) -> None:
        self._paused: set[Place] = set()
        self._fresh: list[Place] = []

    def __bool__(self) -> bool:
        return bool(self._paused)

    def follow(self, consumer: Consumer, wanted: set[Place]) -> None:
        """Let exactly ``wanted`` be paused."""
        pause, resume = wanted - self._paused, self._paused - wanted
        if pause:
            consumer.pause(_parts(pause))
        if resume:
            _resume(consumer, _parts(resume))
        self._paused = wanted

    def arrived(self, places: Collection[Place]) -> None:
        """Partitions were assigned: they flow from the next :meth:`settle` on, whatever they were before."""
        self._fresh.extend(places)

    def settle(self, consumer: Consumer, owned: Collection[Place]) -> None:
        """Resume what arrived; call it after poll(), because within the assignment's callback it is ignored."""
        if self._fresh:
            consumer.resume(_parts([place for place in self._fresh if place in owned]))
            self._fresh.clear()

    def gone(self, place: Place) -> None:
        """A partition was taken away."""
        self._paused.discard(place)


def _parts(places: Collection[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]


def _resume(consumer: Consumer, parts: list[TopicPartition]) -> None:
    consumer.resume(parts)
    for part in consumer.position(parts):
        if part.offset >= 0:
            try:
                consumer.seek(part)
            except KafkaException as too_early:
                logger.debug("no seek on %s[%s]: %s", part.topic, part.partition, too_early)
