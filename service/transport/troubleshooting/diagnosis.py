"""What a failure means and what to check: librdkafka's and Kafka's words, recognised. Pure.

librdkafka tells the cause of a connection that does not come about (a wrong password, an unknown CA) in its error
callback or its log alone, in words. This table knows those words; :func:`diagnose` returns what a person can do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from confluent_kafka import KafkaError


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, in one word for programs, and what to check, for people."""

    kind: str
    advice: str


UNKNOWN = Diagnosis("unknown", "check host, port, TLS and credentials, and that the broker is running")

_TOPIC_ACL = Diagnosis("acl-topic", "grant this user the operation on the topic (see docs/transport-security.md)")
_GROUP_ACL = Diagnosis(
    "acl-group",
    "grant this user Read on the consumer group (Describe to look only), best by prefix "
    "(see docs/transport-security.md)",
)
_CLUSTER_ACL = Diagnosis("acl-cluster", "grant this user the operation on the cluster (see docs/transport-security.md)")
_BY_TEXT: tuple[tuple[str, Diagnosis], ...] = (
    (
        r"Failed to resolve",
        Diagnosis("address", "check the host name in broker_url or bootstrap_servers, and this machine's DNS"),
    ),
    (
        r"Connection refused",
        Diagnosis("refused", "nothing listens there: check host and port, and that the broker is running"),
    ),
    (
        r"Connection setup timed out|No route to host|Network is unreachable|Connection timed out|no answer at all",
        Diagnosis("unreachable", "check the address, and firewalls and routes between here and the broker"),
    ),
    (
        r"Invalid response size|speaks HTTP|does not answer as a broker|ApiVersionRequest failed: Local: Timed out",
        Diagnosis("not-kafka", "check the port: what listens there is not a Kafka listener, or it hangs"),
    ),
    (
        r"PLAINTEXT broker listener|wrong version number|SSL connection closed by peer.*state SSL_HANDSHAKE",
        Diagnosis(
            "no-tls-there",
            "the listener does not speak TLS: check the port, or set security.protocol to PLAINTEXT or SASL_PLAINTEXT",
        ),
    ),
    (
        r"SSL connection closed by peer.*state UP",
        Diagnosis(
            "login-wanted",
            "the listener hangs up on clients without a login: set security.protocol to SASL_SSL, with sasl.mechanism, "
            "user and password",
        ),
    ),
    (
        r"hostname mismatch|IP address mismatch",
        Diagnosis("host-name", "connect by a name that the broker's certificate holds (see its subjectAltName)"),
    ),
    (
        r"certificate verify failed|certificate could not be verified",
        Diagnosis(
            "certificate",
            "check that ssl.ca.location holds the CA that signed the broker's certificate, that the certificate "
            "has not expired, and that it holds the host name used here",
        ),
    ),
    (
        r"certificate required|alert bad certificate|alert unknown ca|alert handshake failure",
        Diagnosis(
            "client-certificate",
            "the broker wants a certificate it trusts: set ssl.certificate.location and ssl.key.location",
        ),
    ),
    (
        r"Unsupported SASL mechanism",
        Diagnosis("mechanism", "set sasl.mechanism to one that the broker supports"),
    ),
    (
        r"not valid in current SASL state",
        Diagnosis("no-login-there", "this listener knows no logins: check the port and security.protocol"),
    ),
    (
        r"SaslAuthenticateRequest failed: Local",
        Diagnosis("gone", "check that the broker is running; this client keeps trying"),
    ),
    (
        r"SASL authentication error|invalid credentials|Authentication failed",
        Diagnosis(
            "credentials",
            "check user and password (sasl.username and sasl.password, or those of broker_url), and that the broker "
            "knows the user under this sasl.mechanism",
        ),
    ),
    (
        r"Failed to acquire idempotence PID.*Cluster authorization failed|Cluster authorization failed.*idempotence",
        Diagnosis(
            "acl-idempotence",
            "grant this user Write on the topics it publishes to (Kafka before 2.8: IdempotentWrite on the cluster)",
        ),
    ),
    (r"Topic authorization failed", _TOPIC_ACL),
    (r"Group authorization failed", _GROUP_ACL),
    (r"Cluster authorization failed", _CLUSTER_ACL),
    (
        r"receive 0 after POLLIN.*state APIVERSION_QUERY|connecting to a SSL listener|[Dd]isconnected while requesting",
        Diagnosis(
            "hung-up",
            "the listener hangs up on the first word, as one that expects TLS does: check security.protocol (SSL, "
            "SASL_SSL) and the port",
        ),
    ),
    (
        r"collides with existing topic",
        Diagnosis("collision", "Kafka takes '.' and '_' for the same: rename the queue, or set another topic_prefix"),
    ),
    (
        r"[Dd]isconnected|closed by peer|Connection reset|[Bb]roken pipe",
        Diagnosis("gone", "check that the broker is running; this client keeps trying"),
    ),
)

