"""Sending with regard to time: a message that is due later goes to a delay topic instead of its queue."""

from __future__ import annotations

import time
from typing import Any

from .cluster import Cluster
from .delays import Route, due_time, park
from .publishing import Delivery
from .records import Record


def send(cluster: Cluster, topic: str, record: Record, message: dict[str, Any]) -> Delivery:
    """Send a record on its way to a queue's topic, by way of a delay topic when ``message`` has an ETA."""
    due = due_time(message) if cluster.options.delays else None
    if due is not None:
        route, now = route_of(cluster), time.time()
        step = route.step(due, now)
        if step is not None:
            ensure_delay_topics(cluster)
            cluster.counters.add("delayed")
            return cluster.publisher.send(step.topic, park(record, topic, due, step.release))
    return cluster.publisher.send(topic, record)


def route_of(cluster: Cluster) -> Route:
    """Return the route of delayed messages under the cluster's options."""
    return Route(cluster.options, cluster.names)


def ensure_delay_topics(cluster: Cluster) -> None:
    """Delay topics keep everything until it was moved: with a retention a long delay would be lost."""
    options = cluster.options
    forever = {"retention.ms": "-1", "retention.bytes": "-1"}
    cluster.topics.ensure(route_of(cluster).topics, options.delay_partitions, options.replication_factor, forever)
