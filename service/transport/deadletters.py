"""Records that cannot be delivered: kept with their bytes, so that the partition can go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from .cluster import Cluster
from .errors import PublishRefused
from .options import LARGEST_LETTER
from .records import Arrival, Headers, Record

logger = logging.getLogger(__name__)

_TOPIC_CONFIG = {"max.message.bytes": str(LARGEST_LETTER)}
"""A letter is larger than its record, and a record may be as large as its topic allows."""

OMITTED = "dead-letter-omitted"
"""Header of a letter without its bytes: how many there are, at the coordinates, while their topic keeps them."""


def dead_letter(cluster: Cluster, arrival: Arrival, reason: str) -> None:
    """Copy a record to the dead-letter topic: key, bytes and headers as they are, coordinates and reason added.

    Returns when the copy is confirmed, so that the original may be finished. What even the dead-letter topic refuses is
    kept without its bytes, then without its headers: the partition must go on, and the coordinates say where it is.

    Raises:
        TransportError: the copy could not be stored; the original must stay unfinished.
    """
    options = cluster.options
    cluster.topics.ensure([options.poison_topic], 1, options.replication_factor, _TOPIC_CONFIG)
    added: list[tuple[str, bytes | None]] = [
        ("dead-letter-reason", reason.encode(errors="replace")),
        ("dead-letter-topic", arrival.topic.encode()),
        ("dead-letter-partition", str(arrival.partition).encode()),
        ("dead-letter-offset", str(arrival.offset).encode()),
    ]
    _publish(cluster, _letters(arrival, added))
    cluster.counters.add("dead_lettered")
    logger.error(
        "%s[%s]@%s goes to %s: %s", arrival.topic, arrival.partition, arrival.offset, options.poison_topic, reason
    )


def _letters(arrival: Arrival, added: Headers) -> Iterator[Record]:
    """The whole letter, and what is left of it if that is refused."""
    yield Record(arrival.key, arrival.value, [*arrival.headers, *added])
    shortened = [*added, (OMITTED, str(len(arrival.value)).encode())]
    yield Record(arrival.key, b"", [*arrival.headers, *shortened])
    yield Record(None, b"", shortened)


def _publish(cluster: Cluster, letters: Iterator[Record]) -> None:
    refused: PublishRefused | None = None
    for letter in letters:
        try:
            cluster.publisher.publish(cluster.options.poison_topic, letter)
            return
        except PublishRefused as refusal:
            refused = refused or refusal
    assert refused is not None
    raise refused