_TOO_LARGE = Diagnosis(
    "too-large",
    "keep large content elsewhere and send a reference, or raise max.message.bytes of the topic and "
    "message.max.bytes of this client (producer_config)",
)
_TOO_FEW = Diagnosis(
    "replicas",
    "fewer replicas are in sync than min.insync.replicas wants: check that every broker is up; it works again by "
    "itself when they are",
)
_MISSING = Diagnosis("missing-topic", "check that nobody deletes topics in use, or create it and try again")
_LEADER = Diagnosis("leader", "the partition has no leader now: check that its brokers are up")
_BY_CODE: dict[int, Diagnosis] = {
    KafkaError._RESOLVE: _BY_TEXT[0][1],
    KafkaError._AUTHENTICATION: Diagnosis("credentials", "check security.protocol, sasl.mechanism, user and password"),
    KafkaError._SSL: Diagnosis("tls", "check security.protocol, ssl.ca.location and the broker's certificate"),
    KafkaError.SASL_AUTHENTICATION_FAILED: Diagnosis("credentials", "check user and password"),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _TOPIC_ACL,
    KafkaError.GROUP_AUTHORIZATION_FAILED: _GROUP_ACL,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _CLUSTER_ACL,
    KafkaError.MSG_SIZE_TOO_LARGE: _TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: _TOO_LARGE,
    KafkaError.NOT_ENOUGH_REPLICAS: _TOO_FEW,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: _TOO_FEW,
    KafkaError.INVALID_REPLICATION_FACTOR: Diagnosis(
        "replication", "lower replication_factor, or start more brokers; -1 takes the cluster's default"
    ),
    KafkaError.INVALID_PARTITIONS: Diagnosis("partitions", "check the number of partitions asked for"),
    KafkaError.INVALID_CONFIG: Diagnosis("topic-config", "check the names and values in topic_config"),
    KafkaError.POLICY_VIOLATION: Diagnosis("policy", "the cluster's topic policy forbids it: ask who runs the cluster"),
    KafkaError.INVALID_TIMESTAMP: Diagnosis("timestamp", "check this machine's clock"),
    KafkaError.UNKNOWN_TOPIC_OR_PART: _MISSING,
    KafkaError._UNKNOWN_TOPIC: _MISSING,
    KafkaError._UNKNOWN_PARTITION: _MISSING,
    KafkaError.LEADER_NOT_AVAILABLE: _LEADER,
    KafkaError.NOT_LEADER_FOR_PARTITION: _LEADER,
    KafkaError._INVALID_ARG: Diagnosis("setting", "check common_config, consumer_config and producer_config"),
    KafkaError.FENCED_INSTANCE_ID: Diagnosis("instance", "two consumers share one static id: give each its own"),
    KafkaError.UNSUPPORTED_VERSION: Diagnosis("version", "the broker is too old for this request"),
    KafkaError.KAFKA_STORAGE_ERROR: Diagnosis("disk", "the broker cannot write: check its disks"),
}

_WHEN = re.compile(r"\s*\(after \d+ms in state [A-Z_]+(?:, \d+ identical error\(s\) suppressed)?\)")
_THREAD = re.compile(r"^\[thrd:[^\]]*\]: ")


def diagnose(text: str, code: int | None = None) -> Diagnosis:
    """Return what a failure means; :data:`UNKNOWN` when neither its words nor its code are known."""
    for pattern, diagnosis in _BY_TEXT:
        if re.search(pattern, text):
            return diagnosis
    return _BY_CODE.get(code, UNKNOWN) if code is not None else UNKNOWN


def is_telling(text: str, code: int) -> bool:
    """Tell whether an error names a cause, rather than that there is trouble."""
    return diagnose(text, code) is not UNKNOWN


def is_advised(text: str) -> bool:
    """Tell whether a text holds one of the pieces of advice given here."""
    return any(diagnosis.advice in text for diagnosis in known())


def known() -> list[Diagnosis]:
    """Return everything this table can say."""
    return [UNKNOWN, *(diagnosis for _, diagnosis in _BY_TEXT), *_BY_CODE.values()]


def readable(text: str) -> str:
    """Return librdkafka's words without its thread's name and the times that make each repetition differ."""
    return _WHEN.sub("", _THREAD.sub("", text)).strip()
