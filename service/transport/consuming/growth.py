"""Notices that a queue was given more partitions, and says what that means.

librdkafka finds new partitions when it refreshes its metadata; the group then rebalances, and whoever is given one of
them reads it from its beginning, so nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from confluent_kafka import TopicPartition

from ..cluster import Cluster
from ..errors import TransportError

logger = logging.getLogger(__name__)


class Growth:
    """How many partitions the topics of a consumer are known to have. Used by the thread that owns it only."""

    def __init__(self, cluster: Cluster, topics: Collection[str]) -> None:
        self._cluster = cluster
        self._topics = topics
        self._known: dict[str, int] = {}

    def begin(self) -> None:
        """Ask the cluster; what it does not tell, because a broker is behind, is asked again at an assignment."""
        try:
            found = self._cluster.topics.metadata().topics
        except TransportError:
            return
        for topic in self._topics:
            if topic in found:
                self._known.setdefault(topic, len(found[topic].partitions))

    def assigned(self, parts: Collection[TopicPartition]) -> None:
        """Look whether any of these partitions is new."""
        highest: dict[str, int] = {}
        for part in parts:
            highest[part.topic] = max(part.partition + 1, highest.get(part.topic, 0))
        if highest.keys() - self._known.keys():
            self.begin()
        for topic, count in highest.items():
            known = self._known.get(topic)
            if known is None:
                continue
            self._known[topic] = max(known, count)
            if count > known:
                self._cluster.counters.add("topics_grown")
                logger.warning(
                    "topic %s has grown from %d to %d partitions; new messages of a key may go to another partition, "
                    "and so be worked before or beside older ones of that key: their order is kept again once what "
                    "was stored before is worked off",
                    topic,
                    known,
                    count,
                )
