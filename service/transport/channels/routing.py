"""Where a message goes: the topics of the queues that are bound, and the topic that an exchange's listeners read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..broadcast import Listener
from ..cluster import Cluster

_TRANSIENT = 1


@dataclass(frozen=True, slots=True)
class Nature:
    """What a message's properties say about the way it may take."""

    transient: bool
    """It need not survive: events and remote control are of this kind."""
    reply: bool
    """It answers somebody, whose queue may be a temporary one of any process."""


@dataclass(frozen=True, slots=True)
class Target:
    """A topic that gets a copy of a message."""

    topic: str
    varies: bool = False
    """The routing key may be the record's key: see :class:`~service.transport.bindings.table.Route`."""


def nature_of(properties: Mapping[str, Any]) -> Nature:
    """Read a message's nature. A request names where its reply goes; a reply only says what it belongs to."""
    reply = bool(properties.get("correlation_id")) and "reply_to" not in properties
    return Nature(properties.get("delivery_mode") == _TRANSIENT, reply)


def targets(cluster: Cluster, listener: Listener, exchange: str, routing_key: str, nature: Nature) -> list[Target]:
    """Return where a message goes. When that is nowhere, the cluster was asked a moment ago.

    A transient message may be routed by an older copy of the bindings: it is not worth waiting for the cluster.

    Raises:
        ConnectionFailed: the cluster does not answer.
    """
    if not exchange:
        return _to_queue(cluster, listener, routing_key, nature)
    max_age = cluster.options.bindings_max_age + (cluster.options.publish_timeout if nature.transient else 0.0)
    found = _through(cluster, exchange, routing_key, max_age)
    if not found:
        cluster.bindings.check()
        cluster.topics.forget(cluster.names.broadcast(exchange))
        found = _through(cluster, exchange, routing_key, max_age)
        if not found and not cluster.topics.exists(cluster.names.bindings()):
            cluster.topics.refuse_if_denied(cluster.names.bindings())
    return found


def record_key(properties: Mapping[str, Any], routing_key: str, target: Target) -> bytes | None:
    """Return the key of a message's record: one key, one partition, one order.

    A routing key says something about the message only where it can vary, that is where a wildcard matched it; the
    key of a direct exchange would put a whole queue into one partition.
    """
    explicit = properties.get("partition_key")
    if explicit is not None:
        return explicit if isinstance(explicit, bytes) else str(explicit).encode()
    return routing_key.encode() if target.varies else None


def _to_queue(cluster: Cluster, listener: Listener, queue: str, nature: Nature) -> list[Target]:
    """The default exchange: a queue's name is its routing key. The shared bindings have no part in it.

    A name without a topic may be that of a temporary queue, which its owner alone knows. What may be meant for one is
    told to all who have any; a task is not, for if nobody knew the name it would be gone without a word.
    """
    if queue and queue not in listener:
        topic = cluster.names.queue(queue)
        if cluster.topics.exists(topic):
            return [Target(topic)]
        if not nature.transient:
            # Another process may have created it within the second for which a "no" is remembered.
            cluster.topics.forget(topic)
            if cluster.topics.exists(topic):
                return [Target(topic)]
            cluster.topics.refuse_if_denied(topic)
            if not nature.reply:
                return []
    everyone = cluster.names.broadcast("")
    return [Target(everyone)] if cluster.topics.exists(everyone) else []


def _through(cluster: Cluster, exchange: str, routing_key: str, max_age: float) -> list[Target]:
    routes = cluster.bindings.route(exchange, routing_key, max_age)
    found = [Target(cluster.names.queue(route.queue), route.varies) for route in routes]
    listeners = cluster.names.broadcast(exchange)
    if cluster.bindings.type_of(exchange) is not None and cluster.topics.exists(listeners):
        found.append(Target(listeners))
    return found
