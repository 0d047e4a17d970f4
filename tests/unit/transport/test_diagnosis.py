"""What librdkafka and Kafka say is recognised, as they said it to a real client, and turned into what to check."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from service.transport.errors import (
    AccessDenied,
    BadSetting,
    BrokerUnavailable,
    ChannelFailed,
    ConnectionFailed,
    ConsumerFailed,
    PublishRefused,
    TopicRefused,
    as_transport_error,
    told,
)
from service.transport.troubleshooting.diagnosis import UNKNOWN, diagnose, is_telling, known, readable

HEARD = [
    ("h:1/bootstrap: Failed to resolve 'h:1': Name or service not known (after 0ms in state CONNECT)", "address"),
    (
        "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        "refused",
    ),
    ("h:1/bootstrap: Connection setup timed out in state CONNECT (after 30001ms in state CONNECT)", "unreachable"),
    ("h:1 gives no answer at all to connecting for 2 s", "unreachable"),
    (
        "h:1: Receive failed: Invalid response size 1213486160 (0..100000000): increase receive.message.max.bytes",
        "not-kafka",
    ),
    ("h:1 speaks HTTP", "not-kafka"),
    ("ssl://h:1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?", "no-tls-there"),
    ("ssl://h:1: error:0A00010B:SSL routines::wrong version number (after 0ms in state SSL_HANDSHAKE)", "no-tls-there"),
    (
        "h:1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 0ms in state APIVERSION_QUERY)",
        "hung-up",
    ),
    ("ssl://h:1: Disconnected: SSL connection closed by peer (after 0ms in state UP)", "login-wanted"),
    ("SSL handshake failed: certificate verify failed: broker certificate could not be verified", "certificate"),
    ("SASL authentication error: Authentication failed due to invalid credentials with SCRAM-SHA-512", "credentials"),
    ("SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: supported: SCRAM", "mechanism"),
    ("handshake failed: Broker: Request not valid in current SASL state", "no-login-there"),
    ("Topic 'a_b' collides with existing topic: a.b", "collision"),
    ("Failed to acquire idempotence PID from broker h:1/1: Broker: Cluster authorization failed", "acl-idempotence"),
    ("FindCoordinator response error: Group authorization failed.", "acl-group"),
    ("Subscribed topic not available: probe: Broker: Topic authorization failed", "acl-topic"),
    ("SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure", "gone"),
    ("h:1/1: Disconnected (after 600000ms in state UP)", "gone"),
]


@pytest.mark.parametrize(("text", "kind"), HEARD)
def test_words_are_recognised(text: str, kind: str) -> None:
    assert diagnose(text).kind == kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "acl-topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "acl-group"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "too-large"),
        (KafkaError.NOT_ENOUGH_REPLICAS, "replicas"),
        (KafkaError.INVALID_REPLICATION_FACTOR, "replication"),
        (KafkaError._UNKNOWN_TOPIC, "missing-topic"),
    ],
)
def test_a_code_is_recognised_where_the_words_are_not(code: int, kind: str) -> None:
    assert diagnose("words of another version", code).kind == kind


def test_every_advice_begins_with_what_it_says_and_is_said_once() -> None:
    advices = [diagnosis.advice for diagnosis in known()]
    assert all(advice and advice[-1] != "." for advice in advices)
    wrapped = BrokerUnavailable("h:1", "connecting", f"cause; {diagnose(HEARD[0][0]).advice}")
    assert str(wrapped).count("check the host name") == 1
    assert UNKNOWN.advice not in str(wrapped)


def test_a_symptom_is_not_a_cause() -> None:
    assert not is_telling("1/1 brokers are down", KafkaError._ALL_BROKERS_DOWN)
    assert is_telling(HEARD[0][0], KafkaError._RESOLVE)


def test_what_differs_from_one_repetition_to_the_next_is_left_out() -> None:
    when = "(after 3ms in state CONNECT, 29 identical error(s) suppressed)"
    text = f"[thrd:h:1/bootstrap]: h:1/bootstrap: Connection refused {when}"
    assert readable(text) == "h:1/bootstrap: Connection refused"


def test_the_class_says_whether_trying_again_can_help() -> None:
    assert issubclass(BrokerUnavailable, ConnectionFailed) and issubclass(ConsumerFailed, ConnectionFailed)
    for refusal in (PublishRefused, TopicRefused, AccessDenied):
        assert issubclass(refusal, ChannelFailed) and not issubclass(refusal, ConnectionFailed)
    assert not issubclass(BadSetting, (ConnectionFailed, ChannelFailed))


def test_what_ends_a_consumers_thread_keeps_its_advice() -> None:
    denied = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "Group authorization failed.")
    assert "grant this user Read" in str(as_transport_error("g", KafkaException(denied)))
    assert "grant this user Read" in told(denied)
    refusal = BadSetting("consumer", "No such configuration property")
    assert as_transport_error("g", refusal) is refusal
    assert "ZeroDivisionError" in str(as_transport_error("g", ZeroDivisionError("by zero")))
