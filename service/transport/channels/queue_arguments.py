"""What becomes of AMQP's optional queue arguments. Pure.

None of them exists in Kafka. One that changes which messages reach a consumer, or in which order, is refused: an
application that relies on it would be wrong. One that only limits what is kept is told once, with what to set
instead. What only concerns how RabbitMQ stores a queue means nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .refusals import NotOffered

_REFUSED = {
    "x-max-priority": "Kafka has no priorities: use a queue for each priority, and workers that consume the urgent one",
    "x-dead-letter-exchange": "rejected messages go to the dead-letter topic (option dead_letter_topic), expired ones "
    "nowhere; to deliver a message later use an ETA or countdown",
    "x-dead-letter-routing-key": "rejected messages go to the dead-letter topic (option dead_letter_topic)",
    "x-single-active-consumer": "use one partition (option partitions) with ordering='partition', or keys: one key is "
    "worked by one consumer at a time",
}
_WITHOUT_EFFECT = {
    "x-message-ttl": "give messages an expiration, or the topic a retention.ms (option topic_config)",
    "x-expires": "a queue's topic stays until it is deleted; declare the queue auto_delete if it shall go",
    "x-max-length": "give the topic a retention.bytes or retention.ms (option topic_config)",
    "x-max-length-bytes": "give the topic a retention.bytes (option topic_config)",
    "x-overflow": "a queue's topic is never full; retention (option topic_config) bounds it",
    "x-delivery-limit": "a task that kills its worker comes back; see Celery's task_reject_on_worker_lost",
}
_OF_NO_MEANING = frozenset(
    {"x-queue-type", "x-queue-mode", "x-queue-version", "x-queue-leader-locator", "x-queue-master-locator"}
    | {"x-quorum-initial-group-size", "x-initial-cluster-size", "x-max-in-memory-length", "x-max-in-memory-bytes"}
)


def told_about(queue: str, arguments: Mapping[str, Any] | None, temporary: bool) -> list[str]:
    """Return what a person should know about the arguments of a declaration, one sentence each.

    A temporary queue lives as long as its connection and holds a few thousand messages: limits do not matter there.

    Raises:
        NotOffered: an argument that cannot be left out without changing what the application does.
    """
    told = []
    for name, value in (arguments or {}).items():
        if name in _REFUSED:
            raise NotOffered(f"queue {queue!r} was declared with {name}={value!r}: {_REFUSED[name]}")
        if not temporary and name not in _OF_NO_MEANING:
            instead = _WITHOUT_EFFECT.get(name, "it is no argument this transport knows")
            told.append(f"queue {queue!r} was declared with {name}={value!r}, which has no effect on Kafka: {instead}")
    return told
