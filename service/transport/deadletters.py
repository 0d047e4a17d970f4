"""Records that cannot be delivered: kept with their bytes, so that the partition can go on."""

from __future__ import annotations

import logging

from confluent_kafka import Message

from .cluster import Cluster
from .records import Record

logger = logging.getLogger(__name__)


def dead_letter(cluster: Cluster, message: Message, reason: str) -> None:
    """Copy a record to the dead-letter topic: key, bytes and headers as they are, coordinates and reason added.

    Returns when the copy is confirmed, so that the original may be finished.

    Raises:
        TransportError: the copy could not be stored; the original must stay unfinished.
    """
    options = cluster.options
    cluster.topics.ensure([options.poison_topic], 1, options.replication_factor)
    added: list[tuple[str, bytes | None]] = [
        ("dead-letter-reason", reason.encode(errors="replace")),
        ("dead-letter-topic", message.topic().encode()),
        ("dead-letter-partition", str(message.partition()).encode()),
        ("dead-letter-offset", str(message.offset()).encode()),
    ]
    record = Record(message.key(), message.value() or b"", [*(message.headers() or ()), *added])
    cluster.publisher.publish(options.poison_topic, record)
    cluster.counters.add("dead_lettered")
    logger.error(
        "%s[%s]@%s goes to %s: %s", message.topic(), message.partition(), message.offset(), options.poison_topic, reason
    )
