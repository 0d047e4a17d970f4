"""The relay's topics: made when they are missing, left alone when they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # as its own examples do

from service.relay.publisher import KafkaUnavailableError

EVENTS_TOPIC = "exceptions.events"
DEAD_LETTER_TOPIC = "exceptions.dlq"

REQUEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TopicShape:
    """How a topic is made when it is missing."""

    partitions: int
    replication_factor: int


def ensure_topics(client: Mapping[str, Any], names: Iterable[str], shape: TopicShape) -> None:
    """Make the topics that are missing; another process may be doing the same.

    Raises KafkaUnavailableError when Kafka is away or refuses.
    """
    errors: list[KafkaError] = []
    settings: dict[str, Any] = {**client, "error_cb": errors.append, "log_level": 0}
    admin = AdminClient(settings)
    try:
        present = admin.list_topics(timeout=REQUEST_SECONDS).topics
        missing = [NewTopic(name, shape.partitions, shape.replication_factor) for name in names if name not in present]
        if missing:
            for made in admin.create_topics(missing, request_timeout=REQUEST_SECONDS).values():
                _accept(made.exception(REQUEST_SECONDS + 1))
    except KafkaException as error:
        # The exception only says that nobody answered; why is told to the callback alone.
        admin.poll(0)
        raise KafkaUnavailableError((errors[-1] if errors else error.args[0]).str()) from error


def _accept(error: BaseException | None) -> None:
    if error is None:
        return
    if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return
    raise error
