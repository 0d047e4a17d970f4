"""Records that cannot be delivered: kept with their bytes, so that the partition can go on."""

from __future__ import annotations

import logging

from .cluster import Cluster
from .records import Arrival, Record

logger = logging.getLogger(__name__)


def dead_letter(cluster: Cluster, arrival: Arrival, reason: str) -> None:
    """Copy a record to the dead-letter topic: key, bytes and headers as they are, coordinates and reason added.

    Returns when the copy is confirmed, so that the original may be finished.

    Raises:
        TransportError: the copy could not be stored; the original must stay unfinished.
    """
    options = cluster.options
    cluster.topics.ensure([options.poison_topic], 1, options.replication_factor)
    added: list[tuple[str, bytes | None]] = [
        ("dead-letter-reason", reason.encode(errors="replace")),
        ("dead-letter-topic", arrival.topic.encode()),
        ("dead-letter-partition", str(arrival.partition).encode()),
        ("dead-letter-offset", str(arrival.offset).encode()),
    ]
    record = Record(arrival.key, arrival.value, [*arrival.headers, *added])
    cluster.publisher.publish(options.poison_topic, record)
    cluster.counters.add("dead_lettered")
    logger.error(
        "%s[%s]@%s goes to %s: %s", arrival.topic, arrival.partition, arrival.offset, options.poison_topic, reason
    )
