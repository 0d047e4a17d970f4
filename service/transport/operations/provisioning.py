"""Making an application's topics beforehand, for clusters where those who use topics may not create them."""

from __future__ import annotations

from collections.abc import Collection

from ..bindings.log import BindingTopic
from ..broadcast import ensure_broadcast
from ..cluster import Cluster
from ..delays.parking import ensure_delay_topics

CELERYS_EXCHANGES = ("celeryev", "celery.pidbox", "reply.celery.pidbox")
"""Exchanges of events and remote control, which every Celery worker declares."""


def provision(cluster: Cluster, queues: Collection[str], broadcasts: Collection[str] = CELERYS_EXCHANGES) -> None:
    """Make sure that every topic exists which an application with these queues uses. May be repeated at any time.

    ``broadcasts`` are exchanges whose messages go to listeners: fanout ones, and those of remote control and events.

    Raises:
        TopicRefused: a topic cannot be created. BrokerUnavailable: no broker answered.
    """
    options, topics = cluster.options, cluster.topics
    names = [cluster.names.queue(queue) for queue in queues]
    topics.ensure(names, options.partitions, options.replication_factor, options.topic_config)
    topics.ensure([options.poison_topic], 1, options.replication_factor)
    for exchange in ("", *broadcasts):
        ensure_broadcast(cluster, exchange)
    if options.delays:
        ensure_delay_topics(cluster)
    BindingTopic(cluster).append(())
