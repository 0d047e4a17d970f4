"""Errors of the transport. The message says what was wrong, where, and what a person can look at.

kombu decides by class what to do: a :class:`ConnectionFailed` makes it reconnect, a :class:`ChannelFailed` makes
it open a new channel, and everything here is an ``OperationalError``, which is what publishing code catches.
"""

from __future__ import annotations

import amqp  # type: ignore[import-untyped]  # py-amqp has no annotations
from confluent_kafka import KafkaError
from kombu.exceptions import OperationalError


class TransportError(OperationalError):
    """Something the transport could not do."""


class ConnectionFailed(TransportError):
    """The cluster is away, or refuses us: kombu may reconnect."""


class ChannelFailed(TransportError):
    """One operation was refused; the connection itself is fine."""


class BadOption(TransportError):
    """An option has a value that cannot work."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(f"broker_transport_options[{name!r}] is {value!r}; it must be {wanted}")


class BadName(ChannelFailed):
    """A queue or exchange name has no Kafka topic name."""


class BrokerUnavailable(ConnectionFailed):
    """No broker answered in time."""

    def __init__(self, servers: str, during: str, cause: str) -> None:
        super().__init__(
            f"Kafka at {servers} did not answer while {during}: {cause}; "
            "check host, port, TLS and credentials, and that the broker is running"
        )


class ConsumerFailed(ConnectionFailed):
    """The thread that reads from Kafka had to stop; a reconnect starts a new one."""

    def __init__(self, group: str, cause: str) -> None:
        super().__init__(f"the consumer of group {group!r} stopped: {cause}")


class PublishFailed(ConnectionFailed):
    """The cluster refused a message, or could not be reached."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"a message for topic {topic!r} was not stored: {cause}")


class PublishRefused(ChannelFailed):
    """The cluster will refuse this message again (too large, not allowed, ...)."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"topic {topic!r} refuses this message: {cause}")


class PublishTimedOut(ConnectionFailed):
    """No confirmation in time. The message may or may not be in the log: sending it again may double it."""

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(f"no confirmation from topic {topic!r} within {seconds:g} s; it is unknown if it was stored")


class Unroutable(ChannelFailed):
    """No queue takes this message."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        if exchange:
            what = f"no queue is bound to exchange {exchange!r} so that it takes routing key {routing_key!r}; "
            check = "check both names, and that the consumer of these messages has declared its queue"
        else:
            what = f"there is no queue {routing_key!r}; "
            check = "check its name, or declare it first"
        super().__init__(f"{what}{check} (topic_prefix must be the same there and here)")


class NotFound(ChannelFailed, amqp.NotFound):  # type: ignore[misc]  # py-amqp has no annotations
    """An exchange or a queue that must exist does not. AMQP's 404."""

    def __init__(self, kind: str, name: str) -> None:
        text = f"NOT_FOUND - no {kind} {name!r}; check its name, and that whoever owns it has declared it"
        amqp.NotFound.__init__(self, text)


class PreconditionFailed(ChannelFailed, amqp.PreconditionFailed):  # type: ignore[misc]  # no annotations
    """Something was declared as what it is not. AMQP's 406."""

    def __init__(self, what: str, is_now: str, wanted: str) -> None:
        text = f"PRECONDITION_FAILED - {what} is {is_now}, not {wanted}; declare it the same everywhere, or delete it"
        amqp.PreconditionFailed.__init__(self, text)


class NotOffered(ChannelFailed, NotImplementedError):
    """A feature of AMQP that this transport does not have. The message says what to do instead."""


class TopicNotReady(ConnectionFailed):
    """A topic was asked for and has no leader yet, or may not be created."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"topic {topic!r} is not ready: {cause}")


class Undecodable(TransportError):
    """A record that is not a message of this transport."""


def is_hopeless(error: KafkaError) -> bool:
    """Tell whether sending the same message again must fail again."""
    return error.code() in _HOPELESS


_HOPELESS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
    }
)
