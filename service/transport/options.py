"""The transport's options: ``broker_transport_options`` made into one frozen, checked value.

Also the librdkafka configuration that follows from them. Nothing here talks to Kafka.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import BadOption

logger = logging.getLogger(__name__)

ORDERINGS = ("key", "partition", "none")
UNROUTABLE_RULES = ("raise", "drop")
LARGEST_LETTER = 32 << 20
"""The most bytes of a record that the dead-letter topic takes. Other topics have limits of their own, below this."""

_OF_KOMBU = frozenset(
    {"max_retries", "interval_start", "interval_step", "interval_max", "errback", "callback", "retry_errors"}
    | {"polling_interval", "client_properties", "confirm_publish", "visibility_timeout", "deadletter_queue"}
    | {"body_encoding"}
)
"""kombu and Celery write these into the same dictionary; they mean nothing here."""


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of the transport. Times are seconds, sizes bytes."""

    bootstrap_servers: str = "localhost:9092"
    """``host:port[,host:port]``; by default taken from the broker URL."""
    group_id: str = "celery"
    """Workers with one ``group_id`` share the queues; each queue's consumer group is ``<group_id>.<topic>``."""
    instance_id: str = ""
    """Name of a worker slot: a process that comes back under it gets its partitions without a rebalance."""
    topic_prefix: str = ""
    """Put before every topic's name, so that several applications can share a cluster."""
    create_topics: bool = True
    """Create missing topics; without it a declared queue must exist already."""
    partitions: int = 8
    """Partitions of a new queue's topic: the bound on how many workers can share it."""
    replication_factor: int = -1
    """Replicas of new topics; -1 is the cluster's default."""
    topic_config: Mapping[str, str] = field(default_factory=dict)
    """Further settings of new queues' topics, e.g. ``{"retention.ms": "604800000"}``."""
    ordering: str = "key"
    """``key``: one unacknowledged message per key at a time; ``partition``: per partition; ``none``."""
    buffer_messages: int = 500
    """Messages of one queue held here before its partitions are paused."""
    buffer_bytes: int = 8 << 20
    """The same bound in bytes of message bodies."""
    commit_interval: float = 0.1
    """How often finished offsets are committed."""
    revoke_drain: float = 1.0
    """How long a partition that moves away waits for its unacknowledged messages."""
    publish_timeout: float = 30.0
    """How long a publish may take to be confirmed (librdkafka's ``delivery.timeout.ms``)."""
    request_timeout: float = 5.0
    """How long one administrative request may take."""
    bindings_max_age: float = 1.0
    """How old this process's copy of the shared exchanges and bindings may be when a message is routed by it."""
    unroutable: str = "drop"
    """A persistent message that no queue takes: ``drop`` (AMQP's rule; counted and warned about), or ``raise``."""
    max_message_bytes: int = 0
    """A record with a larger body is not handed out: it goes to the dead-letter topic. 0: any size is."""
    dead_letter_topic: str = ""
    """Topic for records that cannot be delivered; by default ``<topic_prefix>_poison``."""
    delays: bool = True
    """Let messages with an ETA wait on delay topics, and run the mover where queues are consumed."""
    delay_threshold: float = 0.2
    """A message due sooner than this goes straight to its queue (Celery's own timer does the rest)."""
    delay_horizon: float = 10.0
    """Messages due within this time wait on the wheel, which they leave at their moment; later ones on a level."""
    delay_levels: tuple[float, ...] = (10, 25, 55, 175, 595, 1795, 3595, 10795, 43195, 86395, 604795)
    """Waiting times of the level topics. A long delay hops from level to level; five seconds less than a round number
    let a round delay hop once."""
    delay_partitions: int = 2
    """Partitions of a new level topic."""
    broadcast_exchanges: tuple[str, ...] = ("celeryev",)
    """Durable exchanges that have listeners rather than queues. Fanout and non-durable ones are known anyway."""
    broadcast_retention: float = 600.0
    """How long broadcast messages are kept by the broker."""
    common_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """librdkafka settings for every client (TLS, SASL, ...)."""
    consumer_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """librdkafka settings for consumers."""
    producer_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """librdkafka settings for the producer."""

    def __post_init__(self) -> None:
        if self.ordering not in ORDERINGS:
            raise BadOption("ordering", self.ordering, f"one of {', '.join(ORDERINGS)}")
        if self.unroutable not in UNROUTABLE_RULES:
            raise BadOption("unroutable", self.unroutable, f"one of {', '.join(UNROUTABLE_RULES)}")
        for name in ("partitions", "buffer_messages", "buffer_bytes", "delay_partitions"):
            if getattr(self, name) < 1:
                raise BadOption(name, getattr(self, name), "at least 1")
        if self.instance_id and self.consumer_config.get("group.protocol") == "consumer":
            # Under KIP-848 the broker turns a restarted process away until the killed one's session is over.
            raise BadOption("instance_id", self.instance_id, "empty with group.protocol=consumer, which gains nothing")
        if self.max_message_bytes < 0:
            raise BadOption("max_message_bytes", self.max_message_bytes, "0 or more bytes")
        if self.bindings_max_age < 0:
            raise BadOption("bindings_max_age", self.bindings_max_age, "0 or more seconds")
        levels = list(self.delay_levels)
        if not levels or levels != sorted(set(levels)) or levels[0] <= 0:
            raise BadOption("delay_levels", self.delay_levels, "positive seconds in rising order, at least one")

    @property
    def identity(self) -> str:
        """Equal for equal options. Holds secrets: compare it, never show it."""
        return repr([(known.name, getattr(self, known.name)) for known in fields(self)])

    @property
    def poison_topic(self) -> str:
        """Where records that cannot be delivered are kept."""
        return self.dead_letter_topic or f"{self.topic_prefix}_poison"

    def common(self) -> dict[str, Any]:
        """Settings of every client."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            # Shown as the owner of partitions, by our command line and by every other tool.
            "client.id": f"{socket.gethostname()}:{os.getpid()}",
            "topic.metadata.refresh.fast.interval.ms": 50,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "allow.auto.create.topics": False,
            **self.common_config,
        }

    def producer(self) -> dict[str, Any]:
        """Settings of the producer: idempotent, every in-sync replica confirms, nothing waits for company."""
        return {
            **self.common(),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "delivery.timeout.ms": int(self.publish_timeout * 1000),
            "topic.metadata.propagation.max.ms": 3000,
            # The broker and its topics say what is too large; the client's own limit would also stop dead letters.
            "message.max.bytes": LARGEST_LETTER,
            "topic.metadata.refresh.interval.ms": 5000,
            **self.producer_config,
        }

    def consumer(self, group: str) -> dict[str, Any]:
        """Settings of a consumer of ``group``. The ledger commits, librdkafka never does."""
        config = {
            **self.common(),
            "group.id": group,
            **({"group.instance.id": self.instance_id} if self.instance_id else {}),
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1500,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 5000,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 100,
            "queued.max.messages.kbytes": 4096,
            "max.partition.fetch.bytes": 65536,
            **self.consumer_config,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        if config.get("group.protocol") == "consumer":
            for of_the_classic in ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"):
                config.pop(of_the_classic)
        return config


def options_from(raw: Mapping[str, Any], bootstrap_servers: str, credentials: tuple[str, str] | None) -> Options:
    """Build the options from ``broker_transport_options`` and what the broker URL says.

    Raises:
        BadOption: a value cannot work. Unknown names are logged, because kombu shares the dictionary.
    """
    known = {f.name for f in fields(Options)}
    given = {name: value for name, value in raw.items() if name in known}
    for name in sorted(raw.keys() - known - _OF_KOMBU):
        logger.warning("broker_transport_options[%r] is not an option of the Kafka transport; it has no effect", name)
    given.setdefault("bootstrap_servers", bootstrap_servers)
    for name in ("delay_levels", "broadcast_exchanges"):
        if name in given:
            given[name] = tuple(given[name])
    if credentials and credentials[0]:
        user = {"sasl.username": credentials[0], "sasl.password": credentials[1]}
        given["common_config"] = {**user, **given.get("common_config", {})}
    return Options(**given)
