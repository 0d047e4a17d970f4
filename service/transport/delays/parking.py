"""Sending with regard to time: a message that is due later goes to a delay topic instead of its queue."""

from __future__ import annotations

import time
from typing import Any

from ..cluster import Cluster
from ..publishing import Delivery
from ..records import Record
from .route import SLOTS, Step, due_time, park

_KEPT = {"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": str(64 << 20)}
"""Delay topics keep everything until it was moved: with a retention a long delay would be lost. What was moved frees
its disk by segments, hence small ones."""


def send(cluster: Cluster, topic: str, record: Record, message: dict[str, Any]) -> Delivery:
    """Send a record on its way to a queue's topic, by way of a delay topic when ``message`` has an ETA."""
    due = due_time(message) if cluster.options.delays else None
    if due is None:
        return cluster.publisher.send(topic, record)
    step = cluster.route.step(due, time.time())
    if step is None:
        return cluster.publisher.send(topic, record)
    _ensure(cluster, [step.topic])
    cluster.counters.add("delayed")
    parked = park(record, topic, due, step.release)
    return cluster.publisher.send(step.topic, parked, partition=partition_of(cluster, step))


def partition_of(cluster: Cluster, step: Step) -> int:
    """Return the partition of a step's slot; -1 where the key decides."""
    return -1 if step.slot is None else step.slot % max(1, cluster.topics.known_partitions(step.topic))


def ensure_delay_topics(cluster: Cluster) -> None:
    """Make sure that the topics in which messages wait exist."""
    _ensure(cluster, [cluster.route.soon])
    _ensure(cluster, cluster.route.levels)


def _ensure(cluster: Cluster, topics: list[str]) -> None:
    partitions = SLOTS if topics[0] == cluster.route.soon else cluster.options.delay_partitions
    cluster.topics.ensure(topics, partitions, cluster.options.replication_factor, _KEPT)
