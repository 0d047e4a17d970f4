"""Committing a group consumer's progress: in passing while it runs, surely before a partition leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..counters import Counters
from .assignments import Assignment

logger = logging.getLogger(__name__)

_SURE_TRIES = 3
"""A commit can fail while the group rebalances, also for partitions that stay: it is repeated."""

Assignments = Mapping[tuple[str, int], Assignment]


class Commits:
    """Used by the thread that owns the Consumer only; its callback runs there too."""

    def __init__(self, group: str, interval: float, assignments: Assignments, counters: Counters) -> None:
        self._group = group
        self._interval = interval
        self._assignments = assignments
        self._counters = counters
        self._last = 0.0

    def in_passing(self, consumer: Consumer) -> None:
        """Send what is new, if the interval is over. What fails is sent again by the next."""
        if time.monotonic() - self._last < self._interval:
            return
        self._last = time.monotonic()
        offsets = _due(self._assignments.values())
        if offsets:
            try:
                consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as failure:
                self.on_commit(failure.args[0], offsets)

    def surely(self, consumer: Consumer, going: Collection[Assignment]) -> None:
        """Commit what is finished of these, and wait for it."""
        for _ in range(_SURE_TRIES):
            offsets = _due(going)
            if not offsets:
                return
            try:
                consumer.commit(offsets=offsets, asynchronous=False)
                self.on_commit(None, offsets)
                return
            except KafkaException as failure:
                self.on_commit(failure.args[0], offsets)

    def on_commit(self, error: KafkaError | None, parts: list[TopicPartition]) -> None:
        """librdkafka's answer to a commit."""
        self._counters.add("commits" if error is None else "commits_failed")
        for part in parts:
            assignment = self._assignments.get((part.topic, part.partition))
            if assignment is None:
                continue
            if error is not None or part.error is not None:
                assignment.commit_failed()
            else:
                assignment.commit_done(part.offset)
        if error is not None:
            logger.info("group %s: a commit failed and is repeated: %s", self._group, error.str())


def _due(assignments: Collection[Assignment]) -> list[TopicPartition]:
    due = []
    for assignment in assignments:
        progress = assignment.to_commit()
        if progress is not None:
            due.append(TopicPartition(assignment.topic, assignment.partition, progress.offset, progress.metadata))
    return due
