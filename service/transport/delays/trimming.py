"""Deleting what was moved from the delay topics. They have no retention, so nothing else does.

It is also what keeps old messages from coming back: a broker forgets the commits of a group without members after
``offsets.retention.minutes``, and whoever comes next begins with whatever the topics still hold.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ..cluster import Cluster
from ..consuming.assignments import Assignment

logger = logging.getLogger(__name__)

_EVERY = 10.0
_EVERY_REFUSED = 600.0
_REFUSALS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.POLICY_VIOLATION})


class Trimmer:
    """Asks for deletions and does not wait for them: what fails is asked again, being below a later bound."""

    def __init__(self, cluster: Cluster, now: float) -> None:
        self._cluster = cluster
        self._next = now + _EVERY
        self._asked: dict[tuple[str, int], int] = {}
        self._answers: dict[TopicPartition, Future[Any]] = {}

    def turn(self, assignments: Collection[Assignment], now: float) -> None:
        """Delete what is finished and committed, every few seconds."""
        the_clock_was_set_back = now < self._next - 2 * _EVERY_REFUSED
        if now >= self._next or the_clock_was_set_back:
            self._next = now + _EVERY
            self._read_answers(now)
            self._ask(assignments)

    def finally_(self, assignments: Collection[Assignment], patience: float) -> None:
        """The same for partitions that leave, waiting a moment, since the process may end."""
        self._ask(assignments)
        wait_for(self._answers.values(), patience)
        for part in assignments:
            self._asked.pop((part.topic, part.partition), None)

    def _ask(self, assignments: Collection[Assignment]) -> None:
        bounds = []
        for part in assignments:
            place = part.topic, part.partition
            if part.committed > self._asked.get(place, 0):
                self._asked[place] = part.committed
                bounds.append(TopicPartition(*place, part.committed))
        self._answers.update(self._cluster.topics.trim(bounds))

    def _read_answers(self, now: float) -> None:
        for part, answer in [entry for entry in self._answers.items() if entry[1].done()]:
            del self._answers[part]
            failure = answer.exception()
            if failure is None:
                continue
            self._asked.pop((part.topic, part.partition), None)
            self._cluster.counters.add("delays_untrimmed")
            if isinstance(failure, KafkaException) and failure.args[0].code() in _REFUSALS:
                self._next = now + _EVERY_REFUSED
                logger.warning(
                    "moved messages stay on %s: %s; allow Delete on the delay topics, which have no retention",
                    part.topic,
                    failure.args[0].str(),
                )
