"""Errors of the transport. The message says what was wrong, where, and what a person can look at.

kombu decides by class what to do: a :class:`ConnectionFailed` makes it reconnect and try again, a
:class:`ChannelFailed` says that the same operation would fail again. Everything here is an ``OperationalError``, which
is what publishing code catches. No message holds a secret: none is built from settings, but from their names.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from kombu.exceptions import OperationalError

from .troubleshooting.diagnosis import diagnose, is_advised


class TransportError(OperationalError):
    """Something the transport could not do."""


class ConnectionFailed(TransportError):
    """The cluster is away, or refuses us: kombu may reconnect."""


class ChannelClosed(ConnectionFailed):
    """The channel was closed, as kombu closes those of a connection it gave up: with a new one the call goes on."""

    def __init__(self) -> None:
        super().__init__("the channel is closed: publish through a new one, or with a retry policy, which opens one")


class ChannelFailed(TransportError):
    """One operation was refused; the connection itself is fine."""


class BadOption(TransportError):
    """An option has a value that cannot work."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(f"broker_transport_options[{name!r}] is {value!r}; it must be {wanted}")


class BadSetting(TransportError):
    """librdkafka does not take a setting. Its words name the setting, never the value of a secret one."""

    def __init__(self, client: str, cause: str) -> None:
        super().__init__(
            f"librdkafka refuses the settings of the {client}: {cause}; {diagnose('', KafkaError._INVALID_ARG).advice}"
        )


class BadName(ChannelFailed):
    """A queue or exchange name has no Kafka topic name."""


class BrokerUnavailable(ConnectionFailed):
    """No broker answered in time, or none lets us in."""

    def __init__(self, servers: str, during: str, cause: str) -> None:
        advice = diagnose(cause).advice
        super().__init__(f"Kafka at {servers} is unavailable while {during}: {with_advice(cause, advice)}")


class ConsumerFailed(ConnectionFailed):
    """The thread that reads from Kafka had to stop; a reconnect starts a new one."""

    def __init__(self, group: str, cause: str) -> None:
        super().__init__(f"the consumer of group {group!r} stopped: {cause}")


class InstanceTaken(TransportError):
    """Another process has joined under the same instance id. No connection error: a reconnect would fight it."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"another process has joined group {group!r} under this worker's instance_id and has its partitions now, "
            "so this one stops; give each worker slot an instance_id of its own, and start a slot once"
        )


class NoSuchProtocol(ConnectionFailed):
    """The group cannot be joined with the protocol that was chosen."""

    def __init__(self, group: str, seconds: float) -> None:
        super().__init__(
            f"group {group!r} could not be joined within {seconds:g} s with "
            "broker_transport_options['consumer_config']['group.protocol'] = 'consumer' (KIP-848): brokers have it "
            "from Kafka 4.0 on; leave the setting out to use the classic protocol"
        )


class PublishFailed(ConnectionFailed):
    """The cluster refused a message, or could not be reached."""

    def __init__(self, topic: str, cause: str, certain: bool = True) -> None:
        outcome = "was not stored" if certain else "was perhaps not stored"
        super().__init__(f"a message for topic {topic!r} {outcome}: {cause}")


class PublishRefused(ChannelFailed):
    """The cluster will refuse this message again (too large, not allowed, ...)."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"topic {topic!r} refuses this message: {cause}")


class PublishTimedOut(ConnectionFailed):
    """No confirmation in time. The message may or may not be in the log: sending it again may double it."""

    def __init__(self, topic: str, seconds: float, cause: str = "") -> None:
        because = f": {cause}" if cause else ""
        super().__init__(
            f"no confirmation from topic {topic!r} within {seconds:g} s; it is unknown if it was stored{because}"
        )


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


class TopicNotReady(ConnectionFailed):
    """A topic was asked for and has no leader yet."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"topic {topic!r} is not ready: {cause}")


class TopicRefused(ChannelFailed):
    """A topic is missing and cannot be created, or may not be used; someone has to change that first."""

    def __init__(self, topic: str, cause: str) -> None:
        super().__init__(f"topic {topic!r} cannot be used: {cause}")


class AccessDenied(ChannelFailed):
    """The cluster does not let this user do something: an ACL is missing."""

    def __init__(self, during: str, cause: str) -> None:
        super().__init__(f"not allowed, while {during}: {cause}")


class Undecodable(TransportError):
    """A record that is not a message of this transport."""


def is_hopeless(error: KafkaError) -> bool:
    """Tell whether sending the same message again must fail again."""
    return error.code() in _HOPELESS


def is_denied(error: KafkaError) -> bool:
    """Tell whether an ACL is missing."""
    return error.code() in _DENIED


def told(error: KafkaError) -> str:
    """Return Kafka's words with what to check."""
    return with_advice(error.str(), diagnose(error.str(), error.code()).advice)


def as_transport_error(group: str, failure: Exception) -> TransportError:
    """Return what ended a consumer's thread as an error that the connection can raise."""
    if isinstance(failure, TransportError):
        return failure
    if isinstance(failure, KafkaException):
        if KafkaError(KafkaError.FENCED_INSTANCE_ID).str() in failure.args[0].str():
            return InstanceTaken(group)
        return ConsumerFailed(group, told(failure.args[0]))
    return ConsumerFailed(group, repr(failure))


def with_advice(cause: str, advice: str) -> str:
    """Join what happened and what to check, unless the first says so already."""
    return cause if is_advised(cause) else f"{cause}; {advice}"


_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_HOPELESS = _DENIED | {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_TIMESTAMP,
}
